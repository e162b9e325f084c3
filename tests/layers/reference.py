"""The non-local block as plain NumPy loops, written from equation (1) of the paper."""

import itertools

import numpy as np


def non_local(layer, x):
    """What a `NonLocal*` layer computes at inference.

    Args:
        layer: the built layer, whose options and weights are read.
        x: array (batch, ..., channels).

    Returns:
        The output, and a list of the weights `f / C`, one matrix for each part of each example
        whose places see each other.
    """
    z, scores = np.empty_like(x), []
    for example in range(len(x)):
        for part in parts(layer, x.shape[1:-1]):
            places = x[example][part]
            y, weights = attend(layer, places)
            z[(example, *part)] = places + norm(layer, apply(layer.out, y))
            scores.append(weights)
    return z, scores


def parts(layer, sizes):
    """Index tuples of the parts of one example within which places see each other."""
    if len(sizes) < 3:
        return [tuple(slice(None) for _ in sizes)]
    frames, height, width = sizes
    step = layer.frames_per_group or frames
    spans = [slice(first, first + step) for first in range(0, frames, step)]
    everywhere = slice(None)
    if layer.axes == "space":
        return [(slice(t, t + 1), everywhere, everywhere) for t in range(frames)]
    if layer.axes == "time":
        rows = itertools.product(range(height), range(width), spans)
        return [(span, slice(i, i + 1), slice(j, j + 1)) for i, j, span in rows]
    return [(span, everywhere, everywhere) for span in spans]


def attend(layer, x):
    """Equation (1) for one part: y_i = sum_j f(x_i, x_j) g(x_j) / C(x)."""
    sizes = pool_sizes(layer, x.ndim - 1)
    if layer.pool_position == "before":
        keys = max_pool(x, sizes)
        phi = x_j = keys if layer.mode == "gaussian" else apply(layer.phi, keys)
        g = apply(layer.g, keys)
    else:
        phi = x_j = max_pool(x if layer.mode == "gaussian" else apply(layer.phi, x), sizes)
        g = max_pool(apply(layer.g, x), sizes)
    theta = x if layer.mode == "gaussian" else apply(layer.theta, x)
    theta, phi, g = (v.reshape(-1, v.shape[-1]) for v in (theta, x_j, g))
    y = np.zeros((len(theta), g.shape[-1]), x.dtype)
    weights = np.zeros((len(theta), len(phi)), x.dtype)
    w_f = np.asarray(layer.w_f) if layer.mode == "concatenation" else None
    for i in range(len(theta)):
        f = np.array([pairwise(layer, w_f, theta[i], phi[j]) for j in range(len(phi))])
        weights[i] = f / (f.sum() if "gaussian" in layer.mode else len(phi))
        for j in range(len(phi)):
            y[i] += weights[i, j] * g[j]
    return y.reshape(*x.shape[:-1], -1), weights


def pairwise(layer, w_f, theta, phi):
    if layer.mode == "concatenation":
        return max(0.0, np.concatenate([theta, phi]) @ w_f)
    if layer.mode == "dot_product":
        return theta @ phi
    return np.exp(theta @ phi / (np.sqrt(len(theta)) if layer.scale else 1.0))


def pool_sizes(layer, rank):
    size = layer.pool_size
    if size is None:
        return (1,) * rank
    if isinstance(size, tuple):
        return size
    if rank < 3:
        return (size,) * rank
    return (1, 1, 1) if layer.axes == "time" else (1, size, size)


def max_pool(x, sizes):
    counts = [n // size for n, size in zip(x.shape, sizes, strict=False)]
    pooled = np.empty((*counts, x.shape[-1]), x.dtype)
    for place in itertools.product(*map(range, counts)):
        box = tuple(slice(p * s, (p + 1) * s) for p, s in zip(place, sizes, strict=True))
        pooled[place] = x[box].reshape(-1, x.shape[-1]).max(axis=0)
    return pooled


def apply(layer, x):
    kernel = np.asarray(layer.kernel)
    return x @ kernel.reshape(kernel.shape[-2:]) + np.asarray(layer.bias)


def norm(layer, x):
    if layer.norm is None:
        return x
    n = layer.norm
    mean, variance = np.asarray(n.moving_mean), np.asarray(n.moving_variance)
    scaled = (x - mean) / np.sqrt(variance + n.epsilon)
    return scaled * np.asarray(n.gamma) + np.asarray(n.beta)

"""The pairwise functions of the non-local operation and their weighted mean.

Every function here takes matrices, channels last, with one leading batch axis:
`theta` (batch, N, D) for the N queries, `phi` (batch, M, D) and `g` (batch, M, C) for the M
keys, and gives `y_i = sum_j w_ij g_j` of shape (batch, N, C). None builds the N x M weights
where the result can be had without them; `*_scores` build them for whoever wants to look.
"""

import math

import keras
from keras import ops

# Bytes that the N x M affinity of one batch may take before queries go through in chunks.
AFFINITY_BUDGET = 256 * 2**20
# Sorting and looking up one query measured as long as multiplying it with so many keys.
SORTING_PAYS_ABOVE_KEYS = 512


def softmax_mean(theta, phi, g, scale):
    """The two gaussian forms: weights `softmax_j(scale * theta_i . phi_j)`.

    Above `AFFINITY_BUDGET` the queries pass in chunks, whose weights are thrown away and computed
    again for the gradient: the same result in the memory of one chunk.

    Args:
        theta, phi, g: see the module.
        scale: factor on the inner products.

    Returns:
        Tensor of shape (batch, N, C).
    """

    def direct():
        return _weighted(softmax_scores(theta, phi, scale), g)

    batch, queries, _ = ops.shape(theta)
    bytes_a_query = _product(batch, ops.shape(phi)[1], 8 if theta.dtype == "float64" else 4)
    return _choose(
        bytes_a_query * _product(queries) <= AFFINITY_BUDGET,
        direct,
        lambda: _softmax_mean_in_chunks(
            theta, phi, g, scale, rows=_floor(AFFINITY_BUDGET / bytes_a_query)
        ),
    )


def softmax_scores(theta, phi, scale):
    """Weights of the gaussian forms, (batch, N, M), at least float32."""
    logits = ops.matmul(theta, ops.swapaxes(phi, 1, 2))
    if logits.shape[-1] == 1:
        return ops.ones_like(_accumulate(logits))  # Keras warns of a softmax over one key.
    return ops.softmax(ops.multiply(_accumulate(logits), scale), axis=-1)


def dot_product_mean(theta, phi, g):
    """Weights `theta_i . phi_j / M`, summed as `theta (phi^T g) / M` where that is cheaper.

    The product is associative: with D and C channels, N queries and M keys, the direct order
    costs N M (D + C) multiplications and the other one (N + M) D C.

    Args:
        theta, phi, g: see the module.

    Returns:
        Tensor of shape (batch, N, C), in the dtype of `g`.
    """
    queries, keys = ops.shape(theta)[1], ops.shape(phi)[1]
    theta, phi, values = _accumulate(theta), _accumulate(phi), _accumulate(g)
    # Dividing first keeps the sums over keys in the range of one value.
    values = values / ops.cast(keys, values.dtype)
    depth, width = theta.shape[-1], g.shape[-1]
    outputs = _choose(
        _product(queries, keys, depth + width) <= _product(queries + keys, depth, width),
        lambda: ops.matmul(ops.matmul(theta, ops.swapaxes(phi, 1, 2)), values),
        lambda: ops.matmul(theta, ops.matmul(ops.swapaxes(phi, 1, 2), values)),
    )
    return ops.cast(outputs, g.dtype)


def dot_product_scores(theta, phi):
    """Weights of the dot product, (batch, N, M), at least float32."""
    scores = ops.matmul(_accumulate(theta), ops.swapaxes(_accumulate(phi), 1, 2))
    return scores / ops.cast(ops.shape(phi)[1], scores.dtype)


def concatenation_mean(a, b, g):
    """Weights `relu(a_i + b_j) / M`, by sorting where that is cheaper.

    A key counts for query i where `b_j > -a_i`, so with the keys sorted by `b` the sum is
    `a_i sum g_j + sum b_j g_j` over a suffix: two running sums of the keys and one look-up a
    query, (N + M) log (N + M) instead of N M, with no weight left out.

    Args:
        a: (batch, N), theta's half of the concatenation.
        b: (batch, M), phi's half.
        g: (batch, M, C).

    Returns:
        Tensor of shape (batch, N, C), in the dtype of `g`.
    """
    keys = ops.shape(b)[1]
    a, b, values = _accumulate(a), _accumulate(b), _accumulate(g)
    values = values / ops.cast(keys, values.dtype)
    outputs = _choose(
        _product(keys) <= SORTING_PAYS_ABOVE_KEYS,
        lambda: ops.matmul(ops.relu(a[:, :, None] + b[:, None, :]), values),
        lambda: _concatenation_mean_by_sorting(a, b, values),
    )
    return ops.cast(outputs, g.dtype)


def concatenation_scores(a, b):
    """Weights of the concatenation, (batch, N, M), at least float32."""
    scores = ops.relu(_accumulate(a)[:, :, None] + _accumulate(b)[:, None, :])
    return scores / ops.cast(ops.shape(b)[1], scores.dtype)


def _concatenation_mean_by_sorting(a, b, g):
    channels = g.shape[-1]
    order = ops.argsort(b, axis=1)
    b, g = _take_rows(b[:, :, None], order), _take_rows(g, order)
    # Row k: the sums over all sorted keys from k on; the last row: over none.
    sums = ops.flip(ops.cumsum(ops.flip(ops.concatenate([g, b * g], axis=-1), 1), axis=1), 1)
    sums = ops.pad(sums, [(0, 0), (0, 1), (0, 0)])
    first = _count_not_above(b[:, :, 0], -a)
    sums = _take_rows(sums, first)
    return a[:, :, None] * sums[:, :, :channels] + sums[:, :, channels:]


def _count_not_above(sorted_values, limits):
    """For each limit, how many of the sorted values do not exceed it (without a gradient)."""
    size = ops.shape(limits)[1]
    both = ops.concatenate([limits, sorted_values], axis=1)
    order = ops.argsort(ops.stop_gradient(both), axis=1)
    seen = ops.cumsum(ops.cast(order >= size, "int32"), axis=1)
    place_of = ops.argsort(order, axis=1)
    return _take_rows(seen[:, :, None], place_of[:, :size])[:, :, 0]


def _take_rows(x, rows):
    """`x[b, rows[b, i]]` for x of shape (batch, M, C), through one flat look-up."""
    batch, size, channels = ops.shape(x)
    count = ops.shape(rows)[1]
    offsets = ops.arange(batch, dtype="int32")[:, None] * size
    flat = ops.reshape(ops.cast(rows, "int32") + offsets, (-1,))
    taken = ops.take(ops.reshape(x, (-1, channels)), flat, axis=0)
    return ops.reshape(taken, (-1, count, channels))


def _softmax_mean_in_chunks(theta, phi, g, scale, rows):
    """`softmax_mean` with `rows` queries at a time, forward and backward."""
    batch, queries, depth = ops.shape(theta)
    rows = _clip(rows, 1, queries)
    chunks = -(-queries // rows)

    def split(x):
        """(batch, N, C) to (chunks, batch, rows, C), with zeros after the last query."""
        channels = x.shape[-1]
        x = ops.pad(x, [(0, 0), (0, chunks * rows - queries), (0, 0)])
        return ops.swapaxes(ops.reshape(x, (batch, chunks, rows, channels)), 0, 1)

    def join(x):
        x = ops.swapaxes(x, 0, 1)
        return ops.reshape(x, (batch, chunks * rows, x.shape[-1]))[:, :queries]

    @ops.custom_gradient
    def attend(theta, phi, g):
        theta_chunks = split(theta)

        def forward(carry, theta):
            return carry, _weighted(softmax_scores(theta, phi, scale), g)

        _, outputs = _scan(forward, (), theta_chunks, g.dtype)

        def gradient(upstream):
            def backward(carry, chunk):
                d_phi, d_g = carry
                theta, dy = chunk
                weights = softmax_scores(theta, phi, scale)
                dy = _accumulate(dy)
                d_weights = ops.matmul(dy, ops.swapaxes(_accumulate(g), 1, 2))
                mean = ops.sum(weights * d_weights, axis=-1, keepdims=True)
                d_logits = scale * weights * (d_weights - mean)
                d_phi += ops.matmul(ops.swapaxes(d_logits, 1, 2), _accumulate(theta))
                d_g += ops.matmul(ops.swapaxes(weights, 1, 2), dy)
                return (d_phi, d_g), ops.matmul(d_logits, _accumulate(phi))

            zeros = tuple(ops.zeros_like(_accumulate(x)) for x in (phi, g))
            chunks_of_both = (theta_chunks, split(upstream))
            (d_phi, d_g), d_theta = _scan(backward, zeros, chunks_of_both, zeros[0].dtype)
            return (
                ops.cast(join(d_theta), theta.dtype),
                ops.cast(d_phi, phi.dtype),
                ops.cast(d_g, g.dtype),
            )

        return join(outputs), gradient

    return attend(theta, phi, g)


def _scan(step, carry, xs, dtype):
    """`ops.scan` with outputs of `dtype` that, on TensorFlow, runs one step at a time."""
    if keras.backend.backend() != "tensorflow":
        return ops.scan(step, carry, xs)
    import tensorflow as tf

    xs = [tf.convert_to_tensor(x) for x in xs] if isinstance(xs, tuple) else xs
    length = tf.shape(xs[0] if isinstance(xs, list) else xs)[0]

    def body(i, carry, outputs):
        carry, output = step(carry, [x[i] for x in xs] if isinstance(xs, list) else xs[i])
        return i + 1, carry, outputs.write(i, output)

    # More than one step in flight would hold the weights of several chunks.
    _, carry, outputs = tf.while_loop(
        lambda i, *_: i < length,
        body,
        (0, carry, tf.TensorArray(dtype, size=length)),
        parallel_iterations=1,
    )
    return carry, outputs.stack()


def _choose(condition, if_true, if_false):
    """Decides now where the sizes are known, and in the graph where they are not."""
    if isinstance(condition, bool):
        return if_true() if condition else if_false()
    return ops.cond(condition, if_true, if_false)


def _product(*sizes):
    """A product of sizes as a float: unknown ones are int32 tensors, which would overflow."""
    return math.prod(float(n) if isinstance(n, int) else ops.cast(n, "float32") for n in sizes)


def _floor(number):
    return int(number) if isinstance(number, float) else ops.cast(number, "int32")


def _clip(number, low, high):
    if isinstance(number, int) and isinstance(high, int):
        return min(max(number, low), high)
    return ops.minimum(ops.maximum(number, low), high)


def _weighted(weights, g):
    return ops.matmul(ops.cast(weights, g.dtype), g)


def _accumulate(x):
    """Casts half precision up to float32, in which sums and softmax are taken."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))

"""Weights from one of our networks to another: other clips, blocks, norms or classes."""

import types
import warnings

import keras
import numpy as np

from keras_nonlocal import preprocessing
from keras_nonlocal.archives.errors import CheckpointError
from keras_nonlocal.checkpoints import assignment, inflation, kernels
from keras_nonlocal.checkpoints.layout import Layout

_OURS = Layout(name="keras_nonlocal", sources=(), rows=(), words=types.MappingProxyType({}))
_CLASSIFIER = ("predictions/kernel", "predictions/bias")


def transfer_weights(model, from_model):
    """Gives a network the weights of another one that differs in what training may change.

    The two may differ in these ways:

    - the clip: 8x8, 32x4 and 128x1 networks have the same weights;
    - non-local blocks: those that `from_model` lacks keep the values that they have in `model`,
      so new ones are the identity and the output stays the same;
    - norms: `frozen_norm=True` takes the moving statistics as they are. A non-local block has no
      norm there: it is folded into the block's last convolution. The other way a norm is added
      that changes nothing;
    - frames that kernels span: those of one frame are inflated, so C2D begins I3D;
    - the classifier: with other classes, or none in `from_model`, it keeps its values, and a
      warning says so.

    This is how the authors train on long clips: from the weights of short ones, with norms
    frozen. `model` then remembers the pixel range that `from_model` remembers.

    Args:
        model: network of `C2D`, `I3D`, `NLC2D` or `NLI3D` that receives.
        from_model: network of these that gives.

    Returns:
        Names of the layers of `model` that keep their values.

    Raises:
        CheckpointError: a `ValueError`, if more differs; it lists all names and shapes that do,
            and `model` is unchanged.

    Example:

    >>> small = dict(depth=(1, 1, 2, 1), width=8, input_shape=(8, 64, 64, 3))
    >>> baseline = keras_nonlocal.I3D(**small)
    >>> model = keras_nonlocal.NLI3D(non_local=1, **small)
    >>> transfer_weights(model, baseline)
    ['res4_0_nonlocal']

    Reference:
        - Section 3.3 and section 4.1 (long clips, frozen norms) of
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    inflation.check_network("model", model)
    inflation.check_network("from_model", from_model)
    _check_strides(model, from_model)
    _check_modes(model, from_model)
    shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
    tensors = {v.path: keras.ops.convert_to_numpy(v) for v in from_model.weights}
    kept = _kept_blocks(model, tensors)
    starts_anew = _CLASSIFIER[0] in shapes and not _same_classes(shapes, tensors)
    if starts_anew:
        kept.append("predictions")
    if starts_anew or _CLASSIFIER[0] not in shapes:
        tensors = {a: array for a, array in tensors.items() if a not in _CLASSIFIER}
    tensors = _fit_norms(inflation.inflate_to_fit(tensors, model), shapes)
    assignment.assign(
        model,
        tensors,
        _OURS,
        except_for=kept,
        title=f"The weights of {from_model.name} do not fit {model.name}.",
        origin=f"giver {from_model.name}",
        way_out="Both must have the same `depth` and `width`, and `model` all blocks and all "
        "frames of kernels that the giver has.",
    )
    if starts_anew:
        warnings.warn(
            f"The classifier starts anew: {from_model.name} has none of "
            f"{shapes[_CLASSIFIER[0]][-1]} classes. All else is transferred.",
            stacklevel=2,
        )
    _remember(model, from_model, takes_classes=not starts_anew)
    return kept


def _check_strides(model, from_model):
    ours, theirs = map(inflation.stride_kernel, (model, from_model))
    if ours != theirs:
        raise CheckpointError(
            "Stages must halve height and width in the same convolution. Received: "
            f"res3_0_{theirs}_conv in {from_model.name}, res3_0_{ours}_conv in {model.name}. Build "
            "both with one `source`."
        )


def _kept_blocks(model, tensors):
    """Names of non-local blocks that the other network lacks."""
    given = {address.split("/")[0] for address in tensors}
    names = [layer.name for layer in model.layers if layer.name.endswith("_nonlocal")]
    return [name for name in names if name not in given]


def _same_classes(shapes, tensors):
    return all(a in tensors and tensors[a].shape[-1] == shapes[a][-1] for a in _CLASSIFIER)


def _fit_norms(tensors, shapes):
    """Folds the norms of non-local blocks that the model lacks, and adds those that it has."""
    tensors = dict(tensors)
    for address in [a for a in tensors if a.endswith("_nonlocal/out/bias")]:
        block = address.removesuffix("out/bias")
        has_norm = block + "norm/gamma" in tensors
        if has_norm and block + "out/bias" in shapes and block + "norm/gamma" not in shapes:
            _fold_norm(tensors, block)
        elif not has_norm and block + "norm/gamma" in shapes:
            values = {
                "gamma": 1.0,
                "beta": 0.0,
                "moving_mean": 0.0,
                "moving_variance": kernels.IDENTITY_VARIANCE,
            }
            for name, value in values.items():
                tensors[f"{block}norm/{name}"] = np.full_like(tensors[address], value)
    return tensors


def _fold_norm(tensors, block):
    gamma, beta, mean, variance = (
        tensors.pop(f"{block}norm/{name}").astype("float64")
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + kernels.NORM_EPSILON)
    kernel, bias = block + "out/kernel", block + "out/bias"
    tensors[bias] = ((tensors[bias] - mean) * scale + beta).astype("float32")
    tensors[kernel] = (tensors[kernel] * scale).astype("float32")


def _check_modes(model, from_model):
    """Raises where blocks would compare positions otherwise, with tensors of the same names."""
    theirs = {layer.name: getattr(layer, "mode", None) for layer in from_model.layers}
    alike = {"embedded_gaussian", "dot_product"}
    for layer in model.layers:
        mode = getattr(layer, "mode", None)
        if alike == {mode, theirs.get(layer.name)}:
            raise CheckpointError(
                f"{layer.name} has mode={mode!r} in {model.name}, but {theirs[layer.name]!r} in "
                f"{from_model.name}, where the same weights mean something else. Build both with "
                "the same `mode`."
            )


def _remember(model, from_model, takes_classes):
    if getattr(from_model, "source", None) is None:
        return
    giver = from_model if takes_classes else model
    preprocessing.remember(
        model,
        from_model.source,
        getattr(model, "clip", None),
        getattr(giver, "class_names", None),
    )

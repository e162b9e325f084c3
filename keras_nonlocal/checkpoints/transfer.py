"""Weights from one of our networks to another: other clips, blocks, norms or classes."""

import dataclasses
import types
import warnings

import keras
import numpy as np

from keras_nonlocal.checkpoints import assignment, inflation, kernels
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.layout import Layout
from keras_nonlocal.models.config import BLOCK_SETTINGS
from keras_nonlocal.models.video_resnet import change_config, config_of

_OURS = Layout(name="keras_nonlocal", sources=(), rows=(), words=types.MappingProxyType({}))
_SHOWN = 6
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

    Nothing else may differ that changes what the weights compute: the pairwise function, scale and
    pooling of non-local blocks, pool1's padding, pool2, steps over frames that the clip does not
    explain, the window of the head. Networks of one `source` agree in these.

    This is how the authors train on long clips: from the weights of short ones, with norms
    frozen. `model` then normalizes pixels as `from_model` does, see `model.normalization`.

    Args:
        model: network of `C2D`, `I3D`, `NLC2D` or `NLI3D` that receives.
        from_model: network of these that gives.

    Returns:
        Names of the layers of `model` that keep their values.

    Raises:
        CheckpointError: a `ValueError`, if more differs; it lists all settings, or names and
            shapes, that do, and `model` is unchanged.

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
    _check_settings(model, from_model)
    shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
    tensors = {v.path: keras.ops.convert_to_numpy(v) for v in from_model.weights}
    kept = _kept_blocks(model, tensors)
    names = [config_of(each).class_names for each in (model, from_model)]
    same_names = None in names or names[0] == names[1]
    starts_anew = _CLASSIFIER[0] in shapes
    starts_anew = starts_anew and not (same_names and _same_classes(shapes, tensors))
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
            f"The classifier keeps its values: {from_model.name} has no classifier for the same "
            f"{shapes[_CLASSIFIER[0]][-1]} classes. All else is transferred.",
            stacklevel=2,
        )
    kept_names = names[0] if starts_anew else names[0] or names[1]
    change_config(model, normalization=from_model.normalization, class_names=kept_names)
    return kept


def _check_settings(model, from_model):
    """Raises where the same weights would mean something else.

    Settings that differ because one implementation builds other clips, or other inflated blocks,
    otherwise are allowed.
    """
    config, given = config_of(model), config_of(from_model)
    wanted = dataclasses.replace(given, source=config.source, pool2=config.pool2).settings
    if config.non_local and given.non_local:
        wanted |= {key: config.settings[key] for key in BLOCK_SETTINGS}
    differences = [
        f"{name} is {value!r} in {from_model.name}, {wanted[name]!r} as {model.name} has it"
        for name, value in given.settings.items()
        if value != wanted[name]
    ]
    if differences:
        raise CheckpointError(
            f"The weights of {from_model.name} mean something else in {model.name}: "
            f"{'; '.join(differences[:_SHOWN])}. Nothing was transferred. Build both with the same "
            "`source`, `mode` and `pool2`."
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

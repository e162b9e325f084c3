"""Weights from one of our networks to another: other clips, blocks, norms or classes."""

import itertools
import re
import types
import warnings

import keras
import numpy as np

from keras_nonlocal import preprocessing
from keras_nonlocal.checkpoints import assignment, facts, inflation, kernels
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.layout import Layout
from keras_nonlocal.models import architecture
from keras_nonlocal.models.sources import SOURCES

_OURS = Layout(name="keras_nonlocal", sources=(), rows=(), words=types.MappingProxyType({}))
_CLIPS = ("8x8", "32x2", "32x4")  # One of each kind, where a model does not say which it has.
_SHOWN = 6
_BLOCK = r"res\d_\d+_nonlocal"
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
    frozen. `model` then takes the pixel range of `from_model`: its `source` becomes that of the
    weights, while `network_source` stays whose layers it has.

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


def _check_settings(model, from_model):
    """Raises where the same weights would mean something else."""
    ours, theirs = _block_settings(model), _block_settings(from_model)
    differences = [
        f"{name} has {key}={ours[name, key]!r} in {model.name}, {theirs[name, key]!r} in "
        f"{from_model.name}"
        for name, key in ours
        if (name, key) in theirs and ours[name, key] != theirs[name, key]
    ]
    if not differences:
        # Where one source's rules make both, each for its clip and its inflated blocks, what else
        # differs follows from these.
        ours, theirs = _predict_settings(model), _predict_settings(from_model)
        found, given = _settings(model), _settings(from_model)
        if any(found in ours[source] and given in theirs[source] for source in SOURCES):
            return
        differences = [
            f"{name} has {what}={found[name, what]} in {model.name}, {given.get((name, what))} in "
            f"{from_model.name}"
            for name, what in found
            if found[name, what] != given.get((name, what))
        ]
    raise CheckpointError(
        f"The weights of {from_model.name} mean something else in {model.name}: "
        f"{'; '.join(differences[:_SHOWN])}. Nothing was transferred. Build both with the same "
        "`source`, `mode` and `pool2`."
    )


def _block_settings(model):
    """What the non-local blocks do that their tensors do not tell, and whether pool2 is there."""
    settings = {
        (layer.name, key): getattr(layer, key)
        for layer in model.layers
        if re.fullmatch(_BLOCK, layer.name)
        for key in ("mode", "scale", "pool_size", "pool_position", "axes")
    }
    names = {layer.name for layer in model.layers}
    return {**settings, ("the network", "pool2"): "pool2" in names}


def _settings(model):
    """What the other layers do that their tensors do not tell."""
    layers = {layer.name: layer for layer in model.layers}
    conv, pool = layers["conv1_conv"], layers["pool1"]
    settings = {
        ("conv1_conv", "strides over frames"): conv.strides[0],
        ("pool1", "strides over frames"): pool.strides[0],
        ("pool1", "frames"): pool.pool_size[0],
        ("pool1", "padding"): pool.padding[1],
        ("a stage", "strides in convolution"): inflation.stride_kernel(model),
    }
    if "average" in layers:
        settings["average", "window"] = layers["average"].window
    for layer in model.layers:
        if re.fullmatch(_BLOCK, layer.name):
            settings[layer.name, "frames_per_group"] = layer.frames_per_group
    return settings


def _predict_settings(model):
    """Returns `_settings` by source, as each source would build the model for the clips it may."""
    shapes = {v.path: np.broadcast_to(np.float32(0), v.shape) for v in model.weights}
    network = facts.read_facts(shapes)
    del network["classes"]
    pool2 = any(layer.name == "pool2" for layer in model.layers)
    clip = getattr(model, "clip", None)
    clips = [clip.partition("@")[0]] if clip else _CLIPS
    predicted = {source: [] for source in SOURCES}
    for source, clip in itertools.product(SOURCES, clips):
        rules = architecture.architecture(**network, clip=clip, source=source, pool2=pool2)
        settings = {
            ("conv1_conv", "strides over frames"): rules.stem_strides[0],
            ("pool1", "strides over frames"): rules.stem_strides[1],
            ("pool1", "frames"): rules.pool1_frames,
            ("pool1", "padding"): rules.pool1_padding,
            ("a stage", "strides in convolution"): rules.stride_kernel,
        }
        if any(layer.name == "average" for layer in model.layers):
            settings["average", "window"] = rules.head_window
        groups = dict(rules.frames_per_group)
        for stage, block in network["non_local"]:
            settings[f"res{stage}_{block}_nonlocal", "frames_per_group"] = groups.get(stage)
        predicted[source].append(settings)
    return predicted


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


def _remember(model, from_model, takes_classes):
    if getattr(from_model, "source", None) is None:
        return
    giver = from_model if takes_classes else model
    source, own = from_model.source, getattr(model, "source", None)
    ranges = preprocessing.NORMALIZATIONS
    # Sources with one pixel range are the same here.
    if own is not None and ranges[own] == ranges[source]:
        source = own
    preprocessing.remember(
        model, source, getattr(model, "clip", None), getattr(giver, "class_names", None)
    )

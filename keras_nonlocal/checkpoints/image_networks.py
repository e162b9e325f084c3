"""Image networks, from a file or from `keras.applications`: their tensors by our addresses."""

import dataclasses
import os
import types

import keras
import numpy as np

from keras_nonlocal.checkpoints import assignment, kernels, rules, state_dict
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.layout import Layout
from keras_nonlocal.keras_models import refuse_tf_keras

_BLOCK = "res{stage}_{block}"
KERAS_APPLICATIONS = Layout(
    name="keras.applications",
    sources=("keras-applications",),
    rows=(
        ("conv1_conv/{kind}", "conv1_conv/{kind}"),
        ("conv1_bn/{norm}", "conv1_norm/{norm}"),
        ("conv{stage}_block{block}_{conv}_conv/{kind}", _BLOCK + "_{conv}_conv/{kind}"),
        ("conv{stage}_block{block}_{conv}_bn/{norm}", _BLOCK + "_{conv}_norm/{norm}"),
    ),
    words=types.MappingProxyType(
        {
            "stage": dict.fromkeys("2345"),
            # It counts blocks from one.
            "block": {str(block + 1): str(block) for block in range(200)},
            "conv": {"0": "shortcut", "1": "a", "2": "b", "3": "c"},
            "kind": dict.fromkeys(("kernel", "bias")),
            "norm": dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance")),
        }
    ),
    ignored=("predictions/.*",),
)
# Whose image networks bear these names, which is also how to preprocess for them.
_SOURCES = {
    rules.TORCHVISION: "torchvision",
    rules.CAFFE2: "video-nonlocal-net",
    rules.PYSLOWFAST: "pyslowfast",
}


@dataclasses.dataclass(frozen=True)
class ImageNetwork:
    """A 2-D ResNet with bottleneck blocks, without its classifier.

    Attributes:
        title: what messages call it.
        source: the source whose networks for clips are built like it.
        layout: the names of its tensors.
        tensors: arrays by address; kernels span one frame.
        strangers: names of tensors that have no address.
    """

    title: str
    source: str
    layout: Layout
    tensors: dict[str, np.ndarray]
    strangers: list[str]


def read_image_network(weights):
    """Reads a file or a model.

    Args:
        weights: path, or a Keras model with the layer names of `keras.applications.ResNet50`.

    Returns:
        An `ImageNetwork`.

    Raises:
        CheckpointError: if it is none.
    """
    refuse_tf_keras("weights", weights)
    if isinstance(weights, keras.Model):
        return _read_model(weights)
    if isinstance(weights, (str, os.PathLike)):
        return _read_file(weights)
    raise ValueError(
        "`weights` must be the path of a file, or a model such as keras.applications.ResNet50(). "
        f"Received: {weights!r} of type {type(weights).__name__}."
    )


def _read_file(path):
    layout, arrays = assignment.recognise(state_dict.read_state_dict(path).tensors)
    title = repr(str(path))
    if any(name.startswith("conv1.0.") for name in arrays):
        raise CheckpointError(
            f"{title} is of a ResNet with a deep stem (ResNet-D), whose first convolution is three "
            "here. Networks of this package have one of 7x7: use weights of a plain ResNet."
        )
    if layout is None:
        raise CheckpointError(
            f"{title} bears no names of a ResNet that is known here: torchvision's and timm's, "
            "Caffe2's, PySlowFast's. ResNets of version 2 (norms before convolutions) do not fit. "
            f"Found {len(arrays)} tensors, such as {', '.join(map(repr, sorted(arrays)[:4]))}."
        )
    tensors, strangers = assignment.address_tensors(arrays, layout)
    tensors, strangers, _ = assignment.leave_out(tensors, strangers, layout, ("predictions",))
    if layout not in _SOURCES or any(map(_spans_frames, tensors, tensors.values())):
        raise _not_an_image_network(title)
    five_axes = any(a.ndim == 5 for a in arrays.values())
    if layout is rules.CAFFE2 and five_axes:  # Image networks have four there, C2D has five.
        raise _not_an_image_network(title)
    return ImageNetwork(title, _SOURCES[layout], layout, tensors, strangers)


def _spans_frames(address, array):
    return "_nonlocal/" in address or (
        address.endswith("/kernel") and array.ndim == 5 and array.shape[0] > 1
    )


def _not_an_image_network(title):
    return CheckpointError(
        f"{title} holds a network for clips, not one for images. Load it with "
        "keras_nonlocal.load_checkpoint; keras_nonlocal.transfer_weights takes the weights from "
        "there to another network."
    )


def _read_model(model):
    title = f"the model {model.name!r}"
    layers = [layer for layer in model.layers if layer.weights]
    if any("_preact_" in layer.name or layer.name == "post_bn" for layer in layers):
        raise CheckpointError(
            f"{title} is a ResNet of version 2, with norms before convolutions. Networks of this "
            "package are of version 1: use keras.applications.ResNet50 or ResNet101."
        )
    arrays = {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in layers
        for variable in layer.weights
    }
    addresses = {name: KERAS_APPLICATIONS.address_of(name) for name in arrays}
    if "res2_0_c_conv/kernel" not in addresses.values():
        raise CheckpointError(
            f"{title} is no ResNet of keras.applications: it has no layer 'conv2_block1_3_conv'. "
            f"Its layers with weights begin {', '.join(repr(each.name) for each in layers[:4])}."
        )
    tensors = {addresses[name]: array for name, array in arrays.items() if addresses[name]}
    strangers = [
        name for name in arrays if not addresses[name] and not KERAS_APPLICATIONS.ignores(name)
    ]
    epsilons = {
        address.split("/")[0]: model.get_layer(name.split("/")[0]).epsilon
        for name, address in addresses.items()
        if address and address.endswith("/moving_variance")
    }
    tensors = _fold(tensors, epsilons)
    if "conv1_conv/kernel" in tensors:
        # Trained on blue, green, red; networks here have RGB.
        tensors["conv1_conv/kernel"] = tensors["conv1_conv/kernel"][..., ::-1, :]
    return ImageNetwork(title, "keras-applications", KERAS_APPLICATIONS, tensors, strangers)


def _fold(tensors, epsilons):
    """Takes biases and other epsilons into the norms, exactly, and gives kernels a frame."""
    folded = dict(tensors)
    for norm, epsilon in epsilons.items():
        mean, variance = norm + "/moving_mean", norm + "/moving_variance"
        bias = folded.pop(norm.removesuffix("_norm") + "_conv/bias", 0.0)
        # Where an epsilon is lost beside the variance in float32, it matters to nothing.
        folded[mean] = (tensors[mean].astype("float64") - bias).astype("float32")
        shifted = tensors[variance].astype("float64") + (epsilon - kernels.NORM_EPSILON)
        folded[variance] = shifted.astype("float32")
    return {a: t[None] if a.endswith("/kernel") else t for a, t in folded.items()}

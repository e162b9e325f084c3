"""Image networks, from a file or from `keras.applications`: their tensors by our paths."""

import dataclasses
import os

import keras
import numpy as np

from keras_nonlocal.checkpoints import key_maps, state_dict
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.key_maps import KeyMap
from keras_nonlocal.keras_models import refuse_tf_keras

# Formats of image networks, and the source whose video networks are like them.
_SOURCES = {
    key_maps.TORCHVISION: "torchvision",
    key_maps.CAFFE2: "video-nonlocal-net",
    key_maps.PYSLOWFAST: "pyslowfast",
}


@dataclasses.dataclass(frozen=True)
class ImageNetwork:
    """A 2-D ResNet with bottleneck blocks.

    Attributes:
        title: what messages call it.
        source: the source whose video networks are built like it.
        key_map: the `KeyMap` of its tensors.
        tensors: arrays by path; kernels span one frame.
        unexpected: arrays without a path, by key.
    """

    title: str
    source: str
    key_map: KeyMap
    tensors: dict[str, np.ndarray]
    unexpected: dict[str, np.ndarray]


def read_image_network(weights):
    """Returns the `ImageNetwork` of a file or a model.

    Args:
        weights: path, or a Keras model with the layer names of `keras.applications.ResNet50`.

    Raises:
        CheckpointError: if it is not an image network.
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
    key_map, arrays = key_maps.recognize(state_dict.read_state_dict(path).tensors)
    title = repr(str(path))
    if any(name.startswith("conv1.0.") for name in arrays):
        raise CheckpointError(
            f"{title} is of a ResNet with a deep stem (ResNet-D) of three convolutions. Networks "
            "of this package have one of 7x7: use weights of a plain ResNet."
        )
    if key_map is None:
        raise CheckpointError(
            f"{title} contains no tensor names of a supported ResNet (torchvision, timm, Caffe2, "
            "PySlowFast). ResNets of version 2 (norms before convolutions) are not supported. "
            f"Found {len(arrays)} tensors, such as {', '.join(map(repr, sorted(arrays)[:4]))}."
        )
    tensors, unexpected = key_maps.rename(arrays, key_map)
    # Caffe2's kernels of image networks are 2-D, those of its C2D 3-D.
    spans = key_map is key_maps.CAFFE2 and any(array.ndim == 5 for array in arrays.values())
    spans = spans or any(array.ndim == 5 and array.shape[0] > 1 for array in tensors.values())
    if key_map not in _SOURCES or spans or any("_nonlocal/" in path for path in tensors):
        raise CheckpointError(
            f"{title} contains a video network, not an image network. Load it with "
            "keras_nonlocal.load_checkpoint; keras_nonlocal.transfer_weights copies the weights "
            "from there to another network."
        )
    return ImageNetwork(title, _SOURCES[key_map], key_map, tensors, unexpected)


def _read_model(model):
    title, key_map = f"the model {model.name!r}", key_maps.KERAS_APPLICATIONS
    layers = [layer for layer in model.layers if layer.weights]
    if any("_preact_" in layer.name or layer.name == "post_bn" for layer in layers):
        raise CheckpointError(
            f"{title} is a ResNet of version 2, with norms before convolutions. Networks of this "
            "package are of version 1: use keras.applications.ResNet50 or ResNet101."
        )
    arrays, epsilons = {}, {}
    for layer in layers:
        for variable in layer.weights:
            key = f"{layer.name}/{variable.name}"
            array = keras.ops.convert_to_numpy(variable)
            # In the axis order of files.
            arrays[key] = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            if variable.name == "moving_variance" and (path := key_map.path_of(key)):
                epsilons[path.split("/")[0]] = layer.epsilon
    if "conv2_block1_3_conv/kernel" not in arrays:
        raise CheckpointError(
            f"{title} is not a ResNet of keras.applications: it has no layer "
            "'conv2_block1_3_conv'. Its layers with weights begin "
            f"{', '.join(repr(each.name) for each in layers[:4])}."
        )
    tensors, unexpected = key_maps.rename(arrays, key_map)
    _fold(tensors, epsilons)
    if "conv1_conv/kernel" in tensors:
        # Trained on blue, green, red; networks here have RGB.
        tensors["conv1_conv/kernel"] = tensors["conv1_conv/kernel"][..., ::-1, :]
    return ImageNetwork(title, "keras-applications", key_map, tensors, unexpected)


def _fold(tensors, epsilons):
    """Folds biases and other epsilons into norms, exactly and in place."""
    for norm, epsilon in epsilons.items():
        mean, variance = norm + "/moving_mean", norm + "/moving_variance"
        bias = tensors.pop(norm.removesuffix("_norm") + "_conv/bias", 0.0)
        # Where an epsilon is lost beside the variance in float32, it matters to nothing.
        tensors[mean] = (tensors[mean].astype("float64") - bias).astype("float32")
        shifted = tensors[variance].astype("float64") + (epsilon - key_maps.NORM_EPSILON)
        tensors[variance] = shifted.astype("float32")

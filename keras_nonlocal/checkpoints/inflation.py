"""From image networks to networks for clips: kernels spread over frames."""

import os

import keras
import numpy as np

from keras_nonlocal.checkpoints import assignment, image_networks
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.models.config import DEPTHS, ResNet3DConfig
from keras_nonlocal.models.video_resnet import VideoInput, change_config, config_of

_IMAGENET = "keras-applications"
_STRIDES = {"a": "its first 1x1", "b": "its 3x3"}
_CACHE = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
_FILE = "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"


def inflate(kernel, frames):
    """Spreads a kernel of one frame over several: copied, and divided by their number.

    A clip of one frame repeated gives what the frame gave, away from the clip's ends.

    Args:
        kernel: array `(1, height, width, in, out)`.
        frames: frames that the kernel shall span.

    Returns:
        Array `(frames, height, width, in, out)`.
    """
    return np.repeat(kernel / np.float32(frames), frames, axis=0)


def inflate_to_fit(tensors, model):
    """Inflates the kernels of one frame whose variables in a model span several.

    Args:
        tensors: arrays by address.
        model: the model.

    Returns:
        Arrays by address; all others, fitting or not, as they came.
    """
    shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
    tensors = dict(tensors)
    for address, array in tensors.items():
        wanted = shapes.get(address, ())
        if len(wanted) == 5 and array.shape == (1, *wanted[1:]) and wanted[0] > 1:
            tensors[address] = inflate(array, wanted[0])
    return tensors


def inflate_weights(model, weights):
    """Begins a network for clips with the weights of an image network.

    Every 2-D kernel is copied over the frames that ours spans and divided by their number;
    norms are copied. So a clip that stands still gives the features of its one image, away from
    the clip's first and last frames. Non-local blocks and the classifier keep the values that
    they have: new blocks are the identity. The classifier of the image network is left out.

    The stages of the two must halve height and width in the same convolution, the 3x3 in most
    image networks, the first 1x1 in those of `keras.applications`: build with
    `source="torchvision"` or `source="keras-applications"`, which follow these networks in all
    else as well. `source="video-nonlocal-net"` takes torchvision's weights too, as the authors
    began with theirs, but does not pad the first max-pooling and so gives other numbers.

    The model then normalizes pixels as the image network: `model.normalization`.

    Args:
        model: network of `C2D`, `I3D`, `NLC2D` or `NLI3D`, with or without its head.
        weights: path of a file of torchvision, timm (.pth, .safetensors), Caffe2 (.pkl, names
            of video-nonlocal-net) or PySlowFast (.pyth), or a `keras.applications.ResNet50` or
            `ResNet101`, which reads its own files. For other depths and widths build the model
            with the same.

    Returns:
        Names of the layers that keep their values.

    Raises:
        CheckpointError: a `ValueError`, if the file is broken, of another network, or does not
            fit; it lists all names and shapes that do not, and the model is unchanged.

    Example:

    >>> model = keras_nonlocal.NLI3D(source="torchvision", classes=12)  # doctest: +SKIP
    >>> inflate_weights(model, "resnet50-11ad3fa6.pth")[-1]  # doctest: +SKIP
    'predictions'

    Reference:
        - Section 3.3, "Implementation" of the inflated networks, in
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    check_network("model", model)
    network = image_networks.read_image_network(weights)
    _check_stride(model, network)
    kept = [layer.name for layer in model.layers if _keeps_values(layer.name)]
    assignment.assign(
        model,
        inflate_to_fit(network.tensors, model),
        network.layout,
        network.strangers,
        except_for=kept,
        title=f"The image network of {network.title} does not fit {model.name}.",
        origin="image network",
        way_out="Build the model with the `depth` and `width` of the image network.",
    )
    change_config(model, normalization=network.source)
    return kept


def imagenet_config(arguments):
    """Returns the configuration of a network that starts from the weights of `keras.applications`.

    Args:
        arguments: fields of `ResNet3DConfig`.

    Returns:
        A `ResNet3DConfig` with `source="keras-applications"`.

    Raises:
        ValueError: if the weights do not fit.
    """
    given = {"source": _IMAGENET, **arguments}
    if given["source"] != _IMAGENET:
        raise ValueError(
            "`source` must be 'keras-applications' with weights='imagenet': these are "
            "keras.applications' weights, whose stages halve height and width in their first 1x1 "
            f"convolution. Received: source={given['source']!r}. Leave it out, or give a file of "
            "torchvision's weights to keras_nonlocal.inflate_weights."
        )
    config = ResNet3DConfig(**given, weights="imagenet")
    if config.depth not in DEPTHS.values():
        raise ValueError(
            "`depth` must be 50 or 101 with weights='imagenet'. Received: "
            f"depth={given['depth']!r}. Give image networks of other depths to "
            "keras_nonlocal.inflate_weights."
        )
    if config.width != 64:
        raise ValueError(
            f"`width` must be 64 with weights='imagenet'. Received: width={given['width']!r}. "
            "Leave it out, or build with weights=None."
        )
    return config


def inflate_imagenet(model):
    """Loads the ImageNet weights of `keras.applications`, which are downloaded once.

    Args:
        model: network of `imagenet_config`.

    Raises:
        CheckpointError: if the weights cannot be downloaded; it says what to do by hand.
    """
    depths = {blocks: depth for depth, blocks in DEPTHS.items()}
    inflate_weights(model, _fetch_imagenet(f"ResNet{depths[config_of(model).depth]}"))


def _fetch_imagenet(name):
    try:
        return getattr(keras.applications, name)(weights="imagenet", include_top=False)
    except Exception as fault:  # Keras raises bare ones where the network is down.
        file = _FILE.format(name.lower())
        home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
        raise CheckpointError(
            f"The ImageNet weights of keras.applications.{name} could not be fetched: {fault} "
            f"Download {_CACHE}{file} by hand and put it at {os.path.join(home, 'models', file)}: "
            "Keras takes it from there."
        ) from fault


def check_network(argument, model):
    """Raises unless a model is a network of this package."""
    refuse_tf_keras(argument, model)
    layers = model.layers if isinstance(model, keras.Model) else ()
    if not any(isinstance(layer, VideoInput) for layer in layers):
        raise ValueError(
            f"`{argument}` must be a network of C2D, I3D, NLC2D or NLI3D. Received: {model!r} of "
            f"type {type(model).__name__}, without their layers. Of a model around such a network "
            "give the network alone."
        )


def stride_kernel(model):
    """Which convolution of a stage halves height and width, `"a"` or `"b"`."""
    return "a" if model.get_layer("res3_0_a_conv").strides[1] == 2 else "b"


def _check_stride(model, network):
    ours, theirs = stride_kernel(model), "a" if network.source == "keras-applications" else "b"
    if ours != theirs:
        raise CheckpointError(
            f"A stage of {model.name} halves height and width in {_STRIDES[ours]} convolution, of "
            f"{network.title} in {_STRIDES[theirs]}. Build the model with "
            f"source={network.source!r}."
        )


def _keeps_values(name):
    return name == "predictions" or name.endswith("_nonlocal")

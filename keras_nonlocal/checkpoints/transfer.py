"""Starts video networks from image networks, and from video networks that differ."""

import dataclasses
import os
import warnings

import keras
import numpy as np

from keras_nonlocal.checkpoints import image_networks, key_maps, loading
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.models.config import BLOCK_SETTINGS, DEPTHS, ResNet3DConfig
from keras_nonlocal.models.video_resnet import (
    VideoInput,
    change_config,
    config_of,
    find_input,
    first_layer,
)

_IMAGENET = "keras-applications"
_STRIDES = {"a": "its first 1x1", "b": "its 3x3"}
_CACHE = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
_FILE = "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"
_CLASSIFIER = "predictions/kernel"


def inflate_weights(model, weights):
    """Starts a video network from the weights of an image network.

    Every 2-D kernel is copied over the frames that ours spans and divided by their number;
    norms are copied. So a still clip gives the features of its image, except for the clip's first
    and last frames. Non-local blocks and the classifier keep their values: new blocks are the
    identity. The classifier of the image network is left out.

    The stages of the two must halve height and width in the same convolution, the 3x3 in most
    image networks, the first 1x1 in those of `keras.applications`: build with
    `source="torchvision"` or `source="keras-applications"`, which follow these networks in all
    else as well. `source="video-nonlocal-net"` takes torchvision's weights too, as the authors
    do, but does not pad the first max-pooling and so returns other numbers.

    The model then normalizes pixels as the image network: `model.normalization`, which its files
    keep. Call it before the first `fit` or `predict` of a model that holds `model`; `model` itself
    is compiled again.

    Args:
        model: network of `C2D`, `I3D`, `NLC2D` or `NLI3D`, with or without its head.
        weights: path of a file of torchvision, timm (.pth, .safetensors), Caffe2 (.pkl, names
            of video-nonlocal-net) or PySlowFast (.pyth), or a `keras.applications.ResNet50` or
            `ResNet101`, which reads its own files. The model must have the same depth and width.

    Returns:
        Names of the layers that keep their values.

    Raises:
        CheckpointError: a `ValueError`, if the file is corrupt, of another network, or does not
            fit; it lists all names and shapes that do not, and the model is unchanged.

    Example:

    >>> model = keras_nonlocal.NLI3D(source="torchvision", classes=12)  # doctest: +SKIP
    >>> inflate_weights(model, "resnet50-11ad3fa6.pth")[-1]  # doctest: +SKIP
    'predictions'

    Reference:
        - Section 3.3, "Implementation" of the inflated networks, in
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    _check_network("model", model)
    network = image_networks.read_image_network(weights)
    ours = config_of(model).implementation.stride_kernel
    theirs = "a" if network.source == _IMAGENET else "b"
    if ours != theirs:
        raise CheckpointError(
            f"A stage of {model.name} halves height and width in {_STRIDES[ours]} convolution, of "
            f"{network.title} in {_STRIDES[theirs]}. Build the model with "
            f"source={network.source!r}."
        )
    names = [layer.name for layer in model.layers]
    kept = [name for name in names if name == "predictions" or name.endswith("_nonlocal")]
    loading.assign(
        model,
        _inflate(network.tensors, {v.path: tuple(v.shape) for v in model.weights}),
        network.key_map,
        network.unexpected,
        except_for=("predictions", *kept),
        title=f"The image network of {network.title} does not fit {model.name}.",
        origin="image network",
        hint="Build the model with the `depth` and `width` of the image network.",
    )
    change_config(model, normalization=network.source)
    return kept


def transfer_weights(model, from_model):
    """Copies the weights of one network into another that differs in what training may change.

    The two may differ in these ways:

    - the clip: 8x8, 32x4 and 128x1 networks have the same weights;
    - non-local blocks: those that `from_model` lacks keep their values in `model`, so new ones
      are the identity and the output stays the same;
    - norms: `frozen_norm=True` copies the moving statistics. A non-local block has no norm there:
      it is folded into the block's last convolution. In the other direction a norm is added that
      changes nothing;
    - frames that kernels span: those of one frame are inflated, so I3D can start from C2D;
    - the classifier: with other classes, or without one in `from_model`, it keeps its values, and
      a warning says so.

    Nothing else may differ that changes what the weights compute: the pairwise function, scale and
    pooling of non-local blocks, pool1's padding, pool2, steps over frames that the clip does not
    explain, the window of the head. Networks of one `source` agree in these.

    This is how the authors train on long clips: from the weights of short ones, with norms
    frozen. `model` then normalizes pixels as `from_model` does, see `model.normalization`, which
    its files keep. Call it before the first `fit` or `predict` of a model that holds `model`;
    `model` itself is compiled again. Where other layers prepare the clips of `from_model`, build
    `model` with `include_preprocessing=False`.

    Args:
        model: network of `C2D`, `I3D`, `NLC2D` or `NLI3D` that receives the weights.
        from_model: network of these that has them.

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
    _check_network("model", model)
    _check_network("from_model", from_model)
    config, given = config_of(model), config_of(from_model)
    _check_settings(model, from_model)
    check_normalization(from_model, config, f"The clips of {from_model.name}")
    tensors = {v.path: keras.ops.convert_to_numpy(v) for v in from_model.weights}
    shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
    blocks = [layer.name for layer in model.layers if layer.name.endswith("_nonlocal")]
    kept = [name for name in blocks if not any(path.startswith(f"{name}/") for path in tensors)]
    head, theirs = shapes.get(_CLASSIFIER), tensors.get(_CLASSIFIER)
    same_names = config.class_names == given.class_names
    same_names = same_names or None in (config.class_names, given.class_names)
    same_classes = head and theirs is not None and theirs.shape[-1] == head[-1] and same_names
    starts_anew = head is not None and not same_classes
    if starts_anew:
        kept.append("predictions")
    loading.assign(
        model,
        _fit_norms(_inflate(tensors, shapes), shapes),
        key_map=None,
        except_for=kept if head else (*kept, "predictions"),
        title=f"The weights of {from_model.name} do not fit {model.name}.",
        origin=from_model.name,
        hint="Both must have the same `depth` and `width`, and `model` all blocks of "
        f"{from_model.name} and kernels of at least as many frames.",
    )
    if starts_anew:
        warnings.warn(
            f"The classifier keeps its values: {from_model.name} has no classifier for the same "
            f"{head[-1]} classes. All other weights are transferred.",
            stacklevel=2,
        )
    names = config.class_names if starts_anew else config.class_names or given.class_names
    change_config(model, normalization=find_input(from_model).normalization, class_names=names)
    return kept


def check_normalization(from_model, config, clips):
    """Raises if pixels are to be normalized as for a network whose clips other layers prepared.

    Args:
        from_model: network of these weights.
        config: `ResNet3DConfig` of the network that gets them.
        clips: words for the clips of `from_model`.
    """
    network = find_input(from_model)
    known = network.config.include_preprocessing or first_layer(from_model) is network
    if config.include_preprocessing and not known:
        raise CheckpointError(
            f"{clips} are prepared by other layers before the network, which a network with "
            "include_preprocessing=True lacks. Nothing was loaded. Pass "
            "include_preprocessing=False, and these layers' output as `input_tensor`."
        )


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
    for name, wanted in (("depth", tuple(DEPTHS.values())), ("width", (64,))):
        if getattr(config, name) not in wanted:
            sizes = "50 or 101" if name == "depth" else "64"
            raise ValueError(
                f"`{name}` must be {sizes} with weights='imagenet'. Received: "
                f"{name}={given[name]!r}. Leave it out, or build with weights=None and pass an "
                "image network of these sizes to keras_nonlocal.inflate_weights."
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
    name = f"ResNet{depths[config_of(model).depth]}"
    try:
        resnet = getattr(keras.applications, name)(weights="imagenet", include_top=False)
    except Exception as error:  # Keras raises bare ones without a connection.
        file = _FILE.format(name.lower())
        home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
        raise CheckpointError(
            f"The ImageNet weights of keras.applications.{name} could not be downloaded: {error} "
            f"Download {_CACHE}{file} by hand and put it at {os.path.join(home, 'models', file)}: "
            "Keras uses it from there."
        ) from error
    inflate_weights(model, resnet)


def _check_network(argument, model):
    """Raises unless a model is a network of this package."""
    refuse_tf_keras(argument, model)
    layers = model.layers if isinstance(model, keras.Model) else ()
    if not any(isinstance(layer, VideoInput) for layer in layers):
        raise ValueError(
            f"`{argument}` must be a network of C2D, I3D, NLC2D or NLI3D. Received: {model!r} of "
            f"type {type(model).__name__}, without their layers. Pass the network inside a model "
            "alone."
        )


def _inflate(tensors, shapes):
    """Copies kernels of one frame over the frames of wanted shapes, divided by their number.

    A clip of one frame repeated then gives what the frame gave, except for the clip's ends.
    """
    inflated = dict(tensors)
    for path, array in tensors.items():
        wanted = shapes.get(path, ())
        if len(wanted) == 5 and array.shape == (1, *wanted[1:]) and wanted[0] > 1:
            inflated[path] = np.repeat(array / np.float32(wanted[0]), wanted[0], axis=0)
    return inflated


def _check_settings(model, from_model):
    """Raises where the same weights compute something else.

    Settings may differ where one implementation builds other clips, or other inflated blocks,
    with other settings.
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
            f"The weights of {from_model.name} compute something else in {model.name}: "
            f"{'; '.join(differences[:6])}. Nothing was transferred. Build both with the same "
            "`source`, `mode` and `pool2`."
        )


def _fit_norms(tensors, paths):
    """Folds the norms of non-local blocks that a model lacks, and adds those that it has."""
    tensors = dict(tensors)
    for bias in [path for path in tensors if path.endswith("_nonlocal/out/bias")]:
        block, kernel = bias.removesuffix("out/bias"), bias.replace("bias", "kernel")
        norm = {k: f"{block}norm/{k}" for k in ("gamma", "beta", "moving_mean", "moving_variance")}
        is_given, is_wanted = norm["gamma"] in tensors, norm["gamma"] in paths
        if is_given and not is_wanted and bias in paths:
            gamma, beta, mean, variance = (
                tensors.pop(path).astype("float64") for path in norm.values()
            )
            scale = gamma / np.sqrt(variance + key_maps.NORM_EPSILON)
            tensors[bias] = ((tensors[bias] - mean) * scale + beta).astype("float32")
            tensors[kernel] = (tensors[kernel] * scale).astype("float32")
        elif is_wanted and not is_given:
            values = (1.0, 0.0, 0.0, key_maps.IDENTITY_VARIANCE)
            for path, value in zip(norm.values(), values, strict=True):
                tensors[path] = np.full_like(tensors[bias], value)
    return tensors

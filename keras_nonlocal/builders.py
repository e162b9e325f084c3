"""C2D, I3D, NLC2D and NLI3D: arguments to a configuration, a network, and its weights."""

import dataclasses

import keras

from keras_nonlocal.checkpoints import download, registry, transfer
from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.models.config import HEAD, KINDS, ResNet3DConfig
from keras_nonlocal.models.video_resnet import build_network, config_of

# What may differ from the network that weights were trained in, and what transfer_weights changes.
_FREE = (*HEAD, "include_preprocessing")
_TRANSFERABLE = ("clip", "frozen_norm", "inflation", "inflated", "non_local")


def C2D(
    depth=None,
    weights=None,
    clip=None,
    input_shape=None,
    classes=None,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    include_preprocessing=True,
    source=None,
    width=None,
    name=None,
    class_names=None,
    dropout=None,
    pool2=None,
    frozen_norm=None,
    input_tensor=None,
):
    """Builds C2D, a frame-wise 2-D ResNet whose only temporal operations are two max-poolings.

    The baseline of the paper, and a first network where motion matters little.

    Args:
        depth: 50, 101, or four block counts for a network of your own. Here and below, `None`
            stands for the value of the weights, and without weights for the default, 50.
        weights: a name of `keras_nonlocal.list_weights()`, which is downloaded once if it does
            not ship; "imagenet" to begin with the image weights of `keras.applications` (depth
            50 or 101, `source="keras-applications"`); the path of a .weights.h5 or .keras file,
            built with the same arguments, where the others are as without weights; or `None` for
            random values.
            With a name, these arguments may differ from the published network: `input_shape`,
            `input_tensor`, `classes` and `class_names` (other classes get a new classifier),
            `include_top`, `pooling`, `classifier_activation`, `include_preprocessing`, `name`,
            `dropout`. Any other one that differs is an error.
        clip: frames x stride of the clips that the network is meant for (default: "8x8"). It
            fixes the steps over frames: where the authors' layer list is followed, the stem
            thins 32 frames or more at stride 1 or 2 by four.
        input_shape: `(frames, height, width, channels)`; sizes may be `None`. `None`: the
            frames of `clip` at 224x224, RGB, or the size of the published network.
        classes: number of classes (default: 400).
        include_top: `False` leaves out the head.
        pooling: without the head, `"avg"` or `"max"` over all positions of all frames, or
            `None` for the 5-D map.
        classifier_activation: of the head; `None` for logits. Above 224x224 the head returns
            the mean over the positions of its 7x7 window.
        include_preprocessing: whether the network takes RGB pixels from 0 to 255, of uint8 or
            float, and normalizes them in float32 (default). `False`: it takes normalized clips,
            see `keras_nonlocal.preprocess_input`.
        source: the implementation to follow, one of "video-nonlocal-net" (default),
            "pyslowfast", "pytorchvideo", "mmaction2", "gluoncv": they differ in padding,
            pooling and steps over frames. "torchvision" and "keras-applications" follow these
            image networks, to begin with their weights.
        width: channels of the stem (default: 64).
        name: name of the model.
        class_names: names of the classes in index order, which `decode_predictions` and exports
            use. `None`: those of the weights, if the classes are theirs.
        dropout: share of features dropped before the classifier in training (default: 0.5);
            0 for none.
        pool2: whether a max-pooling after stage 2 halves the frames (default: `True`).
        frozen_norm: `True` for affine layers in place of batch norm, as the authors train
            long clips; non-local blocks then have no norm (default: `False`).
        input_tensor: output of `keras.Input` or of another layer to build on, of shape
            `(batch, frames, height, width, channels)`. Built on a layer's output, the model
            begins with the inputs of that layer.

    Returns:
        A `VideoResNet`, a functional `keras.Model` from clips to `(batch, classes)`, or to
        features without the head. It has `source`, `clip`, `class_names` and `config`.

    Raises:
        ValueError: if an argument is outside these rules, or contradicts the weights.

    Example:

    >>> model = keras_nonlocal.C2D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> model.output_shape
    (None, 400)

    Reference:
        - Table 1 of [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return _build("C2D", locals())


def I3D(
    depth=None,
    weights=None,
    clip=None,
    input_shape=None,
    classes=None,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    include_preprocessing=True,
    source=None,
    width=None,
    name=None,
    class_names=None,
    dropout=None,
    pool2=None,
    frozen_norm=None,
    inflation=None,
    inflated=None,
    input_tensor=None,
):
    """Builds I3D: C2D with every other block's convolution inflated to three frames.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, include_preprocessing, source, width, name, class_names,
            dropout, pool2, frozen_norm, input_tensor: as in `C2D`.
        inflation: which kernel spans three frames: `"3x1x1"` the first 1x1 of a block
            (default), `"3x3x3"` its 3x3.
        inflated: which blocks do so: "all", "late" for stages 4 and 5 whole (as in the slow
            path of SlowFast networks), or `(stage, block)` pairs. `None`: as the weights say,
            and without weights every other block. The stem spans five frames if a block of
            stage 2 spans three.

    Returns:
        A `VideoResNet`, as `C2D`.

    Example:

    >>> model = keras_nonlocal.I3D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> model.get_layer("res2_0_a_conv").kernel.shape
    TensorShape([3, 1, 1, 16, 16])

    Reference:
        - Section 3.3 and Table 2e of
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return _build("I3D", locals())


def NLC2D(
    depth=None,
    weights=None,
    clip=None,
    input_shape=None,
    classes=None,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    include_preprocessing=True,
    source=None,
    width=None,
    name=None,
    class_names=None,
    dropout=None,
    pool2=None,
    frozen_norm=None,
    non_local=None,
    mode=None,
    input_tensor=None,
):
    """Builds C2D with non-local blocks, its only learned temporal operations.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, include_preprocessing, source, width, name, class_names,
            dropout, pool2, frozen_norm, input_tensor: as in `C2D`.
        non_local: 1, 5 or 10 non-local blocks where the paper puts them (default: 5), or a
            list of `(stage, block)` pairs with stages from 2 to 5 and blocks from 0.
        mode: pairwise function of these blocks, see `NonLocal3D` (default:
            "embedded_gaussian").

    Returns:
        A `VideoResNet`, as `C2D`.

    Example:

    >>> model = keras_nonlocal.NLC2D(
    ...     depth=(1, 2, 2, 1), width=16, input_shape=(8, 64, 64, 3), non_local=[(3, 1), (4, 1)]
    ... )
    >>> model.get_layer("res4_1_nonlocal").mode
    'embedded_gaussian'

    Reference:
        - Section 3.3 and Table 2c of
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return _build("NLC2D", locals())


def NLI3D(
    depth=None,
    weights=None,
    clip=None,
    input_shape=None,
    classes=None,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    include_preprocessing=True,
    source=None,
    width=None,
    name=None,
    class_names=None,
    dropout=None,
    pool2=None,
    frozen_norm=None,
    non_local=None,
    mode=None,
    inflation=None,
    inflated=None,
    input_tensor=None,
):
    """Builds the non-local I3D, the most accurate network of the paper.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, include_preprocessing, source, width, name, class_names,
            dropout, pool2, frozen_norm, input_tensor: as in `C2D`.
        non_local, mode: as in `NLC2D`.
        inflation, inflated: as in `I3D`.

    Returns:
        A `VideoResNet`, as `C2D`.

    Example:

    >>> model = keras_nonlocal.NLI3D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> [layer.name for layer in model.layers if "nonlocal" in layer.name]
    ['res3_0_nonlocal', 'res4_0_nonlocal']

    Reference:
        - Section 3.3 and Table 2f of
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return _build("NLI3D", locals())


def _build(kind, arguments):
    """Builds the network that the arguments of a builder describe, with its weights."""
    arguments = dict(arguments)
    name, weights, tensor = (arguments.pop(key) for key in ("name", "weights", "input_tensor"))
    given = {key: value for key, value in arguments.items() if value is not None}
    given["classifier_activation"] = arguments["classifier_activation"]
    if tensor is not None:
        given["input_shape"] = _shape_of(tensor, given.get("input_shape"))
    if "class_names" in given and not isinstance(given["class_names"], str):
        given.setdefault("classes", len(given["class_names"]))
    fixed = KINDS[kind]

    if weights is None:
        return build_network(ResNet3DConfig(**fixed | given), name, tensor)
    if weights == "imagenet":
        _check_channels(weights, given)
        model = build_network(transfer.imagenet_config(fixed | given), name, tensor)
        transfer.inflate_imagenet(model)
        return model
    checkpoint = registry.CHECKPOINTS.get(weights) if isinstance(weights, str) else None
    if checkpoint is None:
        registry.check_weights_path(weights)
    if checkpoint is None and not str(weights).endswith(".keras"):
        config = ResNet3DConfig(**fixed | given, weights=str(weights))
        stored = build_network(config, name)
        stored.load_weights(weights)
        if tensor is None:
            return stored
        model = build_network(config_of(stored), name, tensor, initialize=False)
        return _copy_weights(stored, model, [], weights)
    if checkpoint is None:
        stored = keras.saving.load_model(weights, compile=False)
        trained = config_of(stored)
        if trained is None:
            raise ValueError(
                f"`weights={str(weights)!r}` must hold a network of this package. Received a "
                "model without one. Open it by keras.saving.load_model."
            )
    elif checkpoint.builder is None:
        raise ValueError(
            f"`weights={weights!r}` are {checkpoint.note}. Received them in {kind}. Download "
            f"{checkpoint.url}."
        )
    else:
        trained = checkpoint.config
    if trained.kind != kind:
        raise ValueError(
            f"`weights={str(weights)!r}` are of a {trained.kind}. Received them in {kind}. Call "
            f"keras_nonlocal.{trained.kind}(weights={str(weights)!r})."
        )
    config = _resolve(str(weights), trained, given)
    if checkpoint is None:
        transfer.check_normalization(stored, config, f"The clips of weights={str(weights)!r}")
    model = build_network(config, name, tensor, initialize=False)
    kept = ["predictions"] if _is_new_classifier(config, trained) else []
    if checkpoint is not None and checkpoint.url is not None:
        download.load_published(model, checkpoint, kept)
        return model
    if checkpoint is not None:
        stored = build_network(trained, initialize=False)
        stored.load_weights(registry.locate(checkpoint))
    return _copy_weights(stored, model, kept, weights)


def _resolve(weights, trained, given):
    """Returns the wanted configuration, or raises if it contradicts the weights.

    Args:
        weights: name or path of the weights.
        trained: the `ResNet3DConfig` that they were trained in.
        given: the arguments that were given.
    """
    _check_channels(weights, given)
    for key, value in given.items():
        if key in _FREE:
            continue
        known = getattr(trained, key)
        # In the form that a configuration has it.
        if known == getattr(dataclasses.replace(trained, input_shape=None, **{key: value}), key):
            continue
        transfer = " To change it, build with weights=None and call transfer_weights."
        raise ValueError(
            f"`{key}` must be {known!r} with weights={weights!r}, as they were trained. Received: "
            f"{key}={value!r}. Leave it out.{transfer if key in _TRANSFERABLE else ''}"
        )
    wanted = {key: value for key, value in given.items() if key in _FREE}
    if wanted.get("classes", trained.classes) != trained.classes:
        wanted.setdefault("class_names", None)
    return dataclasses.replace(trained, **wanted, weights=weights)


def _is_new_classifier(config, trained):
    """Returns whether the classifier is for other classes than the trained one."""
    named = config.class_names is not None and trained.class_names is not None
    return config.include_top and (
        not trained.include_top
        or config.classes != trained.classes
        or (named and config.class_names != trained.class_names)
    )


def _check_channels(weights, given):
    if tuple(given.get("input_shape", (3,)))[-1] != 3:
        raise ValueError(
            f"`input_shape` must have 3 channels with weights={weights!r}, which are of RGB clips. "
            f"Received: input_shape={given['input_shape']}. Build with weights=None for others."
        )


def _copy_weights(from_model, model, kept, weights):
    """Copies weights by the names of layers, except for the layers `kept`."""
    names = {layer.name for layer in model.layers}
    layers = [layer for layer in from_model.layers if layer.weights and layer.name not in kept]
    unexpected = [each.name for each in layers if each.name not in {*names, "predictions"}]
    if unexpected:
        raise ValueError(
            f"`weights={str(weights)!r}` must hold the layers that the builders make. Received: "
            f"{', '.join(unexpected[:6])} besides. Open the file by keras.saving.load_model."
        )
    for layer in layers:
        if layer.name in names:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def _shape_of(input_tensor, input_shape):
    """Returns the shape of `input_tensor` without the batch, or raises if it does not fit."""
    refuse_tf_keras("input_tensor", input_tensor)
    if not keras.utils.is_keras_tensor(input_tensor):
        raise ValueError(
            "`input_tensor` must be a Keras tensor, the output of keras.Input or of a layer. "
            f"Received: a value of type {type(input_tensor).__name__}. Call the network on it."
        )
    shape = tuple(input_tensor.shape)
    if len(shape) != 5 or shape[4] is None:
        raise ValueError(
            "`input_tensor` must be of shape (batch, frames, height, width, channels), where all "
            f"but the channels may be None. Received: a tensor of shape {shape}."
        )
    sizes = (None,) * 4 if input_shape is None else tuple(input_shape)
    fits = [size in (None, own) for size, own in zip(sizes, shape[1:], strict=False)]
    if len(sizes) != 4 or not all(fits):
        raise ValueError(
            f"`input_shape` must be that of `input_tensor`, {shape[1:]}. Received: "
            f"input_shape={input_shape}. Leave it out."
        )
    return shape[1:]

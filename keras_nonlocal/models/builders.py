"""The public networks, as calls with numbers."""

import inspect

import keras

from keras_nonlocal.checkpoints import zoo
from keras_nonlocal.models import architecture as facts
from keras_nonlocal.models import video_resnet


def C2D(
    depth=50,
    weights=None,
    clip="8x8",
    input_shape=None,
    classes=400,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source="video-nonlocal-net",
    width=64,
    name=None,
    frozen_norm=False,
    dropout=0.5,
):
    """Builds C2D: a 2-D ResNet over frames, which meets time in two max-poolings alone.

    The baseline of the paper, and a first network where motion matters little.

    Args:
        depth: 50, 101, or four block counts for a network of one's own.
        weights: a name of `keras_nonlocal.list_weights()`, a path for `Model.load_weights`,
            or `None`. A name also fixes every argument that is left at its default; other
            `classes` than the checkpoint's start the classifier anew.
        clip: frames x stride of the clips that the network is meant for. It fixes the steps
            over frames: 32 frames or more at stride 1 or 2 are thinned by four in the stem.
        input_shape: `(frames, height, width, channels)`; sizes may be `None`. `None`: the
            frames of `clip` at 224x224, RGB.
        classes: number of classes.
        include_top: `False` leaves out the head.
        pooling: without the head, `"avg"` or `"max"` over all places of all frames, or
            `None` for the 5-D map.
        classifier_activation: of the head; `None` for logits. Above 224x224 the head gives
            the mean over the places of its 7x7 window.
        source: whose layer list to follow, one of "video-nonlocal-net", "pyslowfast",
            "pytorchvideo", "mmaction2", "gluoncv": they differ in padding and pooling.
        width: channels of the stem.
        name: name of the model.
        frozen_norm: `True` for affine layers in place of batch norm, as the authors train
            long clips; non-local blocks then have no norm.
        dropout: share of features dropped before the classifier in training.

    Returns:
        A functional `keras.Model` from clips, normalised by `source`'s mean and standard
        deviation, to `(batch, classes)`, or to features without the head.

    Raises:
        ValueError: on arguments outside these rules.

    Example:

    >>> model = keras_nonlocal.C2D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> model.output_shape
    (None, 400)

    Reference:
        - Table 1 of [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return _build(C2D, locals(), inflation=None, non_local=(), mode="embedded_gaussian")


def I3D(
    depth=50,
    weights=None,
    clip="8x8",
    input_shape=None,
    classes=400,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source="video-nonlocal-net",
    width=64,
    name=None,
    inflation="3x1x1",
    frozen_norm=False,
    dropout=0.5,
):
    """Builds I3D: C2D with every other block's convolution inflated to three frames.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, source, width, name, frozen_norm, dropout: as in `C2D`.
        inflation: which kernel spans three frames: `"3x1x1"` the first 1x1 of a block,
            `"3x3x3"` its 3x3.

    Returns:
        A functional `keras.Model`, as `C2D`.

    Raises:
        ValueError: on arguments outside these rules.

    Example:

    >>> model = keras_nonlocal.I3D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> model.get_layer("res2_0_a_conv").kernel.shape
    TensorShape([3, 1, 1, 16, 16])

    Reference:
        - Section 3.3 and Table 2e of
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return _build(I3D, locals(), non_local=(), mode="embedded_gaussian")


def NLC2D(
    depth=50,
    weights=None,
    clip="8x8",
    input_shape=None,
    classes=400,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source="video-nonlocal-net",
    width=64,
    name=None,
    non_local=5,
    mode="embedded_gaussian",
    frozen_norm=False,
    dropout=0.5,
):
    """Builds the non-local C2D: motion reaches it through non-local blocks alone.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, source, width, name, frozen_norm, dropout: as in `C2D`.
        non_local: 1, 5 or 10 non-local blocks where the paper puts them, or a list of
            `(stage, block)` places with stages from 2 to 5 and blocks from 0.
        mode: pairwise function of these blocks, see `NonLocal3D`.

    Returns:
        A functional `keras.Model`, as `C2D`.

    Raises:
        ValueError: on arguments outside these rules.

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
    return _build(NLC2D, locals(), inflation=None)


def NLI3D(
    depth=50,
    weights=None,
    clip="8x8",
    input_shape=None,
    classes=400,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source="video-nonlocal-net",
    width=64,
    name=None,
    non_local=5,
    mode="embedded_gaussian",
    inflation="3x1x1",
    frozen_norm=False,
    dropout=0.5,
):
    """Builds the non-local I3D, the most accurate network of the paper.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, source, width, name, frozen_norm, dropout: as in `C2D`.
        non_local, mode: as in `NLC2D`.
        inflation: as in `I3D`.

    Returns:
        A functional `keras.Model`, as `C2D`.

    Raises:
        ValueError: on arguments outside these rules.

    Example:

    >>> model = keras_nonlocal.NLI3D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> [layer.name for layer in model.layers if "nonlocal" in layer.name]
    ['res3_0_nonlocal', 'res4_0_nonlocal']

    Reference:
        - Section 3.3 and Table 2f of
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return _build(NLI3D, locals())


def _build(builder, arguments, **fixed):
    """Builds the network that the arguments of `builder`, completed by `fixed`, describe."""
    arguments = {**arguments, **fixed}
    weights = arguments.pop("weights")
    if weights in zoo.CHECKPOINTS:
        return _build_from_zoo(builder, zoo.CHECKPOINTS[weights], arguments, fixed)
    if weights is not None:
        zoo.check_weights_path(weights)
    model = _build_graph(builder.__name__, **arguments)
    if weights is not None:
        model.load_weights(weights)
    return model


# What may differ from the checkpoint's network without touching the weights that are loaded.
_FREE = ("input_shape", "classes", "include_top", "pooling", "classifier_activation", "name")
_FREE += ("dropout",)


def _build_from_zoo(builder, checkpoint, arguments, fixed):
    """Builds a checkpoint's network, changed where `arguments` say so, with its weights."""
    if builder.__name__ != checkpoint.builder:
        raise ValueError(
            f"`weights={checkpoint.name!r}` are of a {checkpoint.builder}. Received them in "
            f"{builder.__name__}. Call keras_nonlocal.{checkpoint.builder}(weights="
            f"{checkpoint.name!r})."
        )
    defaults = {k: p.default for k, p in inspect.signature(builder).parameters.items()}
    given = {k: v for k, v in arguments.items() if k not in fixed and v != defaults[k]}
    published = {**defaults, **checkpoint.arguments}
    for key in given:
        if key not in _FREE and given[key] != published[key]:
            raise ValueError(
                f"`{key}` is fixed by weights={checkpoint.name!r} to {published[key]!r}. "
                f"Received: {key}={given[key]!r}. Leave it out, or build with weights=None."
            )
    del published["weights"]
    reference = _build_graph(builder.__name__, **{**published, **fixed})
    reference.load_weights(zoo.locate(checkpoint))
    if not given:
        return reference
    model = _build_graph(builder.__name__, **{**published, **fixed, **given})
    for layer in model.layers:
        if layer.name == "predictions" and model.output_shape != reference.output_shape:
            continue  # A classifier for other classes starts anew.
        if layer.weights:
            layer.set_weights(reference.get_layer(layer.name).get_weights())
    return model


def _build_graph(
    kind,
    depth,
    clip,
    input_shape,
    classes,
    include_top,
    pooling,
    classifier_activation,
    source,
    width,
    name,
    inflation,
    non_local,
    mode,
    frozen_norm,
    dropout,
):
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"`pooling` must be None, 'avg' or 'max'. Received: pooling={pooling!r}.")
    for key, value in (("classes", classes), ("width", width)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"`{key}` must be a positive integer. Received: {key}={value!r}.")
    architecture = facts.architecture(
        depth=depth,
        clip=clip,
        source=source,
        width=width,
        inflation=inflation,
        non_local=non_local,
        mode=mode,
        frozen_norm=frozen_norm,
    )
    inputs = keras.Input(_check_input_shape(input_shape, clip, architecture), name="clip")
    x = video_resnet.build_backbone(architecture, inputs)
    if include_top:
        x = video_resnet.build_head(x, classes, classifier_activation, dropout)
    elif pooling == "avg":
        x = keras.layers.GlobalAveragePooling3D(name="avg_pool")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling3D(name="max_pool")(x)
    return keras.Model(inputs, x, name=name or kind.lower())


def _check_input_shape(input_shape, clip, architecture):
    if input_shape is None:
        return (facts.parse_clip(clip)[0], 224, 224, 3)
    sizes = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    if len(sizes) != 4 or sizes[3] is None:
        raise ValueError(
            "`input_shape` must be (frames, height, width, channels), where all but the channels "
            f"may be None. Received: input_shape={input_shape!r}."
        )
    # The stem's steps over frames, and pool2 behind them, need two frames to be left.
    least = 2 * architecture.stem_strides[0] * architecture.stem_strides[1]
    least = max(least, 4)
    if sizes[0] is not None and sizes[0] < least:
        raise ValueError(
            f"`input_shape` must have at least {least} frames with clip={clip!r}. Received: "
            f"input_shape={sizes}. Use longer clips{_SHORTER if least > 4 else ''}."
        )
    return sizes


_SHORTER = ", or a `clip` that the stem does not thin, such as '8x8'"

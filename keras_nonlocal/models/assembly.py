"""From the arguments of a builder to its network, fresh or with weights."""

import inspect

import keras

from keras_nonlocal import preprocessing
from keras_nonlocal.checkpoints import fetching, inflation, zoo
from keras_nonlocal.layers import Conv3D, NonLocal3D
from keras_nonlocal.models import architecture as facts
from keras_nonlocal.models import video_resnet


def build_network(builder, arguments, **fixed):
    """Builds the network that the arguments of `builder`, completed by `fixed`, describe."""
    arguments = {**arguments, **fixed}
    weights = arguments.pop("weights")
    if weights in zoo.CHECKPOINTS:
        return _build_from_zoo(builder, zoo.CHECKPOINTS[weights], arguments, fixed)
    if weights == "imagenet":
        return inflation.inflate_imagenet(build_graph, {"kind": builder.__name__, **arguments})
    if weights is not None:
        zoo.check_weights_path(weights)
    model = build_graph(builder.__name__, **arguments)
    if weights is not None:
        model.load_weights(weights)
    return model


# What may differ from the checkpoint's network without touching the weights that are loaded.
_FREE = ("input_shape", "classes", "include_top", "pooling", "classifier_activation", "name")
_FREE += ("dropout",)


def _build_from_zoo(builder, checkpoint, arguments, fixed):
    """Builds a checkpoint's network, changed where `arguments` say so, with its weights."""
    if checkpoint.builder is None:
        raise ValueError(
            f"`weights={checkpoint.name!r}` are {checkpoint.note}. Received them in "
            f"{builder.__name__}. Download {checkpoint.url}."
        )
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

    def build(**changes):
        return build_graph(builder.__name__, **{**published, **fixed, **changes}, blank=True)

    def remember(network):
        same = network.output_shape == reference.output_shape
        names = checkpoint.class_names if same else ()
        return preprocessing.remember(network, checkpoint.source, checkpoint.clip, names or None)

    reference = build()
    if checkpoint.url is None:
        reference.load_weights(zoo.locate(checkpoint))
    else:
        fetching.load_published(reference, checkpoint, build)
    if not given:
        return remember(reference)
    model = build(**given)
    for layer in model.layers:
        if layer.name == "predictions" and model.output_shape != reference.output_shape:
            continue  # A classifier for other classes starts anew.
        if layer.weights:
            layer.set_weights(reference.get_layer(layer.name).get_weights())
    return remember(model)


def build_graph(
    kind,
    depth,
    clip,
    input_shape,
    classes,
    classifier_activation,
    source,
    width,
    inflation,
    inflated,
    non_local,
    mode,
    pool2,
    frozen_norm,
    include_top=True,
    pooling=None,
    name=None,
    dropout=0.5,
    blank=False,
):
    """Builds the network that the arguments of all builders together describe.

    Args:
        kind: name of the builder.
        blank: whether kernels will be set at once, so that random values need not be drawn: on
            JAX that takes most of the time.
        The others: see the builders; `inflation=None` and `non_local=()` for networks without.

    Returns:
        A functional `keras.Model`.
    """
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
        inflated=inflated,
        non_local=non_local,
        mode=mode,
        pool2=pool2,
        frozen_norm=frozen_norm,
        kernel_initializer="zeros" if blank else None,
    )
    inputs = keras.Input(_check_input_shape(input_shape, clip, architecture), name="clip")
    x = video_resnet.build_backbone(architecture, inputs)
    if include_top:
        x = video_resnet.build_head(architecture, x, classes, classifier_activation, dropout)
    elif pooling == "avg":
        x = keras.layers.GlobalAveragePooling3D(data_format="channels_last", name="avg_pool")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling3D(data_format="channels_last", name="max_pool")(x)
    model = keras.Model(inputs, x, name=name or kind.lower())
    if blank:
        _forget_zeros(model)
    return preprocessing.remember(model, source, clip)


def _forget_zeros(model):
    """Gives layers the initializers that a clone of the model is to start with."""
    for layer in model.layers:
        if isinstance(layer, Conv3D):
            layer.kernel_initializer = keras.initializers.get("he_normal")
        elif isinstance(layer, NonLocal3D):
            layer.kernel_initializer = NonLocal3D().kernel_initializer


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


_SHORTER = ", or, with most sources, a `clip` that the stem does not thin, such as '8x8'"

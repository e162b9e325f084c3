"""From the arguments of a builder to its network, fresh or with weights."""

import numbers

import keras

from keras_nonlocal import preprocessing
from keras_nonlocal.checkpoints import fetching, inflation, zoo
from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.layers import Conv3D, NonLocal3D
from keras_nonlocal.models import architecture as facts
from keras_nonlocal.models import video_resnet

# What may differ from the network that the weights were trained in.
_FREE = ("input_shape", "classes", "include_top", "pooling", "classifier_activation", "name")
_FREE += ("dropout",)
_TRANSFER = " To change it, build with weights=None and call keras_nonlocal.transfer_weights."
# What transfer_weights may change.
_TRANSFERABLE = ("clip", "frozen_norm", "inflation", "inflated", "non_local")


def build_network(builder, arguments, **fixed):
    """Builds the network that the arguments of `builder`, completed by `fixed`, describe.

    Args:
        builder: the public function, for its name.
        arguments: dictionary of its arguments. `None` stands for what the weights say, else for
            the value in `architecture.DEFAULTS`.
        **fixed: further arguments of `build_graph`.

    Returns:
        A functional `keras.Model`.
    """
    arguments = dict(arguments)
    weights, input_tensor = arguments.pop("weights"), arguments.pop("input_tensor")
    defaults = {key: facts.DEFAULTS.get(key) for key in arguments}
    given = {key: value for key, value in arguments.items() if value is not None}
    given["classifier_activation"] = arguments["classifier_activation"]
    if arguments["input_shape"] is not None:
        given["input_shape"] = _standardize_shape(arguments["input_shape"])
    if input_tensor is not None:
        given["input_shape"] = _shape_of(input_tensor, given.get("input_shape"))

    def build(options, **more):
        return build_graph(builder.__name__, **options, **fixed, **more)

    if isinstance(weights, str) and weights in zoo.CHECKPOINTS:
        checkpoint = zoo.CHECKPOINTS[weights]
        published = {**defaults, "include_top": True, "classifier_activation": "softmax"}
        published |= _arguments_of(checkpoint, builder)
        _check_agreement(checkpoint, published, given, fixed)
        wanted = {**published, **given}
        model = _load_checkpoint(checkpoint, build(published, blank=True))
        if input_tensor is None and all(wanted[key] == published[key] for key in _FREE):
            return model
    elif weights == "imagenet":
        _check_channels(weights, given)
        wanted = {**defaults, **given, "source": given.get("source")}
        # In the words of `keras.applications`.
        depths = {blocks: depth for depth, blocks in facts.DEPTHS.items()}
        wanted["depth"] = depths.get(facts.parse_depth(wanted["depth"]), wanted["depth"])
        model = inflation.inflate_imagenet(lambda **options: build(options), wanted)
        wanted["source"] = model.source
    else:
        wanted = {**defaults, **given}
        if weights is None:
            return build(wanted, inputs=input_tensor)
        zoo.check_weights_path(weights)
        model = build(wanted)
        _check_stored_network(model, weights)
        model.load_weights(weights)
    if input_tensor is None and weights not in zoo.CHECKPOINTS:
        return model
    return _copy_weights(model, build(wanted, inputs=input_tensor, blank=True))


# What layers do that their tensors do not tell.
_MEANING = ("strides", "padding", "pool_size", "window", "mode", "scale", "pool_position", "axes")
_MEANING += ("frames_per_group", "frozen", "epsilon")


def _check_stored_network(model, path):
    """Raises if a .keras file holds a network that computes something else with its weights."""
    if not str(path).endswith(".keras"):
        return  # Files of weights alone do not tell.
    stored = {layer.name: layer for layer in keras.saving.load_model(path, compile=False).layers}
    differences = [
        f"{layer.name} has {key}={theirs[key]!r} in the file, {ours[key]!r} in the network"
        for layer in model.layers
        if layer.name in stored
        for ours, theirs in [(layer.get_config(), stored[layer.name].get_config())]
        for key in _MEANING
        if ours.get(key) != theirs.get(key)
    ]
    if differences:
        raise ValueError(
            f"The arguments must be those of the network in `weights={str(path)!r}`. Received "
            f"others, by which {'; '.join(differences[:3])}. Pass its `source`, `clip`, `mode`, "
            "`frozen_norm`, or open it by keras.saving.load_model."
        )


def _arguments_of(checkpoint, builder):
    """Returns the arguments of the builder for a checkpoint, or raises if it is another's."""
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
    return checkpoint.arguments


def _check_agreement(checkpoint, published, given, fixed):
    """Raises if an argument contradicts the network that a checkpoint was trained in."""
    _check_channels(checkpoint.name, given)
    theirs = facts.standardize({**published, **fixed})
    wanted = facts.standardize({**published, **given, **fixed})
    for key in given:
        if key not in _FREE and wanted[key] != theirs[key]:
            known = theirs[key] if published[key] is None else published[key]
            raise ValueError(
                f"`{key}` must be {known!r} with weights={checkpoint.name!r}, as they were "
                f"trained. Received: {key}={given[key]!r}. Leave it out."
                f"{_TRANSFER if key in _TRANSFERABLE else ''}"
            )


def _check_channels(weights, given):
    if given.get("input_shape", (3,))[-1] != 3:
        raise ValueError(
            f"`input_shape` must have 3 channels with weights={weights!r}, which are of RGB clips. "
            f"Received: input_shape={given['input_shape']}. Build with weights=None for others."
        )


def _load_checkpoint(checkpoint, model):
    if checkpoint.url is None:
        model.load_weights(zoo.locate(checkpoint))
    else:
        fetching.load_published(model, checkpoint)
    names = checkpoint.class_names or None
    return preprocessing.remember(model, checkpoint.source, checkpoint.clip, names)


def _copy_weights(from_model, model):
    """Copies weights into the same network with another head or input, and what it remembers."""
    names = {layer.name for layer in model.layers}
    classes = {
        tuple(layer.kernel.shape)
        for each in (from_model, model)
        for layer in each.layers
        if layer.name == "predictions"
    }
    for layer in from_model.layers:
        if layer.name == "predictions" and len(classes) == 2:
            continue  # A classifier for other classes starts anew.
        if layer.weights and layer.name in names:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    same = "predictions" in names and len(classes) == 1
    class_names = from_model.class_names if same else None
    return preprocessing.remember(model, from_model.source, from_model.clip, class_names)


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
    inputs=None,
):
    """Builds the network that the arguments of all builders together describe.

    Args:
        kind: name of the builder.
        blank: whether kernels will be set at once, so that random values need not be drawn: on
            JAX that takes most of the time.
        inputs: Keras tensor that the network is applied to, of `input_shape`; `None`: a new one.
        The others: see the builders; `inflation=None` and `non_local=()` for networks without.

    Returns:
        A functional `keras.Model`.
    """
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"`pooling` must be None, 'avg' or 'max'. Received: pooling={pooling!r}.")
    classes = facts.positive_integer("classes", classes)
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Real) or not 0 <= dropout < 1:
        raise ValueError(
            "`dropout` must be a share of features from 0, for none, to below 1. Received: "
            f"dropout={dropout!r}."
        )
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
    shape = _check_frames(input_shape, clip, architecture)
    tensor = keras.Input(shape, name="clip") if inputs is None else inputs
    x = video_resnet.build_backbone(architecture, tensor)
    if include_top:
        x = video_resnet.build_head(architecture, x, classes, classifier_activation, float(dropout))
    elif pooling == "avg":
        x = keras.layers.GlobalAveragePooling3D("channels_last", name="avg_pool")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling3D("channels_last", name="max_pool")(x)
    before = ()
    if inputs is not None:
        # The tensor may come from other layers, which then are part of the model.
        tensor = keras.utils.get_source_inputs(inputs)
        tensor = tensor[0] if len(tensor) == 1 else tensor
        before = keras.Model(tensor, inputs).layers
    model = keras.Model(tensor, x, name=name or kind.lower())
    if blank:
        _forget_zeros([layer for layer in model.layers if layer not in before])
    return preprocessing.remember(model, source, clip)


def _forget_zeros(layers):
    """Gives layers the initializers that a clone of the model is to start with."""
    for layer in layers:
        if isinstance(layer, Conv3D):
            layer.kernel_initializer = keras.initializers.get("he_normal")
        elif isinstance(layer, NonLocal3D):
            layer.kernel_initializer = NonLocal3D().kernel_initializer


def _standardize_shape(input_shape):
    """Returns a shape as a tuple of four sizes, of which all but the channels may be `None`."""
    try:
        sizes = tuple(input_shape)
    except (TypeError, ValueError):  # TensorFlow's shapes of unknown rank raise the latter.
        sizes = ()
    sizes = tuple(size if size is None else facts.integer(size) or 0 for size in sizes)
    if len(sizes) != 4 or sizes[3] is None or 0 in sizes or min(filter(None, sizes)) < 1:
        raise ValueError(
            "`input_shape` must be (frames, height, width, channels), where all but the channels "
            f"may be None. Received: input_shape={input_shape!r}."
        )
    return sizes


def _shape_of(input_tensor, input_shape):
    """Returns the shape of `input_tensor` without the batch; raises if it is none to build on."""
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
    wanted = (None,) * 4 if input_shape is None else input_shape
    if any(size not in (None, own) for size, own in zip(wanted, shape[1:], strict=True)):
        raise ValueError(
            f"`input_shape` must be that of `input_tensor`, {shape[1:]}. Received: "
            f"input_shape={input_shape}. Leave it out."
        )
    return shape[1:]


def _check_frames(sizes, clip, architecture):
    """Returns the shape of the input; raises if it has too few frames."""
    if sizes is None:
        return (facts.parse_clip(clip)[0], 224, 224, 3)
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

"""The same network for clips of another height and width."""

import keras

from keras_nonlocal.keras_models import copy_layer, copy_weights


def resize_input(model, height, width):
    """Returns the same network, with the same weights, for clips of another size.

    Networks are trained at 224 and tested at 256, over the whole of which the head slides; but a
    network that was read from a `.keras` file is fixed to the size that it was saved with.

    Args:
        model: a functional or sequential `keras.Model` with one input,
            `(batch, frames, height, width, channels)`, and any functional or sequential models
            inside it. It does not change.
        height: of the clips, in pixels.
        width: of the clips, in pixels.

    Returns:
        A functional `keras.Model`; `model` itself if it takes such clips already.

    Raises:
        ValueError: if the network cannot be built for this size, or its weights do not fit it then.

    Example:

    >>> model = keras_nonlocal.C2D(depth=(1, 1, 1, 1), width=8, input_shape=(4, 64, 64, 3))
    >>> resize_input(model, 96, 96).input_shape
    (None, 4, 96, 96, 3)
    """
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 5:
        raise ValueError(
            "`model` must take clips, (batch, frames, height, width, channels), and be functional "
            f"or sequential. Received: input shape {shape}. {_WAY_OUT}"
        )
    if all(has in (None, wanted) for has, wanted in zip(shape[2:4], (height, width), strict=True)):
        return model
    inputs = keras.Input((shape[1], height, width, shape[4]), dtype=model.inputs[0].dtype)
    try:
        resized = _rebuild(model, inputs)
    except ValueError as error:
        raise ValueError(
            f"`model`, a network for {shape[2]}x{shape[3]} pixels, cannot be built for "
            f"{height}x{width}: {error} {_WAY_OUT}"
        ) from error
    if model.compiled and not resized.compiled:
        resized.compile_from_config(model.get_compile_config())
    return resized


def _rebuild(model, inputs):
    """Returns a model, and the models inside it, built on other inputs, with the same weights."""
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    inner = {}

    def has_graph(layer):
        return isinstance(layer, keras.Model) and getattr(layer, "inputs", None)

    def call(layer, *args, **kwargs):
        if has_graph(layer):
            if layer.name not in inner:
                new = (keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in args)
                inner[layer.name] = _rebuild(layer, *new)
            layer = inner[layer.name]
        return layer(*args, **kwargs)

    copy = keras.models.clone_model(
        model,
        input_tensors=inputs,
        clone_function=lambda layer: layer if has_graph(layer) else copy_layer(layer),
        call_function=call,
    )
    copy_weights(model, copy)
    return copy


_WAY_OUT = "Test at the size that it was trained at, or build it for this one and load its weights."

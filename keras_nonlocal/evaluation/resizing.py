"""The same network for clips of another height and width."""

import keras


def resize_input(model, height, width):
    """Gives the same network, with the same weights, for clips of another size.

    Networks are trained at 224 and tested at 256, over the whole of which the head slides; but a
    network that was read from a `.keras` file is fixed to the size that it was saved with.

    Args:
        model: a functional or sequential `keras.Model` with one input,
            `(batch, frames, height, width, channels)`. It is left as it is.
        height: of the clips, in pixels.
        width: of the clips, in pixels.

    Returns:
        A `keras.Model`; `model` itself if it takes such clips already.

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
        resized = keras.models.clone_model(model, input_tensors=inputs)
        resized.set_weights(model.get_weights())
    except ValueError as error:
        raise ValueError(
            f"`model`, a network for {shape[2]}x{shape[3]} pixels, cannot be built for "
            f"{height}x{width}: {error} {_WAY_OUT}"
        ) from error
    return resized


_WAY_OUT = "Test at the size that it was trained at, or build it for this one and load its weights."

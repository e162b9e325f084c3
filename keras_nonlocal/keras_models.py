"""Which models this package takes: those of Keras 3."""


def refuse_tf_keras(argument, value):
    """Raises if a layer, model or tensor comes from tf_keras, which Keras 3 cannot work with.

    Args:
        argument: name of the argument, for the error.
        value: the layer, model or tensor.

    Raises:
        TypeError: if its class, or a class that it derives from, is one of tf_keras.

    Example:

    >>> refuse_tf_keras("model", keras.Sequential())
    """
    if any(kind.__module__.split(".")[0] == "tf_keras" for kind in type(value).__mro__):
        raise TypeError(
            f"`{argument}` must be made with Keras 3 (`import keras`). Received: "
            f"{type(value).__name__} of tf_keras, which is Keras 2. Build it with keras, and unset "
            "TF_USE_LEGACY_KERAS if tf.keras is what made it."
        )

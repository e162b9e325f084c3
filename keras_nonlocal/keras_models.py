"""Models of Keras 3: the check for them, and copies of their layers and weights."""

import keras


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


def copy_layer(layer, config=None):
    """Returns a layer of a configuration, by default that of `layer`, without weights.

    A `Lambda` keeps its functions, which Keras loads only from configurations that it trusts.
    """
    config = layer.get_config() if config is None else config
    if not isinstance(layer, keras.layers.Lambda):
        return type(layer).from_config(config)
    functions = {each.__name__: each for each in (layer.function, layer.mask) if callable(each)}
    copy = type(layer).from_config(config, custom_objects=functions, safe_mode=False)
    # Functions that are loaded from their code lack the globals of their module.
    copy.function, copy.mask = layer.function, layer.mask
    return copy


def copy_weights(model, copy):
    """Copies the weights of a model to the layers of the same names in its copy.

    Args:
        model: functional `keras.Model`.
        copy: functional `keras.Model` that has all layers of `model`, and may have others.
    """
    for layer in model.layers:
        if layer.variables:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            # It computes with values that it derives from its weights when these are loaded.
            layer.finalize_state()

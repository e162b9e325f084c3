"""What a model ends in: probabilities of one class, of each class, or logits."""

import keras

# They take means or change the shape, and leave probabilities what they are.
_PASSING = (
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.Flatten,
    keras.layers.Reshape,
)


def find_activation(model):
    """Finds the activation that makes a model's output.

    Args:
        model: a functional `keras.Model` with one output, such as the builders give: their head
            takes the mean over places after the classifier.

    Returns:
        `"softmax"`, `"sigmoid"`, `"linear"` (logits) or the name of another; `None` if the
        last layers do not tell.

    Example:

    >>> find_activation(keras_nonlocal.C2D(depth=(1, 1, 1, 1), width=8))
    'softmax'
    """
    for layer in reversed(model.layers):
        if isinstance(layer, keras.layers.Softmax):
            return "softmax"
        if isinstance(layer, keras.Model):
            return find_activation(layer)
        if hasattr(layer, "activation"):
            return getattr(layer.activation, "__name__", None)
        if not isinstance(layer, _PASSING):
            return None
    return None

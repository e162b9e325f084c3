"""What is minimised and watched where one label a clip comes as a number, or mixed, as shares.

Mixing clips turns class numbers into shares, in training alone: validation still has numbers.
Keras has a loss and an accuracy for each of the two, and none for both in one `fit`.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class CrossEntropy(keras.losses.Loss):
    """Cross-entropy to labels that are class numbers, or shares of classes.

    Equals `keras.losses.SparseCategoricalCrossentropy` for the one and
    `keras.losses.CategoricalCrossentropy` for the other, and smooths both.

    Args:
        from_logits: whether the model ends without a softmax.
        label_smoothing: share of each label that is spread evenly over all classes.
        **kwargs: further arguments of `keras.losses.Loss`.

    Example:

    >>> loss = CrossEntropy()
    >>> probabilities = np.array([[0.7, 0.2, 0.1]])
    >>> float(loss(np.array([0]), probabilities)) == float(loss([[1.0, 0, 0]], probabilities))
    True
    """

    def __init__(self, from_logits=False, label_smoothing=0.0, name="cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if _are_numbers(y_true, y_pred):
            numbers = ops.cast(ops.reshape(y_true, (-1,)), "int32")
            y_true = ops.one_hot(numbers, y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.categorical_crossentropy(
            y_true, y_pred, self.from_logits, self.label_smoothing
        )

    def get_config(self):
        config = {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class TopAccuracy(keras.metrics.MeanMetricWrapper):
    """Share of the clips whose class is among the `k` likeliest.

    Of a clip that was mixed, its class is that of the greater share.

    Args:
        k: how many classes a clip may be given.
        name: of the metric, in logs.
        **kwargs: further arguments of `keras.metrics.Metric`.

    Example:

    >>> metric = TopAccuracy(k=2)
    >>> metric.update_state(np.array([1, 2]), np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]]))
    >>> float(metric.result())
    0.5
    """

    def __init__(self, k=1, name="accuracy", **kwargs):
        super().__init__(_top_accuracy, name=name, k=k, **kwargs)
        self.k = k
        self._direction = "up"

    def get_config(self):
        config = keras.metrics.Metric.get_config(self)
        return {**config, "k": self.k}


def _top_accuracy(y_true, y_pred, k):
    numbers = y_true if _are_numbers(y_true, y_pred) else ops.argmax(y_true, axis=-1)
    numbers = ops.cast(ops.reshape(numbers, (-1,)), "int32")
    if k == 1:
        return keras.metrics.sparse_categorical_accuracy(numbers, y_pred)
    # TensorFlow ranks no other type.
    y_pred = ops.cast(y_pred, "float32")
    return keras.metrics.sparse_top_k_categorical_accuracy(numbers, y_pred, k=k)


def _are_numbers(y_true, y_pred):
    return len(y_true.shape) < len(y_pred.shape) or y_true.shape[-1] != y_pred.shape[-1]

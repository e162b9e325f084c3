"""Batch normalization that stays fused on five dimensions, and its frozen (affine) form."""

import math

import keras
from keras import ops

from keras_nonlocal.layers.backend import cast_inputs, replica_context


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization of the last axis at fused speed, for tensors of any rank.

    Computes what `keras.layers.BatchNormalization` computes. On TensorFlow that layer uses the
    fused kernel for four dimensions only; this one runs it on clips as well, as batches of
    frames. The defaults are those of the published video networks, not Keras' own, with which
    converted weights give wrong results.

    Args:
        momentum: share of the moving average kept at each step.
        epsilon: added to the variance.
        frozen: `True` normalizes by the moving statistics in training too and never updates
            them: the affine form `gamma * x + beta` in which the authors train their long
            clips. `gamma` and `beta` still train; set `trainable=False` to fix them as well.
        synchronized: `True` takes the statistics of the global batch, over all replicas of a
            `tf.distribute` strategy. On JAX statistics always are those of the global batch.
        **kwargs: further arguments of `keras.layers.BatchNormalization`, such as
            `gamma_initializer`.

    Input shape:
        `(batch, ..., channels)`.

    Output shape:
        That of the input.

    Example:

    >>> norm = keras_nonlocal.layers.BatchNormalization(frozen=True)
    >>> norm(np.ones((1, 4, 8, 8, 16), "float32")).shape
    TensorShape([1, 4, 8, 8, 16])

    Reference:
        - Section 4.1 of [Non-local Neural Networks](https://arxiv.org/abs/1711.07971): batch
          norm trained on short clips, frozen on long ones.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, frozen=False, synchronized=False, **kwargs):
        super().__init__(
            momentum=momentum,
            epsilon=epsilon,
            # Keras refuses it on JAX. The config keeps it, for models that move to TensorFlow.
            synchronized=synchronized and keras.backend.backend() != "jax",
            **kwargs,
        )
        self.synchronized = synchronized
        self.frozen = frozen

    def call(self, inputs, training=None, mask=None):
        inputs = cast_inputs(self, inputs)
        training = bool(training) and self.trainable and not self.frozen
        if self._has_fused_kernel(inputs, training, mask):
            return self._call_fused(inputs, training)
        return super().call(inputs, training=training, mask=mask)

    def _has_fused_kernel(self, inputs, training, mask):
        return (
            keras.backend.backend() == "tensorflow"
            and inputs.dtype in ("float32", "bfloat16", "float16")
            and self.axis in (-1, len(inputs.shape) - 1)
            and self.scale
            and self.center
            and not getattr(self, "renorm", False)  # Keras 3.12 does not know it.
            and mask is None
            # Statistics over all replicas have to be exchanged between them.
            and not (training and self.synchronized and replica_context())
        )

    def _call_fused(self, inputs, training):
        import tensorflow as tf

        shape = ops.shape(inputs)
        # Statistics run over every axis but the last, so any four dimensions will do.
        images = (-1, *shape[2:]) if len(shape) == 5 else (-1, 1, 1, shape[-1])
        images = inputs if len(shape) == 4 else ops.reshape(inputs, images)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=ops.cast(self.gamma, "float32"),
            offset=ops.cast(self.beta, "float32"),
            mean=ops.cast([] if training else self.moving_mean, "float32"),
            variance=ops.cast([] if training else self.moving_variance, "float32"),
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            # The kernel reports the unbiased variance; Keras averages the biased one.
            count = _count(shape[:-1], "float32")
            variance *= (count - 1.0) / count
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                # In float32, also where the variables are of half precision.
                average = ops.cast(moving, "float32") * self.momentum
                moving.assign(average + batch * (1.0 - self.momentum))
        return outputs if len(shape) == 4 else ops.reshape(outputs, shape)

    def _moments(self, inputs, mask):
        """Returns the mean and variance to normalize by; Keras' `call` asks for them.

        Keras takes the variance over replicas as the mean square less the square of the mean,
        of which float32 leaves little where the mean is large.
        """
        context = replica_context()
        if mask is not None:
            return super()._moments(inputs, mask)
        if not self.synchronized or context is None:
            return ops.moments(inputs, self._reduction_axes)
        import tensorflow as tf

        shape, axes = ops.shape(inputs), self._reduction_axes
        count = _count([shape[axis] for axis in axes], inputs.dtype)
        # Sums, not means, since a replica may have no examples.
        total, sums = context.all_reduce(
            tf.distribute.ReduceOp.SUM, [count, ops.sum(inputs, axes, keepdims=True)]
        )
        mean = sums / total
        spread = ops.sum(ops.square(inputs - mean), axes)
        variance = context.all_reduce(tf.distribute.ReduceOp.SUM, spread) / total
        return ops.squeeze(mean, axes), variance

    def get_config(self):
        return {**super().get_config(), "frozen": self.frozen}


def _count(sizes, dtype):
    """Returns the product of sizes as a float, as 32-bit integers overflow on large inputs."""
    return math.prod(ops.cast(size, dtype) for size in sizes)

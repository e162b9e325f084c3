"""Loss scaling for float16 that several replicas agree on."""

import keras

from keras_nonlocal.training import replicas


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scaling, with an eye on the overflows of every replica.

    A step with a gradient that is not finite is left out and halves the scale. Keras' own, which
    `compile` puts around an optimizer under the policy `"mixed_float16"`, looks at the gradients
    of the first replica alone; an infinite one from another gets into the weights. Put this one
    around it yourself, and `compile` leaves it. The optimizer inside clips and decays by
    gradients without their scale. bfloat16 needs no scaling.

    Args:
        inner_optimizer: the optimizer to wrap, such as `SGD`.
        initial_scale: what the loss is multiplied by at first; too much is soon halved.
        dynamic_growth_steps: finite steps in a row after which the scale doubles.
        **kwargs: `name`.

    Example:

    >>> inner = keras.optimizers.SGD(0.01)
    >>> optimizer = LossScaleOptimizer(inner, initial_scale=1024.0)
    >>> float(optimizer.scale_loss(0.5))
    512.0
    """

    def check_finite(self, grads):
        """Says whether the gradients of all replicas are finite; Keras calls it."""
        return replicas.all_agree(super().check_finite(grads))

"""Gradients of several replicas of `tf.distribute`, where Keras' optimizers see only a part.

On JAX, and on one replica, there is one gradient and nothing to do.
"""

import keras
from keras import ops


def needs_exchange():
    """Says whether this is one of several replicas that meet through `merge_call`."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    meets = not tf.__internal__.distribute.strategy_supports_no_merge_call()
    return meets and _count_replicas() > 1


def sum_over_replicas(tensors):
    """Gives the sums of the replicas' tensors, the same to each of them."""
    if _count_replicas() == 1:
        return tensors
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def all_agree(answer):
    """Says whether each replica's answer, a boolean tensor, is yes."""
    (ayes,) = sum_over_replicas([ops.cast(answer, "float32")])
    return ops.equal(ayes, _count_replicas())


def share_among_replicas(tensors):
    """Gives the part of each tensor that makes the whole when the replicas' parts are added."""
    count = _count_replicas()
    return tensors if count == 1 else [tensor / count for tensor in tensors]


def accumulate(optimizer, grads, variables):
    """Adds to the accumulated gradients, or updates with them when there are enough.

    Keras decides between the two inside each replica, where TensorFlow lets no branch exchange
    gradients. Here the replicas meet first, decide together, and part again within the branch.

    Args:
        optimizer: a Keras optimizer with `gradient_accumulation_steps`, built.
        grads: what this replica adds, a tensor for each of `variables`.
        variables: the model's variables to update.
    """
    import tensorflow as tf

    steps = optimizer.gradient_accumulation_steps
    accumulators = [
        optimizer._accumulated_gradients[optimizer._get_variable_index(variable)]
        for variable in variables
    ]

    def update(grads):
        grads = [(g + sums) / steps for g, sums in zip(grads, accumulators, strict=True)]
        optimizer._backend_update_step(
            optimizer._clip_gradients(grads), variables, optimizer.learning_rate
        )
        optimizer._backend_reset_gradient_accumulators()

    def add(grads):
        optimizer._backend_increment_gradient_accumulators(grads, accumulators)

    def decide(strategy, grads):
        enough = ops.equal((optimizer._iterations + 1) % steps, 0)
        in_each = strategy.extended.call_for_each_replica
        ops.cond(enough, lambda: in_each(update, (grads,)), lambda: in_each(add, (grads,)))

    tf.distribute.get_replica_context().merge_call(decide, (grads,))
    if optimizer.use_ema:
        optimizer._update_model_variables_moving_average(optimizer._trainable_variables)


def _count_replicas():
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync

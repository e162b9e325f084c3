"""Which part of the global batch a layer sees when a strategy of TensorFlow splits it."""

import keras


def replica_context():
    """Gives the context of this replica among several, or `None` where a layer runs alone.

    On JAX it is always `None`: there a layer sees the whole global batch as one array.

    Returns:
        A `tf.distribute.ReplicaContext` with two replicas or more, or `None`.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    # `None` in a strategy's scope too, outside of `strategy.run`.
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context

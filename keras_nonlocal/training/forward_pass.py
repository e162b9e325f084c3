"""A pass of the network as in training that changes none of its variables."""

import keras
import numpy as np
from keras import ops


def forward_pass(model):
    """Makes a compiled function that says what a pass in training mode would leave behind.

    Args:
        model: a built `keras.Model`, on TensorFlow also one of a strategy's replicas, on JAX
            also one of `keras.distribution`.

    Returns:
        `run(states, inputs)` for values of `model.non_trainable_variables` and a batch of this
        process. It gives the states that the next pass begins with, and, for each replica that
        saw any examples, a pair of their number and the states that it ended with.
    """

    def forward(trainable, states, inputs):
        return model.stateless_call(trainable, states, inputs, training=True)[1]

    on_this_backend = {"tensorflow": _on_tensorflow, "jax": _on_jax}
    return on_this_backend[keras.backend.backend()](model, forward)


def _on_tensorflow(model, forward):
    import tensorflow as tf

    strategy = model.distribute_strategy
    num_replicas = strategy.num_replicas_in_sync

    def edges(rows):
        return [rows * i // num_replicas for i in range(num_replicas + 1)]

    def forward_own_part(states, inputs):
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        places = tf.stack(edges(_rows_of(inputs)))
        part = keras.tree.map_structure(lambda x: x[places[index] : places[index + 1]], inputs)
        return forward([v.value for v in model.trainable_variables], states, part)

    @tf.function(reduce_retracing=True)
    def forward_all(states, inputs):
        return strategy.run(forward_own_part, (states, inputs))

    def run(states, inputs):
        inputs = keras.tree.map_structure(tf.convert_to_tensor, inputs)
        replicas = strategy.experimental_local_results(forward_all(states, inputs))
        counts = np.diff(edges(int(_rows_of(inputs))))
        parts = [(count, own) for count, own in zip(counts, replicas, strict=True) if count]
        # Replicas differ in the statistics of their parts alone.
        return parts[0][1], parts

    return run


def _on_jax(model, forward):
    import jax

    distribution = keras.distribution.distribution()
    trainable = [v.value for v in model.trainable_variables]
    shardings = [v.value.sharding for v in model.non_trainable_variables]
    forward = jax.jit(forward, out_shardings=shardings)

    def place(array):
        array = np.asarray(array)
        if distribution is None:
            return array
        layout = distribution.get_data_layout(array.shape).backend_layout
        return jax.make_array_from_process_local_data(layout, array)

    def run(states, inputs):
        inputs = keras.tree.map_structure(place, inputs)
        states = forward(trainable, states, inputs)
        return states, [(_rows_of(inputs), states)]

    return run


def _rows_of(inputs):
    return ops.shape(keras.tree.flatten(inputs)[0])[0]

"""Checks of arguments, casts of inputs, and the replica context, shared by the layers."""

import numbers

import keras
from keras import ops


def cast_inputs(layer, inputs):
    """Returns integer and boolean inputs in the layer's compute dtype, others unchanged.

    Keras casts floating-point inputs before `call`, but no integers, on which most operations
    fail. Layers call this function first in `call`.
    """
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if dtype == "bool" or keras.backend.is_int_dtype(dtype):
        return ops.cast(inputs, layer.compute_dtype)
    return inputs


def replica_context():
    """Returns the `tf.distribute.ReplicaContext` of one replica among several, else `None`.

    On JAX it is always `None`: there a layer sees the whole global batch as one array.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    # `None` in a strategy's scope too, outside of `strategy.run`.
    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}. Received: {name}={value!r}."
        )


def check_positive_int(name, value):
    if not is_int(value) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    return int(value)


def check_sizes(name, value, rank, least=1):
    """Returns one int per axis; a single integer counts for all axes."""
    sizes = as_ints((value,) * rank if is_int(value) else value)
    if len(sizes) != rank or min(sizes) < least:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}, or a tuple of {rank} of them. "
            f"Received: {name}={value!r}."
        )
    return sizes


def as_ints(values):
    """Returns a sequence of integers as a tuple of `int`; an empty one for anything else."""
    try:
        values = tuple(values)
    except (TypeError, ValueError):  # An unknown `TensorShape` raises the latter.
        return ()
    return tuple(map(int, values)) if all(map(is_int, values)) else ()


def is_int(value):
    """Returns whether a value is an integer of Python or NumPy."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)

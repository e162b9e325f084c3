"""Checks of constructor arguments and of inputs that the layers share."""

import numbers

import keras
from keras import ops


def cast_inputs(layer, inputs):
    """Returns integer and boolean inputs in the layer's compute dtype, others unchanged.

    Keras casts inputs of another floating-point precision before `call`, but no integers, on
    which most operations fail. Layers call this function first in `call`.

    Args:
        layer: Keras layer.
        inputs: tensor.

    Returns:
        Tensor of the same shape.
    """
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if dtype == "bool" or keras.backend.is_int_dtype(dtype):
        return ops.cast(inputs, layer.compute_dtype)
    return inputs


def is_positive_int(value):
    return _is_int(value) and value > 0


def check_positive_int(name, value):
    if not is_positive_int(value):
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    return int(value)


def check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}. Received: {name}={value!r}."
        )


def check_sizes(name, value, rank, least=1):
    """Returns one int per axis; a single integer counts for all axes."""
    sizes = _as_ints(value, rank, least)
    if sizes is None:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}, or a tuple of {rank} of them. "
            f"Received: {name}={value!r}."
        )
    return sizes


def check_pool_size(pool_size, rank):
    """Returns the pool size of a non-local block: an int, a tuple of ints, or `None`."""
    if pool_size is None:
        return None
    sizes = _as_ints(pool_size, rank, 1)
    if sizes is None:
        raise ValueError(
            f"`pool_size` must be a positive integer, a tuple of {rank} of them, or None for no "
            f"pooling. Received: pool_size={pool_size!r}."
        )
    return sizes[0] if _is_int(pool_size) else sizes


def _is_int(value):
    """Whether a value is an integer of Python or NumPy."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _as_ints(value, rank, least):
    try:
        sizes = (value,) * rank if _is_int(value) else tuple(value)
    except (TypeError, ValueError):  # An unknown `TensorShape` raises the latter.
        return None
    if len(sizes) != rank or not all(_is_int(size) and size >= least for size in sizes):
        return None
    return tuple(map(int, sizes))

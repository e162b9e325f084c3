"""Seeds of two integers, from which random transforms draw without any state of their own.

Layers and generators that count their draws give another clip whenever several are in
preparation at a time; a seed that travels with the clip does not.
"""

import tensorflow as tf


def seed_or_new(seed):
    """Gives a seed as it came, and a new one where none did.

    Args:
        seed: two integers, or `None`.

    Returns:
        Two integers.
    """
    if seed is None:
        return tf.random.uniform([2], 0, 2**31 - 1, tf.int32)
    return seed


def fold_in(seed, number):
    """Gives another seed for each number, for draws that must not depend on one another.

    Args:
        seed: two integers.
        number: integer.

    Returns:
        Tensor of two integers, int64.
    """
    return tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int64), number)

"""Clips seen in a mirror, and what becomes of labels that name a side."""

import re

import numpy as np
import tensorflow as tf

from keras_nonlocal.transforms.seeds import seed_or_new

_OTHER_SIDE = {
    "left": "right",
    "right": "left",
    "clockwise": "counterclockwise",
    "counterclockwise": "clockwise",
}


def random_flip(labels_after_flip=None, probability=0.5):
    """Mirrors clips left to right, and with them the labels that name a side.

    `keras.layers.RandomFlip` cannot be used: it draws for each frame and knows no labels.

    Args:
        labels_after_flip: sequence whose entry `i` is the class that a clip of class `i` shows
            in the mirror, or -1 if clips of class `i` must never be mirrored; see
            `mirror_labels`. `None` leaves labels as they are.
        probability: share of the clips to mirror.

    Returns:
        A function `(clip, label, seed=None) -> (clip, label)`. A label is one class number, or
        a vector with an entry for each class. A clip that has several labels is mirrored only
        if all of them may be.

    Raises:
        ValueError: if the classes do not mirror each other in pairs.

    Example:

    ```python
    flip = random_flip(mirror_labels(["pan_left", "pan_right", "zoom_in"]))
    clip, label = flip(clip, 0)  # in half of the cases mirrored, with label 1
    ```
    """
    table = None if labels_after_flip is None else _check_table(labels_after_flip)

    def apply(clip, label, seed=None):
        clip, label = tf.convert_to_tensor(clip), tf.convert_to_tensor(label)
        mirrored = tf.random.stateless_uniform([], seed_or_new(seed)) < probability
        if table is not None:
            allowed, after = _label_after_flip(label, table)
            mirrored &= allowed
            label = tf.where(mirrored, after, label)
        return tf.cond(mirrored, lambda: _mirror(clip), lambda: tf.identity(clip)), label

    return apply


def mirror_labels(classes):
    """Tells which class each class becomes in a mirror, by the words in their names.

    Left and right change places, clockwise and counterclockwise (or anticlockwise) too. They
    count as words alone, not in "bright"; capitals, brackets and what divides words make no
    difference. A class that names no side stays what it is.

    Args:
        classes: class names.

    Returns:
        A list of class numbers, for `random_flip(labels_after_flip=...)`. It holds -1, never to
        be mirrored, for a class that names a side and whose mirror image is not among the
        classes.

    Example:

    >>> mirror_labels(["pan_left", "pan_right", "zoom_in", "turn clockwise"])
    [1, 0, 2, -1]
    """
    words = [_words(name) for name in classes]
    numbers = {}
    for number, key in enumerate(words):
        numbers.setdefault(key, []).append(number)
    table = []
    for number, key in enumerate(words):
        mirrored = tuple(_OTHER_SIDE.get(word, word) for word in key)
        candidates = numbers.get(mirrored, [])
        if mirrored != key and len(candidates) == len(numbers[key]) == 1:
            table.append(candidates[0])
        else:
            # Two classes of the same words leave open which of them the mirror shows.
            table.append(-1 if _names_side(key) else number)
    return table


def _mirror(clip):
    # As a list of rows of pixels, of which TensorFlow has a way three times as fast.
    shape = tf.shape(clip)
    rows = tf.reshape(clip, [-1, shape[-2], shape[-1]])
    return tf.ensure_shape(tf.reshape(tf.reverse(rows, [1]), shape), clip.shape)


def _words(name):
    """Words of a name in lower case, divided also where camel case divides them."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+", name)
    spaced = " ".join(words).lower()
    return tuple(re.sub(r"\b(counter|anti) ?clockwise\b", "counterclockwise", spaced).split())


def _names_side(words):
    # Something-Something has a class of "pulling it right out".
    phrase = re.sub(r"\bright out\b", "", " ".join(words))
    return any(word in _OTHER_SIDE for word in phrase.split())


def _label_after_flip(label, table):
    """Whether a clip of this label may be mirrored, and its label then."""
    never = table < 0
    after = np.where(never, np.arange(len(table)), table)
    if label.shape.rank == 0:
        return tf.gather(~never, label), tf.cast(tf.gather(after, label), label.dtype)
    if label.shape[-1] not in (None, len(table)):
        raise ValueError(
            "`labels_after_flip` must have an entry for each class of the labels "
            f"({label.shape[-1]}). Received: {len(table)} entries. "
            "Give `mirror_labels` the names of all classes."
        )
    return ~tf.reduce_any((label != 0) & never), tf.gather(label, after, axis=-1)


def _check_table(labels_after_flip):
    table = np.asarray(labels_after_flip, np.int32)
    numbers = np.arange(len(table))
    known = (table >= -1) & (table < len(table))
    if not np.all(known) or np.any((table >= 0) & (table[table] != numbers)):
        raise ValueError(
            "`labels_after_flip` must hold class numbers (or -1) that mirror each other in "
            f"pairs. Received: {table.tolist()}. Make it by `mirror_labels`."
        )
    return table

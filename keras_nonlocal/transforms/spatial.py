"""Crops and mirroring of clips, and the labels of mirrored clips."""

import logging
import re

import numpy as np
import tensorflow as tf

_LOG = logging.getLogger("keras_nonlocal")
_OTHER_SIDE = {
    "left": "right",
    "right": "left",
    "clockwise": "counterclockwise",
    "counterclockwise": "clockwise",
}
# Names such as "hand_L" may mean a side, or a size.
_MAYBE_SIDE = {"l": "r", "r": "l"}


def fold_in(seed, number):
    """Returns a seed for each number, for draws that must not depend on one another.

    Args:
        seed: two integers. `None` draws them.
        number: integer.

    Returns:
        Tensor of two integers, int64.
    """
    if seed is None:
        seed = tf.random.uniform([2], 0, 2**31 - 1, tf.int32)
    return tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int64), number)


def short_sides_of(crop):
    """Returns the range of the short side from which training crops are cut.

    Testing uses the smaller one.

    Args:
        crop: height and width of the crop in pixels; one number for a square.

    Returns:
        Two numbers of pixels.

    Example:

    >>> short_sides_of(224)
    (256, 320)

    Reference:
        [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), section 4.1.
    """
    side = max(check_size("crop", crop))
    return round(side * 256 / 224), round(side * 320 / 224)


def random_crop(size):
    """Crops the same random rectangle from all frames of a clip.

    Args:
        size: height and width in pixels; one number for a square.

    Returns:
        A function `(clip, seed=None) -> clip`.

    Raises:
        ValueError: if `size` is neither.
    """
    size = check_size("size", size)

    def apply(clip, seed=None):
        clip = _check_fits(clip, size)
        shape = tf.stack([tf.shape(clip)[0], *size, tf.shape(clip)[3]])
        crop = tf.image.stateless_random_crop(clip, shape, fold_in(seed, 0))
        return tf.ensure_shape(crop, (clip.shape[0], *size, clip.shape[3]))

    return apply


def center_crop(size):
    """Crops the center of all frames of a clip.

    Args:
        size: height and width in pixels; one number for a square.

    Returns:
        A function `(clip, seed=None) -> clip`.

    Raises:
        ValueError: if `size` is neither.
    """
    size = check_size("size", size)

    def apply(clip, seed=None):
        clip = _check_fits(clip, size)
        top, left = tf.unstack((tf.shape(clip)[1:3] - size) // 2)
        return tf.image.crop_to_bounding_box(clip, top, left, *size)

    return apply


def three_crops(size):
    """Takes three crops of a clip along its longer side: the first end, the center, the other end.

    Args:
        size: height and width in pixels; one number for a square.

    Returns:
        A function from a clip to `(3, frames, height, width, channels)`.

    Raises:
        ValueError: if `size` is neither.

    Reference:
        [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), section 4.1, Inference.
    """
    size = check_size("size", size)

    def apply(clip, seed=None):
        clip = _check_fits(clip, size)
        room = tf.shape(clip)[1:3] - size
        # Equal steps, as in the authors' code and MMAction2: an odd last pixel is left out.
        step = room // 2 * tf.cast([room[0] > room[1], room[0] <= room[1]], tf.int32)
        starts = [room // 2 - step, room // 2, room // 2 + step]
        crops = [tf.image.crop_to_bounding_box(clip, *tf.unstack(s), *size) for s in starts]
        return tf.stack(crops)

    return apply


def random_flip(labels_after_flip=None, probability=0.5):
    """Mirrors clips left to right, and changes the labels of classes that name a side.

    Args:
        labels_after_flip: sequence whose entry `i` is the class that a clip of class `i` shows
            when mirrored, or -1 if clips of class `i` must never be mirrored; see
            `mirror_labels`. `None` keeps labels as they are.
        probability: share of the clips to mirror.

    Returns:
        A function `(clip, label, seed=None) -> (clip, label)`. A label is a class number, or
        a vector with an entry for each class. A clip with several labels is mirrored only if all
        of them allow it.

    Raises:
        ValueError: if the classes do not mirror each other in pairs.

    Example:

    ```python
    flip = random_flip(mirror_labels(["pan_left", "pan_right", "zoom_in"]))
    clip, label = flip(clip, 0)  # in half of the cases mirrored, with label 1
    ```
    """
    table = None if labels_after_flip is None else _check_table(labels_after_flip)

    def flip(clip):
        # As rows of pixels, which TensorFlow reverses three times as fast as frames.
        rows = tf.reshape(clip, [-1, *tf.unstack(tf.shape(clip)[2:])])
        return tf.reshape(tf.image.flip_left_right(rows), tf.shape(clip))

    def apply(clip, label, seed=None):
        clip, label = tf.convert_to_tensor(clip), tf.convert_to_tensor(label)
        mirrored = tf.random.stateless_uniform([], fold_in(seed, 0)) < probability
        if table is not None:
            allowed, after = _label_after_flip(label, table)
            mirrored &= allowed
            label = tf.where(mirrored, after, label)
        flipped = tf.cond(mirrored, lambda: flip(clip), lambda: tf.identity(clip))
        return tf.ensure_shape(flipped, clip.shape), label

    return apply


def mirror_labels(classes):
    """Returns the class that each class becomes when its clips are mirrored, by its name.

    The words left and right change places, and so do clockwise and counterclockwise (or
    anticlockwise). Case, brackets and separators make no difference. Other classes stay. The
    pairs are logged at level INFO. A warning lists the classes that are never mirrored, because
    their mirror image is not among the classes or is not certain: "left the room" without "right
    the room", or "hand_L" beside "hand_R".

    Args:
        classes: class names.

    Returns:
        A list of class numbers for `random_flip(labels_after_flip=...)`, with -1 for classes that
        are never mirrored. Where names mislead, pass a list of your own.

    Example:

    >>> mirror_labels(["pan_left", "pan_right", "zoom_in", "turn clockwise"])
    [1, 0, 2, -1]
    """
    names = [_words(name) for name in classes]

    def find(words, sides):
        """The classes that `words` becomes by changing sides; None if it has none."""
        mirrored = tuple(sides.get(word, word) for word in words)
        return None if mirrored == words else [i for i, key in enumerate(names) if key == mirrored]

    table = list(range(len(names)))
    for index, words in enumerate(names):
        partners = find(words, _OTHER_SIDE)
        # Something-Something has a class of "pulling it right out".
        names_side = _OTHER_SIDE.keys() & set(re.sub(r"\bright out\b", "", " ".join(words)).split())
        if partners and len(partners) == 1 == names.count(words):
            table[index] = partners[0]
        elif names_side or find(words, _MAYBE_SIDE):
            table[index] = -1
    _log_table(list(classes), table)
    return table


def check_size(name, size):
    """Returns height and width of `size`; raises unless it is one or two positive integers."""
    pair = tuple(size) if isinstance(size, (tuple, list, np.ndarray)) else (size, size)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in pair)
    if len(pair) != 2 or not whole or min(pair) < 1:
        raise ValueError(
            f"`{name}` must be a positive number of pixels, or a pair (height, width) of them. "
            f"Received: {name}={size!r}. The published networks use 224."
        )
    return tuple(map(int, pair))


def _check_fits(clip, size):
    clip = tf.convert_to_tensor(clip)
    message = (
        "`size` must not exceed the frames. "
        f"Received: {size[0]} x {size[1]} pixels. Lower it, or raise `short_side`."
    )
    fits = tf.debugging.assert_greater_equal(tf.shape(clip)[1:3], list(size), message)
    with tf.control_dependencies([] if fits is None else [fits]):
        return tf.identity(clip)


def _words(name):
    """Words of a name in lower case, divided also where camel case divides them."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+", name)
    spaced = " ".join(words).lower()
    return tuple(re.sub(r"\b(counter|anti) ?clockwise\b", "counterclockwise", spaced).split())


def _log_table(classes, table):
    pairs = [f"{classes[i]!r} and {classes[j]!r}" for i, j in enumerate(table) if i < j]
    never = [repr(classes[i]) for i, j in enumerate(table) if j == -1]
    if pairs:
        _LOG.info("Mirrored clips exchange the labels of: %s.", "; ".join(pairs))
    if never:
        _LOG.warning(
            "Clips of these classes are never mirrored, as their names may tell left from right "
            "and no single class is their mirror image: %s. To change this, pass `flip` the class "
            "number that each of the %d classes becomes, or -1 for never.",
            ", ".join(never),
            len(classes),
        )


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
            "Pass `mirror_labels` the names of all classes."
        )
    return ~tf.reduce_any((label != 0) & never), tf.gather(label, after, axis=-1)


def _check_table(labels_after_flip):
    table = np.asarray(labels_after_flip, np.int32)
    index = np.arange(len(table))
    known = (table >= -1) & (table < len(table))
    if not np.all(known) or np.any((table >= 0) & (table[table] != index)):
        raise ValueError(
            "`labels_after_flip` must hold class numbers (or -1) that mirror each other in "
            f"pairs. Received: {table.tolist()}. Make it by `mirror_labels`."
        )
    return table

"""Mixup and CutMix for batches of clips and their labels.

Each clip is mixed with the one before it in the batch, the first with the last; a shuffled
dataset makes these random pairs. Mixed labels are probabilities, for
`"categorical_crossentropy"`, not for the sparse one.
"""

import tensorflow as tf

from keras_nonlocal.transforms.color import round_like
from keras_nonlocal.transforms.spatial import fold_in


def mixup(alpha, classes):
    """Makes each clip of a batch a weighted mean of two, and its label as well.

    Args:
        alpha: both parameters of the beta distribution from which each clip draws its weight.
            0.2 leaves most clips almost unchanged, 1 makes all weights equally likely.
        classes: number of classes.

    Returns:
        A function `(clips, labels, seed=None) -> (clips, labels)`. Clips `(batch, frames, height,
        width, channels)` keep their dtype. Class numbers `(batch,)`, or label vectors `(batch,
        classes)`, become float32 `(batch, classes)`.

    Raises:
        ValueError: if `alpha` is below 0.01, or labels do not fit `classes`.

    Example:

    ```python
    clips = training_clips(videos, "8x8", mix=mixup(0.8, classes=400))
    ```

    Reference:
        [mixup: Beyond Empirical Risk Minimization](https://arxiv.org/abs/1710.09412), figure 1.
    """
    _check_alpha("alpha", alpha)

    def apply(clips, labels, seed=None):
        clips = tf.convert_to_tensor(clips)
        weights = _beta(alpha, tf.shape(clips)[0], fold_in(seed, 0))
        # Broadcasting over two axes takes a fraction of the time that it takes over five.
        rows = tf.cast(tf.reshape(clips, [tf.shape(clips)[0], -1]), tf.float32)
        mixed = tf.reshape(round_like(_mix(rows, weights), clips), tf.shape(clips))
        return tf.ensure_shape(mixed, clips.shape), _mix(_shares(labels, classes), weights)

    return apply


def cutmix(alpha, classes):
    """Replaces a box in each clip of a batch by that of another clip, the same in all frames.

    Labels are mixed by the exact shares of the frame.

    Args:
        alpha: both parameters of the beta distribution from which each clip draws the share that
            it keeps. The center of the box is any pixel; the box is cut to the frame.
        classes: number of classes.

    Returns:
        A function `(clips, labels, seed=None) -> (clips, labels)`, as that of `mixup`.

    Raises:
        ValueError: if `alpha` is below 0.01, or labels do not fit `classes`.

    Reference:
        [CutMix](https://arxiv.org/abs/1905.04899), section 3.1 and appendix A.
    """
    _check_alpha("alpha", alpha)

    def apply(clips, labels, seed=None):
        clips = tf.convert_to_tensor(clips)
        seed = fold_in(seed, 0)
        batch, frame = tf.shape(clips)[0], tf.shape(clips)[2:4]
        sides = tf.cast(frame, tf.float32)
        cut = tf.sqrt(1 - _beta(alpha, batch, fold_in(seed, 0)))
        box = tf.cast(cut[:, None] * sides, tf.int32)
        draws = tf.random.stateless_uniform([batch, 2], fold_in(seed, 1))
        first = tf.cast(draws * sides, tf.int32) - box // 2
        start, end = tf.maximum(first, 0), tf.minimum(first + box, frame)
        area = tf.cast(tf.reduce_prod(end - start, axis=1), tf.float32)
        shares = 1 - area / tf.reduce_prod(sides)
        return _paste(clips, start, end), _mix(_shares(labels, classes), shares)

    return apply


def mixup_or_cutmix(classes, mixup_alpha=0.8, cutmix_alpha=1.0, mixup_share=0.5):
    """Applies `mixup` to some batches and `cutmix` to the others.

    Args:
        classes: number of classes.
        mixup_alpha: `alpha` of `mixup`.
        cutmix_alpha: `alpha` of `cutmix`.
        mixup_share: share of the batches to which mixup is applied.

    Returns:
        A function `(clips, labels, seed=None) -> (clips, labels)`, as that of `mixup`.

    Raises:
        ValueError: if an `alpha` is below 0.01, or labels do not fit `classes`.
    """
    _check_alpha("mixup_alpha", mixup_alpha)
    _check_alpha("cutmix_alpha", cutmix_alpha)
    mix, cut = mixup(mixup_alpha, classes), cutmix(cutmix_alpha, classes)

    def apply(clips, labels, seed=None):
        seed = fold_in(seed, 0)
        mixed = tf.random.stateless_uniform([], fold_in(seed, 0)) < mixup_share
        each = fold_in(seed, 1)
        return tf.cond(mixed, lambda: mix(clips, labels, each), lambda: cut(clips, labels, each))

    return apply


def _beta(alpha, number, seed):
    """Draws from Beta(alpha, alpha), as the share of one of two gamma-distributed numbers."""
    # Small parameters lead to numbers too small for float32.
    one, other = tf.unstack(tf.random.stateless_gamma([2, number], seed, alpha, dtype=tf.float64))
    return tf.cast(one / (one + other), tf.float32)


def _mix(rows, weights):
    """Weighted means of the rows of a matrix, each with the one before it."""
    others = tf.roll(rows, 1, axis=0)
    return others + weights[:, None] * (rows - others)


def _paste(clips, start, end):
    """Clips in which pixels from `start` to before `end` are those of the clip before."""
    shape = tf.shape(clips)
    # Rows with their channels in one axis, as broadcasting over one of three is slow.
    rows = tf.reshape(clips, [shape[0], shape[1], shape[2], -1])
    down, across = tf.range(shape[2]), tf.range(shape[3] * shape[4]) // shape[4]
    inside = (down >= start[:, :1]) & (down < end[:, :1])
    inside = inside[:, :, None] & ((across >= start[:, 1:]) & (across < end[:, 1:]))[:, None]
    pasted = tf.where(inside[:, None], tf.roll(rows, 1, axis=0), rows)
    return tf.ensure_shape(tf.reshape(pasted, shape), clips.shape)


def _shares(labels, classes):
    """Labels as float32 `(batch, classes)`."""
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 1:
        # `one_hot` would give a larger label no class.
        limit = tf.cast(classes, labels.dtype)
        message = f"`classes` must exceed every label. Received: classes={classes}. Raise it."
        with tf.control_dependencies([tf.debugging.assert_less(labels, limit, message)]):
            return tf.one_hot(labels, classes)
    if labels.shape.rank != 2 or labels.shape[1] != classes:
        raise ValueError(
            f"`labels` must be class numbers (batch,) or of shape (batch, {classes}). Received: "
            f"shape {tuple(labels.shape)}. Pass `classes` the number of classes of the labels."
        )
    return tf.cast(labels, tf.float32)


def _check_alpha(name, alpha):
    # Smaller numbers would underflow float64.
    if not alpha >= 0.01:
        raise ValueError(
            f"`{name}` must be at least 0.01. Received: {name}={alpha}. Common are 0.2 to 1; "
            "leave mixing out for 0."
        )

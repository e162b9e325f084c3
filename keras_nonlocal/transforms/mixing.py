"""Batches whose clips are mixed with one another, and their labels with them.

Each clip is mixed with the one before it in the batch, the first with the last; a dataset that
is shuffled makes this a random one. The mixed labels are shares, for a loss of probabilities
(`"categorical_crossentropy"`, not the sparse one).

`keras.layers.MixUp` and `CutMix` cannot be used: they take no clips, only images; they count
their draws, so that batches prepared several at a time differ from run to run under the same
seed; and the latter weighs labels by a box that is not quite the one it cuts.
"""

import tensorflow as tf

from keras_nonlocal.transforms.seeds import fold_in, seed_or_new


def mixup(alpha, classes):
    """Makes each clip of a batch a weighted mean of two, and its label as well.

    Args:
        alpha: both parameters of the beta distribution from which each clip draws its weight.
            0.2 leaves most clips almost as they are, 1 draws all weights alike.
        classes: number of classes.

    Returns:
        A function `(clips, labels, seed=None) -> (clips, labels)`: clips `(batch, frames,
        height, width, channels)` of any type become float32; class numbers `(batch,)`, or
        several labels each `(batch, classes)`, become float32 `(batch, classes)`.

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
        clips = tf.cast(clips, tf.float32)
        weights = _beta(alpha, tf.shape(clips)[0], seed_or_new(seed))
        # Over two axes, broadcasting takes a fraction of the time that it does over five.
        flat = tf.reshape(clips, [tf.shape(clips)[0], -1])
        mixed = tf.reshape(_mix(flat, weights), tf.shape(clips))
        return mixed, _mix(_shares(labels, classes), weights)

    return apply


def cutmix(alpha, classes):
    """Replaces a box in each clip of a batch by that of another clip, the same in all frames.

    Labels are mixed by the share of the frame that each clip keeps, exactly.

    Args:
        alpha: both parameters of the beta distribution from which each clip draws its share. The
            box lies around any pixel; what of it lies outside the frame is no part of it.
        classes: number of classes.

    Returns:
        A function `(clips, labels, seed=None) -> (clips, labels)`, as that of `mixup`; the clips
        keep their type.

    Raises:
        ValueError: if `alpha` is below 0.01, or labels do not fit `classes`.

    Reference:
        [CutMix](https://arxiv.org/abs/1905.04899), section 3.1 and appendix A.
    """
    _check_alpha("alpha", alpha)

    def apply(clips, labels, seed=None):
        seed = seed_or_new(seed)
        batch = tf.shape(clips)[0]
        frame = tf.shape(clips)[2:4]
        sides = tf.cast(frame, tf.float32)
        cut = tf.sqrt(1 - _beta(alpha, batch, fold_in(seed, 0)))
        box = tf.cast(cut[:, None] * sides, tf.int32)
        middle = tf.cast(
            tf.random.stateless_uniform([batch, 2], fold_in(seed, 1)) * sides, tf.int32
        )
        start = tf.maximum(middle - box // 2, 0)
        end = tf.minimum(middle - box // 2 + box, frame)
        area = tf.cast(tf.reduce_prod(end - start, axis=1), tf.float32)
        shares = 1 - area / tf.reduce_prod(sides)
        return _paste(clips, start, end), _mix(_shares(labels, classes), shares)

    return apply


def mixup_or_cutmix(classes, mixup_alpha=0.8, cutmix_alpha=1.0, mixup_share=0.5):
    """Does `mixup` to some batches and `cutmix` to the others.

    Args:
        classes: number of classes.
        mixup_alpha: see `mixup`.
        cutmix_alpha: see `cutmix`.
        mixup_share: share of the batches that are mixed up.

    Returns:
        A function `(clips, labels, seed=None) -> (clips, labels)`, as that of `mixup`.

    Raises:
        ValueError: if an `alpha` is below 0.01, or labels do not fit `classes`.
    """
    _check_alpha("mixup_alpha", mixup_alpha)
    _check_alpha("cutmix_alpha", cutmix_alpha)
    mix, cut = mixup(mixup_alpha, classes), cutmix(cutmix_alpha, classes)

    def apply(clips, labels, seed=None):
        seed = seed_or_new(seed)
        clips = tf.cast(clips, tf.float32)
        mixed = tf.random.stateless_uniform([], fold_in(seed, 0)) < mixup_share
        each = fold_in(seed, 1)
        return tf.cond(mixed, lambda: mix(clips, labels, each), lambda: cut(clips, labels, each))

    return apply


def _others(batch):
    return tf.roll(batch, 1, axis=0)


def _beta(alpha, number, seed):
    """Draws from Beta(alpha, alpha), as the share of one of two gamma-distributed numbers."""
    # Small parameters lead to numbers too small for float32.
    one, other = tf.unstack(tf.random.stateless_gamma([2, number], seed, alpha, dtype=tf.float64))
    return tf.cast(one / (one + other), tf.float32)


def _mix(rows, weights):
    """Weighted means of the rows of a matrix, each with the one before it."""
    others = _others(rows)
    return others + weights[:, None] * (rows - others)


def _paste(clips, start, end):
    """Clips in which pixels from `start` to before `end` are those of the clip before."""
    shape = tf.shape(clips)
    # Rows with their channels in one axis, for broadcasting over one of three is slow.
    rows = tf.reshape(clips, [shape[0], shape[1], shape[2], -1])
    down, across = tf.range(shape[2]), tf.range(shape[3] * shape[4]) // shape[4]
    inside = (down >= start[:, :1]) & (down < end[:, :1])
    inside = inside[:, :, None] & ((across >= start[:, 1:]) & (across < end[:, 1:]))[:, None]
    return tf.reshape(tf.where(inside[:, None], _others(rows), rows), shape)


def _shares(labels, classes):
    """Labels as float32 `(batch, classes)`."""
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 1:
        # `one_hot` would give a larger label no class at all.
        limit = tf.cast(classes, labels.dtype)
        message = f"`classes` must exceed every label. Received: classes={classes}. Raise it."
        with tf.control_dependencies([tf.debugging.assert_less(labels, limit, message)]):
            return tf.one_hot(labels, classes)
    if labels.shape.rank != 2 or labels.shape[1] != classes:
        raise ValueError(
            f"`labels` must be class numbers (batch,) or of shape (batch, {classes}). Received: "
            f"shape {tuple(labels.shape)}. Give `classes` the number of classes of the labels."
        )
    return tf.cast(labels, tf.float32)


def _check_alpha(name, alpha):
    # Of numbers too small for float64, no share can be told.
    if not alpha >= 0.01:
        raise ValueError(
            f"`{name}` must be at least 0.01. Received: {name}={alpha}. Common are 0.2 to 1; "
            "leave mixing out for none."
        )

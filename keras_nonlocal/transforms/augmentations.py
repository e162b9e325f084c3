"""RandAugment and random erasing, the same for all frames of a clip.

`keras.layers.RandAugment` and `RandomErasing` cannot be used: they draw for each frame, and
count their draws, so that clips prepared several at a time differ from run to run under the
same seed. The former also computes all of its operations each time, twenty times as long as the
few that it shows, and turns frames upside down; the latter knows no aspect.
"""

import functools
import math

import tensorflow as tf

from keras_nonlocal.transforms.byte_operations import OPERATIONS, to_bytes
from keras_nonlocal.transforms.seeds import fold_in, seed_or_new


def rand_augment(num_ops=2, magnitude=9):
    """Does some of fourteen operations to a whole clip, chosen at random, all equally strong.

    Histograms, means and extremes are those of the whole clip, so that frames do not flicker.

    Args:
        num_ops: how many operations, one after the other.
        magnitude: how strong, from 0 to 10. A strength that can go either way, such as that of
            a rotation, draws which.

    Returns:
        A function `(clip, seed=None) -> clip` of RGB in 0..255, of the type that came. The
        operations are those of bytes; other types are rounded to them.

    Raises:
        ValueError: if there are no operations, or the magnitude is not in 0..10.

    Reference:
        [RandAugment](https://arxiv.org/abs/1909.13719), section 3.
    """
    if num_ops < 1:
        raise ValueError(
            f"`num_ops` must be at least 1. Received: num_ops={num_ops}. "
            "Leave RandAugment out for none; 2 are common."
        )
    if not 0 <= magnitude <= 10:
        raise ValueError(
            f"`magnitude` must lie in 0..10. Received: magnitude={magnitude}. "
            "7 to 9 are common; where they are counted to 30, take a third."
        )

    def apply(clip, seed=None):
        clip = tf.convert_to_tensor(clip)
        seed = seed_or_new(seed)
        augmented = to_bytes(clip)
        for number in range(num_ops):
            draws = tf.random.stateless_uniform([2], fold_in(seed, number), 0, 2**31 - 1, tf.int32)
            sign = tf.cast(1 - 2 * (draws[0] % 2), tf.float32)
            augmented = _one_of_all(augmented, draws[1] % len(OPERATIONS), magnitude / 10, sign)
        return tf.cast(augmented, clip.dtype)

    return apply


def random_erasing(probability=0.25, area=(0.02, 1 / 3), aspect=(0.3, 1 / 0.3), fill="noise"):
    """Covers a random rectangle of some clips, the same in all their frames.

    Args:
        probability: share of the clips.
        area: smallest and greatest share of the frame that is covered.
        aspect: smallest and greatest height of the rectangle, as a multiple of its width; in
            between, doubling is as probable as halving. What does not fit is cut to the frame.
        fill: "noise", pixels drawn from 0..255, or "mean", the clip's mean colour.

    Returns:
        A function `(clip, seed=None) -> clip` of RGB in 0..255, of the type that came.

    Raises:
        ValueError: if a bound or `fill` is none of these.

    Reference:
        [Random Erasing Data Augmentation](https://arxiv.org/abs/1708.04896), algorithm 1.
    """
    _check_erasing(probability, area, aspect, fill)

    def apply(clip, seed=None):
        clip = tf.convert_to_tensor(clip)
        seed = seed_or_new(seed)
        draws = tf.random.stateless_uniform([5], fold_in(seed, 0))

        def erase():
            frame = tf.shape(clip)[1:3]
            sides = tf.cast(frame, tf.float32)
            covered = (area[0] + (area[1] - area[0]) * draws[1]) * sides[0] * sides[1]
            low, high = math.log(aspect[0]), math.log(aspect[1])
            ratio = tf.exp(low + (high - low) * draws[2])
            box = tf.cast(tf.round(tf.sqrt([covered * ratio, covered / ratio])), tf.int32)
            box = tf.clip_by_value(box, 1, frame)
            start = tf.cast(draws[3:] * tf.cast(frame - box + 1, tf.float32), tf.int32)
            shape = [1, *tf.unstack(box), clip.shape[3]]
            if fill == "noise":
                cover = tf.random.stateless_uniform(shape, fold_in(seed, 1), 0, 256, tf.int32)
            else:
                mean = tf.reduce_mean(tf.cast(clip, tf.float32), [0, 1, 2])
                cover = tf.broadcast_to(tf.round(mean), shape)
            return _cover(clip, start, tf.cast(cover, clip.dtype))

        return tf.ensure_shape(tf.cond(draws[0] < probability, erase, lambda: clip), clip.shape)

    return apply


def _one_of_all(clip, choice, strength, sign):
    # `switch_case` computes the chosen operation alone.
    branches = [functools.partial(operation, clip, strength, sign) for operation in OPERATIONS]
    return tf.ensure_shape(tf.switch_case(choice, branches), clip.shape)


def _cover(clip, start, cover):
    """Lays one picture `(1, height, width, channels)` over all frames."""
    (top, left), (bottom, right) = tf.unstack(start), tf.unstack(start + tf.shape(cover)[1:3])
    rows = clip[:, top:bottom]
    cover = tf.repeat(cover, tf.shape(clip)[0], axis=0)
    rows = tf.concat([rows[:, :, :left], cover, rows[:, :, right:]], axis=2)
    return tf.concat([clip[:, :top], rows, clip[:, bottom:]], axis=1)


def _check_erasing(probability, area, aspect, fill):
    if not 0 <= probability <= 1:
        raise ValueError(
            f"`probability` must lie in 0..1. Received: probability={probability}. 0.25 is common."
        )
    if not 0 < area[0] <= area[1] <= 1:
        raise ValueError(
            f"`area` must be two shares of the frame, the smaller first. Received: area={area}. "
            "(0.02, 1 / 3) is common."
        )
    if not 0 < aspect[0] <= aspect[1]:
        raise ValueError(
            "`aspect` must be two ratios of height to width, the smaller first. "
            f"Received: aspect={aspect}. (0.3, 1 / 0.3) is common."
        )
    if fill not in ("noise", "mean"):
        raise ValueError(
            f'`fill` must be "noise" or "mean". Received: fill={fill!r}. '
            'Published recipes take "noise".'
        )

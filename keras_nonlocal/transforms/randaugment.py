"""RandAugment and random erasing, with one draw per clip."""

import functools
import math

import numpy as np
import tensorflow as tf

from keras_nonlocal.transforms.spatial import fold_in

_GRAY = 128.0  # beyond the edges of the frame
_SMOOTHING = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def rand_augment(num_ops=2, magnitude=9):
    """RandAugment with one draw per clip.

    It applies operations drawn from fourteen, all at the same magnitude. Histograms, means and
    extremes are those of the whole clip, so that frames do not flicker.

    Args:
        num_ops: number of operations, applied one after the other.
        magnitude: strength of the operations, from 0 to 10. Where an operation has two
            directions, such as a rotation, one of them is drawn.

    Returns:
        A function `(clip, seed=None) -> clip` of RGB pixels in 0..255. The operations work on
        uint8; other pixels are rounded.

    Raises:
        ValueError: if `num_ops` is below 1, or `magnitude` not in 0..10.

    Reference:
        [RandAugment](https://arxiv.org/abs/1909.13719), section 3. The operations are those of
        [AutoAugment](https://arxiv.org/abs/1805.09501), table 6, without inversion, cutout and
        sample pairing.
    """
    if num_ops < 1:
        raise ValueError(
            f"`num_ops` must be at least 1. Received: num_ops={num_ops}. "
            "2 are common; leave RandAugment out for 0."
        )
    if not 0 <= magnitude <= 10:
        raise ValueError(
            f"`magnitude` must lie in 0..10. Received: magnitude={magnitude}. "
            "7 to 9 are common; divide by 3 what is counted to 30."
        )

    def apply(clip, seed=None):
        clip = tf.convert_to_tensor(clip)
        seed = fold_in(seed, 0)
        augmented = clip if clip.dtype == tf.uint8 else _to_bytes(tf.cast(clip, tf.float32))
        for index in range(num_ops):
            draws = tf.random.stateless_uniform([2], fold_in(seed, index), 0, 2**31 - 1, tf.int32)
            signed = magnitude / 10 * tf.cast(1 - 2 * (draws[0] % 2), tf.float32)
            # `switch_case` computes the drawn operation only.
            branches = [functools.partial(op, augmented, signed) for op in OPERATIONS]
            augmented = tf.switch_case(draws[1] % len(OPERATIONS), branches)
        return tf.ensure_shape(tf.cast(augmented, clip.dtype), clip.shape)

    return apply


def random_erasing(probability=0.25, area=(0.02, 1 / 3), aspect=(0.3, 1 / 0.3), fill="noise"):
    """Covers a random rectangle of some clips, the same in all their frames.

    Args:
        probability: share of the clips.
        area: smallest and greatest share of the frame that is covered.
        aspect: smallest and greatest ratio of the rectangle's height to its width, drawn on a
            logarithmic scale. A rectangle that does not fit is cut to the frame.
        fill: "noise", pixels drawn from 0..255, or "mean", the clip's mean color.

    Returns:
        A function `(clip, seed=None) -> clip` of RGB pixels in 0..255.

    Raises:
        ValueError: if a bound or `fill` is none of these.

    Reference:
        [Random Erasing Data Augmentation](https://arxiv.org/abs/1708.04896), algorithm 1.
    """
    for rule, kept, name, value, advice in (
        ("lie in 0..1", 0 <= probability <= 1, "probability", probability, "0.25 is common"),
        (
            "be two shares of the frame, the smaller first",
            0 < area[0] <= area[1] <= 1,
            "area",
            area,
            "(0.02, 1 / 3) is common",
        ),
        (
            "be two ratios of height to width, the smaller first",
            0 < aspect[0] <= aspect[1],
            "aspect",
            aspect,
            "(0.3, 1 / 0.3) is common",
        ),
        ('be "noise" or "mean"', fill in ("noise", "mean"), "fill", fill, 'Use "noise"'),
    ):
        if not kept:
            raise ValueError(f"`{name}` must {rule}. Received: {name}={value!r}. {advice}.")

    def apply(clip, seed=None):
        clip = tf.convert_to_tensor(clip)
        seed = fold_in(seed, 0)
        draws = tf.random.stateless_uniform([5], fold_in(seed, 0))

        def erase():
            frame = tf.shape(clip)[1:3]
            sides = tf.cast(frame, tf.float32)
            covered = (area[0] + (area[1] - area[0]) * draws[1]) * sides[0] * sides[1]
            ratio = aspect[0] * (aspect[1] / aspect[0]) ** draws[2]
            box = tf.cast(tf.round(tf.sqrt([covered * ratio, covered / ratio])), tf.int32)
            box = tf.clip_by_value(box, 1, frame)
            start = tf.cast(draws[3:] * tf.cast(frame - box + 1, tf.float32), tf.int32)
            if fill == "noise":
                shape = [*tf.unstack(box), 3]
                cover = tf.random.stateless_uniform(shape, fold_in(seed, 1), 0, 256, tf.int32)
            else:
                cover = tf.round(tf.reduce_mean(tf.cast(clip, tf.float32), [0, 1, 2]))
            return _cover(clip, *tf.unstack(start), *tf.unstack(box), tf.cast(cover, clip.dtype))

        return tf.ensure_shape(tf.cond(draws[0] < probability, erase, lambda: clip), clip.shape)

    return apply


def _cover(clip, top, left, height, width, cover):
    """Puts a clip, a picture or a color over a rectangle of all frames."""
    rows = clip[:, top : top + height]
    cover = tf.broadcast_to(cover, [tf.shape(clip)[0], height, width, 3])
    rows = tf.concat([rows[:, :, :left], cover, rows[:, :, left + width :]], axis=2)
    return tf.concat([clip[:, :top], rows, clip[:, top + height :]], axis=1)


# The operations take uint8 RGB clips and the signed strength, a float tensor in -1..1.


def identity(clip, signed):
    return clip


def auto_contrast(clip, signed):
    """Spreads each channel from black to white."""
    low, high = (
        tf.cast(reduce(clip, [0, 1, 2]), tf.float32) for reduce in (tf.reduce_min, tf.reduce_max)
    )
    levels = tf.range(256.0)[:, None]
    spread = (levels - low) * tf.math.divide_no_nan(255.0, high - low)
    return _look_up(clip, tf.where(high > low, spread, levels))


def equalize(clip, signed):
    """Gives each channel about as many pixels of every level."""
    counts = [tf.math.bincount(tf.cast(clip[..., c], tf.int32), minlength=256) for c in range(3)]
    counts = tf.stack(counts, axis=-1)
    below = tf.cumsum(counts, exclusive=True)
    # The brightest level that occurs does not count.
    step = tf.reduce_max(tf.where(counts > 0, below, 0), axis=0) // 255
    spread = (below + step // 2) // tf.maximum(step, 1)
    return _look_up(clip, tf.cast(tf.where(step > 0, spread, tf.range(256)[:, None]), tf.float32))


def rotate(clip, signed):
    """Rotates by up to 30 degrees around the center."""
    angle = math.radians(30) * signed
    height, width = tf.unstack(tf.cast(tf.shape(clip)[1:3], tf.float32))
    x, y, cos, sin = (width - 1) / 2, (height - 1) / 2, tf.cos(angle), tf.sin(angle)
    return _project(clip, [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y])


def solarize(clip, signed):
    """Inverts bright pixels: none at strength 0, all at 1."""
    bright = tf.cast(clip, tf.float32) >= 256 * (1 - tf.abs(signed))
    return tf.where(bright, 255 - clip, clip)


def posterize(clip, signed):
    """Keeps the upper bits of each pixel: 8 at strength 0, 4 at 1."""
    dropped = tf.cast(tf.round(4 * tf.abs(signed)), tf.uint8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(clip, dropped), dropped)


def contrast(clip, signed):
    """Moves pixels away from the mean luminance or towards it."""
    return _blend(clip, tf.round(tf.reduce_mean(_luminance(clip))), signed)


def brightness(clip, signed):
    """Moves pixels away from black or towards it."""
    return _blend(clip, 0.0, signed)


def color(clip, signed):
    """Moves pixels away from gray or towards it."""
    return _blend(clip, _luminance(clip), signed)


def sharpness(clip, signed):
    """Moves pixels away from smoothed frames or towards them; the outermost pixels stay."""
    kernel = np.tile(_SMOOTHING[..., None, None], (1, 1, 3, 1))
    inner = tf.nn.depthwise_conv2d(tf.cast(clip, tf.float32), kernel, [1, 1, 1, 1], "VALID")
    inner = _blend(clip[:, 1:-1, 1:-1], tf.round(inner), signed)
    return _cover(clip, 1, 1, *tf.unstack(tf.shape(clip)[1:3] - 2), inner)


def shear_x(clip, signed):
    """Shifts each row by up to 0.3 pixels more than the one above."""
    return _project(clip, [1.0, 0.3 * signed, 0.0, 0.0, 1.0, 0.0])


def shear_y(clip, signed):
    """Shifts each column by up to 0.3 pixels more than the one to its left."""
    return _project(clip, [1.0, 0.0, 0.0, 0.3 * signed, 1.0, 0.0])


def translate_x(clip, signed):
    """Shifts by up to 0.45 of the width."""
    width = tf.cast(tf.shape(clip)[2], tf.float32)
    return _project(clip, [1.0, 0.0, tf.round(0.45 * signed * width), 0.0, 1.0, 0.0])


def translate_y(clip, signed):
    """Shifts by up to 0.45 of the height."""
    height = tf.cast(tf.shape(clip)[1], tf.float32)
    return _project(clip, [1.0, 0.0, 0.0, 0.0, 1.0, tf.round(0.45 * signed * height)])


OPERATIONS = (
    identity,
    auto_contrast,
    equalize,
    rotate,
    solarize,
    posterize,
    contrast,
    brightness,
    color,
    sharpness,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)


def _to_bytes(values):
    return tf.saturate_cast(tf.round(values), tf.uint8)


def _luminance(clip):
    return tf.image.rgb_to_grayscale(tf.cast(clip, tf.float32))


def _blend(clip, other, signed):
    """Moves pixels away from those of another clip, by up to 0.9 of the distance."""
    pixels = tf.cast(clip, tf.float32)
    return _to_bytes(pixels + 0.9 * signed * (pixels - other))


def _look_up(clip, table):
    """Replaces each level by its row of a table `(256, 3)`."""
    return tf.gather(tf.reshape(_to_bytes(table), [-1]), 3 * tf.cast(clip, tf.int32) + tf.range(3))


def _project(clip, matrix):
    """Frames whose pixel (x, y) shows the old one at `matrix @ (x, y, 1)`, the nearest."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=clip,
        transforms=tf.stack([*matrix, 0.0, 0.0])[None],
        output_shape=tf.shape(clip)[1:3],
        fill_value=_GRAY,
        interpolation="NEAREST",
    )

"""The fourteen operations of RandAugment, on whole clips of bytes.

Each takes uint8 RGB `(frames, height, width, 3)`, a strength in 0..1 and a sign (a float tensor,
1 or -1, for what can go either way), and gives the same shape and type. Histograms, means and
extremes are those of the whole clip, so that frames do not flicker. How far strength 1 goes is
what public implementations of RandAugment agree on.

Reference:
    [RandAugment](https://arxiv.org/abs/1909.13719), section 3, and for what each of them is
    [AutoAugment](https://arxiv.org/abs/1805.09501), table 6.
"""

import math

import numpy as np
import tensorflow as tf

from keras_nonlocal.transforms.color import LUMINANCE

# What is shown where the frame has ended.
_GREY = 128.0
_SMOOTHING = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def identity(clip, strength, sign):
    return clip


def auto_contrast(clip, strength, sign):
    """Spreads each channel from black to white."""
    low = tf.cast(tf.reduce_min(clip, [0, 1, 2]), tf.float32)
    high = tf.cast(tf.reduce_max(clip, [0, 1, 2]), tf.float32)
    spread = (_levels() - low) * tf.math.divide_no_nan(255.0, high - low)
    return _look_up(clip, tf.where(high > low, spread, _levels()))


def equalize(clip, strength, sign):
    """Gives each channel about as many pixels of every level."""
    channels = tf.unstack(tf.cast(clip, tf.int32), num=3, axis=-1)
    counts = tf.stack([tf.math.bincount(part, minlength=256) for part in channels], axis=-1)
    below = tf.cumsum(counts, exclusive=True)
    # Nothing lies above the brightest level that occurs, so its pixels take no part.
    step = tf.reduce_max(tf.where(counts > 0, below, 0), axis=0) // 255
    spread = tf.cast((below + step // 2) // tf.maximum(step, 1), tf.float32)
    return _look_up(clip, tf.where(step > 0, spread, _levels()))


def rotate(clip, strength, sign):
    """By up to 30 degrees around the middle."""
    angle = math.radians(30) * strength * sign
    x, y = _middle(clip)
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _project(clip, [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y])


def solarize(clip, strength, sign):
    """Inverts what is not below a threshold: none of 0..255 at strength 0, all of it at 1."""
    levels = _levels()
    return _look_up(clip, tf.where(levels < 256 * (1 - strength), levels, 255 - levels))


def posterize(clip, strength, sign):
    """Keeps the upper bits of each level: 8 at strength 0, 4 at 1."""
    step = 2 ** round(4 * strength)
    return _look_up(clip, _levels() // step * step)


def contrast(clip, strength, sign):
    """Away from the mean luminance or towards it."""
    mean = tf.reduce_mean(tf.cast(clip, tf.float32), [0, 1, 2])
    mean = tf.round(tf.tensordot(mean, LUMINANCE, 1))
    return _look_up(clip, mean + (_levels() - mean) * _factor(strength, sign))


def brightness(clip, strength, sign):
    """Away from black or towards it."""
    return _look_up(clip, _levels() * _factor(strength, sign))


def color(clip, strength, sign):
    """Away from grey or towards it."""
    factor = _factor(strength, sign)
    grey = np.tile(np.float32(LUMINANCE)[:, None], 3)
    matrix = factor * np.eye(3, dtype=np.float32) + (1 - factor) * grey
    return to_bytes(tf.tensordot(tf.cast(clip, tf.float32), matrix, 1))


def sharpness(clip, strength, sign):
    """Away from smoothed frames or towards them; the outermost pixels stay."""
    frames = tf.cast(clip, tf.float32)
    kernel = np.tile(_SMOOTHING[..., None, None], (1, 1, 3, 1))
    smooth = tf.nn.depthwise_conv2d(frames, kernel, [1, 1, 1, 1], "VALID")
    # A smoothed frame is one of bytes, too.
    change = (frames[:, 1:-1, 1:-1] - tf.round(smooth)) * (_factor(strength, sign) - 1)
    return to_bytes(frames + tf.pad(change, [[0, 0], [1, 1], [1, 1], [0, 0]]))


def shear_x(clip, strength, sign):
    """By up to 0.3 of a pixel to the side for each pixel down."""
    return _project(clip, [1.0, 0.3 * strength * sign, 0.0, 0.0, 1.0, 0.0])


def shear_y(clip, strength, sign):
    """By up to 0.3 of a pixel up or down for each pixel to the side."""
    return _project(clip, [1.0, 0.0, 0.0, 0.3 * strength * sign, 1.0, 0.0])


def translate_x(clip, strength, sign):
    """By up to 0.45 of the width."""
    width = tf.cast(tf.shape(clip)[2], tf.float32)
    return _project(clip, [1.0, 0.0, tf.round(0.45 * strength * sign * width), 0.0, 1.0, 0.0])


def translate_y(clip, strength, sign):
    """By up to 0.45 of the height."""
    height = tf.cast(tf.shape(clip)[1], tf.float32)
    return _project(clip, [1.0, 0.0, 0.0, 0.0, 1.0, tf.round(0.45 * strength * sign * height)])


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


def to_bytes(values):
    """Rounds values and cuts them off at 0 and 255; bytes stay as they are."""
    if values.dtype == tf.uint8:
        return values
    return tf.saturate_cast(values if values.dtype.is_integer else tf.round(values), tf.uint8)


def _factor(strength, sign):
    return 1 + 0.9 * strength * sign


def _levels():
    """All values of a byte, for tables `(256, 1)` for all channels or `(256, 3)` for each."""
    return tf.range(256.0)[:, None]


def _look_up(clip, table):
    table = to_bytes(table)
    places = tf.cast(clip, tf.int32)
    if table.shape[1] == 3:
        places = 3 * places + tf.range(3)
    return tf.gather(tf.reshape(table, [-1]), places)


def _middle(clip):
    height, width = tf.unstack(tf.cast(tf.shape(clip)[1:3], tf.float32))
    return (width - 1) / 2, (height - 1) / 2


def _project(clip, matrix):
    """Frames whose pixel (x, y) shows the old one at `matrix @ (x, y, 1)`, the nearest."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=clip,
        transforms=tf.stack([*matrix, 0.0, 0.0])[None],
        output_shape=tf.shape(clip)[1:3],
        fill_value=_GREY,
        interpolation="NEAREST",
    )

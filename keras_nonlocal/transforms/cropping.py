"""How large the frames of a clip are, and which square of them the network sees.

`keras.layers.CenterCrop` and `RandomCrop` cannot be used: they turn bytes to floats first,
enlarge what is too small without a word, and either refuse frames of unknown size or forget
the size of the crop.
"""

import tensorflow as tf

from keras_nonlocal.transforms.seeds import seed_or_new


def short_sides_of(crop):
    """Gives the sizes between which the short side is drawn before a crop in training.

    The smaller one is that of testing.

    Args:
        crop: side of the square that the network sees, in pixels.

    Returns:
        Two numbers of pixels.

    Example:

    >>> short_sides_of(224)
    (256, 320)

    Reference:
        [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), section 4.1.
    """
    return round(crop * 256 / 224), round(crop * 320 / 224)


def resize_short_side(size):
    """Resizes clips so that the shorter of height and width becomes `size` pixels (bilinear).

    A clip that has this size already, as the decoder can give it, is returned untouched.

    Args:
        size: pixels.

    Returns:
        A function `(clip, seed=None) -> clip` of the type that came; bytes are rounded.
    """
    _check_positive("size", size)
    return lambda clip, seed=None: _resize_short_side(clip, size)


def random_short_side(minimum, maximum):
    """Resizes clips so that their short side is drawn from `[minimum, maximum]`: scale jitter.

    Args:
        minimum: pixels.
        maximum: pixels, included.

    Returns:
        A function `(clip, seed=None) -> clip` of the type that came; bytes are rounded.

    Reference:
        [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), section 4.1: 224 x 224
        pixels cropped from a video whose short side is drawn from [256, 320].
    """
    _check_positive("minimum", minimum)
    if maximum < minimum:
        raise ValueError(
            f"`maximum` must not be below `minimum` ({minimum}). Received: maximum={maximum}. "
            "Give the smaller size first."
        )

    def apply(clip, seed=None):
        seed = seed_or_new(seed)
        size = tf.random.stateless_uniform([], seed, minimum, maximum + 1, tf.int32)
        return _resize_short_side(clip, size)

    return apply


def random_crop(size):
    """Cuts the same random square out of all frames of a clip.

    Args:
        size: side of the square in pixels.

    Returns:
        A function `(clip, seed=None) -> clip`.
    """
    _check_positive("size", size)

    def apply(clip, seed=None):
        room = tf.shape(clip)[1:3] - _check_fits(clip, size) + 1
        place = tf.random.stateless_uniform([2], seed_or_new(seed), 0, 2**31 - 1, tf.int32) % room
        return _cut(clip, place[0], place[1], size)

    return apply


def center_crop(size):
    """Cuts the square in the middle out of all frames of a clip.

    Args:
        size: side of the square in pixels.

    Returns:
        A function `(clip, seed=None) -> clip`.
    """
    _check_positive("size", size)

    def apply(clip, seed=None):
        room = tf.shape(clip)[1:3] - _check_fits(clip, size)
        return _cut(clip, room[0] // 2, room[1] // 2, size)

    return apply


def three_crops(size):
    """Cuts three squares out of a clip, along its longer side: first end, middle, other end.

    Args:
        size: side of the squares in pixels.

    Returns:
        A function from a clip to three of them, `(3, frames, size, size, channels)`.

    Reference:
        [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), section 4.1, Inference.
    """
    _check_positive("size", size)

    def apply(clip, seed=None):
        room = tf.shape(clip)[1:3] - _check_fits(clip, size)
        middle = room // 2
        # The shorter side keeps its middle, also where the crop is smaller than it.
        along = tf.cast([room[0] > room[1], room[0] <= room[1]], tf.int32)
        # Equal steps, as the authors' reader and MMAction2 take: a last odd pixel stays outside.
        ends = (middle - along * middle, middle, middle + along * middle)
        return tf.stack([_cut(clip, end[0], end[1], size) for end in ends])

    return apply


def _resize_short_side(clip, size):
    clip = tf.convert_to_tensor(clip)
    height, width = clip.shape[1:3]
    if height is None or width is None:
        height, width = tf.unstack(tf.shape(clip)[1:3])
        short = tf.minimum(height, width)
    else:
        short = min(height, width)
    sides = [(side * size + short // 2) // short for side in (height, width)]

    def resize():
        # Floats resize in two thirds of the time that bytes take.
        resized = tf.image.resize(tf.cast(clip, tf.float32), sides)
        return tf.cast(tf.round(resized) if clip.dtype.is_integer else resized, clip.dtype)

    fits = short == size
    if isinstance(fits, bool):
        return clip if fits else resize()
    return tf.cond(fits, lambda: clip, resize)


def _cut(clip, top, left, size):
    clip = clip[:, top : top + size, left : left + size]
    return tf.ensure_shape(clip, (clip.shape[0], size, size, clip.shape[3]))


def _check_fits(clip, size):
    """Returns `size`, once it is known to fit into the clip's frames."""
    short = tf.reduce_min(tf.shape(clip)[1:3])
    message = "`crop` must not exceed the resized short side. Lower `crop` or raise `short_side`."
    with tf.control_dependencies([tf.debugging.assert_less_equal(size, short, message)]):
        return tf.identity(size)


def _check_positive(name, value):
    if value < 1:
        raise ValueError(
            f"`{name}` must be a positive number of pixels. Received: {name}={value}. "
            "The published networks take crops of 224 out of a short side of 256."
        )

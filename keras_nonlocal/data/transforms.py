"""What is done to a clip between decoder and network, as TensorFlow operations.

Each factory returns a function from a clip `(frames, height, width, channels)` to a clip. The
random ones draw once a clip and do the same to all its frames, for motion is what a clip is
about. They take a second argument `seed`, two integers: the same seed gives the same clip, which
is how `clip_dataset` stays reproducible with many clips in preparation at a time. Without it
they draw anew.
"""

import tensorflow as tf

from keras_nonlocal import preprocessing


def compose(*transforms):
    """Chains transforms into one; a seed is divided among them.

    Args:
        *transforms: functions made by this module's factories, in the order of their work.

    Returns:
        A function `(clip, seed=None) -> clip`.

    Example:

    ```python
    prepare = compose(resize_short_side(256), center_crop(224), normalize())
    prepare(clip).shape  # (8, 224, 224, 3)
    ```
    """

    def apply(clip, seed=None):
        for number, transform in enumerate(transforms):
            clip = transform(clip, None if seed is None else _fold_in(seed, number))
        return clip

    return apply


def resize_short_side(size):
    """Resizes clips so that the shorter of height and width becomes `size` pixels (bilinear).

    Args:
        size: pixels.

    Returns:
        A function `(clip, seed=None) -> clip` of float32.
    """
    _check_positive("size", size)
    return lambda clip, seed=None: _resize_short_side(clip, size)


def random_short_side(minimum, maximum):
    """Resizes clips so that their short side is drawn from `[minimum, maximum]`: scale jitter.

    Args:
        minimum: pixels.
        maximum: pixels, included.

    Returns:
        A function `(clip, seed=None) -> clip` of float32.

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
        size = tf.random.stateless_uniform([], _seed(seed), minimum, maximum + 1, tf.int32)
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
        place = tf.random.stateless_uniform([2], _seed(seed), 0, 2**31 - 1, tf.int32) % room
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
        ends = (middle - along * middle, middle, middle + along * (room - middle))
        return tf.stack([_cut(clip, end[0], end[1], size) for end in ends])

    return apply


def random_flip(labels_after_flip=None, probability=0.5):
    """Mirrors clips left to right, and with them the labels that name a side.

    Args:
        labels_after_flip: sequence whose entry `i` is the class that a clip of class `i` shows
            in the mirror, for "moves left" and its like; see `mirror_labels`. `None` leaves
            labels as they are.
        probability: share of the clips to mirror.

    Returns:
        A function `(clip, label, seed=None) -> (clip, label)`.
    """
    table = None if labels_after_flip is None else tf.constant(labels_after_flip, tf.int32)

    def apply(clip, label, seed=None):
        mirrored = tf.random.stateless_uniform([], _seed(seed)) < probability
        clip = tf.cond(mirrored, lambda: tf.reverse(clip, [-2]), lambda: clip)
        if table is not None:
            label = tf.where(mirrored, tf.cast(tf.gather(table, label), label.dtype), label)
        return clip, label

    return apply


def mirror_labels(classes, swap=("left", "right")):
    """Tells which class each class becomes in a mirror, by the words in their names.

    Args:
        classes: class names.
        swap: two words that change places.

    Returns:
        A list of class numbers, for `random_flip(labels_after_flip=...)`.

    Raises:
        ValueError: if the mirrored name of a class is no class.

    Example:

    >>> mirror_labels(["pan_left", "pan_right", "zoom_in"])
    [1, 0, 2]
    """
    one, other = swap
    mirrored = []
    for name in classes:
        # "\0" holds the place of the first word while the second takes it.
        new = name.replace(one, "\0").replace(other, one).replace("\0", other)
        if new not in classes:
            raise ValueError(
                f"`classes` must hold the mirror image of each of them. Received: {name!r} "
                f"without {new!r}. Add it, or train without flips."
            )
        mirrored.append(list(classes).index(new))
    return mirrored


def random_color(brightness=0.2, contrast=0.2, saturation=0.2):
    """Changes brightness, contrast and saturation of a whole clip a little.

    Args:
        brightness: greatest change, as a share of 255.
        contrast: greatest change of the distances from the clip's mean colour, as a share.
        saturation: greatest change of the distances from grey, as a share.

    Returns:
        A function `(clip, seed=None) -> clip` of float32 in 0..255.
    """

    def apply(clip, seed=None):
        clip = tf.cast(clip, tf.float32)
        draws = tf.random.stateless_uniform([3], _seed(seed), -1.0, 1.0)
        grey = tf.reduce_mean(clip, axis=-1, keepdims=True)
        clip = grey + (clip - grey) * (1.0 + saturation * draws[0])
        mean = tf.reduce_mean(clip, axis=[0, 1, 2], keepdims=True)
        clip = mean + (clip - mean) * (1.0 + contrast * draws[1]) + 255.0 * brightness * draws[2]
        return tf.clip_by_value(clip, 0.0, 255.0)

    return apply


def normalize(source="video-nonlocal-net"):
    """Gives clips the range in which a source's networks were trained.

    Args:
        source: whose mean and standard deviation; see `preprocess_input`.

    Returns:
        A function from RGB in 0..255 of any type to float32; further axes in front of the
        clip's are welcome.

    Raises:
        ValueError: if the source is unknown.
    """
    facts = preprocessing.normalization_of(source)

    def apply(clip, seed=None):
        clip = tf.cast(clip, tf.float32)
        if facts.reverse:
            clip = tf.reverse(clip, [-1])
        return (clip - facts.mean) / facts.deviation

    return apply


def _resize_short_side(clip, size):
    shape = tf.cast(tf.shape(clip)[1:3], tf.float32)
    new = tf.round(shape * (tf.cast(size, tf.float32) / tf.reduce_min(shape)))
    return tf.image.resize(clip, tf.cast(new, tf.int32))


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


def _seed(seed):
    if seed is None:
        return tf.random.uniform([2], 0, 2**31 - 1, tf.int32)
    return seed


def _fold_in(seed, number):
    return tf.random.experimental.stateless_fold_in(tf.convert_to_tensor(seed, tf.int64), number)

"""Random changes of the colors of a clip."""

import tensorflow as tf

from keras_nonlocal.transforms.spatial import fold_in


def random_color(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.0):
    """Changes brightness, contrast, saturation and hue of a clip, all frames alike.

    The changes are those of `tf.image`, in this order. Contrast is relative to the means of the
    whole clip, so that frames do not flicker.

    Args:
        brightness: greatest shift of the pixels, as a share of their range.
        contrast: greatest change of the distances from the mean of each channel, as a share.
        saturation: greatest change of the saturation, as a share.
        hue: greatest turn of the hue, as a share of a full turn.

    Returns:
        A function `(clip, seed=None) -> clip` of RGB pixels in 0..255.

    Raises:
        ValueError: if a change is not in 0..1, or a turn not in 0..0.5.
    """
    changes = {
        "brightness": (tf.image.stateless_random_brightness, (brightness,)),
        "contrast": (tf.image.stateless_random_contrast, (1 - contrast, 1 + contrast)),
        "saturation": (tf.image.stateless_random_saturation, (1 - saturation, 1 + saturation)),
        "hue": (tf.image.stateless_random_hue, (hue,)),
    }
    values = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    for name, value in values.items():
        limit = 0.5 if name == "hue" else 1
        if not 0 <= value <= limit:
            raise ValueError(
                f"`{name}` must lie in 0..{limit}. Received: {name}={value}. "
                "Common are changes by 0.2 to 0.4, and turns by 0.1 at most."
            )

    def apply(clip, seed=None):
        clip = tf.convert_to_tensor(clip)
        seed = fold_in(seed, 0)
        # All frames as one tall image, which has one mean.
        image = tf.reshape(tf.cast(clip, tf.float32) / 255, [-1, tf.shape(clip)[2], 3])
        for index, (name, (change, bounds)) in enumerate(changes.items()):
            if values[name]:
                image = tf.clip_by_value(change(image, *bounds, fold_in(seed, index)), 0, 1)
        changed = tf.reshape(round_like(image * 255, clip), tf.shape(clip))
        return tf.ensure_shape(changed, clip.shape)

    return apply


def round_like(values, clip):
    """Returns float pixels in the dtype of `clip`, rounded if it is an integer type."""
    return tf.cast(tf.round(values) if clip.dtype.is_integer else values, clip.dtype)

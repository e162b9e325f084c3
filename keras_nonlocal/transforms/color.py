"""Random changes of the colors of a clip.

Keras' colour layers cannot be used: they draw for each frame, and count their draws, so that
clips prepared several at a time differ from run to run under the same seed.
"""

import math

import numpy as np
import tensorflow as tf

from keras_nonlocal.transforms.seeds import seed_or_new

# What red, green and blue add to the luminance (ITU-R BT.601).
LUMINANCE = (0.299, 0.587, 0.114)
# Luminance, and two axes of colour around it, in which a hue is an angle.
_YIQ = np.array([LUMINANCE, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], np.float32)


def random_color(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.0):
    """Changes brightness, contrast, saturation and hue of a whole clip a little.

    All four are one matrix for each clip, so that they cost hardly more than one. Only their
    result is cut off at black and white.

    Args:
        brightness: greatest change of the pixels, as a share of them.
        contrast: greatest change of the distances from the clip's mean luminance, as a share.
        saturation: greatest change of the distances from grey, as a share.
        hue: greatest turn of the colours around grey, as a share of a full turn.

    Returns:
        A function `(clip, seed=None) -> clip` of float32 in 0..255.

    Raises:
        ValueError: if a change is not in 0..1, or a turn not in 0..0.5.
    """
    for name, value, limit in (
        ("brightness", brightness, 1),
        ("contrast", contrast, 1),
        ("saturation", saturation, 1),
        ("hue", hue, 0.5),
    ):
        if not 0 <= value <= limit:
            raise ValueError(
                f"`{name}` must lie in 0..{limit}. Received: {name}={value}. "
                "Common are changes by 0.2 to 0.4, and turns by 0.1 at most."
            )
    inverse = np.linalg.inv(_YIQ)

    def apply(clip, seed=None):
        clip = tf.cast(clip, tf.float32)
        draws = tf.random.stateless_uniform([4], seed_or_new(seed), -1.0, 1.0)
        bright, far, pure = tf.unstack(1.0 + draws[:3] * [brightness, contrast, saturation])
        turn = 2 * math.pi * hue * draws[3]
        cos, sin = pure * tf.cos(turn), pure * tf.sin(turn)
        turned = inverse @ tf.stack([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]]) @ _YIQ
        mean = tf.tensordot(tf.reduce_mean(clip, [0, 1, 2]), LUMINANCE, 1)
        # Grey is the same before and after the matrix, so the mean needs none.
        clip = tf.tensordot(clip, bright * far * tf.transpose(turned), 1)
        return tf.clip_by_value(clip + bright * (1.0 - far) * mean, 0.0, 255.0)

    return apply

"""Clips of pixels, for what works on decoded ones."""

import numpy as np
import tensorflow as tf


def still_clip(frames=4, height=24, width=32, dtype="float32"):
    """A clip whose frames are all alike, and no two of whose pixels are (as floats)."""
    frame = np.arange(height * width * 3, dtype=np.float32).reshape(height, width, 3)
    return np.stack([frame / frame.max() * 200] * frames).astype(dtype)


def noise_clip(frames=3, height=24, width=32, dtype="uint8"):
    """A clip in which nothing is like anything else."""
    pixels = np.random.default_rng(7).integers(0, 256, (frames, height, width, 3))
    return pixels.astype(dtype)


def of_unknown_size(clip, count=1):
    """A dataset of one clip, time and again, that does not tell height and width."""
    spec = tf.TensorSpec((len(clip), None, None, clip.shape[-1]), clip.dtype)
    return tf.data.Dataset.from_generator(lambda: [clip] * count, output_signature=spec)

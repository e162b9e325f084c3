"""Convolutions over space and time as 2-D convolutions that read stacked frames as channels."""

import keras
import numpy as np
from keras import ops


def needs_lowering(layer):
    """Whether a layer is a convolution of ours that its own 2-D paths do not cover."""
    if not isinstance(layer, keras.layers.Conv3D) or layer.get_config()["padding"] != "symmetric":
        return False
    over_space = layer.kernel_size[0] == 1 and layer.strides[0] == 1
    over_time = layer.kernel_size[1:] == (1, 1) and layer.strides[1:] == (1, 1)
    return not (over_space or over_time)


def make_convolution(config):
    """Gives the `keras.layers.Conv2D` for the configuration of a 3-D convolution."""
    return keras.layers.Conv2D(
        config["filters"],
        tuple(config["kernel_size"][1:]),
        strides=tuple(config["strides"][1:]),
        use_bias=config["use_bias"],
        activation=config["activation"],
        data_format="channels_last",
        dtype=config["dtype"],
        name=config["name"],
    )


def stack_weights(weights):
    """Gives its weights: (kt, kh, kw, in, out) as (kh, kw, kt * in, out), a bias as it is."""
    kernel, *bias = weights
    _, height, width, _, filters = kernel.shape
    return [np.moveaxis(kernel, 0, 2).reshape(height, width, -1, filters), *bias]


def convolve(convolution, original, clips):
    """Applies it to clips as the 3-D convolution would be.

    Args:
        convolution: what `make_convolution` gives.
        original: the 3-D convolution.
        clips: Keras tensor of known sizes.

    Returns:
        Keras tensor, that of the original.
    """
    span, step = original.kernel_size[0], original.strides[0]
    halves = [(size // 2, size // 2) for size in original.kernel_size]
    clips = ops.pad(clips, [(0, 0), *halves, (0, 0)])
    _, frames, height, width, channels = clips.shape
    length = (frames - span) // step + 1
    stop = (length - 1) * step + 1
    shifted = [clips[:, first : first + stop : step] for first in range(span)]
    images = shifted[0] if span == 1 else ops.concatenate(shifted, axis=-1)
    images = convolution(ops.reshape(images, (-1, height, width, span * channels)))
    return ops.reshape(images, (-1, length, *images.shape[1:]))

"""3-D convolutions and pools in two dimensions: over stacked frames, and over places in turn."""

import keras
import numpy as np
from keras import ops

from keras_nonlocal.exporting.graph import is_one_of

_POOLS = {
    keras.layers.MaxPooling3D: (keras.layers.MaxPooling2D, ops.max_pool),
    keras.layers.AveragePooling3D: (keras.layers.AveragePooling2D, ops.average_pool),
}


def needs_lowering(layer):
    """Whether a layer is a 3-D convolution or pool that does not run in two dimensions already."""
    if not is_one_of(layer, (keras.layers.Conv3D, *_POOLS)):
        return False
    config = layer.get_config()
    if isinstance(layer, tuple(_POOLS)):
        # Ours without padding runs in two dimensions already.
        return layer.data_format == "channels_last" and layer.padding != (0, 0, 0)
    if config["padding"] == "symmetric":
        # Ours, whose own 2-D paths cover kernels over space alone and over time alone.
        over_space = layer.kernel_size[0] == 1 and layer.strides[0] == 1
        over_time = layer.kernel_size[1:] == (1, 1) and layer.strides[1:] == (1, 1)
        return not (over_space or over_time)
    return layer.groups == 1 and layer.data_format == "channels_last"


def make_layer(layer, config):
    """Gives the 2-D layer that stands in for a 3-D one.

    Args:
        layer: of which `needs_lowering` is true.
        config: its configuration, as the copy is to have it.

    Returns:
        A Keras layer of the same name: a convolution over stacked frames, or the part of a pool
        that goes over space; for our padded pools, the same without padding.
    """
    if isinstance(layer, tuple(_POOLS)):
        if not isinstance(layer.padding, str):
            return type(layer).from_config({**config, "padding": 0})
        kind, _ = _kind_of(layer)
        return kind(
            layer.pool_size[1:],
            layer.strides[1:],
            padding=config["padding"],
            data_format="channels_last",
            dtype=config["dtype"],
            name=config["name"],
        )
    return keras.layers.Conv2D(
        config["filters"],
        tuple(config["kernel_size"][1:]),
        strides=tuple(config["strides"][1:]),
        dilation_rate=tuple(config["dilation_rate"][1:]),
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


def call(copy, original, clips):
    """Does to clips what the 3-D layer would.

    Args:
        copy: what `make_layer` gives.
        original: the 3-D layer.
        clips: Keras tensor of known sizes.

    Returns:
        Keras tensor, that of the original.
    """
    if isinstance(original, tuple(_POOLS)):
        if not isinstance(original.padding, str):
            return copy(_repeat_ends(clips, original.padding))
        return _pool(copy, original, clips)
    return _convolve(copy, original, clips)


def _convolve(convolution, original, clips):
    span, step, rate = (
        sizes[0] for sizes in (original.kernel_size, original.strides, original.dilation_rate)
    )
    clips = ops.pad(clips, [(0, 0), *_padding_of(original, clips.shape[1:4]), (0, 0)])
    _, frames, height, width, channels = clips.shape
    length = (frames - (span - 1) * rate - 1) // step + 1
    stop = (length - 1) * step + 1
    shifted = [clips[:, first * rate : first * rate + stop : step] for first in range(span)]
    images = shifted[0] if span == 1 else ops.concatenate(shifted, axis=-1)
    images = convolution(ops.reshape(images, (-1, height, width, span * channels)))
    return ops.reshape(images, (-1, length, *images.shape[1:]))


def _padding_of(layer, sizes):
    """How much each axis is padded, before and behind."""
    padding = layer.get_config()["padding"]
    if padding == "symmetric":
        return [(size // 2, size // 2) for size in layer.kernel_size]
    if padding == "valid":
        return [(0, 0)] * 3
    pads = []
    for size, kernel, stride, rate in zip(
        sizes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        # TensorFlow's "same": as little as gives ceil(size / stride), the odd one behind.
        missing = (-(-size // stride) - 1) * stride + (kernel - 1) * rate + 1 - size
        pads.append((max(missing, 0) // 2, max(missing, 0) - max(missing, 0) // 2))
    return pads


def _repeat_ends(clips, padding):
    """Pads with the first and the last position of each axis.

    A maximum does not change: a window that reaches beyond an end holds the position there too.
    Our pools pad with minus infinity, of which 8 bits would make the range of all their values.
    """
    for axis, count in enumerate(padding, start=1):
        if count:
            before = (slice(None),) * axis
            first, last = clips[(*before, slice(1))], clips[(*before, slice(-1, None))]
            clips = ops.concatenate([first] * count + [clips] + [last] * count, axis)
    return clips


def _pool(over_space, original, clips):
    _, frames, height, width, channels = clips.shape
    images = over_space(ops.reshape(clips, (-1, height, width, channels)))
    _, height, width, _ = images.shape
    places = ops.reshape(images, (-1, frames, height * width, channels))
    _, pool = _kind_of(original)
    size, stride = (original.pool_size[0], 1), (original.strides[0], 1)
    # What is padded takes part in no maximum and no mean, so the axes follow each other here too.
    places = pool(places, size, stride, original.padding, "channels_last")
    return ops.reshape(places, (-1, places.shape[1], height, width, channels))


def _kind_of(layer):
    return next(how for kind, how in _POOLS.items() if isinstance(layer, kind))

"""Max-pooling of clips, and sliding-window average pooling for the fully-convolutional head."""

import keras
from keras import ops

from keras_nonlocal.layers.backend import cast_inputs, check_choice, check_positive_int, check_sizes


def max_pool(x, pool_size, strides=None):
    """Max-pools a channels-last tensor of one to three axes without padding.

    A maximum over a box is the maximum over time of the maxima over space. So clips need 2-D
    pooling only, which is faster on the CPU and exists where 3-D pooling does not.

    Args:
        x: tensor of shape `(batch, ..., channels)`.
        pool_size: one int per axis between batch and channels.
        strides: likewise; `None`: those of `pool_size`.
    """
    strides = pool_size if strides is None else strides
    if len(pool_size) < 3:
        if any(size != 1 for size in (*pool_size, *strides)):
            x = ops.max_pool(x, pool_size, strides, "valid", "channels_last")
        return x
    if any(size != 1 for size in (*pool_size[1:], *strides[1:])):
        _, frames, *sizes = ops.shape(x)
        x = max_pool(ops.reshape(x, (-1, *sizes)), pool_size[1:], strides[1:])
        x = ops.reshape(x, (-1, frames, *ops.shape(x)[1:]))
    if (pool_size[0], strides[0]) != (1, 1):
        _, frames, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (-1, frames, height * width, channels))
        x = ops.max_pool(x, (pool_size[0], 1), (strides[0], 1), "valid", "channels_last")
        x = ops.reshape(x, (-1, ops.shape(x)[1], height, width, channels))
    return x


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class MaxPooling3D(keras.layers.MaxPooling3D):
    """Max-pooling of clips with explicit padding, which no maximum includes.

    Args:
        pool_size: int or `(frames, height, width)`.
        strides: int or `(frames, height, width)`.
        padding: int or `(frames, height, width)`: positions added at both ends of each axis,
            fewer than `pool_size`.
        data_format: `"channels_last"`, the only choice, whatever
            `keras.config.image_data_format()` is.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, frames, height, width, channels)`.

    Output shape:
        `(batch, *pooled sizes, channels)`; a pooled size is
        `(size + 2 * padding - pool_size) // stride + 1`.

    Raises:
        ValueError: if the pool is larger than the padded input, or not larger than `padding`.
    """

    def __init__(
        self, pool_size, strides, padding=(0, 0, 0), data_format="channels_last", **kwargs
    ):
        super().__init__(
            check_sizes("pool_size", pool_size, 3),
            check_sizes("strides", strides, 3),
            data_format=data_format,
            **kwargs,
        )
        check_choice("data_format", self.data_format, ("channels_last",))
        self.padding = check_sizes("padding", padding, 3, least=0)
        if any(p >= size for p, size in zip(self.padding, self.pool_size, strict=True)):
            raise ValueError(
                "`padding` must be smaller than `pool_size` on each axis, as a pool of padding "
                f"alone has no maximum. Received: padding={self.padding}, "
                f"pool_size={self.pool_size}. Lower `padding`."
            )

    def call(self, inputs):
        inputs = cast_inputs(self, inputs)
        if any(self.padding):
            halves = [(size, size) for size in self.padding]
            inputs = ops.pad(inputs, [(0, 0), *halves, (0, 0)], constant_values=float("-inf"))
        return max_pool(inputs, self.pool_size, self.strides)

    def compute_output_shape(self, input_shape):
        sizes = []
        for axis, (size, pool, stride, padding) in enumerate(
            zip(input_shape[1:4], self.pool_size, self.strides, self.padding, strict=True)
        ):
            if size is not None and size + 2 * padding < pool:
                name = ("frames", "height", "width")[axis]
                raise ValueError(
                    f"`pool_size` must not exceed the input. Received: pool_size={self.pool_size} "
                    f"for an input of shape {tuple(input_shape)} in layer '{self.name}', which "
                    f"has {size} on the axis of {name}. Pass larger clips."
                )
            sizes.append(None if size is None else (size + 2 * padding - pool) // stride + 1)
        return (input_shape[0], *sizes, input_shape[-1])


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class SlidingWindowAveragePooling(keras.layers.Layer):
    """Averages all frames, and space within a window that slides with stride 1.

    The head of fully-convolutional testing: at the training size the window covers the whole map
    and this is global average pooling. A larger map gives one vector per window position.

    Args:
        window: height and width of the window. A smaller map is averaged as a whole; `None`
            averages any map as a whole.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, frames, height, width, channels)`; sizes may be unknown.

    Output shape:
        `(batch, max(height - window, 0) + 1, max(width - window, 0) + 1, channels)`;
        `(batch, 1, 1, channels)` without a window.

    Reference:
        - Section 4 of [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), "Inference".
    """

    def __init__(self, window=7, **kwargs):
        super().__init__(**kwargs)
        self.window = None if window is None else check_positive_int("window", window)
        self.input_spec = keras.layers.InputSpec(ndim=5)
        # There are no variables to build.
        self.built = True

    def call(self, inputs):
        # Half precision cannot hold the sums.
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        images = ops.mean(ops.cast(inputs, dtype), axis=1)
        return ops.cast(self._average(images), self.compute_dtype)

    def _average(self, images):
        if self.window is None:
            return ops.mean(images, axis=(1, 2), keepdims=True)
        _, height, width, _ = images.shape
        if height is None or width is None:
            return self._slide(self._slide(images, axis=1), axis=2)
        if height <= self.window and width <= self.window:
            return ops.mean(images, axis=(1, 2), keepdims=True)
        size = (min(self.window, height), min(self.window, width))
        return ops.average_pool(images, size, 1, "valid", "channels_last")

    def _slide(self, images, axis):
        """Returns the moving average along an axis of unknown size, from running sums."""
        size = ops.shape(images)[axis]
        window = ops.minimum(size, self.window)
        sums = ops.cumsum(images, axis=axis)
        sums = ops.pad(sums, [(1, 0) if i == axis else (0, 0) for i in range(4)])
        index = ops.arange(size - window + 1)
        difference = ops.take(sums, index + window, axis=axis) - ops.take(sums, index, axis=axis)
        return difference / ops.cast(window, images.dtype)

    def compute_output_shape(self, input_shape):
        batch, _, height, width, channels = input_shape
        if self.window is None:
            return (batch, 1, 1, channels)
        sizes = [None if n is None else max(n - self.window, 0) + 1 for n in (height, width)]
        return (batch, *sizes, channels)

    def get_config(self):
        return {**super().get_config(), "window": self.window}

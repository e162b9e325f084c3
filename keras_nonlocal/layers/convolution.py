"""3-D convolution with the padding of the published networks, run as 2-D where it can be."""

import keras
from keras import ops

from keras_nonlocal.layers.arguments import cast_inputs, check_positive_int, check_sizes
from keras_nonlocal.layers.gradients import convolve_over_time

_FUSED = (keras.activations.relu, keras.activations.relu6)


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class Conv3D(keras.layers.Conv3D):
    """3-D convolution that pads alike on both sides.

    Keras' `padding="same"` puts the odd zero of a strided convolution at the far end; PyTorch
    and Caffe2 pad both ends alike, and no published weight survives the difference. This layer
    pads `kernel_size // 2` at both ends of each axis. Kernels that span only space, or only
    time, run as the 2-D convolution that they are: as fast forward as the 3-D one, and with
    kernels on devices that lack those. Over time, training takes a faster gradient.

    Args:
        filters: number of output channels.
        kernel_size: int or `(frames, height, width)`, each odd.
        strides: int or `(frames, height, width)`.
        use_bias: `False` by default, as a norm follows nearly every convolution here.
        padding: `"symmetric"`, the only choice; `keras.layers.Conv3D` has the others.
        data_format: `"channels_last"`, the only choice, whatever
            `keras.config.image_data_format()` is.
        **kwargs: further arguments of `keras.layers.Conv3D`, such as `kernel_initializer`.

    Input shape:
        `(batch, frames, height, width, channels)`; sizes may be unknown.

    Output shape:
        `(batch, ceil(frames / stride), ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: on even kernel sizes, groups, dilation, channels first, another `padding`.

    Example:

    >>> conv = keras_nonlocal.layers.Conv3D(16, (3, 1, 1))
    >>> conv(np.ones((1, 4, 8, 8, 3), "float32")).shape
    TensorShape([1, 4, 8, 8, 16])
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=(1, 1, 1),
        use_bias=False,
        padding="symmetric",
        data_format="channels_last",
        **kwargs,
    ):
        super().__init__(
            check_positive_int("filters", filters),
            check_sizes("kernel_size", kernel_size, 3),
            strides=check_sizes("strides", strides, 3),
            padding="valid",
            data_format=data_format,
            use_bias=use_bias,
            **kwargs,
        )
        if padding != "symmetric":
            raise ValueError(
                f"`padding` must be 'symmetric'. Received: padding={padding!r}. Use "
                "keras.layers.Conv3D for other paddings."
            )
        self.padding = padding
        if any(size % 2 == 0 for size in self.kernel_size):
            raise ValueError(
                "`kernel_size` must be odd on each axis, so that both ends can be padded alike. "
                f"Received: kernel_size={self.kernel_size}. Use keras.layers.Conv3D for even ones."
            )
        if self.groups != 1 or any(rate != 1 for rate in self.dilation_rate):
            raise ValueError(
                "`groups` and `dilation_rate` must be 1. Received: "
                f"groups={self.groups}, dilation_rate={self.dilation_rate}. "
                "Use keras.layers.Conv3D for grouped or dilated convolutions."
            )
        if self.data_format != "channels_last":
            raise ValueError(
                "`data_format` must be 'channels_last'. Received: "
                f"data_format={self.data_format!r}. Pass data_format='channels_last'."
            )

    def call(self, inputs, training=None):
        x, padding = cast_inputs(self, inputs), "same"
        if any(stride != 1 for stride in self.strides):
            # "same" is symmetric at stride 1 alone, where it saves this copy.
            halves = [(size // 2, size // 2) for size in self.kernel_size]
            if any(half != (0, 0) for half in halves):
                x = ops.pad(x, [(0, 0), *halves, (0, 0)])
            padding = "valid"
        outputs = self._convolve(x, padding, training)
        if self.activation in (None, *_FUSED):
            return outputs
        return self.activation(outputs)

    def _convolve(self, x, padding, training):
        _, frames, height, width, channels = ops.shape(x)
        kernel = ops.convert_to_tensor(self.kernel)
        over_time, *over_space = self.kernel_size
        if over_space == [1, 1] and self.strides[1:] == (1, 1):
            places = ops.reshape(x, (-1, frames, height * width, channels))
            kernel = ops.reshape(kernel, (over_time, 1, channels, self.filters))
            if training and self.strides[0] == 1 and keras.backend.backend() == "tensorflow":
                places = convolve_over_time(places, kernel)
            else:
                strides = (self.strides[0], 1)
                places = ops.conv(places, kernel, strides, padding, "channels_last")
            frames = ops.shape(places)[1]
            places = self._finish(places)
            return ops.reshape(places, (-1, frames, height, width, self.filters))
        if over_time == 1 and self.strides[0] == 1:
            images = ops.reshape(x, (-1, height, width, channels))
            kernel = ops.reshape(kernel, (*over_space, channels, self.filters))
            images = self._finish(
                ops.conv(images, kernel, self.strides[1:], padding, "channels_last")
            )
            return ops.reshape(images, (-1, frames, *ops.shape(images)[1:]))
        return self._finish(ops.conv(x, kernel, self.strides, padding, "channels_last"))

    def _finish(self, outputs):
        """Does at once what kernels can do while they write: before any other axes are made."""
        if self.use_bias:
            outputs = ops.add(outputs, self.bias)
        return self.activation(outputs) if self.activation in _FUSED else outputs

    def compute_output_shape(self, input_shape):
        sizes = [
            None if size is None else -(-size // stride)
            for size, stride in zip(input_shape[1:4], self.strides, strict=True)
        ]
        return (input_shape[0], *sizes, self.filters)

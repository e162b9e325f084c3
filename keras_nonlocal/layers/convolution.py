"""3-D convolution with the padding of the published networks, run as 2-D where it can be."""

import keras
from keras import ops

from keras_nonlocal.layers.backend import cast_inputs, check_positive_int, check_sizes

_FUSED = (keras.activations.relu, keras.activations.relu6)


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class Conv3D(keras.layers.Conv3D):
    """3-D convolution that pads alike on both sides.

    Keras' `padding="same"` puts the odd zero of a strided convolution at the far end. PyTorch
    and Caffe2 pad both ends alike, so published weights give wrong results with `"same"`. This
    layer pads `kernel_size // 2` at both ends of each axis. Kernels that span only space, or only
    time, run as 2-D convolutions. Kernels over time have a faster gradient in training.

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
        self.padding = padding
        for name, holds, rule in (
            ("padding", padding == "symmetric", "be 'symmetric'"),
            ("data_format", self.data_format == "channels_last", "be 'channels_last'"),
            ("kernel_size", all(n % 2 for n in self.kernel_size), "be odd on each axis"),
            ("groups", self.groups == 1, "be 1"),
            ("dilation_rate", all(n == 1 for n in self.dilation_rate), "be 1"),
        ):
            if not holds:
                raise ValueError(
                    f"`{name}` must {rule}. Received: {name}={getattr(self, name)!r}. Use "
                    "keras.layers.Conv3D for other convolutions."
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
        return outputs if self.activation in (None, *_FUSED) else self.activation(outputs)

    def _convolve(self, x, padding, training):
        _, frames, height, width, channels = ops.shape(x)
        kernel = ops.convert_to_tensor(self.kernel)
        over_time, *over_space = self.kernel_size
        if over_space == [1, 1] and self.strides[1:] == (1, 1):
            x = ops.reshape(x, (-1, frames, height * width, channels))
            kernel = ops.reshape(kernel, (over_time, 1, channels, self.filters))
            if training and self.strides[0] == 1 and keras.backend.backend() == "tensorflow":
                x = _convolve_over_time(x, kernel)
            else:
                x = ops.conv(x, kernel, (self.strides[0], 1), padding, "channels_last")
            frames = ops.shape(x)[1]
            return ops.reshape(self._finish(x), (-1, frames, height, width, self.filters))
        if over_time == 1 and self.strides[0] == 1:
            images = ops.reshape(x, (-1, height, width, channels))
            kernel = ops.reshape(kernel, (*over_space, channels, self.filters))
            images = ops.conv(images, kernel, self.strides[1:], padding, "channels_last")
            images = self._finish(images)
            return ops.reshape(images, (-1, frames, *ops.shape(images)[1:]))
        return self._finish(ops.conv(x, kernel, self.strides, padding, "channels_last"))

    def _finish(self, outputs):
        """Adds bias and activation before the last reshape, so that kernels fuse them."""
        if self.use_bias:
            outputs = ops.add(outputs, self.bias)
        return self.activation(outputs) if self.activation in _FUSED else outputs

    def compute_output_shape(self, input_shape):
        sizes = [
            None if size is None else -(-size // stride)
            for size, stride in zip(input_shape[1:4], self.strides, strict=True)
        ]
        return (input_shape[0], *sizes, self.filters)


def _convolve_over_time(x, kernel):
    """Convolves over time at stride 1, with a kernel gradient made of matrix products.

    TensorFlow's CPU kernels take 1.5 to 2.5 times as long for the gradient of such a kernel as
    for the convolution itself. One product of inputs and upstream gradients for each frame of
    the kernel takes no longer than its share of the convolution, and skips the padding.

    Args:
        x: TensorFlow tensor (batch, frames, positions, channels).
        kernel: (span, 1, channels, filters), its span odd.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(x, kernel):
        span, _, channels, filters = kernel.shape

        def gradient(upstream):
            d_x = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(x), 1, "SAME")
            frames = tf.shape(x)[1]
            products = []
            for shift in range(-(span // 2), span // 2 + 1):
                # The frames that this frame of the kernel connects, if the clip has them.
                length = tf.maximum(frames - abs(shift), 0)
                first, target = max(shift, 0), max(-shift, 0)
                seen = tf.reshape(x[:, first : first + length], (-1, channels))
                reached = tf.reshape(upstream[:, target : target + length], (-1, filters))
                products.append(tf.matmul(seen, reached, transpose_a=True))
            return d_x, tf.reshape(tf.stack(products), kernel.shape)

        return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient

    return convolve(x, kernel)

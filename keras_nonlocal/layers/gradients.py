"""A faster gradient for kernels that span no space, on TensorFlow."""


def convolve_over_time(x, kernel):
    """Convolves over time at stride 1, with a kernel gradient made of matrix products.

    TensorFlow's CPU kernels take 1.5 to 2.5 times as long for the gradient of such a kernel as
    for the convolution itself. One product of inputs and upstream gradients for each frame of
    the kernel takes no longer than its share of the convolution, and skips the padding.

    Args:
        x: TensorFlow tensor (batch, frames, places, channels).
        kernel: (span, 1, channels, filters), its span odd.

    Returns:
        Tensor (batch, frames, places, filters), frames beyond the ends counting as zeros.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(x, kernel):
        span, _, channels, filters = kernel.shape

        def gradient(upstream):
            d_x = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x),
                filter=kernel,
                out_backprop=upstream,
                strides=[1, 1, 1, 1],
                padding="SAME",
            )
            frames = tf.shape(x)[1]
            products = []
            for shift in range(-(span // 2), span // 2 + 1):
                # The input frames that this frame of the kernel meets, and their output frames:
                # none where the kernel reaches beyond the clip.
                length = tf.maximum(frames - abs(shift), 0)
                first, target = max(shift, 0), max(-shift, 0)
                seen = x[:, first : first + length]
                answers = upstream[:, target : target + length]
                products.append(
                    tf.matmul(
                        tf.reshape(seen, (-1, channels)),
                        tf.reshape(answers, (-1, filters)),
                        transpose_a=True,
                    )
                )
            return d_x, tf.reshape(tf.stack(products), kernel.shape)

        return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient

    return convolve(x, kernel)

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.layers import Conv3D
from tests.subjects import example, fill

KERNELS = ((1, 1, 1), (3, 1, 1), (1, 3, 3), (3, 3, 3), (5, 7, 7), (1, 7, 7), (5, 1, 1))
STRIDES = ((1, 1, 1), (1, 2, 2), (2, 1, 1), (2, 2, 2))
SIZES = ((4, 6, 8), (5, 7, 9))


def convolve(x, kernel, strides):
    """Convolution as a sum over the kernel's places, zeros alike on both sides."""
    halves = [(size // 2, size // 2) for size in kernel.shape[:3]]
    x = np.pad(x, [(0, 0), *halves, (0, 0)])
    counts = [
        (size - length) // stride + 1
        for size, length, stride in zip(x.shape[1:4], kernel.shape, strides, strict=False)
    ]
    y = 0
    for t, i, j in itertools.product(*map(range, kernel.shape[:3])):
        box = [
            slice(first, first + (count - 1) * stride + 1, stride)
            for first, count, stride in zip((t, i, j), counts, strides, strict=True)
        ]
        y = y + x[:, box[0], box[1], box[2]] @ kernel[t, i, j]
    return y


@pytest.mark.parametrize("strides", STRIDES, ids=str)
@pytest.mark.parametrize("kernel_size", KERNELS, ids=str)
def test_convolution_pads_alike_on_both_sides(kernel_size, strides):
    layer = Conv3D(4, kernel_size, strides, use_bias=True, activation="relu", dtype="float64")
    layer.build((None, None, None, None, 3))
    fill(layer)
    for sizes in SIZES:
        x = example((*sizes, 3), dtype="float64")
        expected = convolve(x, layer.kernel.numpy(), strides) + layer.bias.numpy()
        np.testing.assert_allclose(layer(x), np.maximum(expected, 0), rtol=0, atol=1e-12)
        assert layer.compute_output_shape(x.shape) == expected.shape


@pytest.mark.parametrize("frames", (1, 2, 4))
@pytest.mark.parametrize("kernel_size", (*KERNELS, (9, 1, 1)), ids=str)
def test_gradients_are_those_of_a_plain_convolution(kernel_size, frames):
    layer = Conv3D(4, kernel_size, dtype="float64")
    layer.build((None, frames, 6, 7, 3))
    fill(layer)
    x = tf.constant(example((frames, 6, 7, 3), dtype="float64"))
    cotangent = np.random.default_rng(2).standard_normal((2, frames, 6, 7, 4))
    results = []
    for convolve in (
        lambda x: layer(x, training=True),
        lambda x: tf.nn.conv3d(x, layer.kernel.value, [1] * 5, "SAME"),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = convolve(x)
            loss = tf.reduce_sum(y * cotangent)
        results.append([y, *tape.gradient(loss, [x, layer.kernel.value])])
    for ours, plain in zip(*results, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-11)


@pytest.mark.parametrize("policy", ("bfloat16", "float16"))
@pytest.mark.parametrize("kernel_size", ((3, 1, 1), (1, 3, 3), (3, 3, 3)), ids=str)
def test_gradients_of_half_precision_are_near_those_of_float32(kernel_size, policy):
    half = Conv3D(4, kernel_size, use_bias=True, dtype=policy)
    half.build((None, 4, 6, 7, 3))
    fill(half)
    single = Conv3D(4, kernel_size, use_bias=True)
    single.build((None, 4, 6, 7, 3))
    single.set_weights([np.float32(w) for w in half.get_weights()])
    x = tf.cast(example((4, 6, 7, 3)), policy)
    cotangent = tf.cast(np.random.default_rng(2).standard_normal((2, 4, 6, 7, 4)), policy)
    results = []
    for layer in (half, single):
        with tf.GradientTape() as tape:
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.cast(y, "float32") * tf.cast(cotangent, "float32"))
        results.append([y, *tape.gradient(loss, [w.value for w in layer.trainable_variables])])
    for ours, plain in zip(*results, strict=True):
        assert ours.dtype == policy
        atol = 0.03 * np.abs(plain).max()
        np.testing.assert_allclose(tf.cast(ours, "float32"), plain, rtol=0, atol=atol)


def test_config_says_how_it_pads():
    layer = Conv3D(4, 3)
    assert layer.padding == layer.get_config()["padding"] == "symmetric"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kernel_size": (2, 3, 3)}, r"`kernel_size` must be odd.*\(2, 3, 3\)"),
        ({"kernel_size": 3, "padding": "same"}, "`padding` must be 'symmetric'"),
        ({"kernel_size": 3, "groups": 2}, "`groups` must be 1.*groups=2"),
        ({"kernel_size": 3, "dilation_rate": 2}, r"`dilation_rate` must be 1.*\(2, 2, 2\)"),
        ({"kernel_size": 3, "data_format": "channels_first"}, "must be 'channels_last'"),
    ],
)
def test_what_cannot_be_padded_alike_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Conv3D(4, **arguments)

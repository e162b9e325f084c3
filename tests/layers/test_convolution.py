import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.layers import Conv3D, MaxPooling3D, SlidingAverage
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


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("strides", STRIDES, ids=str)
@pytest.mark.parametrize("kernel_size", KERNELS, ids=str)
def test_convolution_pads_alike_on_both_sides(kernel_size, strides, sizes):
    layer = Conv3D(4, kernel_size, strides, use_bias=True, activation="relu", dtype="float64")
    layer.build((None, *sizes, 3))
    fill(layer)
    x = example((*sizes, 3), dtype="float64")
    expected = convolve(x, layer.kernel.numpy(), strides) + layer.bias.numpy()
    np.testing.assert_allclose(layer(x), np.maximum(expected, 0), rtol=0, atol=1e-12)
    assert layer.compute_output_shape(x.shape) == expected.shape


@pytest.mark.parametrize("frames", (1, 2, 4))
@pytest.mark.parametrize("kernel_size", KERNELS, ids=str)
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kernel_size": (2, 3, 3)}, r"`kernel_size` must be odd.*\(2, 3, 3\)"),
        ({"kernel_size": 3, "padding": "same"}, "`padding` must be 'symmetric'"),
        ({"kernel_size": 3, "groups": 2}, "`groups` and `dilation_rate` must be 1"),
        ({"kernel_size": 3, "dilation_rate": 2}, "`groups` and `dilation_rate` must be 1"),
        ({"kernel_size": 3, "data_format": "channels_first"}, "must be 'channels_last'"),
    ],
)
def test_what_cannot_be_padded_alike_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Conv3D(4, **arguments)


@pytest.mark.parametrize(
    ("pool_size", "strides"), [((1, 3, 3), (1, 2, 2)), ((2, 3, 3), (2, 2, 2)), ((2, 1, 1),) * 2]
)
def test_pooling_agrees_with_keras(pool_size, strides):
    x = example((6, 9, 8, 3))
    ours = MaxPooling3D(pool_size, strides)(x)
    np.testing.assert_array_equal(ours, keras.layers.MaxPooling3D(pool_size, strides)(x))


def test_pooling_pads_both_ends():
    x = example((2, 6, 6, 3))
    ours = MaxPooling3D((1, 3, 3), (1, 2, 2), padding=(0, 1, 1))(x)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)])
    np.testing.assert_array_equal(ours, keras.layers.MaxPooling3D((1, 3, 3), (1, 2, 2))(padded))


def test_pool_larger_than_the_clip_is_refused():
    with pytest.raises(ValueError, match="`pool_size` must not exceed.*1 on the axis of frames"):
        MaxPooling3D((2, 1, 1), (2, 1, 1))(keras.Input((1, 8, 8, 3)))


@pytest.mark.parametrize("sizes", ((7, 7), (3, 5), (8, 10), (9, 4)), ids=str)
@pytest.mark.parametrize("known", (True, False), ids=("known", "unknown"))
def test_sliding_average_is_the_mean_of_each_window(sizes, known):
    x = example((2, *sizes, 3))
    height, width = (min(size, 7) for size in sizes)
    expected = [
        [
            x[:, :, i : i + height, j : j + width].mean(axis=(1, 2, 3))
            for j in range(sizes[1] - width + 1)
        ]
        for i in range(sizes[0] - height + 1)
    ]
    inputs = keras.Input((2, *sizes, 3) if known else (None, None, None, 3))
    model = keras.Model(inputs, SlidingAverage(7)(inputs))
    actual = model.predict(x, verbose=0)
    np.testing.assert_allclose(actual, np.moveaxis(expected, 2, 0), rtol=1e-5, atol=1e-6)

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.layers import MaxPooling3D, SlidingWindowAveragePooling
from tests.subjects import example


@pytest.mark.parametrize(
    ("pool_size", "strides"), [((1, 3, 3), (1, 2, 2)), ((2, 3, 3), (2, 2, 2)), ((2, 1, 1),) * 2]
)
def test_pooling_agrees_with_keras(pool_size, strides):
    x = example((6, 9, 8, 3))
    ours = MaxPooling3D(pool_size, strides)(x)
    np.testing.assert_array_equal(ours, keras.layers.MaxPooling3D(pool_size, strides)(x))


def pool(x, pool_size, strides, padding):
    """Maxima and, for each, where in `x` it is, over the positions that lie within."""
    sizes = [
        (n + 2 * p - k) // s + 1
        for n, k, s, p in zip(x.shape[1:4], pool_size, strides, padding, strict=True)
    ]
    maxima = np.empty((x.shape[0], *sizes, x.shape[4]), x.dtype)
    positions = np.empty(maxima.shape, object)
    for index in np.ndindex(maxima.shape):
        first = [i * s - p for i, s, p in zip(index[1:4], strides, padding, strict=True)]
        box = [range(max(f, 0), f + k) for f, k in zip(first, pool_size, strict=True)]
        inside = [
            (index[0], *place, index[4])
            for place in itertools.product(*box)
            if all(i < n for i, n in zip(place, x.shape[1:4], strict=True))
        ]
        positions[index] = max(inside, key=x.__getitem__)
        maxima[index] = x[positions[index]]
    return maxima, positions


PADDED = (
    ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ((2, 3, 4), (1, 3, 2), (1, 2, 3)),
    ((5, 1, 2), (2, 1, 2), (4, 0, 1)),
)
DTYPES = ("float32", "float64", "bfloat16", "float16")


@pytest.mark.parametrize(
    ("arguments", "dtype", "jit"),
    [(a, d, False) for a in PADDED for d in DTYPES] + [(PADDED[2], "float32", True)],
)
def test_padding_takes_part_in_no_maximum_and_no_gradient(arguments, dtype, jit):
    # All different, the largest below zero, and exact in half precision.
    random = np.random.default_rng(3)
    x = -(1 + random.permutation(2 * 2 * 6 * 5 * 2).reshape(2, 2, 6, 5, 2)) / 256
    maxima, positions = pool(x, *arguments)
    cotangent = random.integers(-8, 9, maxima.shape)
    slopes = np.zeros(x.shape)
    for index in np.ndindex(maxima.shape):
        slopes[positions[index]] += cotangent[index]
    layer = MaxPooling3D(*arguments, dtype=dtype)

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(y * tf.cast(cotangent, dtype))
        return y, tape.gradient(loss, x)

    y, slope = (tf.function(run, jit_compile=True) if jit else run)(tf.constant(x, dtype))
    assert y.dtype == dtype
    np.testing.assert_array_equal(tf.cast(y, "float64"), maxima)
    np.testing.assert_array_equal(tf.cast(slope, "float64"), slopes)


def test_windows_of_padding_alone_are_refused():
    with pytest.raises(
        ValueError, match=r"`padding` must be smaller.*\(0, 1, 3\).*Lower `padding`"
    ):
        MaxPooling3D(3, 2, (0, 1, 3))


def test_channels_first_is_refused():
    with pytest.raises(ValueError, match="`data_format` must be .*'channels_last'"):
        MaxPooling3D(2, 2, data_format="channels_first")


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
    model = keras.Model(inputs, SlidingWindowAveragePooling(7)(inputs))
    actual = model.predict(x, verbose=0)
    np.testing.assert_allclose(actual, np.moveaxis(expected, 2, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("known", (True, False), ids=("known", "unknown"))
def test_sliding_average_sums_half_precision_in_float32(known):
    x = tf.cast(example((40, 40, 9, 3)), "bfloat16")
    layer = SlidingWindowAveragePooling(7, dtype="bfloat16")
    shape = x.shape if known else (None, None, None, None, 3)
    y = tf.function(layer, input_signature=[tf.TensorSpec(shape, "bfloat16")])(x)
    assert y.dtype == "bfloat16"
    exact = SlidingWindowAveragePooling(7, dtype="float64")(x)
    # Rounded once.
    np.testing.assert_allclose(tf.cast(y, "float64"), exact, rtol=2**-8)

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal import layers
from keras_nonlocal.layers.backend import cast_inputs, check_sizes


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (np.int64(2), 2),
        (np.array([1, 2, 3]), (1, 2, 3)),
        ([np.int32(1), 2, np.uint8(3)], (1, 2, 3)),
        (tf.TensorShape([1, 2, 3]), (1, 2, 3)),
    ],
    ids=("none", "numpy_integer", "array", "mixed", "tensor_shape"),
)
def test_pool_size_becomes_plain_ints(value, expected):
    sizes = layers.NonLocal3D(pool_size=value).pool_size
    assert sizes == expected
    assert type(sizes) is type(expected)
    assert all(type(size) is int for size in (sizes if isinstance(sizes, tuple) else ()))


@pytest.mark.parametrize(
    "value",
    (True, 0, -1, 2.0, "123", (1, 2), (1, 2, True), (1, 2, 0), (1, None, 2), tf.TensorShape(None)),
    ids=str,
)
def test_other_sizes_are_refused(value):
    with pytest.raises(ValueError, match="`pool_size` must be .*Received: pool_size="):
        layers.NonLocal3D(pool_size=value)


def test_one_integer_counts_for_all_axes():
    assert check_sizes("padding", np.int64(0), 3, least=0) == (0, 0, 0)


@pytest.mark.parametrize("dtype", ("bool", "uint8", "int64"))
@pytest.mark.parametrize("policy", ("float32", "mixed_bfloat16", "float64"))
def test_integers_are_cast_to_the_compute_dtype(policy, dtype):
    layer = keras.layers.Identity(dtype=policy)
    cast = cast_inputs(layer, tf.cast([[0, 1], [1, 1]], dtype))
    assert cast.dtype == layer.compute_dtype
    np.testing.assert_array_equal(tf.cast(cast, "float32"), [[0, 1], [1, 1]])


def test_floats_are_not_cast():
    inputs = tf.ones((2, 2), "float64")
    assert cast_inputs(keras.layers.Identity(), inputs) is inputs


WITH_INTEGERS = {
    "convolution": lambda: layers.Conv3D(5, 3, 2),
    "convolution_over_time": lambda: layers.Conv3D(5, (3, 1, 1)),
    "batch_normalization": lambda: layers.BatchNormalization(),
    "max_pooling": lambda: layers.MaxPooling3D((2, 3, 3), 2, (0, 1, 1)),
    "sliding_average": lambda: layers.SlidingWindowAveragePooling(3),
    "dropout": lambda: layers.Dropout(0.3, seed=1),
}


@pytest.mark.parametrize("dtype", ("uint8", "int64"))
@pytest.mark.parametrize("name", WITH_INTEGERS)
def test_layers_take_integers(name, dtype):
    x = np.random.default_rng(0).integers(0, 256, (2, 4, 8, 8, 6)).astype(dtype)
    layer = WITH_INTEGERS[name]()
    inputs = keras.Input(x.shape[1:], dtype=dtype)
    model = keras.Model(inputs, layer(inputs))
    assert model.output.dtype == "float32"
    expected = layer(x.astype("float32"))
    for y in (layer(x), model(x)):
        assert y.dtype == "float32"
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("name", WITH_INTEGERS)
def test_layers_are_built_and_take_masks_as_those_of_keras(name):
    layer = WITH_INTEGERS[name]()
    # Keras has no sliding average, but other poolings.
    theirs = {
        layers.Conv3D: lambda: keras.layers.Conv3D(5, 3),
        layers.BatchNormalization: keras.layers.BatchNormalization,
        layers.MaxPooling3D: keras.layers.MaxPooling3D,
        layers.SlidingWindowAveragePooling: lambda: keras.layers.AveragePooling3D(2),
        layers.Dropout: lambda: keras.layers.Dropout(0.3),
    }[type(layer)]()
    assert layer.built == theirs.built
    assert layer.supports_masking == theirs.supports_masking


@pytest.mark.parametrize(
    "make",
    (
        lambda n: layers.Conv3D(n(5), n(3), n(2)),
        lambda n: layers.Conv3D(n(5), (n(3), n(1), n(1)), [n(1), n(2), n(2)]),
        lambda n: layers.MaxPooling3D(n(3), n(2), n(1)),
        lambda n: layers.MaxPooling3D((n(1), n(3), n(3)), [n(2)] * 3, (n(0), n(1), n(1))),
        lambda n: layers.SlidingWindowAveragePooling(n(3)),
    ),
    ids=("convolution", "convolution_sizes", "max_pooling", "max_pooling_sizes", "average"),
)
def test_configs_hold_plain_ints(make):
    config = make(np.int64).get_config()
    del config["name"]
    expected = make(int).get_config()
    del expected["name"]
    assert json.loads(json.dumps(config)) == json.loads(json.dumps(expected))


@pytest.mark.parametrize(
    ("make", "message"),
    (
        (lambda: layers.Conv3D(0, 3), "`filters` must be a positive integer.*filters=0"),
        (lambda: layers.Conv3D(4.5, 3), "`filters` must be a positive integer.*filters=4.5"),
        (lambda: layers.Conv3D(4, (3, 3)), r"`kernel_size` must be .*kernel_size=\(3, 3\)"),
        (lambda: layers.Conv3D(4, 3, 0), "`strides` must be .*strides=0"),
        (lambda: layers.MaxPooling3D(2, (1, 2)), r"`strides` must be .*strides=\(1, 2\)"),
        (lambda: layers.MaxPooling3D(2, 2, -1), "`padding` must be .*padding=-1"),
        (
            lambda: layers.SlidingWindowAveragePooling(True),
            "`window` must be a positive integer.*True",
        ),
    ),
)
def test_sizes_of_layers_are_checked_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.layers.arguments import cast_inputs, check_pool_size, check_sizes


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
    sizes = check_pool_size(value, 3)
    assert sizes == expected
    assert type(sizes) is type(expected)
    assert all(type(size) is int for size in (sizes if isinstance(sizes, tuple) else ()))


@pytest.mark.parametrize(
    "value",
    (True, 0, -1, 2.0, "123", (1, 2), (1, 2, True), (1, 2, 0), (1, None, 2), tf.TensorShape(None)),
    ids=str,
)
@pytest.mark.parametrize("check", (check_pool_size, lambda v, n: check_sizes("pool_size", v, n)))
def test_other_sizes_are_refused(check, value):
    with pytest.raises(ValueError, match="`pool_size` must be .*Received: pool_size="):
        check(value, 3)


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

"""A network for another size has the weights and the answers of one that was built for it."""

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.evaluation import resize_input
from tests.subjects import fill

TINY = {"depth": (1, 1, 1, 1), "width": 4, "classes": 5, "include_preprocessing": False}


def test_a_file_of_a_smaller_network_answers_as_one_built_larger(tmp_path):
    small = fill(knl.NLI3D(input_shape=(4, 224, 224, 3), **TINY))
    large = knl.NLI3D(input_shape=(4, 256, 256, 3), **TINY)
    large.set_weights(small.get_weights())
    small.save(tmp_path / "small.keras")
    resized = resize_input(keras.saving.load_model(tmp_path / "small.keras"), 256, 256)
    assert resized.get_layer("average").output.shape == (None, 2, 2, 128)
    clips = np.random.default_rng(0).normal(size=(1, 4, 256, 256, 3)).astype("float32")
    np.testing.assert_allclose(resized(clips), large(clips), atol=1e-6)


@pytest.mark.parametrize("size", [32, None])
def test_a_network_that_takes_the_size_is_left_as_it_is(size):
    model = knl.C2D(input_shape=(4, size, size, 3), **TINY)
    assert resize_input(model, 32, 32) is model


def test_weights_that_do_not_fit_another_size_are_told():
    layers = [keras.Input((2, 8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    with pytest.raises(ValueError, match=r"network for 8x8 pixels, cannot be built for 9x9"):
        resize_input(keras.Sequential(layers), 9, 9)


def test_a_network_of_other_inputs_is_refused():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"must take clips.*Received: input shape \(None, 8\)"):
        resize_input(model, 9, 9)

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.layers import Dropout
from tests.subjects import two_replicas

X = np.random.default_rng(0).standard_normal((6, 5, 4)).astype("float32")


def outputs_of_replicas(layer, x, steps=1):
    """Returns, for each step, the outputs of two replicas for the two halves of a batch."""
    strategy = two_replicas()

    @tf.function
    def run(part):
        return strategy.run(lambda x: layer(x, training=True), (part,))

    dataset = tf.data.Dataset.from_tensor_slices(x).batch(len(x))
    part = next(iter(strategy.experimental_distribute_dataset(dataset)))
    return [np.concatenate(strategy.experimental_local_results(run(part))) for _ in range(steps)]


def make_in_scope(make, *arguments, **options):
    with two_replicas().scope():
        return make(*arguments, **options)


@pytest.mark.parametrize(
    "options",
    (
        {},
        {"noise_shape": (None, 1, 4)},
        {"noise_shape": (1, 5, 4)},
        {"noise_shape": (6, 5, 1)},
        {"dtype": "float16"},
    ),
    ids=("plain", "shared_positions", "shared_examples", "global_batch", "float16"),
)
def test_replicas_drop_together_what_one_device_drops(options):
    layer = make_in_scope(Dropout, 0.4, seed=3, **options)
    alone = keras.layers.Dropout(0.4, seed=3, **options)
    for outputs in outputs_of_replicas(layer, X, steps=3):  # The seed changes alike.
        np.testing.assert_array_equal(outputs, alone(X, training=True))


def test_the_layer_of_keras_repeats_its_mask_in_each_replica():
    # Why there is a layer of our own; should this fail some day, it can go.
    layer = make_in_scope(keras.layers.Dropout, 0.4, seed=3)
    dropped = outputs_of_replicas(layer, X)[0] == 0
    np.testing.assert_array_equal(dropped[:3], dropped[3:])


def test_replicas_keep_one_seed():
    layer = make_in_scope(Dropout, 0.4, seed=3)
    outputs_of_replicas(layer, X)
    copies = two_replicas().experimental_local_results(layer.seed_generator.state.value)
    np.testing.assert_array_equal(copies, [[3, 1], [3, 1]])


def test_gradient_flows_where_nothing_is_dropped():
    layer = make_in_scope(Dropout, 0.4, seed=3)
    strategy = two_replicas()

    @tf.function
    def run():
        def slope(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
            return y, tape.gradient(y, x)

        return strategy.run(slope, (tf.ones((2, 8)),))

    outputs, slopes = map(strategy.experimental_local_results, run())
    np.testing.assert_array_equal(outputs, slopes)


@pytest.mark.parametrize("training", (False, True))
def test_one_device_has_the_layer_of_keras(training):
    mine, theirs = Dropout(0.4, seed=3), keras.layers.Dropout(0.4, seed=3)
    np.testing.assert_array_equal(mine(X, training=training), theirs(X, training=training))


@pytest.mark.parametrize(("rate", "expected"), ((0.0, X), (1.0, 0 * X)), ids=("none", "all"))
def test_replicas_hold_the_extreme_rates(rate, expected):
    layer = make_in_scope(Dropout, rate)
    np.testing.assert_array_equal(outputs_of_replicas(layer, X)[0], expected)


def test_files_keep_the_layer_and_its_seed(tmp_path):
    model = keras.Sequential([keras.Input((8,)), Dropout(0.4, seed=3)])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.layers[0]) is Dropout
    x = np.ones((2, 8))
    np.testing.assert_array_equal(again(x, training=True), model(x, training=True))


def test_files_with_the_layer_of_keras_still_load(tmp_path):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dropout(0.4)])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.layers[0]) is keras.layers.Dropout

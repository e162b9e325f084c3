import itertools
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.training.norms import (
    freeze_norms,
    synchronize_norms,
    update_norm_statistics,
)
from tests.subjects import fill, two_replicas

HERE = pathlib.Path(__file__).parent
STATISTICS = ("moving_mean", "moving_variance")


def small(dropout=0.5):
    """Two norms, one of them within a non-local block, with dropout between them."""
    inputs = keras.Input((2, 4, 4, 3))
    x = knl.layers.Conv3D(4, 1, name="first")(inputs)
    x = knl.layers.BatchNormalization(name="norm")(x)
    x = knl.layers.Dropout(dropout, seed=5)(x)
    x = knl.NonLocal3D(name="block")(x)
    x = keras.layers.GlobalAveragePooling3D()(x)
    return fill(keras.Model(inputs, keras.layers.Dense(3, name="head")(x), name="small"))


def norms_of(model):
    return [model.get_layer("norm"), model.get_layer("block").norm]


def with_norm_of_keras(**options):
    inputs = keras.Input((2, 4, 4, 3))
    norm = keras.layers.BatchNormalization(name="own", **options)
    return fill(keras.Model(inputs, norm(inputs), name="theirs"))


def without_norms():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="bare")


def clips(*sizes):
    """Batches whose means and spreads lie apart."""
    random = np.random.default_rng(1)
    shape = (2, 4, 4, 3)
    return [
        (i + 1 + (i + 1) * random.standard_normal((n, *shape))).astype("float32")
        for i, n in enumerate(sizes)
    ]


def values_of(model):
    return {v.path: np.array(v) for v in model.variables}


def fit(model):
    (x,) = clips(4)
    if not model.compiled:
        model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=False)
    model.fit(x, np.eye(4, 3, dtype="float32"), batch_size=4, epochs=1, shuffle=False, verbose=0)


def changes(before, after):
    return {path.rsplit("/", 1)[-1] for path in before if (before[path] != after[path]).any()}


# Frozen norms.


def test_frozen_norms_keep_their_statistics_and_train_the_affine_form():
    model = small()
    freeze_norms(model)
    before = values_of(model)
    fit(model)
    changed = changes(before, values_of(model))
    assert {"gamma", "beta"} <= changed and not changed & set(STATISTICS)


def test_frozen_norms_normalise_by_their_moving_statistics_in_training():
    model = small(dropout=0.0)
    freeze_norms(model)
    (x,) = clips(2)
    np.testing.assert_array_equal(model(x, training=True), model(x, training=False))


def test_freezing_reaches_a_training_step_that_was_traced():
    model = small()
    fit(model)
    freeze_norms(model)
    before = values_of(model)
    fit(model)
    assert not changes(before, values_of(model)) & set(STATISTICS)


def test_inner_models_are_frozen_too():
    inner = small()
    inputs = keras.Input((2, 4, 4, 3))
    freeze_norms(keras.Model(inputs, inner(inputs)))
    assert all(norm.frozen for norm in norms_of(inner))


@pytest.mark.parametrize(
    ("change", "flag"), ((freeze_norms, "frozen"), (synchronize_norms, "synchronized"))
)
def test_a_saved_model_keeps_what_its_norms_are(change, flag, tmp_path):
    model = small()
    change(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert all(getattr(norm, flag) for norm in norms_of(again))


def test_norms_of_keras_cannot_be_frozen():
    with pytest.raises(ValueError, match="leaves gamma and beta to train. Received: 'own'"):
        freeze_norms(with_norm_of_keras())


def test_norms_of_keras_that_are_not_trainable_are_as_good_as_frozen():
    freeze_norms(with_norm_of_keras(trainable=False))


def test_the_way_out_that_the_error_names_gives_the_same_numbers():
    model = with_norm_of_keras()
    with pytest.raises(ValueError) as error:
        freeze_norms(model)
    names = {"keras": keras, "keras_nonlocal": knl, "model": model}
    for statement in str(error.value).split("`")[-4::2]:
        exec(statement, names)
    (x,) = clips(2)
    freeze_norms(names["copy"])
    np.testing.assert_allclose(names["copy"](x, training=True), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "change", (freeze_norms, synchronize_norms, lambda model: update_norm_statistics(model, []))
)
def test_a_model_without_norms_is_an_error(change):
    with pytest.raises(ValueError, match="`model` must hold a batch norm. Received: 'bare'"):
        change(without_norms())


def test_all_norms_are_synchronized():
    model = small()
    synchronize_norms(model)
    assert all(norm.synchronized for norm in norms_of(model))
    synchronize_norms(model := with_norm_of_keras())
    assert model.get_layer("own").synchronized


def test_synchronized_statistics_hold_where_the_mean_is_large():
    strategy = two_replicas()
    with strategy.scope():
        norm = knl.layers.BatchNormalization(momentum=0.0)
        norm.build((None, 3))
        model = keras.Sequential([keras.Input((3,)), norm])
    synchronize_norms(model)
    x = 300 + np.random.default_rng(0).standard_normal((64, 3)).astype("float32")
    halves = iter(np.split(x, 2))
    parts = strategy.experimental_distribute_values_from_function(
        lambda _: tf.constant(next(halves))
    )
    tf.function(lambda x: strategy.run(lambda x: norm(x, training=True), (x,)))(parts)
    np.testing.assert_allclose(norm.moving_mean, x.mean(0, "float64"), rtol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, x.var(0, dtype="float64"), rtol=1e-4)


# Precise statistics.


def activations(model, batches):
    """What reaches each norm, batch by batch, in training mode."""
    seen = [[] for _ in norms_of(model)]
    for norm, inputs in zip(norms_of(model), seen, strict=True):

        def call(x, training=None, mask=None, norm=norm, inputs=inputs):
            inputs.append(np.array(x, "float64"))
            return type(norm).call(norm, x, training=training)

        norm.call = call
    for batch in batches:
        model(batch, training=True)
    return [np.concatenate([x.reshape(-1, x.shape[-1]) for x in inputs]) for inputs in seen]


def check_statistics(model, expected):
    for norm, x in zip(norms_of(model), expected, strict=True):
        np.testing.assert_allclose(norm.moving_mean, x.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(norm.moving_variance, x.var(0), rtol=1e-5)


def test_precise_statistics_are_those_of_all_activations():
    model, batches = small(), clips(4, 4, 2)
    assert update_norm_statistics(model, batches) == 3
    check_statistics(model, activations(small(), batches))


def test_precise_statistics_are_those_of_all_activations_on_replicas():
    with two_replicas().scope():
        model = small(dropout=0.0)
    batches = clips(4, 3)
    update_norm_statistics(model, batches)
    halves = [half for batch in batches for half in np.split(batch, [len(batch) // 2])]
    check_statistics(model, activations(small(dropout=0.0), halves))
    for copies in map(
        two_replicas().experimental_local_results, [norms_of(model)[0].moving_mean.value]
    ):
        np.testing.assert_array_equal(*copies)


def test_precise_statistics_of_synchronized_replicas_are_those_of_one_device():
    with two_replicas().scope():
        model = small()
    synchronize_norms(model)
    batches = clips(4, 4)
    update_norm_statistics(model, batches)
    check_statistics(model, activations(small(), batches))


def test_a_replica_without_examples_does_not_count():
    with two_replicas().scope():
        model = small(dropout=0.0)
    batches = clips(1, 3)
    update_norm_statistics(model, batches)
    parts = [batches[0], batches[1][:1], batches[1][1:]]
    check_statistics(model, activations(small(dropout=0.0), parts))


def test_statistics_that_were_not_finite_are_mended():
    model = small(dropout=0.0)
    for norm in norms_of(model):
        norm.moving_mean.assign(np.full(4, np.nan))
    update_norm_statistics(model, clips(4))
    check_statistics(model, activations(small(dropout=0.0), clips(4)))


def test_labels_are_left_aside_and_no_more_batches_taken_than_asked():
    model, (x,) = small(), clips(4)
    dataset = tf.data.Dataset.from_tensors((x, np.arange(4))).repeat()
    assert update_norm_statistics(model, dataset, batches=2) == 2
    check_statistics(model, activations(small(), [x, x]))


def test_precise_statistics_change_nothing_else():
    model = small()
    fit(model)  # So that the seed of dropout has moved on.
    before = values_of(model)
    update_norm_statistics(model, clips(4, 4))
    assert changes(before, values_of(model)) == set(STATISTICS)
    assert [norm.momentum for norm in norms_of(model)] == [0.9, 0.9]


def test_an_error_midway_changes_nothing():
    def broken():
        yield from clips(4)
        raise OSError("no disk")

    model = small()
    before = values_of(model)
    with pytest.raises(OSError, match="no disk"):
        update_norm_statistics(model, broken())
    assert not changes(before, values_of(model))
    assert [norm.momentum for norm in norms_of(model)] == [0.9, 0.9]


@pytest.mark.parametrize("name", ("frozen", "trainable"))
def test_precise_statistics_leave_fixed_norms_alone(name):
    model = small()
    first, second = norms_of(model)
    setattr(first, name, name == "frozen")
    before = np.array(first.moving_mean), np.array(second.moving_mean)
    update_norm_statistics(model, clips(4))
    np.testing.assert_array_equal(first.moving_mean, before[0])
    assert (np.array(second.moving_mean) != before[1]).all()


def test_a_model_with_nothing_but_fixed_norms_is_an_error():
    model = small()
    freeze_norms(model)
    with pytest.raises(ValueError, match="trainable and not frozen.*Received: 'small', all of"):
        update_norm_statistics(model, clips(4))


def test_an_empty_dataset_is_an_error_and_changes_nothing():
    model = small()
    before = values_of(model)
    with pytest.raises(ValueError, match="`dataset` must hold a batch.*Received an empty one"):
        update_norm_statistics(model, itertools.islice(clips(4), 0))
    assert not changes(before, values_of(model))


@pytest.mark.parametrize("batches", (0, 1.5, True))
def test_batches_must_be_a_positive_integer(batches):
    with pytest.raises(ValueError, match="`batches` must be a positive integer. Received"):
        update_norm_statistics(small(), clips(4), batches)


def test_jax_has_the_statistics_of_tensorflow_and_trains_alike_on_two_devices(tmp_path):
    model, batches = small(dropout=0.0), clips(4, 4)
    synchronize_norms(model)  # Is no obstacle there.
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "clips.npz", *batches)
    update_norm_statistics(model, batches)
    environment = {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(HERE.parents[1]),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    subprocess.run(
        [sys.executable, HERE / "jax_norms.py", tmp_path],
        env={**os.environ, **environment},
        check=True,
    )
    for name in ("one_device", "two_devices"):
        answers = np.load(tmp_path / f"{name}.npz")
        for i, norm in enumerate(norms_of(model)):
            np.testing.assert_allclose(answers[f"mean_{i}"], norm.moving_mean, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(answers[f"variance_{i}"], norm.moving_variance, rtol=1e-4)
    one = np.load(tmp_path / "trained_one_device.npz")
    two = np.load(tmp_path / "trained_two_devices.npz")
    start = model.get_weights()
    assert any(np.abs(one[f"weight_{i}"] - w).max() > 1e-3 for i, w in enumerate(start))
    for name in one.files:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-4, atol=1e-5, err_msg=name)

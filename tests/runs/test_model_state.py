"""The state of a model comes out whole, and goes back whole or not at all."""

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.runs.model_state import (
    build_optimizer,
    find_non_finite,
    has_averages,
    read_state,
    use_averages,
    write_state,
    write_weights,
)
from tests.training import small_trainings as small


def built(**arguments):
    """A model with a number of its own in each place of each variable."""
    model = small.make_model(run_eagerly=True, **arguments)
    build_optimizer(model)
    model.evaluate(small.validation(), verbose=0)
    variables = model.variables + model.optimizer.variables + model.metrics_variables
    for number, variable in enumerate(variables):
        size = int(np.prod(variable.shape))
        values = 100 * number + np.arange(size).reshape(variable.shape)
        variable.assign(values.astype(keras.backend.standardize_dtype(variable.dtype)))
    return model


def numbers(variables):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def assert_equal(some, others):
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


def test_state_holds_everything_that_changes():
    state = read_state(built(), metrics=True)
    for part in (
        "model/00000.small/hidden/kernel",
        "norm/moving_variance",
        "seed_generator_state",
        "optimizer/00000.sgd/iteration",
        "hidden_kernel_average",
        "hidden_kernel_momentum",
        "hidden_kernel_gradient_accumulator",
        "metrics/00000.loss/total",
        "accuracy/count",
    ):
        assert [name for name in state if part in name], part
    assert len({array.tobytes() for array in state.values()}) == len(state)


def test_state_goes_into_another_model_of_a_process():
    # The second one's optimizer is sgd_1, its random generator seed_generator_1.
    model, other = built(), small.make_model(run_eagerly=True, seed=2)
    build_optimizer(other)
    other.evaluate(small.validation(), verbose=0)
    write_state(other, read_state(model, metrics=True))
    for kind in ("variables", "metrics_variables"):
        assert_equal(numbers(getattr(other, kind)), numbers(getattr(model, kind)))
    assert_equal(numbers(other.optimizer.variables), numbers(model.optimizer.variables))


def test_state_of_the_scaled_loss_goes_along():
    def scaled():
        inner = keras.optimizers.SGD(0.5, momentum=0.9, use_ema=True)
        return keras.optimizers.LossScaleOptimizer(inner, initial_scale=64.0)

    model, other = built(optimizer=scaled()), built(optimizer=scaled())
    model.optimizer.dynamic_scale.assign(8.0)
    write_state(other, read_state(model))
    assert float(other.optimizer.dynamic_scale) == 8.0
    assert has_averages(model)


def test_state_of_bfloat16_stays_bfloat16():
    keras.config.set_dtype_policy("bfloat16")
    model, other = built(), built(seed=2)
    other.layers[0].kernel.assign(np.zeros((5, 8)))
    state = read_state(model)
    assert state["model/00000.small/hidden/kernel"].dtype == ml_dtypes.bfloat16
    write_state(other, state)
    assert_equal(numbers(other.variables), numbers(model.variables))


def test_state_read_stays_when_the_model_moves_on():
    model = built()
    state = read_state(model)
    model.layers[0].kernel.assign(np.zeros((5, 8)))
    np.testing.assert_array_equal(
        state["model/00000.small/hidden/kernel"], np.arange(40).reshape(5, 8)
    )


def test_state_of_another_network_is_refused_with_all_faults():
    model, other = built(classes=4), built()
    before = numbers(other.variables)
    state = read_state(model)
    state["model/00099.more"] = np.zeros(3)
    del state["model/00001.small/hidden/bias"]
    with pytest.raises(ValueError) as error:
        write_state(other, state)
    text = str(error.value)
    assert "Nothing was loaded" in text
    assert "only in the checkpoint: model/00099.more" in text
    assert "only in the model: model/00001.small/hidden/bias" in text
    assert "small/top/kernel: float32[8, 4] in the checkpoint, float32[8, 3] in the model" in text
    assert_equal(numbers(other.variables), before)


def test_weights_alone_leave_the_optimizer():
    model, other = built(), built(seed=2)
    other.optimizer.variables[0].assign(77)
    other.layers[0].kernel.assign(np.zeros((5, 8)))
    write_weights(other, read_state(model))
    assert_equal(numbers(other.variables), numbers(model.variables))
    assert int(other.optimizer.variables[0]) == 77


def test_averages_come_from_the_optimizer():
    model = built()
    expected = [v for v in model.optimizer.variables if v.path.endswith("average")]
    use_averages(model)
    assert_equal(numbers(model.trainable_variables), numbers(expected))


def test_averages_of_an_optimizer_without_leave_the_weights():
    model = built(optimizer=keras.optimizers.SGD(0.1))
    before = numbers(model.variables)
    use_averages(model)
    assert_equal(numbers(model.variables), before)
    assert not has_averages(model)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32"])
def test_what_is_not_finite_is_named(kind):
    kind = ml_dtypes.bfloat16 if kind == "bfloat16" else kind
    state = {
        "model/a": np.array([1, np.inf]).astype(kind),
        "model/b": np.array([1.0]),
        "optimizer/c": np.array([np.nan]).astype(kind),
        "metrics/d": np.array([np.nan]),
        "model/seed": np.array([3]),
    }
    assert find_non_finite(state) == ["model/a", "optimizer/c"]


@pytest.fixture(scope="module")
def replicated():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = small.make_model(run_eagerly=True)
    build_optimizer(model)
    return model


def parts(model):
    variables = model.variables + model.optimizer.variables
    return [part for variable in variables for part in variable.value.values]


def test_replicas_keep_values_of_their_own(replicated):
    for number, part in enumerate(parts(replicated)):
        part.assign(tf.cast(tf.fill(part.shape, number), part.dtype))
    state, before = read_state(replicated), [part.numpy() for part in parts(replicated)]
    assert int(state["replicas"]) == 2
    assert sum("@1" in name for name in state) == len(before) // 2
    for part in parts(replicated):
        part.assign(tf.zeros_like(part))
    write_state(replicated, state)
    assert_equal([part.numpy() for part in parts(replicated)], before)


def test_replicas_that_are_equal_are_kept_once(replicated):
    for part in parts(replicated):
        part.assign(tf.ones_like(part))
    assert not [name for name in read_state(replicated) if "@" in name]


def test_another_number_of_replicas_is_refused(replicated):
    with pytest.raises(ValueError, match=r"as it was begun with, 2.* Received: a model of 1\."):
        write_state(built(), read_state(replicated))

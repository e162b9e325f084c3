"""What the recipes leave to Keras: averages in `fit`, mixed precision; and loss scaling."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.training.loss_scaling import LossScaleOptimizer
from keras_nonlocal.training.optimizers import SGD, AdamW
from tests import subjects
from tests.training import optimizer_runs as runs

SCALE = 2.0**10


def model_in(policy):
    """A small network with a norm, in a precision."""
    keras.config.set_dtype_policy(policy)
    inputs = keras.Input((2, 4, 4, 6))
    x = keras.layers.Conv3D(8, 1, use_bias=False, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling3D(name="pool")(x)
    # Outputs in float32, as the loss is more than half precision can tell apart.
    x = keras.layers.Dense(3, dtype="float32", name="head")(x)
    return subjects.fill(keras.Model(inputs, x))


def batch(seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((8, 2, 4, 4, 6)).astype("float32")
    return x, random.standard_normal((8, 3)).astype("float32")


# Averages.


def test_fit_ends_with_the_averages_of_the_weights_after_each_step():
    model = model_in("float32")
    model.compile(SGD(0.05, use_ema=True, ema_momentum=0.6), "mse", jit_compile=False)
    seen = []
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(model.get_weights())
    )
    x, y = batch()
    model.fit(x, y, batch_size=2, shuffle=False, verbose=0, callbacks=[keep])
    expected = seen[0]
    for values in seen[1:]:
        expected = [0.6 * a + 0.4 * v for a, v in zip(expected, values, strict=True)]
    for variable, value, last in zip(model.weights, expected, seen[-1], strict=True):
        # The statistics of norms stay those of the last step.
        value = value if variable.trainable else last
        np.testing.assert_allclose(variable.numpy(), value, rtol=0, atol=1e-6)
        assert not variable.trainable or np.abs(value - last).max() > 1e-5


# Mixed precision.


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_master_weights_and_velocities_in_float32(policy):
    model = model_in(policy)
    model.compile(SGD(1e-5, l2=0.1, use_ema=True), "mse", jit_compile=False)
    before = model.get_layer("head").kernel.numpy()
    model.train_on_batch(*batch())
    assert model.get_layer("conv").compute_dtype == policy.removeprefix("mixed_")
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    own = [v.dtype for v in model.optimizer.variables if "int" not in v.dtype]
    assert set(own) == {"float32"}
    # A step that the half-precision weights would have rounded away.
    step = np.abs(model.get_layer("head").kernel.numpy() - before)
    assert 0 < step.max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("policy, tolerance", [("mixed_bfloat16", 2e-2), ("mixed_float16", 3e-3)])
def test_mixed_precision_trains_to_about_the_weights_of_float32(policy, tolerance):
    results = {}
    for name in ("float32", policy):
        model = model_in(name)
        model.compile(SGD(0.01, l2=0.1, global_clipnorm=1.0), "mse", jit_compile=False)
        for seed in range(4):
            model.train_on_batch(*batch(seed))
        results[name] = model.trainable_variables
    for exact, half in zip(results["float32"], results[policy], strict=True):
        np.testing.assert_allclose(half.numpy(), exact.numpy(), rtol=0, atol=tolerance)


def test_only_float16_has_its_loss_scaled():
    kinds = {}
    for policy in ("float32", "mixed_bfloat16", "mixed_float16"):
        model = model_in(policy)
        model.compile(SGD(0.1), "mse", jit_compile=False)
        kinds[policy] = type(model.optimizer).__name__
    assert kinds == {
        "float32": "SGD",
        "mixed_bfloat16": "SGD",
        "mixed_float16": "LossScaleOptimizer",
    }


# Loss scaling.


def scaled(inner, **arguments):
    return LossScaleOptimizer(inner, initial_scale=SCALE, **arguments)


def scaled_gradients(step):
    return {path: SCALE * gradient for path, gradient in runs.gradients(step).items()}


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGD(runs.schedule(), l2=0.1, global_clipnorm=1.0, momentum_correction=True),
        lambda: SGD(runs.schedule(), weight_decay=0.1, clipvalue=0.3),
        lambda: AdamW(runs.schedule(), clipnorm=0.5),
    ],
    ids=["coupled", "decoupled", "adamw"],
)
def test_clipping_and_decay_see_the_gradient_without_its_scale(make):
    found = runs.run(scaled(make()), grads=scaled_gradients)[-1]
    expected = runs.run(make())[-1]
    for path in expected:
        np.testing.assert_allclose(found[path], expected[path], rtol=0, atol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_overflow_halves_the_scale_and_leaves_no_other_trace(bad):
    """Two steps at changing rates, an overflow, and on: as if it had not been."""

    def make():
        return SGD(runs.schedule(), l2=0.1, momentum_correction=True, use_ema=True)

    optimizer, overflow_at = scaled(make()), 3

    def grads(call):
        if call == overflow_at:
            return {p: np.full(g.shape, bad) for p, g in scaled_gradients(call).items()}
        # What comes after it was computed under the halved scale.
        step = call - (call > overflow_at)
        factor = 0.5 if call > overflow_at else 1.0
        return {path: factor * g for path, g in scaled_gradients(step).items()}

    history = runs.run(optimizer, runs.STEPS + 1, grads)
    plain = make()
    expected = runs.run(plain)
    for path in runs.SHAPES:
        np.testing.assert_array_equal(history[overflow_at][path], history[overflow_at - 1][path])
    assert float(optimizer.dynamic_scale) == SCALE / 2
    assert int(optimizer.iterations) == runs.STEPS
    for path, value in expected[-1].items():
        np.testing.assert_allclose(history[-1][path], value, rtol=0, atol=1e-6)
    inner = optimizer.inner_optimizer.variables
    for found, wanted in zip(inner, plain.variables, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=0, atol=1e-6)


def test_an_overflow_in_one_micro_batch_takes_the_next_in_its_place():
    def make():
        return SGD(runs.schedule(), l2=0.1, gradient_accumulation_steps=2)

    def grads(call):
        if call == 1:
            return {p: np.full(g.shape, np.inf) for p, g in scaled_gradients(call).items()}
        factor = 0.5 if call > 1 else 1.0
        step = call - (call > 1)
        return {path: factor * g for path, g in scaled_gradients(step).items()}

    found = runs.run(scaled(make()), 5, grads)[-1]
    for path, value in runs.run(make(), 4)[-1].items():
        np.testing.assert_allclose(found[path], value, rtol=0, atol=1e-6)


def test_the_scale_doubles_after_a_row_of_finite_steps():
    optimizer = scaled(SGD(0.1), dynamic_growth_steps=3)
    variables = runs.make_variables()
    scales = []
    for step in range(7):
        optimizer.apply(
            [tf.constant(g, "float32") for g in runs.gradients(step).values()], variables
        )
        scales.append(float(optimizer.dynamic_scale) / SCALE)
    assert scales == [1, 1, 2, 2, 2, 4, 4]


def test_the_loss_is_scaled_by_what_gradients_are_divided_by():
    model = model_in("mixed_float16")
    model.compile(scaled(SGD(0.05, l2=0.1)), "mse", jit_compile=False)
    plain = model_in("mixed_float16")
    plain.compile(SGD(0.05, l2=0.1), "mse", auto_scale_loss=False, jit_compile=False)
    for m in (model, plain):
        m.train_on_batch(*batch())
    for a, b in zip(model.trainable_variables, plain.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=2e-3, err_msg=a.path)


def test_a_file_keeps_the_scale_and_the_optimizer_inside(tmp_path):
    model = model_in("mixed_float16")
    model.compile(scaled(SGD(runs.schedule(), l2=0.1), dynamic_growth_steps=2), "mse")
    for seed in range(3):
        model.train_on_batch(*batch(seed))
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy.optimizer) is LossScaleOptimizer
    assert float(copy.optimizer.dynamic_scale) == 2 * SCALE
    assert copy.optimizer.inner_optimizer.l2 == 0.1
    for m in (model, copy):
        m.train_on_batch(*batch(9))
    for a, b in zip(model.weights, copy.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)

"""Optimizers against steps written out in NumPy, and against PyTorch's."""

import itertools
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch

from keras_nonlocal.training.optimizers import SGD, AdamW
from keras_nonlocal.training.schedules import HalfCosine, Steps
from tests.training import optimizer_runs as runs

HERE = pathlib.Path(__file__).parent
NORMS = ("norm/gamma", "norm/beta")
RATES = [float(runs.schedule()(step)) for step in range(runs.STEPS)]


def check(history, expected, tolerance=2e-6):
    """Compares every variable after every step."""
    assert len(history) == len(expected)
    for step, (found, wanted) in enumerate(zip(history, expected, strict=True)):
        assert found.keys() == wanted.keys()
        for path in found:
            np.testing.assert_allclose(
                found[path], wanted[path], rtol=0, atol=tolerance, err_msg=f"{path}, step {step}"
            )


def caffe2(l2=0.0, momentum=0.9, nesterov=True, correct=False, rates=RATES, grads=runs.gradients):
    """`WeightedSum`, `MomentumSGDUpdate` and `_CorrectMomentum`, as the authors chain them."""
    values, history = runs.initial(), []
    velocity = {path: np.zeros(shape) for path, shape in runs.SHAPES.items()}
    current = rates[0]
    for step, rate in enumerate(rates):
        correction = rate / current if correct and abs(rate - current) > abs(1e-7 * rate) else 1.0
        current = rate
        for path, gradient in grads(step).items():
            gradient = gradient + (0.0 if path in NORMS else l2) * values[path]
            old = correction * velocity[path]
            new = velocity[path] = momentum * old + rate * gradient
            values[path] = values[path] - (
                (1 + momentum) * new - momentum * old if nesterov else new
            )
        history.append(dict(values))
    return history


def pytorch(make, decay, rates=RATES, grads=runs.gradients, not_decayed=NORMS, clip=None):
    """A `torch.optim` optimizer with groups for what decays and what does not."""
    tensors = {p: torch.nn.Parameter(torch.tensor(v)) for p, v in runs.initial().items()}
    optimizer = make(
        [
            {"params": [t for p, t in tensors.items() if p not in not_decayed]},
            {"params": [tensors[p] for p in not_decayed], "weight_decay": 0.0},
        ],
        weight_decay=decay,
    )
    history = []
    for step, rate in enumerate(rates):
        for path, gradient in grads(step).items():
            tensors[path].grad = torch.tensor(gradient)
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(list(tensors.values()), clip)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        history.append({p: t.detach().numpy().copy() for p, t in tensors.items()})
    return history


def torch_sgd(nesterov=True):
    def make(groups, weight_decay):
        return torch.optim.SGD(
            groups, lr=1.0, momentum=0.9, nesterov=nesterov, weight_decay=weight_decay
        )

    return make


# Decay, momentum and its correction.


@pytest.mark.parametrize("correct", [False, True], ids=["as_it_is", "corrected"])
@pytest.mark.parametrize(
    "momentum, nesterov", [(0.9, True), (0.9, False), (0.5, True), (0.0, False)]
)
def test_coupled_decay_and_momentum_step_as_the_authors_do(momentum, nesterov, correct):
    optimizer = SGD(runs.schedule(), momentum, nesterov, l2=0.1, momentum_correction=correct)
    check(runs.run(optimizer), caffe2(0.1, momentum, nesterov, correct))


@pytest.mark.parametrize("nesterov", [True, False])
def test_corrected_momentum_steps_as_pytorch_at_changing_rates(nesterov):
    optimizer = SGD(runs.schedule(), nesterov=nesterov, l2=0.1, momentum_correction=True)
    check(runs.run(optimizer), pytorch(torch_sgd(nesterov), 0.1))


@pytest.mark.parametrize("nesterov", [True, False])
def test_momentum_steps_as_pytorch_at_one_rate(nesterov):
    expected = pytorch(torch_sgd(nesterov), 0.1, rates=[0.05] * 6)
    check(runs.run(SGD(0.05, nesterov=nesterov, l2=0.1), steps=6), expected)


def test_the_correction_matters_when_the_rate_changes():
    """That the two above could not pass with the wrong setting."""
    plain, corrected = caffe2(0.1, correct=False)[-1], caffe2(0.1, correct=True)[-1]
    assert all(np.abs(plain[path] - corrected[path]).max() > 1e-3 for path in plain)


def test_a_rate_set_from_outside_is_corrected_too():
    optimizer = SGD(0.1, momentum_correction=True)
    rates = [0.1, 0.1, 0.01, 0.01]

    def grads(step):
        optimizer.learning_rate = rates[step]
        return runs.gradients(step)

    check(runs.run(optimizer, 4, grads), caffe2(correct=True, rates=rates))


def test_decoupled_decay_shrinks_before_the_step():
    values, expected = runs.initial(), []
    velocity = {path: 0.0 for path in values}
    for step, rate in enumerate(RATES):
        for path, gradient in runs.gradients(step).items():
            if path not in NORMS:
                values[path] = values[path] * (1 - rate * 0.1)
            velocity[path] = 0.9 * velocity[path] - rate * gradient
            values[path] = values[path] + velocity[path]
        expected.append(dict(values))
    check(runs.run(SGD(runs.schedule(), nesterov=False, weight_decay=0.1)), expected)


def test_adamw_steps_as_written_out():
    values, expected = runs.initial(), []
    first = {path: 0.0 for path in values}
    second = dict(first)
    for step, rate in enumerate(RATES):
        for path, gradient in runs.gradients(step).items():
            if path not in (*NORMS, "conv/bias", "head/bias"):
                values[path] = values[path] * (1 - rate * 0.05)
            first[path] = 0.9 * first[path] + 0.1 * gradient
            second[path] = 0.999 * second[path] + 0.001 * gradient**2
            mean, square = first[path] / (1 - 0.9 ** (step + 1)), 1 - 0.999 ** (step + 1)
            square = second[path] / square
            values[path] = values[path] - rate * mean / np.sqrt(square)
        expected.append(dict(values))
    check(runs.run(AdamW(runs.schedule(), epsilon=1e-12)), expected, 5e-6)


def test_adamw_steps_as_pytorch():
    def make(groups, weight_decay):
        return torch.optim.AdamW(groups, lr=1.0, eps=1e-12, weight_decay=weight_decay)

    expected = pytorch(make, 0.2, not_decayed=NORMS)
    optimizer = AdamW(runs.schedule(), weight_decay=0.2, no_decay=("gamma", "beta"), epsilon=1e-12)
    check(runs.run(optimizer), expected, 5e-6)


@pytest.mark.parametrize(
    "no_decay, still",
    [
        (("gamma", "beta"), {"norm/gamma", "norm/beta"}),
        (("gamma", "beta", "bias"), {"norm/gamma", "norm/beta", "conv/bias", "head/bias"}),
        # Whole names: "ker" is none of them.
        (("ker", "beta"), {"norm/beta"}),
        ((), set()),
    ],
)
@pytest.mark.parametrize("decay", ["l2", "weight_decay", "adamw"])
def test_decay_leaves_out_the_variables_named(no_decay, still, decay):
    if decay == "adamw":
        optimizer = AdamW(0.1, no_decay=no_decay)
    else:
        optimizer = SGD(0.1, no_decay=no_decay, **{decay: 0.1})
    zeros = {path: np.zeros(shape) for path, shape in runs.SHAPES.items()}
    (after,) = runs.run(optimizer, 1, lambda step: zeros)
    before = runs.initial()
    assert {p for p in after if np.array_equal(after[p], np.float32(before[p]))} == still


# Rates of their own.


@pytest.mark.parametrize(
    "make",
    [
        lambda rate, **k: SGD(rate, l2=0.1, **k),
        lambda rate, **k: SGD(rate, l2=0.1, momentum_correction=True, **k),
        lambda rate, **k: SGD(rate, weight_decay=0.1, **k),
        lambda rate, **k: AdamW(rate, **k),
    ],
    ids=["coupled", "corrected", "decoupled", "adamw"],
)
def test_rate_factors_multiply_the_rate_and_the_decay(make):
    found = runs.run(make(0.05, rate_factors=runs.FACTORS))
    start = {path: np.float32(value) for path, value in runs.initial().items()}
    # The first pattern that is found counts, whatever comes after it.
    for factor, paths in [(3.0, ("head/kernel", "head/bias")), (0.5, ("norm/beta",))]:
        alone = runs.run(make(0.05 * factor))
        for step, path in itertools.product(range(runs.STEPS), paths):
            np.testing.assert_allclose(found[step][path], alone[step][path], rtol=0, atol=2e-6)
    assert all(np.array_equal(step["norm/gamma"], start["norm/gamma"]) for step in found)


@pytest.mark.parametrize(
    "make", [lambda **k: SGD(0.1, l2=0.1, **k), lambda **k: AdamW(0.1, **k)], ids=["sgd", "adamw"]
)
def test_a_factor_of_nought_keeps_a_variable_still_whatever_its_gradient(make):
    def grads(step):
        return {**runs.gradients(step), "conv/kernel": np.full((3, 4), np.inf)}

    optimizer = make(no_decay=(), rate_factors={"^conv/kernel$": 0.0})
    for step in runs.run(optimizer, 3, grads):
        np.testing.assert_array_equal(
            step["conv/kernel"], np.float32(runs.initial()["conv/kernel"])
        )
        assert np.isfinite(step["conv/bias"]).all()


# Clipping.


def clip_each(grads, norm):
    return {p: g * min(1.0, norm / np.sqrt((g**2).sum())) for p, g in grads.items()}


def clip_all(grads, norm):
    return {
        p: g * min(1.0, norm / np.sqrt(sum((g**2).sum() for g in grads.values())))
        for p, g in grads.items()
    }


CLIPPINGS = {
    "clipnorm": (1.2, clip_each),
    "global_clipnorm": (2.5, clip_all),
    "clipvalue": (0.6, lambda grads, v: {p: np.clip(g, -v, v) for p, g in grads.items()}),
}


@pytest.mark.parametrize("name", CLIPPINGS)
def test_clipping_acts_on_the_gradient_before_coupled_decay(name):
    most, clip = CLIPPINGS[name]
    expected = caffe2(0.1, grads=lambda step: clip(runs.gradients(step), most))
    check(runs.run(SGD(runs.schedule(), l2=0.1, **{name: most})), expected)


def test_clipping_and_decay_come_in_the_order_of_pytorch():
    expected = pytorch(torch_sgd(), 0.1, clip=2.5)
    optimizer = SGD(runs.schedule(), l2=0.1, global_clipnorm=2.5, momentum_correction=True)
    check(runs.run(optimizer), expected)


# Accumulation and averages.

MICRO = 3


def means(step):
    """The gradient of a big batch, of which each micro-batch has a third."""
    parts = [runs.gradients(MICRO * step + i) for i in range(MICRO)]
    return {path: sum(part[path] for part in parts) / MICRO for path in parts[0]}


ACCUMULATED = {
    "coupled": (SGD, {"l2": 0.1}),
    "corrected": (SGD, {"l2": 0.1, "momentum_correction": True}),
    "decoupled": (SGD, {"weight_decay": 0.1}),
    "clipped": (SGD, {"l2": 0.1, "global_clipnorm": 1.0}),
    "factors": (SGD, {"l2": 0.1, "rate_factors": runs.FACTORS}),
    "adamw": (AdamW, {"clipnorm": 0.7}),
}


@pytest.mark.parametrize("name", ACCUMULATED)
def test_accumulated_micro_batches_equal_one_big_batch(name):
    cls, arguments = ACCUMULATED[name]
    big = runs.run(cls(runs.schedule(), **arguments), grads=means)
    small = cls(runs.schedule(), gradient_accumulation_steps=MICRO, **arguments)
    history = runs.run(small, MICRO * runs.STEPS)
    check(history[MICRO - 1 :: MICRO], big)
    # And nothing moves in between.
    check(history[MICRO::MICRO], big[:-1])


def test_schedules_count_updates_under_accumulation():
    seen = []
    optimizer = SGD(runs.schedule(), gradient_accumulation_steps=MICRO)

    def grads(step):
        seen.append(float(optimizer.learning_rate))
        return runs.gradients(step)

    runs.run(optimizer, MICRO * runs.STEPS, grads)
    np.testing.assert_allclose(seen, np.repeat(RATES, MICRO), rtol=1e-6)


def average(history, momentum):
    """Keras' recursion: the first update as it is, then a share of each."""
    result = history[0]
    for values in history[1:]:
        result = {p: momentum * result[p] + (1 - momentum) * values[p] for p in values}
    return result


@pytest.mark.parametrize("micro", [None, MICRO], ids=["each_batch", "accumulated"])
def test_averages_follow_their_recursion_over_updates(micro):
    optimizer = SGD(
        runs.schedule(), use_ema=True, ema_momentum=0.7, gradient_accumulation_steps=micro
    )
    # Not at an update's end, as micro-batches that follow it must not count.
    history = runs.run(optimizer, runs.STEPS if micro is None else MICRO * runs.STEPS + 2)
    expected = average(history if micro is None else history[micro - 1 :: micro], 0.7)
    variables = optimizer._trainable_variables
    optimizer.finalize_variable_values(variables)
    check([{v.path: v.numpy() for v in variables}], [expected])


def test_averages_before_the_first_update_are_the_weights():
    optimizer = SGD(0.1, use_ema=True, gradient_accumulation_steps=4)
    history = runs.run(optimizer, 2)
    variables = optimizer._trainable_variables
    optimizer.finalize_variable_values(variables)
    check([{v.path: v.numpy() for v in variables}], history[-1:], 0)


def test_averages_overwrite_the_weights_as_often_as_asked():
    values, averages, expected = runs.initial(), None, []
    optimizer = SGD(0.1, 0.0, False, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=2)
    for step in range(5):
        values = {p: values[p] - 0.1 * g for p, g in runs.gradients(step).items()}
        averages = {
            p: v if averages is None else 0.7 * averages[p] + 0.3 * v for p, v in values.items()
        }
        values = dict(averages) if step % 2 else values
        expected.append(values)
    check(runs.run(optimizer, 5), expected)


# Config and files.

SETTINGS = {
    "sgd": lambda: SGD(
        Steps([0.1, 0.01], [0, 3], 2, 0.03),
        momentum=0.8,
        nesterov=False,
        l2=0.02,
        no_decay=("gamma",),
        rate_factors={"^a": 0.0, "b$": 2.5},
        momentum_correction=True,
        global_clipnorm=3.0,
        use_ema=True,
        gradient_accumulation_steps=2,
    ),
    "adamw": lambda: AdamW(
        HalfCosine(0.1, 50), 0.3, no_decay=(), rate_factors=[("kernel", 0.5)], beta_2=0.99
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_optimizers_come_back_from_their_config(name):
    optimizer = SETTINGS[name]()
    config = json.loads(json.dumps(keras.optimizers.serialize(optimizer)))
    copy = keras.optimizers.deserialize(config)
    assert type(copy) is type(optimizer)
    assert copy.get_config() == optimizer.get_config()
    assert copy.no_decay == optimizer.no_decay
    assert list(copy.rate_factors.items()) == list(optimizer.rate_factors.items())


def train(model, data):
    # A call for each batch, so that averages stay out of the weights.
    for x, y in data:
        model.train_on_batch(x, y)
    return model


@pytest.mark.parametrize(
    "make",
    [runs.everything, pytest.param(lambda: AdamW(HalfCosine(0.1, 9)), marks=pytest.mark.slow)],
    ids=["sgd", "adamw"],
)
def test_a_saved_model_goes_on_training_as_if_never_stopped(make, tmp_path):
    model = runs.small_model()
    model.compile(make(), "mse", jit_compile=False)
    data = list(runs.batches(6))
    # An odd number, so that a gradient is under way.
    train(model, data[:3]).save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy.optimizer) is type(model.optimizer)
    for one, other in zip(
        (*train(model, data[3:]).weights, *model.optimizer.variables),
        (*train(copy, data[3:]).weights, *copy.optimizer.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


# Another backend.


@pytest.fixture(scope="module")
def jax_answers(tmp_path_factory):
    path = tmp_path_factory.mktemp("jax") / "answers.npz"
    subprocess.run(
        [sys.executable, HERE / "optimizer_runs.py", path],
        # Compiled with less care, which takes longer than what is computed.
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "PYTHONPATH": str(HERE.parent.parent),
        },
        check=True,
    )
    return dict(np.load(path))


@pytest.fixture(scope="module")
def tensorflow_answers():
    return runs.answers()


@pytest.mark.parametrize("name", runs.CASES)
def test_jax_gives_the_numbers_of_tensorflow(name, tensorflow_answers, jax_answers):
    assert jax_answers.keys() == tensorflow_answers.keys()
    for key in (key for key in jax_answers if key.startswith(f"{name}/")):
        np.testing.assert_allclose(
            jax_answers[key], tensorflow_answers[key], rtol=1e-6, atol=1e-6, err_msg=key
        )


# Refusals.


def build(optimizer):
    optimizer.build(runs.make_variables())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SGD(0.1, l2=0.1, weight_decay=0.1), "`l2` and `weight_decay`.*l2=0.1"),
        (lambda: SGD(0.1, l2=-0.1), "`l2` must be a finite number.*-0.1"),
        (lambda: SGD(0.1, no_decay="gamma"), r"`no_decay` must be a list.*\('gamma',\)"),
        (lambda: SGD(0.1, rate_factors={"a": -1}), r"`rate_factors\['a'\]` must be.*-1"),
        (
            lambda: build(AdamW(0.1, rate_factors={"^stem/": 0.1})),
            "`rate_factors` must hold a pattern.*'\\^stem/'.*'conv/kernel'",
        ),
        (
            lambda: SGD(
                0.1, use_ema=True, ema_overwrite_frequency=5, gradient_accumulation_steps=2
            ),
            "`ema_overwrite_frequency` must be None.*=5",
        ),
        (
            lambda: SGD(0.1).exclude_from_weight_decay(var_names=["bias"]),
            "forgotten by a saved model.*'bias'.*`no_decay`",
        ),
    ],
)
def test_optimizers_refuse_what_they_cannot_mean(make, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make()

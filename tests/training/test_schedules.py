"""Schedules against the published formulas, written out here in double precision."""

import math

import keras
import numpy as np
import pytest

from keras_nonlocal.training.schedules import HalfCosine, Steps

RATES, BOUNDARIES = (0.02, 0.002, 0.0002), (0, 60, 80)


def authors(step, warmup_end=0, start=0.0, rates=RATES, boundaries=BOUNDARIES):
    """`get_lr_at_iter` of video-nonlocal-net with `steps_with_lrs`."""

    def policy(step):
        return rates[sum(step >= b for b in boundaries) - 1]

    if step < warmup_end:
        return step * (policy(warmup_end) - start) / (warmup_end - 1) + start
    return policy(step)


def pyslowfast(epoch, policy, warmup_epochs=0.0, start=0.0):
    """`get_lr_at_epoch` of PySlowFast, with its fractional epochs."""
    if epoch < warmup_epochs:
        return epoch * (policy(warmup_epochs) - start) / warmup_epochs + start
    return policy(epoch)


def cosine(base, max_epoch, end=0.0):
    return lambda epoch: end + (base - end) * (math.cos(math.pi * epoch / max_epoch) + 1.0) * 0.5


def check(schedule, formula, steps):
    # All steps in one call, as each costs a millisecond.
    rates = keras.ops.convert_to_numpy(schedule(np.array(steps)))
    assert rates.dtype == "float32"
    np.testing.assert_allclose(rates, [formula(step) for step in steps], rtol=1e-6)


def test_steps_hold_from_their_boundary_on():
    schedule = Steps(RATES, BOUNDARIES)
    rates = [round(float(schedule(step)), 7) for step in (0, 59, 60, 79, 80, 10**6)]
    assert rates == [0.02, 0.02, 0.002, 0.002, 0.0002, 0.0002]


def test_steps_are_those_of_the_authors_at_every_step():
    check(Steps(RATES, BOUNDARIES), authors, range(100))


@pytest.mark.parametrize("gamma", [0.1, 0.5])
def test_steps_are_those_of_a_relative_decay(gamma):
    rates = [0.01 * gamma**i for i in range(3)]
    boundaries = (0, 150_000, 300_000)
    steps = (0, 1, 149_999, 150_000, 299_999, 300_000, 399_999)
    schedule = Steps(rates, boundaries)
    check(schedule, lambda step: 0.01 * gamma ** sum(step >= b for b in boundaries[1:]), steps)


@pytest.mark.parametrize("end, start", [(2, 0.001), (40, 0.001), (41, 0.03), (60, 0.0)])
def test_warm_up_is_that_of_the_authors_which_counts_one_more(end, start):
    schedule = Steps(RATES, BOUNDARIES, warmup_steps=end - 1, warmup_start=start)
    if end in BOUNDARIES:
        # Their line then leads to the next rate; the one before it is never seen.
        schedule = Steps(RATES[1:], (0, 80), warmup_steps=end - 1, warmup_start=start)
    check(schedule, lambda step: authors(step, end, start), range(100))


@pytest.mark.parametrize("warmup_epochs, start", [(2, 0.001), (7, 0.0005)])
def test_warm_up_to_steps_is_that_of_pyslowfast(warmup_epochs, start):
    def policy(epoch):
        return RATES[sum(epoch >= b for b in (0, 6, 8)) - 1]

    schedule = Steps(RATES, (0, 60, 80), warmup_steps=10 * warmup_epochs, warmup_start=start)
    check(schedule, lambda s: pyslowfast(s / 10, policy, warmup_epochs, start), range(100))


@pytest.mark.parametrize(
    "base, end, warmup_epochs, start",
    [(0.1, 0.0, 0, 0.0), (0.1, 0.0, 34, 0.01), (0.4, 1e-3, 34, 0.01), (0.1, 0.0, 5, 0.2)],
)
def test_half_cosine_is_that_of_pyslowfast_at_every_step(base, end, warmup_epochs, start):
    schedule = HalfCosine(base, 196 * 7, end, 7 * warmup_epochs, start)
    policy = cosine(base, 196, end)
    check(schedule, lambda s: pyslowfast(s / 7, policy, warmup_epochs, start), range(196 * 7))


def test_half_cosine_keeps_its_digits_to_the_last_of_many_steps():
    total = 733_000
    schedule = HalfCosine(0.1, total)
    for step in (1, total // 3, total - 1000, total - 2, total - 1):
        # sin squared, as 1 + cos has too few digits here even in double precision.
        expected = 0.1 * math.sin(math.pi / 2 * (total - step) / total) ** 2
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("step", [100, 101, 150, 10**6])
def test_half_cosine_stays_at_its_end(step):
    assert float(HalfCosine(0.1, 100, end=0.03)(step)) == pytest.approx(0.03, rel=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_steps_may_come_as_tensors_of_any_kind(dtype):
    schedule = HalfCosine(0.1, 100, warmup_steps=10)
    step = keras.ops.cast(37, dtype)
    assert float(schedule(step)) == float(schedule(37))


def test_schedules_count_in_float32_whatever_the_default():
    keras.config.set_floatx("bfloat16")
    try:
        rate = Steps(RATES, (0, 1001, 2001))(1000)
    finally:
        keras.config.set_floatx("float32")
    assert float(rate) == pytest.approx(0.02, rel=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [Steps(RATES, BOUNDARIES, 5, 0.001), HalfCosine(0.1, 50, 0.002, 5, 0.01)],
    ids=["steps", "half_cosine"],
)
def test_schedules_come_back_from_their_config(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(schedule)
    assert [float(copy(s)) for s in range(100)] == [float(schedule(s)) for s in range(100)]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Steps([0.1, 0.01], [0]), "`learning_rates` and `boundaries`.*one entry"),
        (lambda: Steps([], []), "`learning_rates` and `boundaries`.*one entry"),
        (lambda: Steps([0.1], [5]), r"`boundaries` must rise from 0.*\[5\]"),
        (lambda: Steps([0.1, 1, 2], [0, 9, 9]), r"`boundaries` must rise from 0.*\[0, 9, 9\]"),
        (lambda: Steps([0.1, 1, 2], [0, 9, 3]), r"`boundaries` must rise from 0.*\[0, 9, 3\]"),
        (lambda: Steps([-0.1], [0]), "`learning_rates` must be a finite number.*-0.1"),
        (lambda: Steps([0.1], [0], 1.5), "`warmup_steps` must be a number of steps.*1.5"),
        (lambda: Steps([0.1], [0], warmup_start=0.01), "`warmup_start` goes with.*0.01"),
        (lambda: Steps([0.1], [0], 5, float("nan")), "`warmup_start` must be a finite.*nan"),
        (lambda: HalfCosine(0.1, 0), "`total_steps` must be a positive number.*0"),
        (lambda: HalfCosine(0.1, 9.5), "`total_steps` must be a positive number.*9.5"),
        (lambda: HalfCosine(0.1, 9, end=0.2), "`end` must not exceed.*0.2"),
        (lambda: HalfCosine(0.1, 9, warmup_steps=9), "`warmup_steps` must be fewer.*9"),
    ],
)
def test_schedules_refuse_what_is_no_schedule(make, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make()

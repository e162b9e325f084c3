"""Learning-rate schedules of the published recipes, equal to their formulas at every step."""

import math

import keras
from keras import ops


class _WarmedUp(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that a straight line leads up to."""

    def __init__(self, warmup_steps, warmup_start):
        if isinstance(warmup_steps, bool) or not isinstance(warmup_steps, int) or warmup_steps < 0:
            raise ValueError(
                "`warmup_steps` must be a number of steps, 0 for none. "
                f"Received: warmup_steps={warmup_steps!r}. Multiply epochs by the steps in one."
            )
        check_rate("warmup_start", warmup_start)
        if warmup_start and not warmup_steps:
            raise ValueError(
                "`warmup_start` goes with `warmup_steps`. "
                f"Received: warmup_start={warmup_start}, warmup_steps=0. Give both or neither."
            )
        self.warmup_steps = warmup_steps
        self.warmup_start = warmup_start

    def __call__(self, step):
        """Gives the rate of an update.

        Args:
            step: its number, from 0; a number, or an array or tensor of them.

        Returns:
            float32 tensor of the shape of `step`.
        """
        # Whatever `floatx` is: bfloat16 could not even count to a thousand.
        step = ops.cast(step, "float32")
        rate = self._rate(step)
        if not self.warmup_steps:
            return rate
        end = self._rate(ops.cast(self.warmup_steps, "float32"))
        line = self.warmup_start + step * (end - self.warmup_start) / self.warmup_steps
        return ops.where(step < self.warmup_steps, line, rate)

    def get_config(self):
        return {"warmup_steps": self.warmup_steps, "warmup_start": self.warmup_start}


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class Steps(_WarmedUp):
    """A constant rate from each boundary on, as in the authors' and many later recipes.

    All their ways to say it come to a list of rates: relative ones are multiplied by the base
    rate, and `steps_with_decay` is `base * gamma**i`.

    Args:
        learning_rates: the rates, one for each boundary.
        boundaries: the updates from which on they hold; the first is 0. Update 150,000 itself
            is already made at the rate that its boundary brings.
        warmup_steps: updates that rise in a straight line from `warmup_start` to the rate that
            the schedule has at update `warmup_steps`, the first one that is made at full rate.
            That is how PySlowFast counts. The authors' last warm-up iteration is already at
            full rate: their `WARMUP_END_ITER` is `warmup_steps + 1`.
        warmup_start: the rate of update 0.

    Raises:
        ValueError: if the two lists do not go together, or a number is out of range.

    Example:

    >>> schedule = Steps([0.01 * 0.1**i for i in range(3)], (0, 150_000, 300_000))
    >>> [round(float(schedule(step)), 6) for step in (0, 149_999, 150_000, 300_000)]
    [0.01, 0.01, 0.001, 0.0001]

    Reference:
        [video-nonlocal-net](https://github.com/facebookresearch/video-nonlocal-net)
        `lib/utils/lr_policy.py`; [PySlowFast](https://github.com/facebookresearch/SlowFast)
        `slowfast/utils/lr_policy.py`, `steps_with_relative_lrs`.
    """

    def __init__(self, learning_rates, boundaries, warmup_steps=0, warmup_start=0.0):
        super().__init__(warmup_steps, warmup_start)
        self.learning_rates = tuple(learning_rates)
        self.boundaries = tuple(boundaries)
        for rate in self.learning_rates:
            check_rate("learning_rates", rate)
        if len(self.learning_rates) != len(self.boundaries) or not self.boundaries:
            raise ValueError(
                "`learning_rates` and `boundaries` must have one entry for each other. "
                f"Received: learning_rates={learning_rates}, boundaries={boundaries}. "
                "The first boundary is 0."
            )
        if self.boundaries[0] != 0 or list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError(
                "`boundaries` must rise from 0. "
                f"Received: boundaries={boundaries}. Each is the first update at its rate."
            )

    def _rate(self, step):
        rate = ops.full_like(step, self.learning_rates[0])
        for boundary, after in zip(self.boundaries[1:], self.learning_rates[1:], strict=True):
            rate = ops.where(step >= boundary, after, rate)
        return rate

    def get_config(self):
        own = {"learning_rates": list(self.learning_rates), "boundaries": list(self.boundaries)}
        return {**own, **super().get_config()}


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class HalfCosine(_WarmedUp):
    """A rate that falls along half a period of the cosine, with PySlowFast's linear warm-up.

    The cosine runs from update 0, not from the end of the warm-up: the line leads to the place
    where the cosine has fallen to by then.

    Args:
        learning_rate: the highest rate, that of update 0 without a warm-up.
        total_steps: updates of the training; from there on the rate stays at `end`.
        end: the rate that it falls to.
        warmup_steps: see `Steps`.
        warmup_start: see `Steps`.

    Raises:
        ValueError: if a number is out of range.

    Example:

    >>> schedule = HalfCosine(0.1, total_steps=400, warmup_steps=100, warmup_start=0.01)
    >>> [round(float(schedule(step)), 4) for step in (0, 50, 100, 200, 400)]
    [0.01, 0.0477, 0.0854, 0.05, 0.0]

    Reference:
        [PySlowFast](https://github.com/facebookresearch/SlowFast)
        `slowfast/utils/lr_policy.py`, with its fractional epochs counted in updates.
    """

    def __init__(self, learning_rate, total_steps, end=0.0, warmup_steps=0, warmup_start=0.0):
        super().__init__(warmup_steps, warmup_start)
        check_rate("learning_rate", learning_rate)
        check_rate("end", end)
        if end > learning_rate:
            raise ValueError(
                "`end` must not exceed `learning_rate`. "
                f"Received: end={end}, learning_rate={learning_rate}. Exchange them."
            )
        if isinstance(total_steps, bool) or not isinstance(total_steps, int) or total_steps < 1:
            raise ValueError(
                "`total_steps` must be a positive number of updates. "
                f"Received: total_steps={total_steps!r}. Multiply epochs by the steps in one."
            )
        if warmup_steps >= total_steps:
            raise ValueError(
                "`warmup_steps` must be fewer than `total_steps`. Received: "
                f"warmup_steps={warmup_steps}, total_steps={total_steps}. Shorten the warm-up."
            )
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.end = end

    def _rate(self, step):
        # (1 + cos(pi x)) / 2 is sin(pi (1 - x) / 2) squared. The sum would lose every digit
        # towards the end, where the cosine is -1 to the precision of float32.
        left = ops.maximum(self.total_steps - step, 0.0) / self.total_steps
        return self.end + (self.learning_rate - self.end) * ops.sin(math.pi / 2 * left) ** 2

    def get_config(self):
        own = {"learning_rate": self.learning_rate, "total_steps": self.total_steps}
        return {**own, "end": self.end, **super().get_config()}


def check_rate(name, rate):
    """Raises if a rate, of learning or of decay, is no finite number from 0 on."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < math.inf:
        raise ValueError(
            f"`{name}` must be a finite number that is not negative. Received: {rate!r}. "
            "0 stands for none."
        )


def find_last_rate(optimizer):
    """Gives the rate of the last update; the optimizer itself has that of the next.

    Args:
        optimizer: a built `keras.optimizers.Optimizer`.

    Returns:
        A float.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # Set back, rather than its schedule asked, as Keras counts batches and others updates.
    counter = optimizer._iterations
    batches = int(keras.ops.convert_to_numpy(counter))
    in_one = optimizer.gradient_accumulation_steps or 1
    counter.assign(max(batches // in_one * in_one - 1, 0))
    try:
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    finally:
        counter.assign(batches)

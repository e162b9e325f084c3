"""What a training is told to do, and how far it has come."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `train` is told beside what it works on; see there.

    Raises:
        ValueError: if a number is outside its range, or `mode` is none.
    """

    epochs: int
    precise_norm_batches: int = 0
    monitor: str | None = None
    mode: str | None = None
    checkpoint_steps: int | None = None
    checkpoint_seconds: float | None = None

    def __post_init__(self):
        if self.mode not in (None, "min", "max"):
            raise ValueError(f"`mode` must be 'min', 'max' or None. Received: mode={self.mode!r}.")
        for name, least in (("epochs", 1), ("precise_norm_batches", 0), ("checkpoint_steps", 1)):
            value = getattr(self, name)
            if value is None and name == "checkpoint_steps":
                continue
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}."
                )
        seconds = self.checkpoint_seconds
        if seconds is not None and not seconds >= 0:
            raise ValueError(
                "`checkpoint_seconds` must be a number of at least 0, or None. Received: "
                f"checkpoint_seconds={seconds!r}."
            )

    def improves(self, rows):
        """Whether the last row is the best so far, of rows that all hold the monitored metric.

        Raises:
            ValueError: if the last does not hold it.
        """
        if self.monitor not in rows[-1]:
            raise ValueError(
                f"`monitor` must be one of {', '.join(map(repr, rows[-1]))}. Received: "
                f"monitor={self.monitor!r}."
            )
        mode = self.mode or ("min" if self.monitor.endswith(("loss", "error")) else "max")
        sign = 1 if mode == "min" else -1
        *before, last = [sign * row[self.monitor] for row in rows]
        # NaN is not the best of anything.
        return last == last and not any(other <= last for other in before)


@dataclasses.dataclass
class Place:
    """How far a training is: what a checkpoint notes beside the arrays.

    Attributes:
        epoch: epochs that are done with.
        step: steps done of the next one.
        logs: the training metrics of an epoch whose steps are all done and that is still to be
            validated, or None.
        stopping: whether a callback wants it to be the last.
        rows: the metrics of the epochs that are done with.
    """

    epoch: int = 0
    step: int = 0
    logs: dict | None = None
    stopping: bool = False
    rows: list = dataclasses.field(default_factory=list)


def as_dataset(clips):
    """Returns the dataset of a `data.ClipLoader`, or what else it is given."""
    return clips.dataset() if is_loader(clips) else clips


def is_loader(clips):
    """Whether it makes datasets that start at any epoch and step, as a `data.ClipLoader` does."""
    return hasattr(clips, "dataset") and hasattr(clips, "steps_per_epoch")


def count_steps(training):
    """Returns the steps per epoch, or None for a dataset that does not know.

    Raises:
        TypeError: if it is no dataset.
        ValueError: if there are none, or no end.
    """
    if is_loader(training):
        return training.steps_per_epoch
    if not hasattr(training, "cardinality"):
        raise TypeError(
            "`training` must be a `data.ClipLoader` or a `tf.data.Dataset` of batches. "
            f"Received: {type(training).__name__}."
        )
    count = int(training.cardinality())
    if count == 0:
        raise ValueError("`training` must hold batches. Received: an empty dataset.")
    if count == -1:
        raise ValueError(
            "`training` must end: it is one epoch. Received: a dataset without end. Give "
            "`training.take(steps)`."
        )
    return None if count < 0 else count

"""How far a training is, on a terminal or line by line. Both are Keras callbacks."""

import time

import keras


class ProgressBar(keras.callbacks.Callback):
    """A bar an epoch, with the rate, the time left, and the metrics so far.

    In a `with` statement, the bar is also taken away where the training ends with an error.

    Args:
        batch_size: int, clips a step, of all replicas and processes.
        console: a `rich.console.Console`. Default: one on stderr.
    """

    def __init__(self, batch_size, console=None):
        super().__init__()
        self.batch_size = batch_size
        self._console = console
        self._bar = self._task = None

    def on_epoch_begin(self, epoch, logs=None):
        # Here rather than at the import, which a training without a bar need not wait for.
        import rich.console
        import rich.progress

        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[rate]}", markup=False),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[metrics]}", markup=False),
            console=self._console or rich.console.Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(
            f"epoch {epoch + 1}/{self.params['epochs']}",
            total=self.params["steps"],
            rate="",
            metrics="",
        )
        self._bar.start()

    def on_train_batch_begin(self, batch, logs=None):
        if self._bar.tasks[0].completed == 0 and batch:
            # Of an epoch that goes on: what was done before it says nothing of the rate.
            self._bar.reset(self._task, completed=batch)

    def on_train_batch_end(self, batch, logs=None):
        speed = self._bar.tasks[0].speed
        self._bar.update(
            self._task,
            completed=batch + 1,
            rate="" if speed is None else f"{speed * self.batch_size:.1f} clips/s",
            metrics=_as_text(logs),
        )

    def on_test_begin(self, logs=None):
        self._bar.update(self._task, metrics="validation")

    def on_epoch_end(self, epoch, logs=None):
        self._bar.stop()
        self._bar.console.print(
            f"epoch {epoch + 1}/{self.params['epochs']}  {_as_text(logs)}",
            markup=False,
            highlight=False,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._bar is not None:
            self._bar.stop()


class EpochLines(keras.callbacks.Callback):
    """A line an epoch, for what reads lines: a log file, a pipe.

    Args:
        write: a function that takes the line.
        batch_size: int, clips a step, of all replicas and processes.

    Example:

    >>> lines = EpochLines(print, batch_size=8)
    >>> lines.set_params({"epochs": 3, "steps": 10})
    >>> lines.on_epoch_end(0, {"loss": 1.25, "accuracy": 0.5})
    epoch 1/3  loss 1.25  accuracy 0.5
    """

    def __init__(self, write, batch_size):
        super().__init__()
        self.write = write
        self.batch_size = batch_size
        self._begun = None
        self._first = self._last = self._ended = 0

    def on_train_batch_end(self, batch, logs=None):
        # From the end of the first step of a process, which compiles for long.
        if self._begun is None:
            self._begun, self._first = time.monotonic(), batch
        self._last, self._ended = batch, time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        line = f"epoch {epoch + 1}/{self.params['epochs']}  {_as_text(logs)}"
        if self._begun is not None and self._last > self._first:
            rate = (self._last - self._first) * self.batch_size / (self._ended - self._begun)
            line += f"  {rate:.1f} clips/s"
        self._begun = None
        self.write(line)


def _as_text(logs):
    return "  ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())

"""What the displays of a training show."""

import io

import rich.console

from keras_nonlocal.runs.progress import EpochLines, ProgressBar


def drive(callback, first=0):
    callback.set_params({"epochs": 2, "steps": 4})
    callback.on_epoch_begin(1)
    for batch in range(first, 4):
        callback.on_train_batch_begin(batch)
        callback.on_train_batch_end(batch, {"loss": 2.5 - batch})
    callback.on_test_begin()
    callback.on_epoch_end(1, {"loss": 0.123456, "val_loss": 3.0})


def on_terminal():
    return rich.console.Console(file=io.StringIO(), force_terminal=True, width=120)


def test_the_bar_shows_epoch_steps_rate_and_metrics():
    console = on_terminal()
    with ProgressBar(8, console) as bar:
        drive(bar)
    text = console.file.getvalue()
    for part in ("epoch 2/2", "4/4", "clips/s", "validation", "loss 0.1235  val_loss 3"):
        assert part in text, part


def test_the_bar_of_a_resumed_epoch_begins_where_it_goes_on():
    console = on_terminal()
    with ProgressBar(8, console) as bar:
        bar.set_params({"epochs": 2, "steps": 4})
        bar.on_epoch_begin(1)
        bar.on_train_batch_begin(2)
        assert bar._bar.tasks[0].completed == 2
        assert bar._bar.tasks[0].speed is None


def test_the_bar_is_gone_after_an_error():
    console = on_terminal()
    try:
        with ProgressBar(8, console) as bar:
            bar.set_params({"epochs": 2, "steps": 4})
            bar.on_epoch_begin(0)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert not bar._bar.live.is_started


def test_a_line_an_epoch_with_the_rate(monkeypatch):
    # The first step ends at second 10, the last at second 13: three steps of 8 clips in 3 s.
    clock = iter([10.0, 10.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    lines = []
    drive(EpochLines(lines.append, 8))
    assert lines == ["epoch 2/2  loss 0.1235  val_loss 3  8.0 clips/s"]


def test_a_line_of_an_epoch_of_one_step_has_no_rate():
    lines = []
    drive(EpochLines(lines.append, 8), first=3)
    assert lines == ["epoch 2/2  loss 0.1235  val_loss 3"]

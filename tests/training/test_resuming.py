"""A training that was interrupted ends as one that was not, to the bit."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_nonlocal.runs import curves
from keras_nonlocal.runs.checkpoint_files import CorruptCheckpoint
from keras_nonlocal.runs.interruption import TrainingInterrupted
from keras_nonlocal.runs.model_state import read_state
from keras_nonlocal.training.fitting import train
from tests import subjects
from tests.training import small_trainings as small


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(curves, "can_draw", lambda: False)


@pytest.fixture(scope="module")
def start():
    return small.Starter()


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return start(folder)[1], (folder / "curves.csv").read_bytes()


@pytest.fixture
def assert_resumes(tmp_path, start, undisturbed):
    def check(**arguments):
        """The next start brings it to the same end."""
        _, state = start(tmp_path, fresh=False, **arguments)
        small.assert_same(state, undisturbed[0])
        assert (tmp_path / "curves.csv").read_bytes() == undisturbed[1]

    return check


@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("on_train_batch_begin", 1),
        ("on_train_batch_end", 4),
        ("on_train_batch_begin", 7),
        ("on_epoch_begin", 2),
        ("on_test_batch_end", 4),
        ("on_epoch_end", 1),
        ("on_epoch_end", 3),
        ("on_train_end", 1),
    ],
)
def test_resumed_training_equals_an_undisturbed_one(method, count, tmp_path, start, assert_resumes):
    start.interrupt(tmp_path, small.StopIn(method, count))
    assert_resumes()


def test_a_training_stopped_again_and_again_equals_an_undisturbed_one(
    tmp_path, start, assert_resumes
):
    for place in ((0, 1), (0, 2), (1, 0), (1, 3), (2, 1)):
        start.interrupt(tmp_path, small.StopAt(*place), fresh=place == (0, 1))
    assert_resumes()


def test_new_models_with_everything_on_resume(tmp_path):
    def once(folder, seed, callbacks=()):
        schedule = keras.optimizers.schedules.CosineDecay(0.5, 20)
        optimizer = keras.optimizers.LossScaleOptimizer(small.make_optimizer(schedule))
        model = small.make_model(optimizer, seed)
        train(
            model,
            small.Batches(),
            small.validation(),
            epochs=2,
            run=folder,
            callbacks=callbacks,
            checkpoint_steps=1,
            precise_norm_batches=2,
        )
        return model

    expected = once(tmp_path / "undisturbed", 1)
    with pytest.raises(small.Stop):
        once(tmp_path / "run", 1, [small.StopAt(1, 2)])
    model = once(tmp_path / "run", 2)
    small.assert_same(read_state(model), read_state(expected))
    texts = [(tmp_path / name / "curves.csv").read_text() for name in ("run", "undisturbed")]
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_jax_resumes_too(tmp_path):
    # In a process of its own, as the backend is chosen when Keras is imported.
    here = pathlib.Path(__file__).parent
    told = subprocess.run(
        [sys.executable, here / "resuming_on_jax.py", tmp_path],
        # Compiled with less care, which takes longer than what is computed.
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "PYTHONPATH": str(here.parents[1]),
        },
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert told.split()[0] == "jax"


def test_checkpoints_that_are_further_apart_give_the_same(tmp_path, start, assert_resumes):
    start.interrupt(tmp_path, small.StopAt(1, 2), checkpoint_steps=None)
    assert_resumes(checkpoint_steps=3)


def test_time_makes_checkpoints_too(tmp_path, start):
    start.interrupt(tmp_path, small.StopAt(0, 2), checkpoint_steps=None, checkpoint_seconds=0)
    assert [path.stem[-1] for path in sorted((tmp_path / "checkpoints").iterdir())] == ["1", "2"]


def test_a_damaged_last_checkpoint_gives_the_same(tmp_path, start, assert_resumes, caplog):
    start.interrupt(tmp_path, small.StopAt(1, 2))
    last = sorted((tmp_path / "checkpoints").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-1])
    assert_resumes()
    assert f"{last.name}' is damaged" in caplog.text


def test_checkpoints_that_are_all_damaged_stop_it(tmp_path, start):
    start.interrupt(tmp_path, small.StopAt(1, 2))
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(CorruptCheckpoint, match="None of the checkpoints is whole"):
        start(tmp_path)


def test_a_checkpoint_of_another_network_stops_it(tmp_path, start):
    start.interrupt(tmp_path, small.StopAt(0, 1))
    model = small.make_model(classes=4)
    with pytest.raises(ValueError, match=r"top/bias: float32\[3\] in the checkpoint, float32\[4\]"):
        train(model, small.Batches(), small.validation(), run=tmp_path, epochs=small.EPOCHS)


@pytest.mark.parametrize(
    ("number", "method"),
    [
        (signal.SIGTERM, "on_train_batch_end"),
        (signal.SIGINT, "on_train_batch_end"),
        (signal.SIGTERM, "on_test_batch_end"),
        (signal.SIGTERM, "on_epoch_end"),
    ],
)
def test_signals_leave_a_checkpoint(number, method, tmp_path, start, assert_resumes):
    sender = small.StopIn(method, 2)
    sender.stop = lambda: os.kill(os.getpid(), number)
    before = signal.getsignal(number)
    with pytest.raises(TrainingInterrupted, match=f"Stopped by {number.name} at step . of 4") as e:
        start(tmp_path, callbacks=[sender], checkpoint_steps=None)
    assert e.value.signal == number
    assert signal.getsignal(number) is before
    assert str(sorted((tmp_path / "checkpoints").iterdir())[-1]) in str(e.value)
    assert_resumes()


def test_several_steps_in_one_execution_make_checkpoints_too(tmp_path):
    start = small.Starter(steps_per_execution=2)
    arguments = {"checkpoint_steps": 3, "training": small.Batches(7)}
    start.interrupt(tmp_path, small.StopAt(0, 5), **arguments)
    # Steps 2 and 4 end an execution; the third, of which a multiple ends none, is past by then.
    assert sorted((tmp_path / "checkpoints").iterdir())[-1].stem == "epoch-00000-step-00000004"


def test_other_replicas_are_refused(tmp_path, start):
    start.interrupt(tmp_path, small.StopAt(0, 1))
    with subjects.two_replicas().scope():
        model = small.make_model()
    message = (
        r"as many replicas as it was begun with, 1.* Received: a model of 2\. .*"
        r"MirroredStrategy of 1 .*--replicas 1\), or train in another folder"
    )
    with pytest.raises(ValueError, match=message):
        train(model, small.Batches(), small.validation(), run=tmp_path, epochs=small.EPOCHS)


def test_several_steps_in_one_execution_resume(tmp_path):
    start = small.Starter(steps_per_execution=2)
    arguments = {"epochs": 2, "checkpoint_steps": 2, "training": small.Batches(5)}
    _, expected = start(tmp_path / "undisturbed", **arguments)
    start.interrupt(tmp_path / "run", small.StopAt(1, 3), **arguments)
    small.assert_same(start(tmp_path / "run", fresh=False, **arguments)[1], expected)


def test_a_dataset_without_places_resumes_at_an_epoch(tmp_path, start):
    training = small.Batches().dataset()
    _, expected = start(tmp_path / "undisturbed", training=training)
    start.interrupt(tmp_path / "run", small.StopAt(1, 2), training=training)
    names = [path.stem for path in sorted((tmp_path / "run" / "checkpoints").iterdir())]
    assert names == ["epoch-00000-step-00000004", "epoch-00001-step-00000000"]
    small.assert_same(start(tmp_path / "run", fresh=False, training=training)[1], expected)


class Recorder(keras.callbacks.Callback):
    """Writes down what a callback is told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def on_train_begin(self, logs=None):
        self.told.append(("begin", self.params["epochs"], self.params["steps"]))

    def on_epoch_begin(self, epoch, logs=None):
        self.told.append(("epoch", epoch))

    def on_train_batch_begin(self, batch, logs=None):
        self.told.append(("batch", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.told.append(("batch end", batch, sorted(logs)))

    def on_test_begin(self, logs=None):
        self.told.append(("test",))

    def on_epoch_end(self, epoch, logs=None):
        self.told.append(("epoch end", epoch, sorted(logs)))

    def on_train_end(self, logs=None):
        self.told.append(("end",))


def test_callbacks_see_one_training(tmp_path, start):
    metrics = ["accuracy", "loss"]
    all_metrics = ["accuracy", "learning_rate", "loss", "val_accuracy", "val_loss"]
    epochs = [
        [
            ("epoch", epoch),
            *(event for b in range(4) for event in (("batch", b), ("batch end", b, metrics))),
            ("test",),
            ("epoch end", epoch, all_metrics),
        ]
        for epoch in range(2)
    ]
    recorder = Recorder()
    with pytest.raises(small.Stop):
        start(tmp_path, callbacks=[recorder, small.StopAt(1, 2)], epochs=2)
    stop = epochs[1].index(("batch end", 2, metrics)) + 1
    assert recorder.told == [("begin", 2, 4), *epochs[0], *epochs[1][:stop]]
    recorder = Recorder()
    start(tmp_path, fresh=False, callbacks=[recorder], epochs=2)
    # The third step had no checkpoint yet.
    again = epochs[1].index(("batch", 2))
    assert recorder.told == [("begin", 2, 4), epochs[1][0], *epochs[1][again:], ("end",)]


class Ratings(keras.callbacks.Callback):
    """Gives epochs a metric that is best in the second of them."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def on_epoch_end(self, epoch, logs=None):
        logs["rating"] = [1.0, 0.25, 0.5, 0.5, 0.5, 0.5][epoch]
        self.seen += 1

    def get_state(self):
        return {"seen": self.seen, "array": np.arange(self.seen)}

    def set_state(self, state):
        self.seen = state["seen"]
        assert state["array"].tolist() == list(range(self.seen))


def stopping(path):
    """Callbacks that remember; the training stops after the fourth epoch, two after the best."""
    return [
        Ratings(),
        keras.callbacks.EarlyStopping(
            "rating", patience=2, restore_best_weights=True, mode="min", min_delta=0.01
        ),
        keras.callbacks.ReduceLROnPlateau("rating", factor=0.5, patience=1, mode="min"),
        keras.callbacks.ModelCheckpoint(
            path / "own.{epoch}.keras", "rating", save_best_only=True, mode="min"
        ),
    ]


@pytest.mark.parametrize("place", [(2, 1), (3, 2)], ids=["after the best", "last"])
def test_what_callbacks_remember_is_kept(place, tmp_path, start):
    def once(folder, more=(), **arguments):
        folder.mkdir(exist_ok=True)
        callbacks = stopping(folder)
        with contextlib.suppress(small.Stop):
            result = start(folder, callbacks=[*callbacks, *more], epochs=6, **arguments)
            return *result, callbacks

    history, expected, before = once(tmp_path / "undisturbed")
    assert history["rating"] == [1.0, 0.25, 0.5, 0.5]
    assert history["learning_rate"] == [0.5, 0.5, 0.5, 0.25]
    assert once(tmp_path / "run", [small.StopAt(*place)]) is None
    resumed, state, after = once(tmp_path / "run", fresh=False)
    assert resumed == history
    small.assert_same(state, expected)
    for name in ("best", "best_epoch", "wait", "stopped_epoch"):
        assert getattr(after[1], name) == getattr(before[1], name)
    assert after[0].seen == 4
    for folder in ("undisturbed", "run"):
        names = [path.name for path in sorted((tmp_path / folder).glob("own*"))]
        assert names == ["own.1.keras", "own.2.keras"]


def test_early_stopping_gives_the_averages_of_the_best_epoch(tmp_path, start):
    history, state = start(tmp_path, callbacks=stopping(tmp_path), epochs=6)
    kept = keras.models.load_model(tmp_path / "own.2.keras")
    result = start.model.evaluate(small.validation(), verbose=0, return_dict=True)
    assert result["loss"] == history["val_loss"][1]
    for mine, best in zip(start.model.get_weights(), kept.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, best)


def test_other_callbacks_that_remember_are_refused(tmp_path, start):
    start.interrupt(tmp_path, small.StopAt(1, 1))
    with pytest.raises(ValueError, match=r"`callbacks` .* had \[\]. Received: \['Ratings'\]"):
        start(tmp_path, callbacks=[Ratings()])

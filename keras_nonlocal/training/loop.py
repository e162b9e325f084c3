"""One training from step to step and from epoch to epoch, as `train` runs it."""

import dataclasses
import logging
import math
import signal
import time

import keras

from keras_nonlocal.runs.callback_states import read_callback_states, write_callback_states
from keras_nonlocal.runs.folder import BEST, FINAL
from keras_nonlocal.runs.interruption import TrainingInterrupted
from keras_nonlocal.runs.model_state import (
    build_optimizer,
    find_non_finite,
    has_averages,
    read_state,
    use_averages,
    write_state,
    write_weights,
)
from keras_nonlocal.training import distribution
from keras_nonlocal.training.norms import update_norm_statistics
from keras_nonlocal.training.plan import Place, count_steps, is_loader
from keras_nonlocal.training.schedules import find_last_rate
from keras_nonlocal.training.seams import BetweenSteps, Steps
from keras_nonlocal.training.validation import evaluate


class TrainingDiverged(ArithmeticError):
    """A training whose loss or weights are not finite any more."""


class Loop:
    """Trains with one call of `model.fit` an epoch, so that an epoch goes on as a shorter one.

    Args:
        model, training, validation, callbacks: as in `train`.
        plan: a `Plan`.
        run: the `Run`, opened by the chief.
        interruption: an `Interruption`.
    """

    def __init__(self, model, training, validation, callbacks, plan, run, interruption):
        self.model = model
        self.training = training
        self.validation = validation
        self.plan = plan
        self.run = run
        self.interruption = interruption
        self.place = Place()
        self.steps = count_steps(training)
        self.chief = distribution.is_chief()
        self.own_callbacks = callbacks
        # What the callbacks of the user are told, of one training without a seam.
        self.callbacks = keras.callbacks.CallbackList(
            [*callbacks, BetweenSteps(self)],
            add_history=True,
            model=model,
            epochs=plan.epochs,
            steps=self.steps,
            verbose=0,
        )
        self.history = model.history
        self._trained = None
        self._resumed = None
        self._row = None
        self._written = time.monotonic()
        self._written_step = 0
        self._last_path = None

    def train(self):
        """Trains to the end, from the last checkpoint on. Gives the `History` of all epochs."""
        checkpoint = self._read_checkpoint()
        build_optimizer(self.model)
        self.callbacks.on_train_begin()
        if checkpoint is None:
            self._write_checkpoint(self._read_state())
        else:
            self._resume(*checkpoint)
        if self.chief:
            self.run.note_start(self.place.epoch, self.place.step)
            self.run.start_curves(self.place.rows)
        while True:
            if self.place.logs is None:
                self._train_epoch()
            self._end_epoch()
            if self.place.stopping or len(self.place.rows) == self.plan.epochs:
                break
            self._begin_next_epoch()
        # With the weights of the last validation, which callbacks may replace by the best.
        self.callbacks.on_train_end(self._row)
        if self.chief:
            with distribution.alone():
                self.run.save_model(self.model, FINAL)
        distribution.barrier("the final model is saved")
        self.model.history = self.history
        return self.history

    def _read_checkpoint(self):
        # The chief first, who puts damaged ones aside; and none is written before all have read.
        checkpoint = self.run.checkpoints.read_last() if self.chief else None
        distribution.barrier("the chief has read the last checkpoint")
        if not self.chief:
            checkpoint = self.run.checkpoints.read_last()
        distribution.barrier("all have read the last checkpoint")
        return checkpoint

    def _resume(self, arrays, notes):
        states = notes.pop("callbacks")
        self.place = Place(**notes)
        if any(name.startswith("metrics/") for name in arrays):
            # Keras makes the metrics' variables at the first step. This one changes nothing that
            # is not overwritten at once.
            self.model.evaluate(self._batches(self.place.epoch, 0).take(1), verbose=0)
        self._resumed = arrays, states
        self._put_back()
        if self.place.logs is not None:
            self.callbacks.on_epoch_begin(self.place.epoch)
            self._put_back()
            self._trained = arrays
        elif self.place.step == 0:
            # What callbacks do at the beginning of the epoch is still to come, and stays.
            self._resumed = None
        self.history.epoch = list(range(len(self.place.rows)))
        for row in self.place.rows:
            for name, value in row.items():
                self.history.history.setdefault(name, []).append(value)
        self._last_path = self.run.checkpoints.paths()[-1]
        self._written_step = self.place.step
        logging.getLogger("keras_nonlocal").info(
            "Goes on %s, from %s.", self._where(), self._last_path
        )

    def _put_back(self):
        """Undoes what happened since the checkpoint: callbacks begin as if nothing had been."""
        arrays, states = self._resumed
        write_state(self.model, arrays)
        write_callback_states(self.own_callbacks, states)

    def begin_steps(self):
        """Within `fit`, which has just set the metrics back."""
        self.callbacks.on_epoch_begin(self.place.epoch)
        if self._resumed is not None:
            self._put_back()
            self._resumed = None

    def end_step(self, step, logs):
        """Within `fit`, after `step` steps of the epoch."""
        self.place.step = step
        if not math.isfinite(logs["loss"]):
            raise self._diverged(f"The loss is {logs['loss']}")
        if step == self.steps or not is_loader(self.training):
            # The epoch's end has its own checkpoint; a dataset that cannot go on within has no
            # other.
            if self.interruption.signal and step != self.steps:
                raise self._interrupted()
            return
        every, seconds = self.plan.checkpoint_steps, self.plan.checkpoint_seconds
        # Several steps in one execution may pass over a multiple.
        due = every is not None and step - self._written_step >= every
        due = due or (seconds is not None and time.monotonic() - self._written >= seconds)
        if due or self.interruption.signal:
            self._write_checkpoint(self._read_state(metrics=True))
        self.check_interruption()

    def end_steps(self, logs):
        """Within `fit`, before it puts averages in the place of the weights."""
        self.place.logs = dict(logs)
        self._trained = self._read_state()

    def check_interruption(self):
        """Raises a `TrainingInterrupted` if a signal has come. What is worth keeping is written."""
        if self.interruption.signal:
            raise self._interrupted()

    def note_row(self, logs):
        """Takes the metrics of an epoch, with what the user's callbacks have added."""
        self._row = {k: v for k, v in logs.items() if isinstance(v, (int, float))}

    def _train_epoch(self):
        epoch, step = self.place.epoch, self.place.step
        self.model.fit(
            self._batches(epoch, step),
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=0,
            callbacks=[Steps(self, step)],
        )
        # Read in fit: a callback may have ended the epoch early.
        self.place.stopping = self.model.stop_training
        self._write_checkpoint(self._trained)
        self.check_interruption()

    def _end_epoch(self):
        """Validates, with averaged weights and precise statistics where they are wanted."""
        place = self.place
        self.model.stop_training = place.stopping
        # What fit has done at its end; not so in a process that goes on from there.
        use_averages(self.model)
        if self.plan.precise_norm_batches:
            batches = self._batches(place.epoch, 0)
            update_norm_statistics(self.model, batches, self.plan.precise_norm_batches)
        logs = dict(place.logs)
        if self.validation is not None:
            # The user's callbacks see the validation, and a signal ends it.
            validated = evaluate(self.model, self.validation, self.callbacks)
            logs |= {f"val_{name}": value for name, value in validated.items()}
        logs["learning_rate"] = find_last_rate(self.model.optimizer)
        self.callbacks.on_epoch_end(place.epoch, logs)
        place.stopping = self.model.stop_training
        place.rows.append(self._row)
        if self.chief:
            if self.plan.monitor is not None and self.plan.improves(place.rows):
                with distribution.alone():
                    self.run.save_model(self.model, BEST)
            self.run.add_to_curves(place.rows)

    def _begin_next_epoch(self):
        if has_averages(self.model) or self.plan.precise_norm_batches:
            # The optimizer keeps what callbacks have set since then: the rate.
            write_weights(self.model, self._trained)
        self._trained = None
        self.place = Place(epoch=self.place.epoch + 1, rows=self.place.rows)
        self._write_checkpoint(self._read_state())
        self.check_interruption()

    def _batches(self, epoch, step):
        if is_loader(self.training):
            return self.training.dataset(epoch, step)
        return self.training

    def _read_state(self, metrics=False):
        state = read_state(self.model, metrics)
        if names := find_non_finite(state):
            raise self._diverged(f"Not finite are {', '.join(names)}")
        return state

    def _write_checkpoint(self, arrays):
        self._written, self._written_step = time.monotonic(), self.place.step
        if self.chief:
            notes = dataclasses.asdict(self.place)
            notes["callbacks"] = read_callback_states(self.own_callbacks)
            epoch, step = notes.pop("epoch"), notes.pop("step")
            self._last_path = self.run.checkpoints.write(epoch, step, arrays, notes)

    def _where(self):
        of = "" if self.steps is None else f" of {self.steps}"
        epoch = f"{self.place.epoch + 1} of {self.plan.epochs}"
        return f"at step {self.place.step}{of} in epoch {epoch}"

    def _diverged(self, what):
        return TrainingDiverged(
            f"{what} {self._where()}. The last good checkpoint is {self._last_path}. Lower the "
            "learning rate, warm it up, or clip gradients (`global_clipnorm`), and look at the "
            "clips; then train in another folder."
        )

    def _interrupted(self):
        name = signal.Signals(self.interruption.signal).name
        return TrainingInterrupted(
            f"Stopped by {name} {self._where()}. Train again in the same folder: it goes on from "
            f"{self._last_path}.",
            self.interruption.signal,
        )

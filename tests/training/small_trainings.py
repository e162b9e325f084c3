"""A training with everything on that has a state, small enough to be run often."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.runs.model_state import build_optimizer, read_state, write_state
from keras_nonlocal.training.fitting import train

STEPS = 4
EPOCHS = 3


class Batches:
    """What `training` knows of a `data.ClipLoader`: each epoch has batches of its own."""

    def __init__(self, steps=STEPS, shape=(5,)):
        self.steps_per_epoch, self.shape = steps, shape

    def dataset(self, epoch=None, step=0):
        generator = np.random.default_rng((7, epoch or 0))
        x = generator.normal(size=(self.steps_per_epoch, 6, *self.shape)).astype("float32")
        y = generator.integers(3, size=(self.steps_per_epoch, 6))
        return tf.data.Dataset.from_tensor_slices((x[step:], y[step:]))


def validation():
    """Batches to validate with."""
    generator = np.random.default_rng(99)
    x = generator.normal(size=(2, 6, 5)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, generator.integers(3, size=(2, 6))))


def make_model(optimizer=None, seed=1, classes=3, **compilation):
    """A network with norm and dropout, with an optimizer that has every kind of state."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5, name="dropout"),
            keras.layers.Dense(classes, name="top"),
        ],
        name="small",
    )
    model.compile(
        optimizer or make_optimizer(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **compilation,
    )
    return model


def make_optimizer(learning_rate=0.5, **arguments):
    """Momentum, averages, and gradients that are gathered over two steps."""
    return keras.optimizers.SGD(
        learning_rate,
        **{
            "momentum": 0.9,
            "nesterov": True,
            "use_ema": True,
            "ema_momentum": 0.9,
            "gradient_accumulation_steps": 2,
            **arguments,
        },
    )


class Starter:
    """Starts trainings of one model, which is traced once.

    Each begins with the same weights, or, to be resumed, with all of its state in disorder.
    """

    def __init__(self, **compilation):
        self.model = make_model(**compilation)
        build_optimizer(self.model)
        self.initial = read_state(self.model)

    def __call__(self, folder, fresh=True, training=None, **arguments):
        """Trains, and gives the history and the final state."""
        # But for the rate, which is one of the settings that must be as before.
        disordered = {
            name: array + 1
            for name, array in self.initial.items()
            if name != "replicas" and "learning_rate" not in name
        }
        write_state(self.model, self.initial if fresh else self.initial | disordered)
        arguments = {"epochs": EPOCHS, "checkpoint_steps": 1} | arguments
        history = train(self.model, training or Batches(), validation(), run=folder, **arguments)
        return history.history, read_state(self.model)

    def interrupt(self, folder, callback, **arguments):
        """Trains until the callback interrupts."""
        with pytest.raises(Stop):
            self(folder, callbacks=[callback], **arguments)


def assert_same(some, others):
    """Two states, the same to the bit."""
    assert list(some) == list(others)
    for name, array in some.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


class Stop(Exception):
    """What a test interrupts a training with."""


class StopAt(keras.callbacks.Callback):
    """Interrupts at the end of a batch of an epoch, with nothing written for it."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.place = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            raise Stop


class StopIn(keras.callbacks.Callback):
    """Interrupts at the `count`-th call of a method."""

    def __init__(self, method, count):
        super().__init__()
        self.count = count
        setattr(self, method, self._call)

    def _call(self, *arguments, **others):
        self.count -= 1
        if not self.count:
            self.stop()

    def stop(self):
        raise Stop

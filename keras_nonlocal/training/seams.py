"""Callbacks that make one training of several calls of `fit`."""

import math

import keras


class Steps(keras.callbacks.Callback):
    """Within one `fit`: passes on what happens, with the numbers of the whole epoch.

    Args:
        loop: the `Loop` that is told.
        first: steps of the epoch that came before this `fit`.
    """

    def __init__(self, loop, first):
        super().__init__()
        self.loop = loop
        self.first = first

    def on_epoch_begin(self, epoch, logs=None):
        self.loop.begin_steps()

    def on_train_batch_begin(self, batch, logs=None):
        self.loop.callbacks.on_train_batch_begin(self.first + batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        batch += self.first
        self.loop.callbacks.on_train_batch_end(batch, logs)
        # Of several steps in one execution, the last may not be there.
        self.loop.end_step(min(batch + 1, self.loop.steps or math.inf), logs)

    def on_epoch_end(self, epoch, logs=None):
        self.loop.end_steps(logs)


class BetweenSteps(keras.callbacks.Callback):
    """Among the user's, as the last: sees what they have added to the metrics.

    Args:
        loop: the `Loop` that is told.
    """

    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def on_test_batch_end(self, batch, logs=None):
        self.loop.check_interruption()

    def on_epoch_end(self, epoch, logs=None):
        self.loop.note_row(logs)

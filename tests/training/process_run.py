"""One process of a training: for test_processes.py.

Its only argument is JSON: `folder` of videos, `run`, `count`, `index`, `port`, and `die`, the pair
of a process and the step of its own at which it ends itself the hard way. It prints the running
losses; the chief also writes the final weights beside the run.
"""

import json
import os
import pathlib
import signal
import sys

import keras
import numpy as np

import keras_nonlocal as knl
from keras_nonlocal.training import distribution
from keras_nonlocal.training.fitting import train
from keras_nonlocal.training.recipe import Recipe

# Everything that changes a step, and that has a state.
RECIPE = Recipe(
    name="everything",
    description="For this test.",
    batch_size=8,
    learning_rate=0.05,
    epochs=2,
    warmup=0.25,
    l2=1e-4,
    clip_norm=1.0,
    accumulation=2,
    ema=0.9,
    label_smoothing=0.1,
    dropout=0.5,
    norms="synchronized",
    precise_norm_batches=2,
    layer_rate=0.8,
    clip="4x2",
    crop=32,
    short_side=(36, 40),
    color=0.2,
)
BATCH, SEED = 4, 1


def small(classes=2):
    """A network that compiles fast, of all kinds of layers that look at their batch."""
    inputs = keras.Input((4, 32, 32, 3))
    x = keras.layers.Rescaling(1 / 64)(inputs)
    x = knl.layers.Conv3D(8, (3, 7, 7), (1, 4, 4), name="conv1_conv")(x)
    x = knl.layers.BatchNormalization(name="conv1_norm")(x)
    x = keras.layers.Activation("relu")(x)
    x = knl.NonLocal3D(name="res2_0_nonlocal")(x)
    for stage in (3, 4, 5):
        x = knl.layers.Conv3D(8, 1, activation="relu", name=f"res{stage}_conv")(x)
    x = keras.layers.GlobalAveragePooling3D()(x)
    x = knl.layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, "softmax", name="predictions")(x))


class EachStep(keras.callbacks.Callback):
    def __init__(self, die):
        super().__init__()
        self.losses, self.die = [], die

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])
        if self.die == len(self.losses):
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder, run, count, index, port=None, die=(None, None)):
    distribution.join(count, index, port and f"localhost:{port}")
    with distribution.guarded("The same command goes on."):
        videos = knl.data.read_folder(folder)
        clips = knl.data.training_clips(videos, batch_size=BATCH, seed=SEED, **RECIPE.data)
        keras.utils.set_random_seed(SEED)
        model = small()
        RECIPE.prepare(model)
        RECIPE.compile(model, steps_per_epoch=clips.steps_per_epoch, batch_size=BATCH)
        each = EachStep(die[1] if index == die[0] else None)
        train(
            model,
            clips,
            epochs=RECIPE.epochs,
            run=run,
            callbacks=[each],
            precise_norm_batches=RECIPE.precise_norm_batches,
            checkpoint_steps=1,
        )
    if distribution.is_chief():
        values = {variable.path: np.array(variable) for variable in model.weights}
        np.savez(pathlib.Path(run).with_suffix(".npz"), **values)
    print(json.dumps(each.losses))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))

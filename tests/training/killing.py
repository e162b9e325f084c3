"""Kills trainings with SIGKILL, starts them again until they end, and tells what came of it.

A script: it forks a process for each start, which only a process without threads may do. TensorFlow
is imported here and not used, so that no start waits for that.
"""

import contextlib
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

import keras
import numpy as np

from keras_nonlocal.runs import curves
from keras_nonlocal.training import optimizers
from keras_nonlocal.training.fitting import train
from tests.training import process_run
from tests.training import small_trainings as small


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def make_optimizer():
    """Momentum, averages, a schedule, clipping, and gradients that are gathered over two steps."""
    return optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(0.05, 20),
        l2=1e-4,
        use_ema=True,
        ema_momentum=0.9,
        gradient_accumulation_steps=2,
        global_clipnorm=1.0,
    )


def make_dense(seed):
    """Two layers with norm and dropout, and their batches."""
    return small.make_model(make_optimizer(), seed), small.Batches()


def make_non_local(seed):
    """A network of this package's layers, and batches of clips for it."""
    keras.utils.set_random_seed(seed)
    model = process_run.small(classes=3)
    model.compile(make_optimizer(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, small.Batches(shape=(4, 32, 32, 3))


class Killer(keras.callbacks.Callback):
    """Ends the process in one of these ways, in the first epoch that it sees begin."""

    def __init__(self, how, amount):
        super().__init__()
        self.how, self.amount = how, amount

    def on_train_batch_begin(self, batch, logs=None):
        how, self.how = self.how, None
        if how == "later":
            # From the first step on: what goes before is the same in each start.
            threading.Thread(target=lambda: (time.sleep(self.amount), die()), daemon=True).start()
        elif how == "rename":
            kill_at_replacement(self.amount)
        elif how == "half":
            kill_in_writing(self.amount)
        elif how is not None:
            self.how = how

    def on_train_batch_end(self, batch, logs=None):
        self.amount -= self.how == "step"
        if self.how == "step" and self.amount == 0:
            die()


def kill_at_replacement(count):
    """Dies just before the `count`-th checkpoint gets its name."""
    counted = 0

    def hook(event, arguments):
        nonlocal counted
        if event == "os.rename" and "safetensors" in str(arguments[1]):
            counted += 1
            if counted == count:
                die()

    sys.addaudithook(hook)


def kill_in_writing(count):
    """Dies in the middle of the `count`-th checkpoint from here on."""
    from keras_nonlocal.runs import checkpoint_files

    atomic_write = checkpoint_files.atomic_write
    counted = 0

    class Half:
        def __init__(self, file):
            self.file, self.pieces = file, 0

        def write(self, content):
            self.pieces += 1
            if counted == count and self.pieces == 9:
                self.file.flush()
                die()
            self.file.write(content)

    @contextlib.contextmanager
    def half_written(path, folder):
        nonlocal counted
        counted += 1
        with atomic_write(path, folder) as file:
            yield Half(file)

    checkpoint_files.atomic_write = half_written


def start(make, folder, seed, killer=None):
    """Forks a start; gives whether it has ended, and not been killed."""
    child = os.fork()
    if not child:
        try:
            curves.can_draw = lambda: False
            model, batches = make(seed)
            train(
                model,
                batches,
                batches,
                epochs=2,
                run=folder,
                callbacks=[killer] if killer else [],
                checkpoint_steps=1,
                precise_norm_batches=2,
            )
            state = small.read_state(model)
            np.savez(folder / "final.npz", **{n.replace("/", "|"): a for n, a in state.items()})
            os._exit(0)
        finally:
            # Only reached by way of an error, which Python prints by itself in no fork.
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code > 0:
        sys.exit("a training that nobody has killed has failed")
    return code == 0


def kill_and_compare(make, folder, kills):
    """Trains once undisturbed, and once with a start for each kill; tells what came of it."""
    for name in ("undisturbed", "run"):
        (folder / name).mkdir(parents=True)
    start(make, folder / "undisturbed", 1)
    told = {"kills": kills, "ended": [], "halves": []}
    for number, kill in enumerate([*kills, None]):
        # The weights that each start begins with are others: those of the checkpoint count.
        killer = Killer(*kill) if kill else None
        seed = 10 + number if number else 1
        told["ended"].append(start(make, folder / "run", seed, killer))
        told["halves"].append(len(list((folder / "run" / "checkpoints").glob("*.part"))))
        if told["ended"][-1]:
            break
    with (
        np.load(folder / "undisturbed" / "final.npz") as expected,
        np.load(folder / "run" / "final.npz") as found,
    ):
        told["differing"] = [
            name for name in expected.files if expected[name].tobytes() != found[name].tobytes()
        ]
    texts = [(folder / name / "curves.csv").read_text() for name in ("undisturbed", "run")]
    told["curves"] = texts[0] == texts[1]
    told["starts"] = len(json.loads((folder / "run" / "run.json").read_text())["starts"])
    return told


def main(folder, seed):
    folder, generator = pathlib.Path(folder), random.Random(int(seed))
    kills = [("step", 2), ("rename", 2), ("half", 1), ("later", generator.uniform(0, 1))]
    told = [kill_and_compare(make_dense, folder / "dense", kills)]
    kills = [("step", generator.randint(1, 7))]
    told.append(kill_and_compare(make_non_local, folder / "non_local", kills))
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])

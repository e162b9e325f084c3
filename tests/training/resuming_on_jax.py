"""On JAX: a training that was interrupted ends as one that was not. A script: see test_resuming."""

import pathlib
import sys

import keras

from keras_nonlocal.runs import curves
from keras_nonlocal.training.fitting import train
from tests.training import small_trainings as small


def once(folder, seed, callbacks=()):
    """One start, with everything on."""
    schedule = keras.optimizers.schedules.CosineDecay(0.5, 20)
    model = small.make_model(small.make_optimizer(schedule), seed)
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
    return small.read_state(model)


def main(folder):
    curves.can_draw = lambda: False
    expected = once(folder / "undisturbed", 1)
    try:
        once(folder / "run", 1, [small.StopAt(1, 2)])
        sys.exit("it was not interrupted")
    except small.Stop:
        state = once(folder / "run", 2)
    small.assert_same(state, expected)
    texts = [(folder / name / "curves.csv").read_text() for name in ("undisturbed", "run")]
    if texts[0] != texts[1]:
        sys.exit("the curves differ")
    print(keras.backend.backend(), len(state))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

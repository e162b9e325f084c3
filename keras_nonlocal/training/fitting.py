"""Training that can be killed at any moment and goes on as if it had not been."""

import contextlib
import logging

import keras

from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.runs.callback_states import check_callbacks
from keras_nonlocal.runs.folder import FINAL, Run
from keras_nonlocal.runs.interruption import Interruption
from keras_nonlocal.training import distribution
from keras_nonlocal.training.checks import check_before_training, has_several_replicas
from keras_nonlocal.training.loop import Loop
from keras_nonlocal.training.plan import Plan, as_dataset, count_steps


def train(
    model,
    training,
    validation=None,
    *,
    epochs,
    run,
    callbacks=(),
    precise_norm_batches=0,
    monitor=None,
    mode=None,
    checkpoint_steps=None,
    checkpoint_seconds=600.0,
    keep=2,
    settings=None,
    overwrite=False,
):
    """Trains a compiled model with `model.fit`, and keeps all that belongs to it in one folder.

    Called again with the same arguments after it was killed, it goes on from the last checkpoint;
    on the CPU it ends with the weights and the curves of an uninterrupted training, to the bit. On
    a GPU, TensorFlow promises that only after `tf.config.experimental.enable_op_determinism()`,
    which makes it slower. A finished training called again only loads the final weights.

    The folder holds `run.json` (settings, and versions of each start), `checkpoints/`,
    `curves.csv`, `curves.png` (with the extra `viz`), `tensorboard/`, `best.keras`, and at the end
    `model.keras`.

    A model on several replicas of a strategy is trained without XLA.

    Validation is with the weights that the final model would have: averages, if the optimizer
    has `use_ema`, and precise statistics, if asked for. Then the trained ones come back. SIGTERM
    and Ctrl-C stop it after the step that runs, with a checkpoint.

    Args:
        model: a compiled `keras.Model`. With a strategy, made in its scope.
        training: a `data.ClipLoader`, whose training resumes within an epoch: its
            `dataset(epoch, step)` returns the batches of that epoch from that step on, always the
            same. Or a `tf.data.Dataset` of batches, whose training resumes at the beginning of an
            epoch.
        validation: a `data.ClipLoader`, what else `model.evaluate` takes, or None.
        epochs: int, how many in all.
        run: path of the folder: a new or empty one, or that of an earlier start.
        callbacks: Keras callbacks. They see one training: epochs and batches have the numbers
            that they have without an interruption. What EarlyStopping, ReduceLROnPlateau and
            ModelCheckpoint remember is kept; so is that of others with `get_state()` and
            `set_state(state)`.
        precise_norm_batches: int, batches for `update_norm_statistics` before each validation; 0
            keeps the moving averages.
        monitor: name of the metric whose best epoch becomes `best.keras`. Default: `"val_loss"`
            with a validation, and no `best.keras` without.
        mode: `"min"` or `"max"`, what is best. Default: `"min"` for names that end with `loss` or
            `error`, else `"max"`.
        checkpoint_steps: int, steps since the last checkpoint after which one is due, or None.
            Each epoch's end has one anyway.
        checkpoint_seconds: number, time after which a checkpoint is due, or None.
        keep: int, how many checkpoints stay.
        settings: dict of what JSON can hold, for `run.json`: seed, recipe, lists of videos. A
            folder of other settings is refused.
        overwrite: whether what the folder holds of another training is thrown away. Files that
            no training wrote stay.

    Returns:
        A `keras.callbacks.History` of all epochs; the model has the final weights.

    Raises:
        ValueError: if an argument is outside these rules, model and datasets do not go together
            (see `check_before_training`), the folder has other settings or was not made by a
            training, or its checkpoints are of another model or number of replicas.
        CorruptCheckpoint: if no checkpoint in the folder is whole.
        TrainingDiverged: if the loss or the weights are not finite.
        TrainingInterrupted: after SIGTERM or Ctrl-C, when a checkpoint is written.
        BlockingIOError: if another process trains in the folder.

    Example:

    >>> import tensorflow as tf
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.1), "mse")
    >>> batches = tf.data.Dataset.from_tensor_slices((np.eye(2), np.ones(2))).batch(1)
    >>> history = train(model, batches, epochs=3, run="runs/first")
    >>> len(history.history["loss"])
    3
    >>> history = train(model, batches, epochs=3, run="runs/first")  # finished: trains no more
    >>> history.epoch
    [0, 1, 2]
    """
    refuse_tf_keras("model", model)
    callbacks = list(callbacks)
    if monitor is None and validation is not None:
        monitor = "val_loss"
    plan = Plan(epochs, precise_norm_batches, monitor, mode, checkpoint_steps, checkpoint_seconds)
    check_before_training(model, training, validation)
    validation = as_dataset(validation)
    check_callbacks(callbacks)
    distribution.warn_of_idle_devices()
    if has_several_replicas(model) and model.jit_compile:
        logging.getLogger("keras_nonlocal").warning(
            "XLA is off in this training: Keras cannot compile across the replicas of a strategy."
        )
        model.jit_compile = False
        model.train_function = model.test_function = None
    everything = {
        "epochs": epochs,
        "steps_per_epoch": count_steps(training),
        "precise_norm_batches": precise_norm_batches,
        "monitor": monitor,
        "mode": mode,
        "compile": _describe_compilation(model),
        "settings": settings or {},
    }
    run = Run(run, keep)
    # All processes read; the chief alone writes.
    opened = (
        run.opened(everything, overwrite) if distribution.is_chief() else contextlib.nullcontext()
    )
    with opened:
        distribution.barrier("the folder of the run is open")
        if run.finished:
            return _load_finished(model, run)
        interruption = Interruption()
        loop = Loop(model, training, validation, callbacks, plan, run, interruption)
        with interruption.noticed():
            return loop.train()


def _load_finished(model, run):
    logging.getLogger("keras_nonlocal").info(
        "%s is finished: nothing is trained, and the weights are those of its %r. To train anew, "
        "give another folder or `overwrite=True`.",
        run.folder,
        FINAL,
    )
    run.load_final(model)
    history = keras.callbacks.History()
    history.set_model(model)
    history.on_train_begin()
    for epoch, row in enumerate(run.read_rows()):
        history.on_epoch_end(epoch, row)
    model.history = history
    return history


def _describe_compilation(model):
    """Optimizer, loss and metrics as data, without the numbers that Keras gives to second ones."""

    def unnamed(value):
        if isinstance(value, dict):
            return {key: unnamed(item) for key, item in value.items() if key != "name"}
        return value

    config = model.get_compile_config()
    return config | {"optimizer": unnamed(config["optimizer"])}

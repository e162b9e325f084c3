"""`keras-nonlocal train`: from videos to a trained network, and the Python that does the same."""

import argparse
import dataclasses
import os
import shlex
import sys
import warnings

import keras
import tensorflow as tf

import keras_nonlocal
from keras_nonlocal.commands import (
    data_manifest,
    initial_weights,
    printing,
    sources,
    training_arguments,
    training_script,
    training_settings,
)
from keras_nonlocal.data import evaluation_clips, split_videos, training_clips
from keras_nonlocal.exporting.loading import read_keras_file
from keras_nonlocal.models import flops
from keras_nonlocal.models.config import parse_clip
from keras_nonlocal.runs import progress
from keras_nonlocal.runs.folder import FINAL
from keras_nonlocal.training import checks, distribution, fitting, freezing
from keras_nonlocal.training.loop import TrainingDiverged
from keras_nonlocal.training.recipes import RECIPES

# What is printed at the end, and under which heading.
_METRICS = {
    "loss": "loss",
    "accuracy": "top-1",
    "top5_accuracy": "top-5",
    "pr_auc": "PR area",
}
# Options by the fields of the recipe that they replace.
_OPTIONS = {name: "--" + name.replace("_", "-") for name in training_settings.CHANGES}
_OPTIONS["name"] = "--recipe"
# Arguments of the builders in options of the command.
_WORDS = {
    "`depth`": "--depth",
    "`width`": "--width",
    "`clip`": "--clip",
    "`source`": "--layers-of",
    "`weights`": "--weights",
    "`weights=": "`--weights ",
    "weights=": "--weights ",
    "depth=": "--depth ",
    "width=": "--width ",
    "source=": "--layers-of ",
}


def add_arguments(parser):
    """Says what can follow `train`."""
    training_arguments.add_to(parser)


def run(chosen):
    """Trains, and prints what with, what came out, and how to test it."""
    recipe = _settle_recipe(chosen)
    # First of all: before anything is computed.
    distribution.join(chosen.num_processes, chosen.process_id, chosen.coordinator)
    last = f"The last checkpoint is in {chosen.folder}; the same command in every process goes on."
    try:
        # What goes wrong in one process leaves the guard, so that the others hear of it.
        with distribution.guarded(last), printing.log_told(_in_words_of_the_command):
            return _run(chosen, recipe)
    except TrainingDiverged as fault:
        printing.complain("error", fault)
    except ValueError as fault:
        printing.complain("error", _in_words_of_the_command(str(fault)))
    except tf.errors.OpError as fault:
        # A video that cannot be read, above all.
        printing.complain("error", printing.reason_of(fault))
    return 1


def _run(chosen, recipe):
    devices = training_settings.find_devices(chosen.replicas)
    batch_size = training_settings.batch_size_of(chosen, recipe, devices)
    chosen = argparse.Namespace(**{**vars(chosen), "batch_size": batch_size})
    # A rate that was given is that of this batch.
    recipe = _settle_recipe(chosen)
    settings = training_settings.settings_of(chosen, recipe, batch_size, devices)
    settings = training_settings.settings_with_recipe(settings, recipe)
    # Each process looks, and none writes before all have.
    data_manifest.check_folder(chosen.folder, settings, _OPTIONS, chosen.overwrite)
    distribution.barrier("the folder of the run was looked at")
    training, validation = _read_videos(chosen)
    checks.check_videos(training, validation, labels=recipe.labels)
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(recipe.precision)
        return _train(chosen, recipe, training, validation, devices, settings)
    finally:
        keras.config.set_dtype_policy(before)


def _train(chosen, recipe, training, validation, devices, settings):
    batch_size = settings["batch_size"]
    with training_settings.scope(devices):
        keras.utils.set_random_seed(chosen.seed)
        model = _build(chosen, recipe, training.class_names)
        recipe.prepare(model)
        clips = training_clips(
            training,
            batch_size=batch_size,
            seed=chosen.seed,
            **recipe.data,
        )
        recipe.compile(model, clips.steps_per_epoch, batch_size)
    tests = None
    if validation is not None:
        options = training_settings.validation_options(chosen, batch_size)
        tests = evaluation_clips(validation, recipe.clip, recipe.crop, **options)
    # `train` does so as well; here it comes before anything is printed or written.
    checks.check_before_training(model, clips, tests)
    epochs = recipe.count_epochs(clips.steps_per_epoch, batch_size)
    callbacks = recipe.callbacks()
    is_chief = distribution.is_chief()
    finished = not chosen.overwrite and os.path.exists(os.path.join(chosen.folder, FINAL))
    if is_chief:
        rows = data_manifest.list_rows(training, validation)
        if not chosen.overwrite:
            data_manifest.check_videos(chosen.folder, rows)
        script = training_script.write_script(chosen, recipe, model, batch_size, devices)
        if not finished:
            steps = clips.steps_per_epoch
            _print_plan(chosen, recipe, model, training, validation, epochs, steps, devices)
            print(f"\nThe same in Python:\n\n{script}\n", flush=True)
        callbacks.append(data_manifest.Keep(chosen.folder, rows, script, chosen.overwrite))
        callbacks.append(_make_progress(batch_size))
    history = fitting.train(
        model,
        clips,
        tests,
        epochs=epochs,
        run=chosen.folder,
        callbacks=callbacks,
        precise_norm_batches=recipe.precise_norm_batches,
        checkpoint_steps=chosen.checkpoint_steps,
        settings=settings,
        overwrite=chosen.overwrite,
    )
    if is_chief:
        if not finished:
            print(f"Trained {printing.printable(os.path.join(chosen.folder, FINAL))}")
        _print_result(chosen, recipe, history.history, training, validation)
    return 0


def _settle_recipe(chosen):
    changes = training_settings.changes_of(chosen)
    recipe = dataclasses.replace(RECIPES[chosen.recipe], **changes)
    if recipe.weights == "trained" and chosen.weights is None:
        frozen = " with --norms frozen" if chosen.norms == "frozen" else ""
        raise ValueError(
            f"--recipe {recipe.name}{frozen} starts from trained weights. Received: no --weights. "
            "Add --weights camera_motion, which ships with the package, another name that "
            "`keras-nonlocal weights` lists, or a .keras file; or train from random weights by "
            "--recipe kinetics-cosine."
        )
    return recipe


def _read_videos(chosen):
    """The videos to train on, and those to validate with, if there are any."""
    videos = sources.read_source(chosen)
    share = training_settings.share_of(chosen.validation)
    if share is not None:
        return split_videos(videos, share, chosen.seed)
    if chosen.validation is None:
        return videos, None
    other = argparse.Namespace(**{**vars(chosen), "source": chosen.validation})
    return videos, sources.read_source(other)


def _build(chosen, recipe, classes):
    options = training_settings.network_options(chosen, recipe, class_names=list(classes))
    network = training_settings.network_of(chosen)["network"]
    with printing.told_in_words_of_the_command(_WORDS):
        model = getattr(keras_nonlocal, network)(**options)
        if initial_weights.is_model_file(chosen.weights):
            giver = read_keras_file(chosen.weights)
            with printing.warnings_told():
                # Keras' own, about NumPy, concern no user of the command.
                warnings.simplefilter("ignore", DeprecationWarning)
                keras_nonlocal.transfer_weights(model, giver)
    return model


def _in_words_of_the_command(text):
    words = {"`run`": "--run", "`overwrite=True`": "--overwrite"}
    return printing.in_words_of_the_command(text, words)


def _make_progress(batch_size):
    if sys.stderr.isatty():
        return progress.ProgressBar(batch_size)
    return progress.EpochLines(lambda line: print(line, file=sys.stderr, flush=True), batch_size)


def _print_plan(chosen, recipe, model, training, validation, epochs, steps, devices):
    batch_size = chosen.batch_size
    rate = recipe.learning_rate * batch_size * recipe.accumulation / recipe.batch_size
    warmup = f", warm-up {recipe.warmup:.0%}" if recipe.warmup else ""
    network = training_settings.network_of(chosen)
    depth = network["depth"]
    depth = "-".join(map(str, depth)) if isinstance(depth, tuple) else depth
    width, parameters = network["width"], flops.count_parameters(model)
    count = training_settings.count_devices(devices)
    divided = f", divided among {count} devices" if count > 1 else ""
    kept = f", {len(validation):,} to validate with" if validation is not None else ""
    printing.print_pairs(
        [
            ("videos", f"{len(training):,} of {len(training.class_names):,} classes{kept}"),
            (
                "network",
                f"{network['network']}, depth {depth}, width {width}, {parameters:,} parameters",
            ),
            ("weights", chosen.weights or "random"),
            ("clips", _describe_clips(chosen, recipe)),
            ("pixels", f"normalized as by {model.normalization}"),
            ("recipe", recipe.name),
            ("frozen", freezing.describe_frozen(model)),
            ("length", f"{epochs:,} epochs of {steps:,} steps of {batch_size:,} clips{divided}"),
            ("rate", f"peak {rate:.6g}, {recipe.schedule.replace('_', '-')}{warmup}"),
            ("run", chosen.folder),
        ]
    )


def _describe_clips(chosen, recipe):
    """Returns clip and crop, and those of the weights where they differ."""
    known = initial_weights.known_of(chosen.weights)
    frames, _ = parse_clip(recipe.clip.partition("@")[0])
    others = []
    if known.get("clip", recipe.clip) != recipe.clip:
        others.append(known["clip"])
    elif known.get("frames", frames) != frames:
        others.append(f"{known['frames']} frames")
    if known.get("crop", recipe.crop) != recipe.crop:
        others.append(str(known["crop"]))
    trained = f" (weights trained at {', '.join(others)})" if others else ""
    return f"{recipe.clip}, crop {recipe.crop}{trained}"


def _print_result(chosen, recipe, history, training, validation):
    path = os.path.join(chosen.folder, FINAL)
    facts = [("epoch", f"{len(history['loss'])}")]
    for word, heading in _METRICS.items():
        parts = {"": "in training", "val_": "in validation"}
        values = [
            f"{history[part + word][-1]:.4f} {where}"
            for part, where in parts.items()
            if part + word in history
        ]
        facts += [(heading, ", ".join(values))] if values else []
    printing.print_pairs(facts)
    if validation is not None:
        source = data_manifest.write_validation(chosen.folder, chosen, training, validation)
        options = ["--clip", recipe.clip] if "@" in recipe.clip else []
        command = shlex.join(["keras-nonlocal", "evaluate", path, *source, *options])
        print(f"\nTest it with 30 views a video:\n\n{command}")

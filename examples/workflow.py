"""The steps from a built network to a deployed one that quickstart.py and finetune.py share."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
from serve import time_per_call

import keras_nonlocal as knl


def start(out, settings):
    """Prepares the folder of a run: goes on with one of the same settings, or starts clean.

    Args:
        out: the folder.
        settings: what the results follow from; anything that JSON can hold.

    Returns:
        The folder as a `pathlib.Path`.
    """
    out = pathlib.Path(out)
    note = out / "settings.json"
    text = json.dumps(settings, indent=2)
    if note.exists() and note.read_text() == text:
        print(f"Going on with the run in {out} (delete it to start anew).")
        return out
    if note.exists():
        print(f"The run in {out} had other settings: starting clean.")
        shutil.rmtree(out)
    elif out.exists() and any(out.iterdir()):
        raise SystemExit(f"{out} holds files that are not of a run. Name another folder by --out.")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(note, lambda path: path.write_text(text))
    return out


def write_whole(path, write):
    """Has `write` write a file beside `path`, and gives it its name when it is complete."""
    path = pathlib.Path(path)
    unfinished = path.with_name(f"part.{path.name}")
    write(unfinished)
    os.replace(unfinished, path)


def fit(model, out, training, validation, epochs, learning_rate=2e-3):
    """Trains a network in a folder of its own, or goes on with an earlier run that was stopped.

    Args:
        model: a `keras.Model`; its name names the folder.
        out: folder for that.
        training: a `data.ClipLoader`.
        validation: a dataset of `(clips, labels)`.
        epochs: passes over `training`.
        learning_rate: the highest; it rises for a tenth of the steps and falls like a cosine.

    Returns:
        Its learning curves as a list of one dictionary an epoch. `model` has the trained weights.
    """
    steps = epochs * training.steps_per_epoch
    low, warmup = 0.1 * learning_rate, {}
    if steps >= 10:
        warmup = {"warmup_steps": steps // 10, "warmup_start": low}
    rate = knl.training.HalfCosine(learning_rate, steps, end=low, **warmup)
    model.compile(
        optimizer=knl.training.AdamW(rate, weight_decay=0.02),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    batch_size = training.dataset().element_spec[0].shape[0]
    progress = knl.training.EpochLines(print, batch_size)
    if sys.stderr.isatty():
        progress = knl.training.ProgressBar(batch_size)
    history = knl.training.train(
        model, training, validation, epochs=epochs, run=out / model.name, callbacks=[progress]
    )
    rows = zip(*history.history.values(), strict=True)
    return [dict(zip(history.history, row, strict=True)) for row in rows]


def export_and_compare(model, clips, out):
    """Exports a network, and asks each export in a fresh process what it says about clips.

    Args:
        model: a trained `keras.Model` of fixed input shape.
        clips: array of some clips.
        out: folder for the exports.

    Returns:
        A list of rows `(name, bytes, milliseconds a clip, difference, path)`, the model first.
    """
    expected = model.predict(clips, verbose=0)
    own_time = time_per_call(model.predict_on_batch, clips[:1])
    file = out / model.name / "model.keras"
    rows = [("Keras", _size(file), own_time, 0.0, file)]
    write_whole(out / "clips.npy", lambda path: np.save(path, clips))
    for name, path, options in (
        ("SavedModel", out / "saved_model", {"format": "saved_model"}),
        ("TFLite", out / "model.tflite", {"format": "tflite"}),
        ("TFLite 8-bit", out / "model-8bit.tflite", {"format": "tflite", "quantize": "dynamic"}),
    ):
        knl.export(model, path, clips=clips, overwrite=True, **options)
        answers = out / "answers.npy"
        script = pathlib.Path(__file__).with_name("serve.py")
        command = [sys.executable, str(script), str(path), str(out / "clips.npy"), str(answers)]
        fresh = subprocess.run(command, capture_output=True, text=True, check=False)
        if fresh.returncode:
            raise SystemExit(f"{path} does not run in a fresh process:\n{fresh.stderr}")
        report = json.loads(fresh.stdout.splitlines()[-1])
        if not report["alone"]:
            raise SystemExit(f"{path} needed the package to run, as no export should.")
        difference = float(np.abs(np.load(answers) - expected).max())
        print(f"  {name}: answers in a process of its own differ by {difference:.1e} at most")
        rows.append((name, _size(path), report["milliseconds"], difference, path))
    return rows


def print_table(title, header, rows):
    """Prints rows of text in columns as wide as they need."""
    cells = [header, *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    print(f"\n{title}\n" + "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]]))


def print_exports(rows):
    """Prints what `export_and_compare` found."""
    print_table(
        "What can be deployed",
        ["", "size", "a clip takes", "differs by", "where"],
        [
            (name, f"{size / 1e6:.2f} MB", f"{time:.1f} ms", f"{difference:.0e}", path)
            for name, size, time, difference, path in rows
        ],
    )


def _size(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())

"""What a run was made with: kept in its folder, and compared before it goes on."""

import csv
import io
import itertools
import json
import os

import keras
import numpy as np

from keras_nonlocal.files import PART, atomic_write
from keras_nonlocal.prepare.inspect import write_list
from keras_nonlocal.runs.folder import FACTS, LOCK

VIDEOS = "videos.csv"
SCRIPT = "train.py"
CLASSES = "classes.txt"
VALIDATION = "validation.csv"

_COLUMNS = ("part", "path", "labels", "bytes")


def check_folder(run, settings, options, overwrite=False):
    """Checks that a folder is new, empty, or of a run with these settings.

    Args:
        run: path of the folder.
        settings: a dict, as `train` is given it.
        options: dict from names of fields of the recipe to options of the command.
        overwrite: whether what a run has left there is to be thrown away.

    Raises:
        NotADirectoryError: if it is a file.
        ValueError: if it holds something else, other settings, or damaged ones.
    """
    if not os.path.isdir(run):
        if os.path.lexists(run):
            raise NotADirectoryError(
                f"--run must be a folder. Received: {run}, a file. Name another."
            )
        return
    path = os.path.join(run, FACTS)
    if not os.path.exists(path):
        # A process that was killed at its very beginning leaves no more than these.
        left = (LOCK, PART)
        others = sorted(each for each in os.listdir(run) if not each.endswith(left))
        if others:
            raise ValueError(
                "--run must be a folder that is new, empty or of an earlier start, which has "
                f"{FACTS}. Received: {run}, which has none and holds {others[0]!r}. Name another."
            )
        return
    then = _read_settings(path)
    if not overwrite:
        _compare_settings(path, then, json.loads(json.dumps(settings)), options)


def _read_settings(path):
    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)["settings"]["settings"]
        return settings | {"recipe": dict(settings.get("recipe", {}))}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} must be as an earlier start has written it. Received: a file that was damaged "
            "or edited. Bring it back, or name another folder."
        ) from error


def _compare_settings(path, then, now, options):
    """Names what differs by the options that say so, and what follows from them not at all."""
    differing, following = [], []
    for name in dict.fromkeys([*then, *now]):
        if name != "recipe" and then.get(name) != now.get(name):
            option = "SOURCE" if name == "source" else "--" + name.replace("_", "-")
            differing.append(_told(option, then.get(name), now.get(name)))
    then, now = then["recipe"], now["recipe"]
    for name in dict.fromkeys([*then, *now]):
        if then.get(name) != now.get(name):
            told = _told(options.get(name, f"the recipe's {name}"), then.get(name), now.get(name))
            if name == "name":
                differing.append(told)
                break
            (differing if name in options else following).append(told)
    if told := differing or following:
        raise ValueError(
            f"--run must be a new folder, or get the same arguments as before, see {path}. "
            f"Received: {'; '.join(told)}. Give those, name another folder, or begin anew with "
            "--overwrite."
        )


def _told(name, then, now):
    then, now = ("left out" if value is None else repr(value) for value in (then, now))
    return f"{name}: was {then}, is {now}"


class Keep(keras.callbacks.Callback):
    """Writes the videos and the Python of a run into its folder once training has it.

    Args:
        run: path of the folder.
        rows: what `list_rows` gives.
        script: Python.
        overwrite: whether to replace what is there.
    """

    def __init__(self, run, rows, script, overwrite=False):
        super().__init__()
        self.run = run
        self.rows = rows
        self.script = script
        self.overwrite = overwrite

    def on_train_begin(self, logs=None):
        text = io.StringIO(newline="")
        csv.writer(text).writerows(self.rows)
        self._write(VIDEOS, text.getvalue().encode("utf-8", "surrogateescape"))
        self._write(SCRIPT, f"{self.script}\n".encode())

    def _write(self, name, content):
        path = os.path.join(self.run, name)
        if self.overwrite or not os.path.exists(path):
            with atomic_write(path) as file:
                file.write(content)


def list_rows(training, validation):
    """Gives what videos there are, as rows of text.

    A video is known by its path, its labels and its size. Not by the time of its last change,
    which copies do not share with what they are copied from.

    Args:
        training: a `VideoList`.
        validation: another, or `None`.
    """
    rows = [_COLUMNS, *_rows("training", training)]
    if validation is not None:
        rows += _rows("validation", validation)
    return [tuple(map(str, row)) for row in rows]


def check_videos(run, rows):
    """Compares the videos with those that the run in a folder was begun with, if there is one.

    Args:
        run: path of the folder.
        rows: what `list_rows` gives.

    Raises:
        ValueError: if other videos are there; it names the first that differs.
    """
    path = os.path.join(run, VIDEOS)
    if os.path.exists(path):
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            _compare(path, [tuple(row) for row in csv.reader(file)], rows)


def write_validation(run, chosen, training, validation):
    """Gives the words by which a command reads the videos that were validated with.

    Args:
        run: path of the run's folder, where a list is written if the videos were a share.
        chosen: the parsed arguments of `keras-nonlocal train`.
        training: the `VideoList` that was trained on.
        validation: the `VideoList` to tell of.

    Returns:
        List of words: a source, and options.
    """
    names = os.path.join(run, CLASSES)
    with atomic_write(names) as file:
        file.write("".join(f"{name}\n" for name in training.class_names).encode())
    if os.path.exists(chosen.validation):
        options = {"--format": chosen.format, "--videos": chosen.videos}
        options.update({"--classes": chosen.class_names, "--columns": chosen.columns})
        options["--time-unit"] = chosen.time_unit
        given = itertools.chain(*((key, value) for key, value in options.items() if value))
        return [chosen.validation, *given]
    segments = validation.segments is not None
    if validation.multi_label or segments or validation.events or "@" in "".join(validation.paths):
        # No list can say it; all videos are better than none.
        return [chosen.source]
    path = os.path.join(run, VALIDATION)
    write_list(path, validation)
    return [path, "--classes", names]


def _rows(part, videos):
    sizes = {}
    for index, (path, labels) in enumerate(zip(videos.paths, videos.labels, strict=True)):
        # A record is part of a file, which has many.
        file = path.rpartition("@")[0] if not os.path.exists(path) else path
        if file not in sizes:
            sizes[file] = _size(file)
        numbers = np.flatnonzero(labels) if videos.multi_label else [labels]
        if videos.segments is not None:
            start, end = videos.segments[index]
            path = f"{path} {start:g}-{end:g} {videos.time_unit}"
        yield part, path, " ".join(str(int(number)) for number in numbers), sizes[file]


def _size(path):
    """Bytes of a file, or pictures of a folder."""
    return len(os.listdir(path)) if os.path.isdir(path) else os.path.getsize(path)


def _compare(path, then, now):
    if then == now:
        return
    for before, after in itertools.zip_longest(then, now):
        if before != after:
            break
    if before is None or after is None or before[:2] != after[:2]:
        what = f"{_named(before)} then, {_named(after)} now"
    elif before[2] != after[2]:
        what = f"{after[1]!r} of class {before[2]} then, of {after[2]} now"
    else:
        what = f"{after[1]!r} of {before[3]} bytes then, of {after[3]} now"
    raise ValueError(
        f"The videos must be those that the run was begun with, see {path}. Received: {what}. "
        "Bring them back, begin anew with --overwrite, or give another --run."
    )


def _named(row):
    return "nothing more" if row is None else f"{row[1]!r} ({row[0]})"

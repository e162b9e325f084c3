"""What a test came to, as a folder: for programs, for tables, and one page for people."""

import csv
import importlib.util
import io
import json
import os

import numpy as np

from keras_nonlocal.evaluation import metrics
from keras_nonlocal.evaluation.confusion_picture import draw_confusion
from keras_nonlocal.evaluation.page import write_page
from keras_nonlocal.evaluation.summary import (
    class_table,
    confused_pairs,
    counted,
    summarize,
    worst_mistakes,
)
from keras_nonlocal.files import atomic_write

REPORTS = ("report.html", "report.json", "per_class.csv", "videos.csv", "confusion.png")


def check_matplotlib():
    """Raises an `ImportError` that tells the way out if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError(
            "Drawing needs matplotlib. Install it with `pip install keras_nonlocal[viz]`."
        )


def write_report(folder, scores, title="Evaluation", top=(1, 5), unreadable="leave_out"):
    """Writes what a test came to.

    - `report.html`: one page to read, without any other file or network.
    - `report.json`: the same for programs.
    - `per_class.csv`, `videos.csv`: a line a class, and a line a video.
    - `confusion.png`: which class was taken for which; not of several classes a video.

    Args:
        folder: where they are written, in place of those that are there; made if need be.
        scores: a `Scores`.
        title: of the page.
        top, unreadable: as in `summarize`.

    Returns:
        The dictionary of `summarize`.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: as `summarize`.

    Example:

    ```python
    scores = evaluation.load_scores("test/scores.npz")
    evaluation.write_report("test", scores, title="NL I3D on the test set")
    ```
    """
    check_matplotlib()
    facts = gather_facts(scores, title, top, unreadable)
    folder = os.path.abspath(folder)
    os.makedirs(folder, exist_ok=True)
    picture = None
    if not scores.multi_label:
        picture = draw_confusion(_confusion(scores, unreadable), scores.classes)
        with atomic_write(os.path.join(folder, "confusion.png")) as file:
            file.write(picture)
    texts = {
        "report.json": json.dumps(facts, indent=1) + "\n",
        "per_class.csv": _write_csv(facts["classes"]),
        "videos.csv": _write_csv(_video_rows(scores)),
        "report.html": write_page(facts, picture),
    }
    for name, text in texts.items():
        with atomic_write(os.path.join(folder, name)) as file:
            file.write(text.encode())
    return facts["numbers"]


def gather_facts(scores, title, top, unreadable):
    """Everything that the report says but the single videos, as JSON has it.

    Args:
        scores, title, top, unreadable: as in `write_report`.

    Returns:
        A dictionary; what is not a number is `None`.
    """
    numbers = summarize(scores, top, unreadable)
    table = class_table(scores, unreadable)
    facts = {
        "title": title,
        "unreadable_videos_are": unreadable,
        "numbers": {key: _plain(value) for key, value in numbers.items()},
        "classes": [
            {"class": name, **{key: _plain(column[row]) for key, column in table.items()}}
            for row, name in enumerate(scores.classes)
        ],
        "unreadable": [
            {"path": scores.paths[number], "reason": reason}
            for number, reason in scores.unreadable.items()
        ],
        "settings": scores.settings,
        "made_of": scores.made_of,
        "versions": scores.versions,
    }
    if not scores.multi_label:
        names = scores.classes
        facts["confused"] = [
            {"class": names[row], "predicted": names[column], "videos": count}
            for row, column, count in confused_pairs(_confusion(scores, unreadable))
        ]
        facts["mistakes"] = [_video_row(scores, number) for number in worst_mistakes(scores)]
    return facts


def _confusion(scores, unreadable):
    labels, probabilities = counted(scores, unreadable)
    read = ~np.isneginf(probabilities[:, 0])
    predictions = probabilities[read].argmax(axis=1)
    return metrics.confusion_matrix(labels[read], predictions, len(scores.classes))


def _video_rows(scores):
    return [_video_row(scores, number) for number in range(len(scores))]


def _video_row(scores, number):
    """A video as a line of `videos.csv`."""
    names, probabilities = scores.classes, scores.probabilities[number]
    label = scores.labels[number]
    shown = np.flatnonzero(label).tolist() if scores.multi_label else [int(label)]
    row = {"path": scores.paths[number], "class": "; ".join(names[each] for each in shown)}
    if number in scores.unreadable:
        return {**row, "predicted": "", "probability": None, "right": None}
    best = int(probabilities.argmax())
    return {
        **row,
        "predicted": names[best],
        "probability": _plain(probabilities[best]),
        "right": best in shown,
    }


def _write_csv(rows):
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _plain(value):
    """A number as JSON has it: a share that is of nothing is null."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not np.isfinite(value) else value

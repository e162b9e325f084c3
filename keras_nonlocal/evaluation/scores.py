"""What a network said about each video of a list, as one file; and the word of several networks."""

import dataclasses
import io
import json
import os
import zipfile
import zlib

import numpy as np

from keras_nonlocal.evaluation.result import Evaluation
from keras_nonlocal.files import atomic_write


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """What a network said about each video of a list.

    Args:
        paths: of the videos, as their list has them.
        labels: class numbers, `(videos,)`, or zeros and ones, `(videos, classes)`.
        classes: names of the classes.
        probabilities: float32 `(videos, classes)`, a row of NaN for a video that was not read.
        unreadable: dictionary from the number of a video that was not read to the reason.
        settings: dictionary of what the scores depend on besides the network, for JSON.
        made_of: dictionary of what tells the network and the list from others.
        versions: dictionary from package to version.

    Raises:
        ValueError: if they do not go together.

    Example:

    >>> scores = Scores(["a.mp4", "b.mp4"], [0, 1], ["jump", "run"], [[0.9, 0.1], [0.8, 0.2]])
    >>> scores.evaluation.accuracy
    0.5
    """

    paths: tuple
    labels: np.ndarray
    classes: tuple
    probabilities: np.ndarray
    unreadable: dict = dataclasses.field(default_factory=dict)
    settings: dict = dataclasses.field(default_factory=dict)
    made_of: dict = dataclasses.field(default_factory=dict)
    versions: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        # The one way to set a field of a frozen dataclass.
        object.__setattr__(self, "paths", tuple(map(str, self.paths)))
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        object.__setattr__(self, "labels", np.asarray(self.labels))
        object.__setattr__(self, "probabilities", np.asarray(self.probabilities, np.float32))
        shape = (len(self.paths), len(self.classes))
        labels = shape if self.multi_label else shape[:1]
        if self.probabilities.shape != shape or self.labels.shape != labels:
            raise ValueError(
                f"`probabilities` must be (videos, classes), here {shape}, and `labels` (videos,) "
                f"or of the same shape. Received: {self.probabilities.shape} and "
                f"{self.labels.shape}."
            )
        without = set(np.flatnonzero(np.isnan(self.probabilities).any(axis=1)).tolist())
        if without != set(self.unreadable):
            wrong = sorted(without ^ set(self.unreadable))[0]
            raise ValueError(
                "`probabilities` must be NaN for the videos in `unreadable`, and for no other. "
                f"Received another row for {self.paths[wrong]!r}. If the network itself gives NaN, "
                "look at its weights."
            )

    def __len__(self):
        return len(self.paths)

    @property
    def multi_label(self):
        """Whether a video may show several classes: `labels` has a column for each."""
        return self.labels.ndim == 2

    @property
    def readable(self):
        """Which videos were read, booleans `(videos,)`."""
        return ~np.isin(np.arange(len(self)), list(self.unreadable))

    @property
    def evaluation(self):
        """The `Evaluation` of the videos that were read, and of no others."""
        return Evaluation(self.probabilities[self.readable], self.labels[self.readable])


# What zip, NumPy and JSON say of bytes that are none of theirs.
_FAULTS = (ValueError, KeyError, TypeError, EOFError, RuntimeError)
_FAULTS += (zipfile.BadZipFile, zlib.error)


def save_scores(path, scores):
    """Writes scores as an npz file, whole or not at all; the same scores as the same bytes.

    Args:
        path: of the file, `.npz`.
        scores: a `Scores`.

    Example:

    >>> scores = Scores(["a.mp4"], [0], ["jump", "run"], [[0.9, 0.1]])
    >>> save_scores("a.npz", scores)
    >>> load_scores("a.npz").paths
    ('a.mp4',)
    """
    facts = {field.name: getattr(scores, field.name) for field in dataclasses.fields(scores)}
    arrays = {name: facts.pop(name) for name in ("labels", "probabilities")}
    # Text in NumPy's own arrays would lose trailing zeros and need pickle for more than text.
    text = json.dumps(facts, ensure_ascii=True, sort_keys=True)
    arrays["facts"] = np.frombuffer(text.encode(), np.uint8)
    with (
        atomic_write(os.path.abspath(path)) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            # Unlike `np.savez`, this notes no time, so that equal scores are equal files.
            entry = zipfile.ZipInfo(f"{name}.npy")
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED)


def load_scores(path):
    """Reads what `save_scores` wrote. Nothing in the file is ever run.

    Args:
        path: of the file.

    Returns:
        A `Scores`.

    Raises:
        ValueError: if it is no file of scores, or is damaged.
        OSError: if it cannot be opened.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("labels", "probabilities", "facts")}
        facts = json.loads(arrays.pop("facts").tobytes())
        facts["unreadable"] = {int(number): why for number, why in facts["unreadable"].items()}
        return Scores(**arrays, **facts)
    except _FAULTS as error:
        told = str(error).rstrip(".")
        raise ValueError(
            f"{os.fspath(path)!r} is no file of scores, or is damaged: {told}. "
            "`evaluate_videos` and `save_scores` write them."
        ) from error

"""PySlowFast's lists of frames (Charades): a row for each frame."""

import os

from keras_nonlocal.lists.classes import number_labels, table_of
from keras_nonlocal.lists.entries import Entry, keep_present
from keras_nonlocal.lists.rows import fault, read_lines, read_rows
from keras_nonlocal.lists.video_list import VideoList

_COLUMNS = ["original_vido_id", "video_id", "frame_id", "path", "labels"]


def is_frame_list(path):
    """Whether a file begins with the header of a list of frames, misspelled as it is."""
    return next(read_lines(path), "").split()[:1] == _COLUMNS[:1]


def read_frame_list(path, root, classes, missing):
    """Reads a list of frames; see `read_list` for the arguments.

    Returns:
        A `VideoList` of folders of frames, with several labels a video: those of its frames.
    """
    places, folders, labels, lengths = {}, {}, {}, {}
    rows = read_rows(path, " ")
    next(rows)
    for line, fields in rows:
        if len(fields) != len(_COLUMNS):
            raise ValueError(
                f"{os.fspath(path)!r}, line {line}: must have the {len(_COLUMNS)} fields "
                f"{' '.join(_COLUMNS)}. Received: {len(fields)}, {fields}. Correct the row."
            )
        video, frame, texts = fields[0], fields[3], fields[4]
        folder = os.path.normpath(os.path.join(root, os.path.dirname(frame)))
        if folders.setdefault(video, folder) != folder:
            raise fault(
                path,
                f"line {line}",
                "path",
                f"must lie in the folder of the video's other frames, {folders[video]!r}",
                frame,
                "Keep all frames of a video in one folder.",
            )
        places.setdefault(video, f"line {line}")
        lengths[video] = lengths.get(video, 0) + 1
        # Keys of a dict: every label once, in the order of the frames.
        labels.setdefault(video, {}).update(dict.fromkeys(filter(None, texts.split(","))))
    if labels and not any(labels.values()):
        raise ValueError(
            f"{os.fspath(path)!r}, line 2, field 'labels': must hold class numbers in some row. "
            "Received: none in any row. Something-Something's lists of frames have none: its "
            "labels stand in its JSON files, which `read_something_something` reads."
        )
    rows = [(places[video], labels[video]) for video in folders]
    numbers, names = number_labels(path, rows, classes, "labels")
    # One look a video: that all its frames are there shows when it is read.
    entries = [
        Entry(places[video], video, folder if os.path.isdir(folder) else None, label)
        for (video, folder), label in zip(folders.items(), numbers, strict=True)
    ]
    entries = keep_present(path, entries, missing, root)
    return VideoList(
        [entry.path for entry in entries],
        table_of([entry.label for entry in entries], len(names)),
        names,
        num_frames=[lengths[entry.name] for entry in entries],
    )

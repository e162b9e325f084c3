"""Lists of videos, one a row: `path label` in the forms that other projects write."""

import os
import re

import numpy as np

from keras_nonlocal.lists.classes import number_labels, table_of
from keras_nonlocal.lists.entries import Entry, keep_present
from keras_nonlocal.lists.folders import is_video_file
from keras_nonlocal.lists.frame_lists import is_frame_list, read_frame_list
from keras_nonlocal.lists.layouts import check_layout, find_layout, match_header, parse_row
from keras_nonlocal.lists.rows import read_lines, split_rows
from keras_nonlocal.lists.video_list import VideoList


def read_list(path, root=None, class_names=None, separator=None, layout=None, missing="raise"):
    """Reads a list of videos with a path and a label in each row.

    That is what PySlowFast, MMAction2, GluonCV and many others train from. A path names a video
    file, or a folder of its frames; without a suffix it may also name a video file whatever its
    suffix is, as in GluonCV's lists. Empty lines are passed over, and those that begin with `# `.

    What stands in a row is found out. Of two numbers the first is the length of the video and the
    second its label, as in GluonCV's lists and in those of raw frames. Several labels a row are
    only read if `layout` or the header says so.

    PySlowFast's lists of frames (one row a frame) are read as well: their videos are folders of
    frames, each with the labels of all its frames.

    Args:
        path: path of the list.
        root: folder that relative paths in it start from. `None`: the folder of the list.
        class_names: names of the classes in the order of their numbers, a file with one name per
            line, or the number of classes. `None`: the names among the labels in alphabetical
            order or, where labels are numbers, all up to the greatest. Pass
            `training.class_names` for the list of the validation videos, which may lack some.
        separator: `" "`, `","`, `";"` or `"\\t"`, between the fields of a row. `None`: found out.
        layout: what stands in a row, in words parted by spaces: `path`; `length` in frames;
            `label`, or `labels` (all fields that are left or, before another word, one field
            with commas in it); `_` for what is to be passed over. Such as `"path label"`,
            `"path length label"` (MMAction2's raw frames, GluonCV) or `"path labels"`. `None`:
            found out, or what a header says.
        missing: what to do about videos that are not there: `"raise"`, or `"drop"` to leave them
            out and log how many.

    Returns:
        A `VideoList` in the order of the list, with `num_frames` where the list tells it of
        folders of frames.

    Raises:
        FileNotFoundError: if there is no such list, or videos are missing.
        ValueError: if a row is not as the others, a label is no class, or a video comes twice.

    Example:

    ```python
    videos = read_list("train.csv", root="/data/kinetics", class_names=400, missing="drop")
    ```
    """
    root = (os.path.dirname(path) or ".") if root is None else os.fspath(root)
    if separator is not None and len(separator) != 1:
        raise ValueError(
            f"`separator` must be one character. Received: separator={separator!r}. "
            'Several spaces between fields count as one: give " ".'
        )
    if layout is None and is_frame_list(path):
        return read_frame_list(path, root, class_names, missing)
    lines = ["" if re.match(r"#(\s|$)", line) else line for line in read_lines(path)]
    separator = separator or _find_separator(lines)
    rows = list(split_rows(path, lines, separator))
    words = check_layout(layout)
    header = match_header(rows[0][1]) if rows else None
    if header:
        rows = rows[1:]
    words = words or header or find_layout(path, rows, separator)
    rows = [parse_row(path, line, fields, words, separator) for line, fields in rows]

    targets = [os.path.normpath(os.path.join(root, row["path"])) for row in rows]
    numbers, names = number_labels(
        path, [(row["place"], row["labels"]) for row in rows], class_names
    )
    entries = [
        Entry(row["place"], row["path"], target, (labels, row["length"]))
        for row, target, labels in zip(rows, _locate(targets), numbers, strict=True)
    ]
    entries = keep_present(path, entries, missing, root)
    labels = [entry.label[0] for entry in entries]
    # What a list says of the length of a video file, nobody needs: the file tells it itself.
    lengths = [0 if is_video_file(entry.path) else entry.label[1] for entry in entries]
    return VideoList(
        [entry.path for entry in entries],
        table_of(labels, len(names)) if "labels" in words else np.ravel(labels),
        names,
        num_frames=lengths if any(lengths) else None,
    )


def _locate(paths):
    """Gives the paths that exist, and `None` for others; each folder is listed once.

    A path without a video's suffix that does not exist as it stands, stands for a video file.
    """
    listings, found = {}, []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in listings:
            listings[folder] = _list_names(folder)
        name = listings[folder].get(name)
        found.append(None if name is None else os.path.join(folder, name))
    return found


def _list_names(folder):
    """What a name stands for in a folder: itself, or the video file that it lacks the suffix of."""
    try:
        names = sorted(os.listdir(folder or "."))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    stems = {os.path.splitext(name)[0]: name for name in names if is_video_file(name)}
    return stems | {name: name for name in names}


def _find_separator(lines):
    lines = [line for line in lines if line.strip()]
    return next((sign for sign in "\t;," if lines and all(sign in line for line in lines)), " ")

"""All that reads lists of videos, and `read_videos`, which finds out what it is given."""

import os
import re

from keras_nonlocal.data.record_lists import UNFINISHED, is_shard, read_records
from keras_nonlocal.lists.charades import read_charades
from keras_nonlocal.lists.classes import names_of
from keras_nonlocal.lists.folders import is_video_file, list_entries, read_folder
from keras_nonlocal.lists.path_lists import read_list
from keras_nonlocal.lists.rows import read_lines
from keras_nonlocal.lists.something_something import read_something_something
from keras_nonlocal.lists.video_datasets import (
    read_hmdb51,
    read_kinetics,
    read_ucf101,
)

__all__ = [
    "FORMATS",
    "read_charades",
    "read_folder",
    "read_hmdb51",
    "read_kinetics",
    "read_list",
    "read_records",
    "read_something_something",
    "read_ucf101",
    "read_videos",
]

# The names of the formats that `read_videos` knows, and what is meant.
FORMATS = {
    "folder": "a folder of class folders",
    "records": "a TFRecord file or a folder of them",
    "list": "a text file with rows such as `path label`",
    "kinetics": "a CSV file with columns label, youtube_id, time_start, time_end",
    "ucf101": "trainlist01.txt, testlist01.txt, ..., beside classInd.txt",
    "hmdb51": "a folder of files <class>_test_split<number>.txt",
    "something-something": "a JSON file, beside something-something-v2-labels.json",
    "charades": "a CSV file with columns id and actions",
}

# Which arguments of `read_videos` go to the reader of a format, and what they are called there.
_ARGUMENTS = {
    "folder": {},
    "records": {"class_names": "class_names"},
    "list": {
        "videos": "root",
        "class_names": "class_names",
        "separator": "separator",
        "layout": "layout",
    },
    "kinetics": {"videos": "videos", "class_names": "class_names"},
    "ucf101": {"videos": "videos", "class_names": "class_index"},
    "hmdb51": {"videos": "videos", "split": "split", "part": "part"},
    "something-something": {"videos": "videos", "class_names": "labels"},
    "charades": {"videos": "videos", "class_names": "class_names"},
}


def read_videos(
    source,
    videos=None,
    format=None,
    class_names=None,
    separator=None,
    layout=None,
    split=None,
    part=None,
    missing="raise",
):
    """Lists the videos of a folder, a list or the annotations of a data set, whichever comes.

    The formats are those of `read_folder`, `read_list`, `read_kinetics`, `read_ucf101`,
    `read_hmdb51`, `read_something_something`, `read_charades` and `read_records`, which say more.

    Args:
        source: path of a folder or file.
        videos: folder that holds the videos where `source` only lists them. `None`: the folder
            that `source` lies in.
        format: one of the keys of `FORMATS`: `"folder"`, `"records"`, `"list"`, `"kinetics"`,
            `"ucf101"`, `"hmdb51"`, `"something-something"`, `"charades"`. `None`: found out.
        class_names: names of the classes, or the file that holds them: one name a line,
            `classInd.txt` of UCF101, the labels of Something-Something, `Charades_v1_classes.txt`.
        separator: of a `"list"`.
        layout: of a `"list"`.
        split: of `"hmdb51"`, which needs it.
        part: of `"hmdb51"`, which needs it.
        missing: what to do about listed videos that are not there: `"raise"`, or `"drop"` to leave
            them out and log how many.

    Returns:
        A `VideoList`.

    Raises:
        FileNotFoundError: if there is no such file or folder, or videos are missing.
        ValueError: if the format cannot be recognised, an argument does not belong to it, or the
            source is not as the format describes.

    Example:

    ```python
    read_videos("videos")  # class folders
    read_videos("train.csv", videos="/data/kinetics", missing="drop")
    ```
    """
    source = os.fspath(source)
    if not os.path.exists(source):
        raise FileNotFoundError(
            f"`source` must be a folder or a file. Received: {source!r}, which is not there."
        )
    if format is None:
        format = _recognise(source)
    elif format not in FORMATS:
        raise ValueError(
            f"`format` must be one of {', '.join(map(repr, FORMATS))}. Received: format={format!r}."
        )
    given = {
        "videos": videos,
        "class_names": class_names,
        "separator": separator,
        "layout": layout,
        "split": split,
        "part": part,
    }
    given = {name: value for name, value in given.items() if value is not None}
    strange = [name for name in given if name not in _ARGUMENTS[format]]
    if strange:
        raise ValueError(
            f"`{strange[0]}` must not be given with {source!r}, {FORMATS[format]} "
            f"(format {format!r}). Received: {strange[0]}={given[strange[0]]!r}. "
            "Leave it out, or name another `format`."
        )
    if format == "folder":
        return read_folder(source)
    if format == "records":
        return read_records(source, names_of(class_names))
    if format == "hmdb51" and not {"split", "part"} <= set(given):
        raise ValueError(
            f"`split` (1, 2 or 3) and `part` ('train' or 'test') must be given with {source!r}, "
            f"{FORMATS[format]}. Received: split={split!r}, part={part!r}."
        )
    given.setdefault("videos", os.path.dirname(os.path.abspath(source)))
    reader = {
        "list": read_list,
        "kinetics": read_kinetics,
        "ucf101": read_ucf101,
        "hmdb51": read_hmdb51,
        "something-something": read_something_something,
        "charades": read_charades,
    }[format]
    arguments = {_ARGUMENTS[format][name]: value for name, value in given.items()}
    return reader(source, missing=missing, **arguments)


def _recognise(source):
    if os.path.isdir(source):
        folders, files = list_entries(source)
        unfinished = os.path.isdir(os.path.join(source, UNFINISHED))
        if unfinished or any(map(is_shard, files)):
            return "records"
        if any(re.search(r"_test_split\d\.txt$", name) for name in files):
            return "hmdb51"
        if folders:
            return "folder"
        raise _unrecognised(source, "a folder without class folders")
    if is_video_file(source):
        raise _unrecognised(source, "one video")
    if is_shard(os.path.basename(source)):
        return "records"
    if source.lower().endswith(".json"):
        return "something-something"
    first = next((line for line in read_lines(source) if line.strip()), "")
    columns = {column.strip().strip('"') for column in first.split(",")}
    if "youtube_id" in columns:
        return "kinetics"
    if {"id", "actions"} <= columns:
        return "charades"
    beside = os.path.join(os.path.dirname(source), "classInd.txt")
    if re.fullmatch(r"(train|test)list\d\d\.txt", os.path.basename(source)) or (
        os.path.isfile(beside) and re.match(r"[^/\s]+/v_\w+\.avi", first)
    ):
        return "ucf101"
    if len(re.split(r"[\s,;|]+", first.strip())) < 2:
        raise _unrecognised(source, f"a file that begins with {first[:40]!r}")
    return "list"


def _unrecognised(source, what):
    known = "; ".join(f"{name!r}, {meaning}" for name, meaning in FORMATS.items())
    return ValueError(
        f"`source` must be of a known format: {known}. Received: {source!r}, {what}. "
        "Give one of these, or name it by `format`."
    )

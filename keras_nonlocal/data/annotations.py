"""The readers of lists of videos, and `read_videos`, which recognizes their format."""

import itertools
import os
import re

from keras_nonlocal.data.record_lists import UNFINISHED, is_shard, read_records
from keras_nonlocal.lists.classes import parse_class_names
from keras_nonlocal.lists.datasets import (
    read_charades,
    read_hmdb51,
    read_kinetics,
    read_something_something,
    read_ucf101,
)
from keras_nonlocal.lists.folders import is_folder, is_video_file, join, list_entries, read_folder
from keras_nonlocal.lists.path_lists import read_list
from keras_nonlocal.lists.tables import is_url, read_lines

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

# The formats that `read_videos` knows, and what they look like.
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
# Their readers, and the arguments of `read_videos` that these take.
_READERS = {
    "folder": (read_folder, ["class_names"]),
    "records": (read_records, ["class_names"]),
    "list": (read_list, ["videos", "class_names", "separator", "columns", "time_unit"]),
    "kinetics": (read_kinetics, ["videos", "class_names"]),
    "ucf101": (read_ucf101, ["videos", "class_names"]),
    "hmdb51": (read_hmdb51, ["videos", "split", "part"]),
    "something-something": (read_something_something, ["videos", "class_names"]),
    "charades": (read_charades, ["videos", "class_names"]),
}


def read_videos(
    source,
    videos=None,
    format=None,
    class_names=None,
    separator=None,
    columns=None,
    time_unit=None,
    split=None,
    part=None,
    missing="raise",
):
    """Lists the videos of a folder, a list or the annotations of a data set.

    The formats are those of `read_folder`, `read_list`, `read_kinetics`, `read_ucf101`,
    `read_hmdb51`, `read_something_something`, `read_charades` and `read_records`, whose
    documentation describes them.

    Args:
        source: path or URL of a folder or file.
        videos: folder that holds the videos where `source` only lists them. `None`: the folder
            of `source`.
        format: one of the keys of `FORMATS`: `"folder"`, `"records"`, `"list"`, `"kinetics"`,
            `"ucf101"`, `"hmdb51"`, `"something-something"`, `"charades"`. `None`: recognized.
        class_names: names of the classes, or the file that holds them: one name per line,
            `classInd.txt` of UCF101, the labels of Something-Something, `Charades_v1_classes.txt`.
        separator: of a `"list"`.
        columns: of a `"list"`.
        time_unit: of the segments of a `"list"`.
        split: of `"hmdb51"`, which needs it.
        part: of `"hmdb51"`, which needs it.
        missing: what to do about listed videos that are not there: `"raise"`, or `"drop"` to leave
            them out and log how many.

    Returns:
        A `VideoList`.

    Raises:
        FileNotFoundError: if there is no such file or folder, or videos are missing.
        ValueError: if the format cannot be recognized, an argument does not belong to it, or the
            source is not as the format describes.

    Example:

    ```python
    read_videos("videos")  # class folders
    read_videos("train.csv", videos="/data/kinetics", missing="drop")
    ```
    """
    source = os.fspath(source)
    if not is_url(source) and not os.path.exists(source):
        raise FileNotFoundError(
            f"`source` must be a folder or a file. Received: {source!r}, which does not exist."
        )
    if format is None:
        format = _recognize(source)
    elif format not in FORMATS:
        raise ValueError(
            f"`format` must be one of {', '.join(map(repr, FORMATS))}. Received: format={format!r}."
        )
    reader, known = _READERS[format]
    given = {
        "videos": videos,
        "class_names": class_names,
        "separator": separator,
        "columns": columns,
        "time_unit": time_unit,
        "split": split,
        "part": part,
    }
    given = {name: value for name, value in given.items() if value is not None}
    strange = [name for name in given if name not in known]
    if strange:
        raise ValueError(
            f"`{strange[0]}` must not be given with {source!r}, {FORMATS[format]} "
            f"(format {format!r}). Received: {strange[0]}={given[strange[0]]!r}. "
            "Leave it out, or name another `format`."
        )
    if format == "hmdb51" and not {"split", "part"} <= set(given):
        raise ValueError(
            f"`split` (1, 2 or 3) and `part` ('train' or 'test') must be given with {source!r}, "
            f"{FORMATS[format]}. Received: split={split!r}, part={part!r}."
        )
    if "videos" not in known:
        return reader(source, parse_class_names(class_names))
    folder = given.pop("videos", None)
    if folder is None:
        folder = os.path.dirname(source if is_url(source) else os.path.abspath(source))
    return reader(source, folder, missing=missing, **given)


def _recognize(source):
    if is_folder(source):
        folders, files, _ = list_entries(source)
        unfinished = is_folder(join(source, UNFINISHED))
        if unfinished or any(map(is_shard, files)):
            return "records"
        if any(re.search(r"_test_split\d\.txt$", name) for name in files):
            return "hmdb51"
        if folders:
            return "folder"
        raise _unrecognized(source, "a folder without class folders")
    if is_video_file(source):
        raise _unrecognized(source, "one video")
    if is_shard(os.path.basename(source)):
        return "records"
    if source.lower().endswith(".json"):
        # Only the beginning: other projects' files have these names elsewhere, if at all.
        text = "\n".join(itertools.islice(read_lines(source), 20))[:4000]
        if re.match(r"\s*\[\s*\{", text) and all(f'"{key}"' in text for key in ("id", "template")):
            return "something-something"
        raise _unrecognized(
            source, "a JSON file without `id` and `template` of Something-Something"
        )
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
    if len(re.split(r"[\s,;|]+", first.strip())) < 2 and not (
        is_video_file(first.strip().strip('"')) or first.strip().lower() in ("path", "video_path")
    ):
        raise _unrecognized(source, f"a file that begins with {first[:40]!r}")
    return "list"


def _unrecognized(source, what):
    known = "; ".join(f"{name!r}, {meaning}" for name, meaning in FORMATS.items())
    return ValueError(
        f"`source` must be of a known format: {known}. Received: {source!r}, {what}. "
        "Pass one of these, or name it by `format`."
    )

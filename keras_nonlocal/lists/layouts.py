"""What stands in a row of a list of videos, as words: `"path label"`, `"path length label"`, ..."""

import os
import re

from keras_nonlocal.lists.folders import is_video_file
from keras_nonlocal.lists.rows import fault

# The words of a layout, and what a header calls them, the likeliest first.
_HEADERS = {
    "path": "path video_path filepath filename file_name file frame_dir directory dir folder video "
    "videos video_name video_id name",
    "length": "num_frames total_frames n_frames nframes frames length",
    "label": "label label_id class_id target class category action class_name label_name",
    "labels": "labels classes",
}


def check_layout(layout):
    """The words of an argument `layout`, or `None` where it is."""
    if layout is None:
        return None
    words = layout.split()
    good = words.count("path") == 1 and words.count("length") < 2
    good = good and words.count("label") + words.count("labels") == 1
    if not good or not set(words) <= {*_HEADERS, "_"}:
        raise ValueError(
            "`layout` must be made of the words 'path', 'label' or 'labels', and perhaps 'length' "
            f"and '_'. Received: layout={layout!r}. "
            'Write "path length label" for rows such as `some/folder 163 1`.'
        )
    return words


def match_header(fields):
    """The layout that a first row names, or `None` if it is no header."""
    columns = [field.lower() for field in fields if field]
    words = ["_"] * len(columns)
    for word, names in _HEADERS.items():
        # Of two columns that both may be the path, such as `name` and `path`, one is.
        name = next((name for name in names.split() if name in columns), None)
        if name and not (word == "labels" and "label" in words):
            words[columns.index(name)] = word
    return words if "path" in words and {"label", "labels"} & set(words) else None


def find_layout(file, rows, separator):
    """The layout of rows that do not say what it is: `path label`, maybe with a field between.

    Two numbers are the length of a video, or another number of its own, and its label: so are they
    for GluonCV, MMAction2's raw frames and PySlowFast. Several labels a row are never guessed.
    """
    if not rows:
        return ["path", "label"]
    fields = [[field for field in row if field] for _, row in rows]
    numbers = [_count_last_numbers(row) for row in fields]
    if separator == " ":
        # Paths may hold spaces and numbers, but those after a video file's name are fields.
        pairs = zip(fields, numbers, strict=True)
        sure = {n for row, n in pairs if n and _is_video(row[: len(row) - n])}
        if min(numbers) > 2 or (min(numbers) == 2 < max(numbers)) or len(sure) > 1:
            longest = fields[numbers.index(max(numbers))]
            raise _undecided(file, rows[numbers.index(max(numbers))][0], longest)
        if min(numbers) == 2:
            middle = "length"
        elif all(len(row) == 3 and is_video_file(row[0]) for row in fields):
            middle = "_"  # PySlowFast's path, name and label
        else:
            return ["path", "label"]
    else:
        if len(fields[0]) == 2:
            return ["path", "label"]
        if len(fields[0]) != 3:
            raise _undecided(file, rows[0][0], fields[0])
        middle = "length" if min(numbers) == 2 else "_"
    return ["path", middle, "label"]


def parse_row(file, line, fields, words, separator):
    """One row as a dict with `place`, `path`, `length` (0 if unknown) and `labels` (texts)."""
    place, open_end = f"line {line}", words[-1] == "labels"
    if separator == " ":
        fields = _join_path(fields, words)
    if len(fields) < len(words) or (len(fields) > len(words) and not open_end):
        raise ValueError(
            f"{os.fspath(file)!r}, {place}: must have {len(words)} fields{' or more' * open_end}, "
            f"{' '.join(words)!r}. Received: {len(fields)}, {fields}. "
            "Correct the row, or say what stands in the rows by `layout`."
        )
    row = dict(zip(words, fields, strict=False))
    length = row.get("length", "0")
    if not length.isdecimal() or len(length) > 9:
        way_out = "Say what stands in the rows by `layout`, with `_` for what to pass over."
        raise fault(file, place, "length", "must be a number of frames", length, way_out)
    if not row["path"]:
        raise fault(file, place, "path", "must name a video", "", "Correct the row.")
    if open_end:
        labels = _split_labels(fields[len(words) - 1 :])
    else:
        labels = [row["label"]] if "label" in row else _split_labels([row["labels"]])
    return {"place": place, "path": row["path"], "length": int(length), "labels": labels}


def _undecided(file, line, fields):
    return ValueError(
        f"{os.fspath(file)!r}, line {line}: must be a path and a label, or have one field between "
        f"them, or the first line must name the fields. Received: {fields}. "
        'Say what they are by `layout`, such as "path _ _ label", "path labels" or '
        '"path length labels".'
    )


def _is_video(fields):
    return is_video_file(" ".join(fields))


def _count_last_numbers(fields):
    count = 0
    while count < len(fields) - 1 and fields[-1 - count].isdecimal():
        count += 1
    return count


def _join_path(fields, words):
    """Puts a path with spaces in it together again; no other field has any."""
    start = words.index("path")
    path, after = fields[start:], []
    if words[-1] == "labels":
        # The path ends where a video file's name does, or is one word.
        ends = [n for n, field in enumerate(path, 1) if is_video_file(field)]
        end = ends[0] if ends else 1
        path, after = path[:end], [field for field in path[end:] if field]
    else:
        while len(after) < len(words) - 1 - start and len(path) > 1:
            field = path.pop()
            after = [field, *after] if field else after  # spaces at the end, or two of them
    return [*fields[:start], " ".join(path).strip(), *after]


def _split_labels(fields):
    """Single labels; those in one field are parted by commas or semicolons, numbers by spaces."""
    pieces = [re.split(r"[,;]|(?<=\d)\s+(?=\d)", field) for field in fields]
    return [piece.strip() for row in pieces for piece in row if piece.strip()]

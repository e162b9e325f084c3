"""Lists with a video per row, such as `path label`, in the forms that other projects write."""

import os
import re

import fsspec
import numpy as np

from keras_nonlocal.lists.classes import multi_hot, number_labels
from keras_nonlocal.lists.folders import is_folder, is_video_file, join, list_entries
from keras_nonlocal.lists.tables import (
    Entry,
    is_url,
    keep_present,
    read_lines,
    read_rows,
    row_error,
)
from keras_nonlocal.lists.video_list import VideoList

# What a column holds, and its names in headers, the likeliest first.
_COLUMNS = {
    "path": "path video_path filepath filename file_name file frame_dir directory dir folder video "
    "videos video_name video_id name",
    "length": "length num_frames total_frames n_frames nframes frames",
    "start": "start start_frame start_frames start_seconds start_sec start_time time_start t_start "
    "begin",
    "end": "end end_frame end_frames stop_frame end_seconds end_sec end_time time_end t_end stop",
    "label": "label label_id class_id target class category action class_name label_name",
    "labels": "labels classes",
}
_PATHS = frozenset(_COLUMNS["path"].split()[:6])
_FRAME_LIST = ["original_vido_id", "video_id", "frame_id", "path", "labels"]


def read_list(
    path,
    root=None,
    class_names=None,
    separator=None,
    columns=None,
    missing="raise",
    time_unit=None,
):
    """Reads a list of videos with a path in each row, and with labels and segments on request.

    The lists of PySlowFast, MMAction2 and GluonCV are read, and the files that pandas and Excel
    write. A path names a video file or a folder of its frames; without a suffix it may also name a
    video file of any suffix, as in GluonCV's lists. It may have Windows' backslashes. Empty lines
    are ignored, and those that begin with `# `.

    A header names the columns. Without one, rows are `path label` or `path` alone; rows of folders
    of frames may be `path length label`. Pass `columns` for others: they are not guessed.

    The frame lists of PySlowFast (one row per frame) are read as well: their videos are folders
    of frames, with the labels of each frame as `events` in frames.

    Args:
        path: path or URL of the list.
        root: folder or URL that relative paths in it start from. `None`: the folder of the list.
        class_names: names of the classes in the order of their numbers, a file with one name per
            line, or the number of classes. `None`: the names among the labels in alphabetical
            order or, where labels are numbers, all up to the greatest. Pass
            `training.class_names` for the list of the validation videos, which may lack some.
        separator: `" "`, `","`, `";"` or `"\\t"`, between the fields of a row. `None`: the one
            that all rows have.
        columns: what the fields of each row are, such as `("path", "label")`: `"path"`;
            `"label"`, a name or a number, -1 for a video without one; `"labels"`, all remaining
            fields or, before another column, one field with commas in it; `"length"` in frames;
            `"start"` and `"end"` of a segment; `"_"` for a field to ignore. A dict gives these by
            the names in the file's header: `{"clip": "path", "verb": "label"}`.
        missing: what to do about videos that are not there: `"raise"`, or `"drop"` to leave them
            out and log how many.
        time_unit: of segments, `"seconds"` or `"frames"`. `None`: as the header says
            (`start_seconds`, `start_frame`), or seconds where times have fractions. Frames are
            counted from 0, and the end is the first frame after the segment.

    Returns:
        A `VideoList` in the order of the list, with `num_frames` of folders of frames and
        `segments` where the list has them.

    Raises:
        FileNotFoundError: if there is no such list, or videos are missing.
        ValueError: if a row is not as the others, a label is not a class, a video comes twice, or
            rows can be read in two ways.

    Example:

    ```python
    videos = read_list("train.csv", root="/data/kinetics", class_names=400, missing="drop")
    segments = read_list("epic.csv", columns=("path", "start", "end", "label"), time_unit="frames")
    ```
    """
    path = os.fspath(path)
    root = (os.path.dirname(path) or ".") if root is None else os.fspath(root)
    if separator is not None and len(separator) != 1:
        raise ValueError(
            f"`separator` must be one character. Received: separator={separator!r}. "
            'Several spaces between fields count as one: pass " ".'
        )
    if columns is None and next(read_lines(path), "").split()[:1] == _FRAME_LIST[:1]:
        return _read_frame_list(path, root, class_names, missing)
    lines = ["" if re.match(r"#(\s|$)", line) else line for line in read_lines(path)]
    separator = separator or _find_separator(path, lines, columns)
    rows = list(read_rows(path, separator, lines))
    words, header = _find_columns(path, rows, separator, columns)
    rows = [_parse_row(path, *row, words, separator) for row in rows[bool(header) :]]
    segments, time_unit = _read_segments(path, rows, words, header, time_unit)

    several = "labels" in words
    labels = [(row["place"], row["labels"]) for row in rows]
    numbers, names = number_labels(path, labels, class_names, unlabeled=not several)
    targets = _locate([_resolve(root, row["path"]) for row in rows])
    lengths = [int(row.get("length") or 0) for row in rows]
    entries = [
        Entry(row["place"], row["path"], target, label)
        for row, target, label in zip(rows, targets, numbers, strict=True)
    ]
    kept = keep_present(path, entries, missing, root, segments)
    labels = multi_hot(numbers, len(names)) if several else np.ravel(numbers).astype(int)
    # A video file stores its length; the length of a segment is not that of the video.
    lengths = [
        0 if is_video_file(target or "") or segments else length
        for target, length in zip(targets, lengths, strict=True)
    ]
    return VideoList(
        [entry.path or "" for entry in entries],
        labels,
        names,
        num_frames=lengths if any(lengths) else None,
        segments=segments,
        time_unit=time_unit,
    ).select(kept)


def _find_separator(file, lines, columns):
    lines = [line for line in lines if line.strip()]
    if columns is None and all(is_video_file(line.strip().strip('"')) for line in lines):
        return "\t"  # paths alone, which may hold commas and spaces
    signs = [sign for sign in "\t;," if all(sign in line for line in lines)]
    if len(signs) > 1 and signs[0] != "\t":  # hardly a name holds a tab
        raise ValueError(
            f"{file!r} must have one separator. Received: {signs[0]!r} and {signs[1]!r} in each "
            "line. Pass the one between fields as `separator`."
        )
    return signs[0] if signs else " "


def _find_columns(file, rows, separator, columns):
    """Returns what each field of a row is, in the words of `_COLUMNS`, and the header or `None`."""
    header = [field.lower() for field in rows[0][1]] if rows else []
    if separator == " ":
        header = [field for field in header if field]
    if isinstance(columns, dict):
        names = {name.lower(): word for name, word in columns.items()}
        absent = [name for name in names if name not in header]
        if absent:
            raise ValueError(
                f"{file!r}, line 1: must name the keys of `columns`. Received: {header}, without "
                f"{absent[0]!r}."
            )
        _check_columns(names.values(), columns)
        return [names.get(name, "_") for name in header], header
    named = _match_header(header)
    files = [any(map(is_video_file, fields)) for _, fields in rows]
    if not (named or set(header) & _PATHS) and files[1:] and not files[0] and all(files[1:]):
        raise ValueError(
            f"{file!r}, line 1: must name a video file, as all other rows do, or the columns. "
            f"Received: {header}. Pass `columns` by these names, such as "
            f"{dict(zip(header, ('path', 'label'), strict=False))}."
        )
    if columns is not None:
        columns = columns.split() if isinstance(columns, str) else list(columns)
        _check_columns(columns, columns)
        return columns, header if named else None
    if named:
        return named, header
    if set(header) & _PATHS:
        raise ValueError(
            f"{file!r}, line 1: must name the column of the labels as one of "
            f"{_COLUMNS['label'].split()}. Received: {header}. Pass `columns`, such as "
            f"{dict(zip(header, ('path', 'label'), strict=False))}."
        )
    return _guess_columns(file, rows, separator), None


def _check_columns(words, columns):
    words = [word for word in words if word != "_"]
    good = "path" in words and set(words) <= set(_COLUMNS) and len(set(words)) == len(words)
    if not good or {"label", "labels"} <= set(words):
        raise ValueError(
            "`columns` must be 'path' and perhaps 'label' or 'labels', 'length', 'start', 'end', "
            f"each once, and '_'. Received: columns={columns!r}. "
            'Pass ("path", "length", "label") for rows such as `some/folder 163 1`.'
        )


def _match_header(names):
    """Returns the columns that a first row names, or `None` if it is not a header."""
    words = ["_"] * len(names)
    for word, known in _COLUMNS.items():
        # Of two columns that both may be the path, such as `name` and `path`, one is.
        name = next((name for name in known.split() if name in names), None)
        if name and not (word == "labels" and "label" in words):
            words[names.index(name)] = word
    alone = sum(map(bool, names)) == 1 and _PATHS & set(names)
    return words if "path" in words and (alone or len(set(words) - {"_"}) > 1) else None


def _guess_columns(file, rows, separator):
    """Returns the columns of rows without a header, where only one reading is possible."""
    found = None
    for line, fields in rows:
        fields = [field for field in fields if field]
        if separator != " ":
            # Empty fields count: an error of theirs names them.
            words = {1: ["path"], 2: ["path", "label"]}.get(len(rows[0][1]))
        else:
            ends = [n for n, field in enumerate(fields, 1) if is_video_file(field)]
            numbers = next(
                (n for n, f in enumerate(reversed(fields)) if not re.fullmatch(r"-1|\d+", f)),
                len(fields) - 1,
            )
            if ends:
                words = {0: ["path"], 1: ["path", "label"]}.get(len(fields) - ends[-1])
            else:
                # Folders of frames, or files named without their suffix.
                words = {1: ["path", "label"], 2: ["path", "length", "label"]}.get(numbers)
                words = ["path"] if len(fields) == 1 else words
        if words is None or (found and words != found):
            raise ValueError(
                f"{file!r}, line {line}: must be `path label` or `path` as all other rows, or "
                f"`path length label` of folders of frames. Received: {fields}. Name the fields in "
                'the first line or by `columns`, such as ("path", "_", "label"), '
                '("path", "labels") or ("path", "start", "end", "label").'
            )
        found = words
    return found or ["path", "label"]


def _parse_row(file, line, fields, words, separator):
    """Returns one row as a dict with `place`, `path`, `labels` (texts) and other columns."""
    place, open_end = f"line {line}", words[-1] == "labels"
    if separator == " ":
        fields = _join_path(fields, words)
    if len(fields) < len(words) or (len(fields) > len(words) and not open_end):
        raise ValueError(
            f"{file!r}, {place}: must have {len(words)} fields{' or more' * open_end}, "
            f"{' '.join(words)!r}. Received: {len(fields)}, {fields}. "
            "Correct the row, or name the fields by `columns`."
        )
    row = {"place": place, **dict(zip(words, fields, strict=False))}
    length = row.get("length") or "0"
    if not length.isdecimal() or len(length) > 9:
        hint = "Name the fields by `columns`, with '_' for those to ignore."
        raise row_error(file, place, "length", "must be a number of frames", length, hint)
    if not row["path"]:
        raise row_error(file, place, "path", "must name a video", "", "Correct the row.")
    if "labels" in words:
        fields = fields[len(words) - 1 :] if open_end else [row["labels"]]
        # Commas or semicolons divide names and numbers; spaces divide numbers.
        pieces = [re.split(r"[,;]|(?<=\d)\s+(?=\d)", field) for field in fields]
        row["labels"] = [piece.strip() for one in pieces for piece in one if piece.strip()]
    else:
        row["labels"] = [row.get("label", "-1")]
    return row


def _join_path(fields, words):
    """Joins a path with spaces in it; no other field has any."""
    while fields and not fields[0]:
        fields = fields[1:]
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


def _read_segments(file, rows, words, header, time_unit):
    """Returns `(start, end)` of each row and their unit; `None` where the list has no segments."""
    if time_unit not in (None, "seconds", "frames"):
        raise ValueError(
            f'`time_unit` must be "seconds" or "frames". Received: time_unit={time_unit!r}.'
        )
    if not {"start", "end"} & set(words):
        return None, time_unit or "seconds"
    with_length = "length" in words and "end" not in words
    units = {"frames"} if with_length and not header else set()
    if header:
        of = ("start", "end", "length") if with_length else ("start", "end")
        names = [name for name, word in zip(header, words, strict=True) if word in of]
        units |= {"frames" for name in names if "frame" in name}
        units |= {"seconds" for name in names if re.search(r"sec|time|^t_", name)}
    segments = []
    for row in rows:
        try:
            start, end = float(row.get("start") or 0), float(row.get("end") or "inf")
        except ValueError:
            start, end = -1, -1
        end = start + int(row["length"]) if with_length else end
        if not 0 <= start < end:
            received = " ".join(row.get(word, "") for word in ("start", "end", "length"))
            rule = "must be a start and a later end, as numbers"
            raise row_error(file, row["place"], "start", rule, received.strip(), "Correct the row.")
        segments.append((start, end))
    if not time_unit and any(n % 1 for n in np.ravel(segments) if np.isfinite(n)):
        units = units or {"seconds"}
    units |= {time_unit} - {None}
    if len(units) != 1 or (with_length and units != {"frames"}):
        said = " and ".join(sorted(units)) or "not said"
        raise ValueError(
            f"{file!r}: the unit of its segments must be known, seconds or frames. Received: the "
            f'unit is {said}, time_unit={time_unit!r}. Pass time_unit="seconds" or "frames", or '
            "name the columns start_seconds and end_seconds, or start_frame and end_frame."
        )
    return segments, units.pop()


def _resolve(root, path):
    path = join(root, path)
    return path if is_url(path) else os.path.normpath(path)


def _locate(paths):
    """Returns the paths that exist, and `None` for others; each folder is listed once.

    A path without a video's suffix that does not exist as it is names a video file of any suffix.
    Backslashes divide folders where no file has them in its name.
    """
    listings = {}

    def find(path):
        folder, name = os.path.split(path)
        if folder not in listings:
            listings[folder] = _list_names(folder)
        name = listings[folder].get(name)
        if name is None and is_url(path):
            # Web servers seldom list their folders.
            system, own = fsspec.url_to_fs(path)
            return path if system.exists(own) else None
        return None if name is None else join(folder, name)

    found = []
    for path in paths:
        there = find(path)
        if there is None and "\\" in path:
            there = find(os.path.normpath(path.replace("\\", "/")))
        found.append(there)
    return found


def _list_names(folder):
    """Returns what a name stands for in a folder: itself, or the file without its suffix."""
    try:
        if folder.startswith(("http:", "https:")):
            return {}
        if is_url(folder):
            folders, files, _ = list_entries(folder)
            names = sorted([*folders, *files])
        else:
            names = sorted(os.listdir(folder or "."))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    stems = {os.path.splitext(name)[0]: name for name in names if is_video_file(name)}
    return stems | {name: name for name in names}


def _read_frame_list(path, root, class_names, missing):
    """Reads a frame list of PySlowFast; see `read_list` for the arguments.

    Returns:
        A `VideoList` of folders of frames, with the labels of all frames of a video, and events
        whose union over the frames of a clip is the label that PySlowFast trains on.
    """
    places, folders, frames = {}, {}, {}
    rows = read_rows(path, " ")
    next(rows)
    for line, fields in rows:
        place = f"line {line}"
        if len(fields) != len(_FRAME_LIST):
            raise ValueError(
                f"{path!r}, {place}: must have the {len(_FRAME_LIST)} fields "
                f"{' '.join(_FRAME_LIST)}. Received: {len(fields)}, {fields}. Correct the row."
            )
        video, _, number, frame, texts = fields
        folder = _resolve(root, os.path.dirname(frame))
        if folders.setdefault(video, folder) != folder:
            rule = f"must lie in the folder of the video's other frames, {folders[video]!r}"
            hint = "Keep all frames of a video in one folder."
            raise row_error(path, place, "path", rule, frame, hint)
        places.setdefault(video, place)
        own = frames.setdefault(video, [])
        first = own[0][0] if own else number
        if not first.isdecimal() or number != str(int(first) + len(own)):
            rule = f"must count the frames of video {video!r} one by one"
            raise row_error(path, place, "frame_id", rule, number, "List all frames in order.")
        own.append((number, [t.strip("'\" ") for t in texts.split(",") if t.strip("'\" ")]))
    if frames and not any(texts for own in frames.values() for _, texts in own):
        raise ValueError(
            f"{path!r}, line 2, field 'labels': must hold class numbers in some row. "
            "Received: none in any row. Something-Something's lists of frames have none: its "
            "labels stand in its JSON files, which `read_something_something` reads."
        )
    # Every label once per video, in the order of the frames.
    texts = {v: list(dict.fromkeys(t for _, ts in own for t in ts)) for v, own in frames.items()}
    rows = [(places[video], texts[video]) for video in folders]
    numbers, names = number_labels(path, rows, class_names, "labels")
    events = [
        [
            (number, start, end)
            for number, text in zip(own, texts[video], strict=True)
            for start, end in _find_runs([text in ts for _, ts in frames[video]])
        ]
        for video, own in zip(folders, numbers, strict=True)
    ]
    # One look per video: missing frames are reported when it is read.
    entries = [
        Entry(places[video], video, folder if is_folder(folder) else None, label)
        for (video, folder), label in zip(folders.items(), numbers, strict=True)
    ]
    kept = keep_present(path, entries, missing, root)
    return VideoList(
        folders.values(),
        multi_hot(numbers, len(names)),
        names,
        events=events,
        num_frames=[len(own) for own in frames.values()],
        time_unit="frames",
    ).select(kept)


def _find_runs(flags):
    """Returns `(start, end)` of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return edges.reshape(-1, 2).tolist()

"""The published annotations of Kinetics, UCF101, HMDB51, Something-Something and Charades."""

import json
import os
import re

from keras_nonlocal.lists.classes import multi_hot, number_labels, parse_class_names
from keras_nonlocal.lists.folders import choose_video, find_videos, is_folder, join, list_entries
from keras_nonlocal.lists.tables import Entry, keep_present, read_lines, read_table, row_error
from keras_nonlocal.lists.video_list import VideoList

_CORRECT = "Correct it, or give the file as it was published."
_CHARADES_CLASSES = 157


def read_kinetics(annotations, videos, class_names=None, missing="raise"):
    """Reads a file of annotations of Kinetics-400, -600 or -700 as it was published.

    The videos may lie anywhere below `videos`, each named like its part of the original,
    `<id>_<start>_<end>` with times in seconds of six digits, or by its `<id>` alone; as files or
    as folders of frames. Where two have one name, the one in the folder of its class counts,
    written with spaces or underscores. Many of the published videos have been withdrawn since.

    Args:
        annotations: path of the CSV file, with columns `label`, `youtube_id`, `time_start` and
            `time_end`.
        videos: folder that holds the videos.
        class_names: names of the classes in the order of their numbers, or a file of them. `None`:
            those in the annotations, in alphabetical order, which is the published order.
        missing: what to do about videos that are not there: `"raise"`, or `"drop"` to leave them
            out and log how many.

    Returns:
        A `VideoList` in the order of the annotations.

    Raises:
        FileNotFoundError: if there is no such file or folder, or videos are missing.
        ValueError: if a row is not as described, or a video comes twice.

    Example:

    ```python
    videos = read_kinetics("kinetics400/validate.csv", "kinetics400/val", missing="drop")
    ```
    """
    rows = []
    for place, row in read_table(annotations, ("label", "youtube_id", "time_start", "time_end")):
        video, times = row["youtube_id"], []
        if not video:
            raise row_error(annotations, place, "youtube_id", "must name a video", "", _CORRECT)
        for field in ("time_start", "time_end"):
            try:
                times.append(int(float(row[field])))
            except (ValueError, OverflowError):
                rule = "must be a time in seconds"
                raise row_error(annotations, place, field, rule, row[field], _CORRECT) from None
        rows.append((place, (f"{video}_{times[0]:06d}_{times[1]:06d}", video), row["label"]))
    return _list_named_videos(annotations, rows, videos, class_names, missing)


def read_ucf101(annotations, videos, class_names=None, missing="raise"):
    """Reads a list of UCF101 as it was published: `trainlist01.txt`, `testlist01.txt`, ...

    Args:
        annotations: path of the list, with rows `<class>/<video>.avi <number>` (training) or
            `<class>/<video>.avi` (testing).
        videos: folder that holds the videos, at any depth, as files of any format or as folders of
            frames.
        class_names: path of `classInd.txt`, which numbers the classes, or their names. `None`: the
            file in the folder of the list.
        missing: what to do about videos that are not there: `"raise"`, or `"drop"` to leave them
            out and log how many.

    Returns:
        A `VideoList` in the order of the list, classes as in `classInd.txt`, counted from 0.

    Raises:
        FileNotFoundError: if a file or the folder is not there, or videos are missing.
        ValueError: if a row is not as described, or a video comes twice.

    Example:

    ```python
    training = read_ucf101("ucfTrainTestlist/trainlist01.txt", "UCF-101")
    testing = read_ucf101("ucfTrainTestlist/testlist01.txt", "UCF-101")
    ```
    """
    if class_names is None:
        class_names = os.path.join(os.path.dirname(annotations), "classInd.txt")
    names = parse_class_names(class_names)
    rows = []
    for line, text in enumerate(read_lines(annotations), 1):
        if not text.strip():
            continue
        place = f"line {line}"
        match = re.fullmatch(r"(?:.*/)?([^/]+)/([^/]+?)\.\w+(?:\s+(\S+))?", text.strip())
        if not match:
            raise ValueError(
                f"{os.fspath(annotations)!r}, {place}: must be <class>/<video>.avi, and perhaps a "
                f"number. Received: {text!r}. {_CORRECT}"
            )
        name, video, number = match.groups()
        if number is not None and name in names and number != str(names.index(name) + 1):
            rule = f"must be {names.index(name) + 1}, the number of {name!r} in `class_names`"
            hint = "Give the files of one release."
            raise row_error(annotations, place, "label", rule, number, hint)
        rows.append((place, (video,), name))
    return _list_named_videos(annotations, rows, videos, names, missing)


def read_hmdb51(annotations, videos, split, part, missing="raise"):
    """Reads one part of one of the three splits of HMDB51 as they were published.

    Args:
        annotations: folder that holds a file per class and split,
            `<class>_test_split<number>.txt`, with rows `<video>.avi <0, 1 or 2>`.
        videos: folder that holds the videos, at any depth, as files of any format or as folders of
            frames.
        split: number of the split: 1, 2 or 3.
        part: `"train"` (videos marked 1) or `"test"` (marked 2); those marked 0 are in neither.
        missing: what to do about videos that are not there: `"raise"`, or `"drop"` to leave them
            out and log how many.

    Returns:
        A `VideoList`, classes in alphabetical order.

    Raises:
        FileNotFoundError: if there are no files of this split or no folder, or videos are missing.
        ValueError: if an argument or a row is not as described, or a video comes twice.

    Example:

    ```python
    training = read_hmdb51("testTrainMulti_7030_splits", "hmdb51", split=1, part="train")
    ```
    """
    marks = {"train": "1", "test": "2"}
    if part not in marks:
        raise ValueError(
            f'`part` must be "train" or "test". Received: part={part!r}. '
            "`split_videos` divides the training videos further."
        )
    folder = os.fspath(annotations)
    if not is_folder(folder):
        raise FileNotFoundError(
            f"`annotations` must be the folder of the split files. Received: {folder!r}, "
            "which is not a folder."
        )
    ending = f"_test_split{split}.txt"
    names = sorted(f.removesuffix(ending) for f in list_entries(folder)[1] if f.endswith(ending))
    if not names:
        raise FileNotFoundError(
            f"{folder!r} must hold files <class>{ending}. Received: none for "
            f"split={split!r}. HMDB51 has the splits 1, 2 and 3."
        )
    rows = []
    for name in names:
        file = join(folder, name + ending)
        for line, text in enumerate(read_lines(file), 1):
            if not text.strip():
                continue
            video, *mark = text.strip().rsplit(maxsplit=1)
            if not mark or mark[0] not in ("0", "1", "2"):
                rule = "must be 0 (neither), 1 (training) or 2 (testing)"
                raise row_error(file, f"line {line}", "mark", rule, "".join(mark), _CORRECT)
            if mark[0] == marks[part]:
                place = f"line {line} of {name + ending}"
                rows.append((place, (os.path.splitext(video)[0],), name))
    return _list_named_videos(folder, rows, videos, names, missing)


def read_something_something(annotations, videos, class_names=None, missing="raise"):
    """Reads annotations of Something-Something v2 as they were published.

    Args:
        annotations: path of the JSON file of the training or validation videos: a list of objects
            with `id` and `template`, in which brackets mark the object. The file of the test
            videos has no templates and cannot be read.
        videos: folder that holds the videos, `<id>.webm` or another format, or folders of frames
            `<id>`, at any depth.
        class_names: path of the JSON file that numbers the templates. `None`:
            `something-something-v2-labels.json` or `labels.json` in the folder of the annotations.
        missing: what to do about videos that are not there: `"raise"`, or `"drop"` to leave them
            out and log how many.

    Returns:
        A `VideoList` in the order of the annotations. Classes are templates without brackets.

    Raises:
        FileNotFoundError: if a file or the folder is not there, or videos are missing.
        ValueError: if an entry is not as described, or a video comes twice.

    Example:

    ```python
    training = read_something_something("something-something-v2-train.json", "20bn-v2")
    ```
    """
    entries = _read_json(annotations)
    if not isinstance(entries, list):
        raise ValueError(
            f"{os.fspath(annotations)!r} must hold a list of videos. Received: a "
            f"{type(entries).__name__}. Pass the file of labels as `class_names`."
        )
    rows = []
    for number, entry in enumerate(entries, 1):
        place = f"entry {number}"
        entry = entry if isinstance(entry, dict) else {}
        video, template = entry.get("id", ""), entry.get("template", "")
        if not (isinstance(video, (str, int)) and str(video)):
            raise row_error(annotations, place, "id", "must name a video", video, _CORRECT)
        place = f"{place} (id {str(video)!r})"
        if not (isinstance(template, str) and template):
            hint = "The test videos were published without: read those of validation instead."
            raise row_error(annotations, place, "template", "must be a text", template, hint)
        rows.append((place, (str(video),), template.replace("[", "").replace("]", "")))
    names = _read_templates(annotations, class_names)
    return _list_named_videos(annotations, rows, videos, names, missing, "template")


def read_charades(annotations, videos, class_names=None, fps=24.0, missing="raise"):
    """Reads annotations of Charades as they were published: `Charades_v1_train.csv` or `_test.csv`.

    A video shows several of the 157 classes, or none.

    Args:
        annotations: path of the CSV file. Its column `actions` holds classes with start and end in
            seconds: `c092 11.90 21.20;c147 0.00 12.60`.
        videos: folder that holds the videos, `<id>.mp4` or another format, or folders of frames
            `<id>`, at any depth.
        class_names: the 157 names, or the path of `Charades_v1_classes.txt`. `None`: `c000` to
            `c156`.
        fps: frames per second of the folders of frames; 24 in the published `Charades_v1_rgb`.
        missing: what to do about videos that are not there: `"raise"`, or `"drop"` to leave them
            out and log how many.

    Returns:
        A `VideoList` in the order of the annotations, its `labels` zeros and ones of shape
        `(videos, 157)`, its `events` the actions with their times.

    Raises:
        FileNotFoundError: if there is no such file or folder, or videos are missing.
        ValueError: if a row is not as described, or a video comes twice.

    Example:

    ```python
    videos = read_charades("Charades_v1_train.csv", "Charades_v1_480", "Charades_v1_classes.txt")
    videos.events[0]  # ((92, 11.9, 21.2), (147, 0.0, 12.6))
    ```

    Reference:
        Sigurdsson et al., "Hollywood in Homes: Crowdsourcing Data Collection for Activity
        Understanding", https://arxiv.org/abs/1604.01753
    """
    if class_names is None:
        class_names = [f"c{number:03d}" for number in range(_CHARADES_CLASSES)]
    class_names = parse_class_names(class_names)
    if len(class_names) != _CHARADES_CLASSES:
        raise ValueError(
            f"`class_names` must be the {_CHARADES_CLASSES} names of Charades' classes. "
            f"Received: {len(class_names)}. Give `Charades_v1_classes.txt` as it was published."
        )
    rows = []
    for place, row in read_table(annotations, ("id", "actions")):
        if not row["id"]:
            raise row_error(annotations, place, "id", "must name a video", "", _CORRECT)
        actions = [action for action in row["actions"].split(";") if action.strip()]
        rows.append((place, row["id"], [_read_event(annotations, place, a) for a in actions]))
    found = find_videos(videos, {name for _, name, _ in rows})
    entries = [Entry(place, name, choose_video(found, [name]), own) for place, name, own in rows]
    entries = [entries[i] for i in keep_present(annotations, entries, missing, videos)]
    return VideoList(
        [entry.path for entry in entries],
        multi_hot([{event[0] for event in entry.label} for entry in entries], _CHARADES_CLASSES),
        class_names,
        events=[entry.label for entry in entries],
        fps=fps,
    )


def _list_named_videos(file, rows, folder, class_names, missing, field="label"):
    """Returns a `VideoList` of rows of a place, the names that a video may have, and its class."""
    labels = [(place, [name]) for place, _, name in rows]
    numbers, class_names = number_labels(file, labels, class_names, field)
    found = find_videos(folder, {name for _, names, _ in rows for name in names})
    entries = [
        Entry(place, names[0], choose_video(found, names, class_name), label[0])
        for (place, names, class_name), label in zip(rows, numbers, strict=True)
    ]
    entries = [entries[i] for i in keep_present(file, entries, missing, folder)]
    return VideoList([e.path for e in entries], [e.label for e in entries], class_names)


def _read_event(file, place, text):
    """Returns `c092 11.90 21.20` as `(92, 11.9, 21.2)`."""
    try:
        code, start, end = text.split()
        number, start, end = int(code.removeprefix("c")), float(start), float(end)
    except ValueError:
        number, start, end = -1, 0, 0
    if not (0 <= number < _CHARADES_CLASSES and 0 <= start <= end < float("inf")):
        rule = f"must be c000 to c{_CHARADES_CLASSES - 1} with a start and an end in seconds"
        raise row_error(file, place, "actions", rule, text, "Correct it, or leave the row out.")
    return number, start, end


def _read_templates(annotations, path):
    """Returns the templates in the order of their numbers."""
    folder = os.path.dirname(annotations)
    files = ("something-something-v2-labels.json", "labels.json")
    if path is None:
        path = next(filter(os.path.isfile, (os.path.join(folder, file) for file in files)), None)
    if path is None:
        raise FileNotFoundError(
            f"There is no {' or '.join(files)} in {folder or '.'!r}. "
            "Pass the path of the file that numbers the templates as `class_names`."
        )
    numbers = _read_json(path)
    good = isinstance(numbers, dict) and all(str(n).isdecimal() for n in numbers.values())
    if not good or sorted(map(int, numbers.values())) != list(range(len(numbers))):
        raise ValueError(
            f"{os.fspath(path)!r} must number each template, from 0 without gaps: "
            f'{{"Pushing something": "0", ...}}. Received: something else. {_CORRECT}'
        )
    return tuple(sorted(numbers, key=lambda template: int(numbers[template])))


def _read_json(path):
    try:
        return json.loads("\n".join(read_lines(path)))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{os.fspath(path)!r}, line {error.lineno}: must be JSON. "
            f"Received: {error.msg.lower()} in column {error.colno}. {_CORRECT}"
        ) from None

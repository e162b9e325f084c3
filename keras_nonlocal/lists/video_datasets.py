"""The published lists of Kinetics, UCF101 and HMDB51."""

import os
import re

from keras_nonlocal.lists.classes import read_classes
from keras_nonlocal.lists.entries import list_named_videos
from keras_nonlocal.lists.folders import list_entries
from keras_nonlocal.lists.rows import fault, read_lines, read_table

_CORRECT = "Correct it, or give the file as it was published."


def read_kinetics(annotations, videos, class_names=None, missing="raise"):
    """Reads a file of annotations of Kinetics-400, -600 or -700 as it was published.

    The videos may lie anywhere below `videos`, each called by what was cut out of it,
    `<id>_<start>_<end>` with times in seconds of six digits, or by its `<id>` alone; as files or
    as folders of frames. Where two have one name, that in the folder of its class counts, written
    with spaces or underscores. Many of the published videos have been withdrawn since.

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
        video = row["youtube_id"]
        if not video:
            raise fault(annotations, place, "youtube_id", "must name a video", "", _CORRECT)
        times = [
            _read_seconds(annotations, place, field, row[field])
            for field in ("time_start", "time_end")
        ]
        rows.append((place, (f"{video}_{times[0]:06d}_{times[1]:06d}", video), row["label"]))
    return list_named_videos(annotations, rows, videos, class_names, missing)


def read_ucf101(split_file, videos, class_index=None, missing="raise"):
    """Reads a list of UCF101 as it was published: `trainlist01.txt`, `testlist01.txt`, ...

    Args:
        split_file: path of the list, with rows `<class>/<video>.avi <number>` (training) or
            `<class>/<video>.avi` (testing).
        videos: folder that holds the videos, at any depth, as files of any format or as folders of
            frames.
        class_index: path of `classInd.txt`, which numbers the classes. `None`: the one in the
            folder of the list.
        missing: what to do about videos that are not there: `"raise"`, or `"drop"` to leave them
            out and log how many.

    Returns:
        A `VideoList` in the order of the list, classes as in `class_index`, counted from 0.

    Raises:
        FileNotFoundError: if a file or the folder is not there, or videos are missing.
        ValueError: if a row is not as described, or a video comes twice.

    Example:

    ```python
    training = read_ucf101("ucfTrainTestlist/trainlist01.txt", "UCF-101")
    testing = read_ucf101("ucfTrainTestlist/testlist01.txt", "UCF-101")
    ```
    """
    if class_index is None:
        class_index = os.path.join(os.path.dirname(split_file), "classInd.txt")
    classes = read_classes(class_index)
    rows = []
    for line, text in enumerate(read_lines(split_file), 1):
        if not text.strip():
            continue
        place = f"line {line}"
        match = re.fullmatch(r"(?:.*/)?([^/]+)/([^/]+?)\.\w+(?:\s+(\S+))?", text.strip())
        if not match:
            raise ValueError(
                f"{os.fspath(split_file)!r}, {place}: must be <class>/<video>.avi, with a number "
                f"behind it or none. Received: {text!r}. {_CORRECT}"
            )
        name, video, number = match.groups()
        if number is not None and name in classes and number != str(classes.index(name) + 1):
            rule = f"must be {classes.index(name) + 1}, the number of {name!r} in {class_index!r}"
            raise fault(split_file, place, "label", rule, number, "Give the files of one release.")
        rows.append((place, (video,), name))
    return list_named_videos(split_file, rows, videos, classes, missing)


def read_hmdb51(splits, videos, split, part, missing="raise"):
    """Reads one part of one of the three splits of HMDB51 as they were published.

    Args:
        splits: folder that holds a file a class and split, `<class>_test_split<number>.txt`, with
            rows `<video>.avi <0, 1 or 2>`.
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
    if not os.path.isdir(splits):
        raise FileNotFoundError(
            f"`splits` must be the folder of the split files. Received: {os.fspath(splits)!r}, "
            "which is no folder."
        )
    ending = f"_test_split{split}.txt"
    classes = sorted(
        file.removesuffix(ending) for file in list_entries(splits)[1] if file.endswith(ending)
    )
    if not classes:
        raise FileNotFoundError(
            f"{os.fspath(splits)!r} must hold files <class>{ending}. Received: none for "
            f"split={split!r}. HMDB51 has the splits 1, 2 and 3."
        )
    rows = []
    for name in classes:
        file = os.path.join(splits, name + ending)
        for line, text in enumerate(read_lines(file), 1):
            if not text.strip():
                continue
            video, *mark = text.strip().rsplit(maxsplit=1)
            if not mark or mark[0] not in ("0", "1", "2"):
                rule = "must be 0 (neither), 1 (training) or 2 (testing)"
                raise fault(file, f"line {line}", "mark", rule, "".join(mark), _CORRECT)
            if mark[0] == marks[part]:
                place = f"line {line} of {name + ending}"
                rows.append((place, (os.path.splitext(video)[0],), name))
    return list_named_videos(splits, rows, videos, classes, missing)


def _read_seconds(file, place, field, text):
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise fault(file, place, field, "must be a time in seconds", text, _CORRECT) from None

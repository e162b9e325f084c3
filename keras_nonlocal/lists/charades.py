"""Charades: homes in which several things happen, each in its time."""

from keras_nonlocal.lists.classes import names_of, table_of
from keras_nonlocal.lists.entries import Entry, keep_present
from keras_nonlocal.lists.folders import choose_video, find_videos
from keras_nonlocal.lists.rows import fault, read_table
from keras_nonlocal.lists.video_list import VideoList

_NUM_CLASSES = 157


def read_charades(annotations, videos, class_names=None, fps=24.0, missing="raise"):
    """Reads annotations of Charades as they were published: `Charades_v1_train.csv` or `_test.csv`.

    A video shows several of the 157 classes, or none.

    Args:
        annotations: path of the CSV file. Its column `actions` says what happens when, in seconds:
            `c092 11.90 21.20;c147 0.00 12.60`.
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
        class_names = [f"c{number:03d}" for number in range(_NUM_CLASSES)]
    class_names = names_of(class_names)
    if len(class_names) != _NUM_CLASSES:
        raise ValueError(
            f"`class_names` must be the {_NUM_CLASSES} names of Charades' classes. "
            f"Received: {len(class_names)}. Give `Charades_v1_classes.txt` as it was published."
        )
    rows = []
    for place, row in read_table(annotations, ("id", "actions")):
        if not row["id"]:
            raise fault(annotations, place, "id", "must name a video", "", "Correct the row.")
        actions = [action for action in row["actions"].split(";") if action.strip()]
        rows.append((place, row["id"], [_read_event(annotations, place, a) for a in actions]))
    found = find_videos(videos, {name for _, name, _ in rows})
    entries = [
        Entry(place, name, choose_video(found, [name]), events) for place, name, events in rows
    ]
    entries = keep_present(annotations, entries, missing, videos)
    labels = [{event[0] for event in entry.label} for entry in entries]
    return VideoList(
        [entry.path for entry in entries],
        table_of(labels, _NUM_CLASSES),
        class_names,
        events=[entry.label for entry in entries],
        fps=fps,
    )


def _read_event(file, place, text):
    """`c092 11.90 21.20` as `(92, 11.9, 21.2)`."""
    try:
        code, start, end = text.split()
        number, start, end = int(code.removeprefix("c")), float(start), float(end)
    except ValueError:
        number, start, end = -1, 0, 0
    if not (0 <= number < _NUM_CLASSES and 0 <= start <= end < float("inf")):
        rule = f"must be c000 to c{_NUM_CLASSES - 1} with a start and an end in seconds"
        raise fault(file, place, "actions", rule, text, "Correct it, or leave the row out.")
    return number, start, end

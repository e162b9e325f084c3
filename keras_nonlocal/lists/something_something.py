"""Something-Something v2: its JSON files, of videos and of templates."""

import json
import os

from keras_nonlocal.lists.entries import list_named_videos
from keras_nonlocal.lists.rows import fault, read_lines

_CORRECT = "Correct it, or give the file as it was published."


def read_something_something(annotations, videos, labels=None, missing="raise"):
    """Reads annotations of Something-Something v2 as they were published.

    Args:
        annotations: path of the JSON file of the training or validation videos: a list of objects
            with `id` and `template`, in which brackets mark what the something is. That of the
            test videos has no templates and cannot be read.
        videos: folder that holds the videos, `<id>.webm` or another format, or folders of frames
            `<id>`, at any depth.
        labels: path of the JSON file that numbers the templates. `None`:
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
    classes = _read_templates(_find_labels(annotations) if labels is None else labels)
    entries = _read_json(annotations)
    if not isinstance(entries, list):
        raise ValueError(
            f"{os.fspath(annotations)!r} must hold a list of videos. Received: a "
            f"{type(entries).__name__}. The file of labels goes to `labels`."
        )
    rows = []
    for number, entry in enumerate(entries, 1):
        place = f"entry {number}"
        entry = entry if isinstance(entry, dict) else {}
        video, template = entry.get("id", ""), entry.get("template", "")
        if not (isinstance(video, (str, int)) and str(video)):
            raise fault(annotations, place, "id", "must name a video", video, _CORRECT)
        place = f"{place} (id {str(video)!r})"
        if not (isinstance(template, str) and template):
            way_out = "The test videos were published without: read those of validation instead."
            raise fault(annotations, place, "template", "must be a text", template, way_out)
        name = template.replace("[", "").replace("]", "")
        rows.append((place, (str(video),), name))
    return list_named_videos(annotations, rows, videos, classes, missing, "template")


def _find_labels(annotations):
    folder = os.path.dirname(annotations)
    names = ("something-something-v2-labels.json", "labels.json")
    paths = [os.path.join(folder, name) for name in names]
    path = next(filter(os.path.isfile, paths), None)
    if path is None:
        raise FileNotFoundError(
            f"There is no {' or '.join(names)} in {folder or '.'!r}. "
            "Give the path of the file that numbers the templates as `labels`."
        )
    return path


def _read_templates(path):
    """The templates in the order of their numbers."""
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

"""What a list says of its videos, and which of them are there."""

import collections
import logging
import os

from keras_nonlocal.lists.classes import number_labels
from keras_nonlocal.lists.folders import choose_video, find_videos
from keras_nonlocal.lists.rows import fault
from keras_nonlocal.lists.video_list import VideoList

_LOGGER = logging.getLogger("keras_nonlocal")

# One video of a list: `place` of its row ("line 17"), its `name` there, its `path` (None: it is not
# there), and its `label`, in whatever form the list's reader knows it.
Entry = collections.namedtuple("Entry", "place name path label")


def list_named_videos(file, rows, folder, classes, missing, field="label"):
    """Makes a `VideoList` of videos that a list names without their paths.

    Args:
        file: path of the list.
        rows: sequence of `(place, names that the video may have, name of its class)`.
        folder: where the videos lie, at any depth.
        classes: see `classes.number_labels`.
        missing: see `keep_present`.
        field: what the list calls the class.
    """
    labels = [(place, [name]) for place, _, name in rows]
    numbers, classes = number_labels(file, labels, classes, field)
    found = find_videos(folder, {name for _, names, _ in rows for name in names})
    entries = [
        Entry(place, names[0], choose_video(found, names, class_name), label[0])
        for (place, names, class_name), label in zip(rows, numbers, strict=True)
    ]
    entries = keep_present(file, entries, missing, folder)
    return VideoList([entry.path for entry in entries], [entry.label for entry in entries], classes)


def keep_present(file, entries, missing, folder):
    """Gives the entries whose videos are there.

    Args:
        file: path of the file that lists them.
        entries: sequence of `Entry`.
        missing: `"raise"` or `"drop"`, what to do about videos that are not there.
        folder: where they were looked for.

    Returns:
        A list of `Entry`.

    Raises:
        FileNotFoundError: if videos are missing, all of them or any with `missing="raise"`.
        ValueError: if there are no entries, or one video is listed twice.
    """
    if missing not in ("raise", "drop"):
        raise ValueError(
            f'`missing` must be "raise" or "drop". Received: missing={missing!r}. '
            '"drop" leaves out the videos that are not there.'
        )
    if not entries:
        raise ValueError(
            f"{os.fspath(file)!r} must list a video or more. Received: no rows. "
            "Give a file that was written to its end."
        )
    present = [entry for entry in entries if entry.path is not None]
    _check_once(file, present)
    absent = [entry for entry in entries if entry.path is None]
    if not absent:
        return present
    names = ", ".join(repr(entry.name) for entry in absent[:3]) + ", ..." * (len(absent) > 3)
    account = (
        f"{len(absent):,} of the {len(entries):,} videos that {os.fspath(file)!r} lists are not in "
        f"{os.fspath(folder)!r}: {names} (from {absent[0].place})."
    )
    if not present:
        raise FileNotFoundError(f"{account} Give the folder that holds them.")
    if missing == "raise":
        raise FileNotFoundError(
            f'{account} Fetch them, or leave them out of the list by missing="drop".'
        )
    _LOGGER.warning("%s They are left out.", account)
    return present


def _check_once(file, entries):
    """A video listed twice is a slip in a list, and counts double in an evaluation."""
    seen = {}
    for entry in entries:
        before = seen.setdefault(entry.path, entry)
        if before is not entry:
            alike = "the same label" if before.label == entry.label else "another label"
            raise fault(
                file,
                entry.place,
                "path",
                f"must not name a video a second time, and {before.place} names it with {alike}",
                entry.name,
                "Remove one of the two.",
            )

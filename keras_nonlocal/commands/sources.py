"""What commands that read videos are told of them: where they are listed, and how."""

import contextlib
import logging
import os

from keras_nonlocal.data import annotations
from keras_nonlocal.data.record_lists import is_shard


def add_source_arguments(parser):
    """Adds SOURCE and the options that `read_source` goes by."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of class folders, a list of videos, or the annotations of a data set",
    )
    formats = ", ".join(annotations.FORMATS)
    parser.add_argument(
        "--format",
        choices=annotations.FORMATS,
        metavar="FORMAT",
        help=f"of SOURCE: {formats}; found out if left out",
    )
    parser.add_argument(
        "--videos", metavar="DIR", help="folder of the videos that SOURCE lists, if it is another"
    )
    parser.add_argument(
        "--classes", dest="class_names", metavar="FILE", help="names of the classes, one a line"
    )
    parser.add_argument(
        "--columns", help='fields of the rows of a list without a header: "path length label"'
    )
    parser.add_argument(
        "--time-unit", choices=("seconds", "frames"), help="unit of the segments of a list"
    )
    parser.add_argument("--separator", help="of the fields in the rows of a list")
    parser.add_argument("--split", type=int, choices=(1, 2, 3), help="of hmdb51")
    parser.add_argument("--part", choices=("train", "test"), help="of hmdb51")
    parser.add_argument(
        "--drop-missing", action="store_true", help="go on without listed videos that are not there"
    )


def read_source(chosen):
    """Gives the `VideoList` that the arguments name.

    Args:
        chosen: the parsed arguments.

    Raises:
        FileNotFoundError, ValueError: see `read_videos`.
    """
    return annotations.read_videos(
        chosen.source,
        videos=chosen.videos,
        format=chosen.format,
        class_names=chosen.class_names,
        separator=chosen.separator,
        columns=chosen.columns,
        time_unit=chosen.time_unit,
        split=chosen.split,
        part=chosen.part,
        missing="drop" if chosen.drop_missing else "raise",
    )


def names_classes(source):
    """Tells whether a source names its classes itself: by folders or files, one for each."""
    return os.path.isdir(source) and not any(map(is_shard, os.listdir(source)))


@contextlib.contextmanager
def missing_told():
    """Collects what `read_source` logs of videos that a list names and that are not there.

    Yields:
        A list, which gets a sentence for each list that lacks videos.
    """
    told = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())
    log = logging.getLogger("keras_nonlocal")
    log.addHandler(handler)
    try:
        yield told
    finally:
        log.removeHandler(handler)

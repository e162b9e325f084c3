"""Names of classes, and the numbers that they stand for."""

import difflib
import os

import numpy as np

from keras_nonlocal.lists.tables import read_lines, row_error
from keras_nonlocal.lists.video_list import check_class_names

# More than any list of videos has: a greater number is a time or a frame.
_MOST_CLASSES = 100_000


def read_classes(file):
    """Returns the class names of a text file with one name per line.

    Lines may begin with the number of the class, counted from 0 or from 1 (`1 ApplyEyeMakeup`) or
    with Charades' code of it (`c000 Holding some clothes`).

    Args:
        file: path of the file.

    Returns:
        A tuple of names in the order of their numbers.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a name comes twice, or the numbers are not consecutive.
    """
    lines = [(line, text.split()) for line, text in enumerate(read_lines(file), 1) if text.split()]
    # Names may begin with a number themselves, but hardly all of them.
    if all(len(words) > 1 and _number_of(words[0]) is not None for _, words in lines):
        start = min(_number_of(lines[0][1][0]), 1) if lines else 0
        for expected, (line, words) in enumerate(lines, start):
            if _number_of(words[0]) != expected:
                rule = f"must be {expected}, as the numbers of classes count up from 0 or 1"
                hint = "Write the classes in the order of their numbers."
                raise row_error(file, f"line {line}", "number", rule, words[0], hint)
        lines = [(line, words[1:]) for line, words in lines]
    places = {}
    for line, words in lines:
        name = " ".join(words)
        before = places.setdefault(name, line)
        if before != line:
            rule = f"must not come twice, and line {before} has it"
            raise row_error(file, f"line {line}", "name", rule, name, "Remove one of the two.")
    if not places:
        raise ValueError(
            f"{os.fspath(file)!r} must name a class or more. Received: no lines. "
            "Give a file with one name per line."
        )
    return check_class_names(places)


def parse_class_names(class_names):
    """Returns the names that an argument `class_names` stands for: a tuple, or `None`.

    Args:
        class_names: names, the path of a file of them (see `read_classes`), a number of classes,
            which are then named by their numbers, or `None`.
    """
    if class_names is None:
        return None
    if isinstance(class_names, (str, os.PathLike)):
        return read_classes(class_names)
    names = check_class_names(class_names)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`class_names` must not name a class twice. Received: {twice!r} twice.")
    return names


def number_labels(file, rows, class_names, field="label", unlabeled=False):
    """Turns the labels of a list into class numbers.

    Args:
        file: path of the list.
        rows: sequence of `(place, texts)`, the labels of each row as text.
        class_names: see `parse_class_names`. `None`: the classes are the texts in alphabetical
            order or, where they are numbers, all up to the greatest.
        field: name of the labels in the list.
        unlabeled: whether -1, no label, is allowed.

    Returns:
        The class numbers of each row, as lists, and the names of the classes.

    Raises:
        ValueError: if a text is not a class.
    """
    names = parse_class_names(class_names)
    texts = [text for _, row in rows for text in row if not (unlabeled and text == "-1")]
    if names is None and not any(map(_looks_like_number, texts)):
        names = tuple(sorted(set(texts)))
    size = _MOST_CLASSES if names is None else len(names)
    # Classes that are called by their numbers have no names.
    named = () if names is None or names == tuple(map(str, range(size))) else names
    numbers = {name: number for number, name in enumerate(named)}
    # A list goes by names or by numbers, as its first label does.
    by_name = named and texts and (texts[0] in numbers or not _is_number(texts[0]))

    def number_of(place, text):
        if unlabeled and text == "-1":
            return -1
        if not text.strip("'\" "):
            hint = "Add its class" + ", or -1 for a video without a label." * unlabeled
            raise row_error(file, place, field, "must name a class", text, hint)
        if by_name and text not in numbers:
            rule = f"must be the name of one of the {size} classes"
            raise row_error(file, place, field, rule, text, _propose(text, names))
        if not by_name and not (_is_number(text) and int(text) < size):
            rule = f"must be a class number in [0, {size})"
            hint = "Classes are counted from 0; labels by name need `class_names`."
            raise row_error(file, place, field, rule, text, hint)
        return numbers[text] if by_name else int(text)

    found = [[number_of(place, text) for text in row] for place, row in rows]
    if names is None:
        names = tuple(map(str, range(1 + max((max(row) for row in found if row), default=-1))))
    return found, names


def multi_hot(labels, classes):
    """Returns class numbers of each video as float32 zeros and ones, `(videos, classes)`."""
    table = np.zeros((len(labels), classes), np.float32)
    for row, numbers in zip(table, labels, strict=True):
        row[list(numbers)] = 1
    return table


def _is_number(text):
    return text.isascii() and text.isdecimal()


def _looks_like_number(text):
    """Numbers of any kind, such as 1.0, are slips and no names."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number_of(word):
    digits = word.removeprefix("c")
    return int(digits) if _is_number(digits) else None


def _propose(text, names):
    nearest = difflib.get_close_matches(text, names, n=1)
    if nearest:
        return f"The nearest class is {nearest[0]!r}."
    return f"The classes are {', '.join(map(repr, names[:3]))}{', ...' * (len(names) > 3)}."

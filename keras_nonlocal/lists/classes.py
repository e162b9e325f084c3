"""Names of classes, and the numbers that they stand for."""

import difflib
import os

import numpy as np

from keras_nonlocal.lists.rows import fault, read_lines

# More than any list of videos has: a larger number is no class, but a time or a frame.
_MOST_CLASSES = 100_000


def read_classes(file):
    """Gives the class names of a text file with one name a line.

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
                raise fault(
                    file,
                    f"line {line}",
                    "number",
                    f"must be {expected}, as the numbers of classes count up from 0 or 1",
                    words[0],
                    "Write the classes in the order of their numbers.",
                )
        lines = [(line, words[1:]) for line, words in lines]
    places = {}
    for line, words in lines:
        before = places.setdefault(" ".join(words), line)
        if before != line:
            raise fault(
                file,
                f"line {line}",
                "name",
                f"must not come twice, and line {before} has it",
                " ".join(words),
                "Remove one of the two.",
            )
    if not places:
        raise ValueError(
            f"{os.fspath(file)!r} must name a class or more. Received: no lines. "
            "Give a file with one name a line."
        )
    return tuple(places)


def names_of(classes):
    """The names that an argument `class_names` stands for: a tuple, or `None`.

    Args:
        classes: names, the path of a file of them (see `read_classes`), a number of classes, which
            are then called by their numbers, or `None`.
    """
    if classes is None:
        return None
    if isinstance(classes, (str, os.PathLike)):
        return read_classes(classes)
    if isinstance(classes, (int, np.integer)):
        return tuple(map(str, range(classes)))
    names = tuple(classes)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`class_names` must not name a class twice. Received: {twice!r} twice.")
    return names


def number_labels(file, rows, classes, field="label"):
    """Turns the labels of a list into class numbers.

    Args:
        file: path of the list.
        rows: sequence of `(place, texts)`, the labels of each row as they stand there.
        classes: see `names_of`. `None`: the classes are the texts in alphabetical order or, where
            they are numbers, all up to the greatest.
        field: what the list calls its labels.

    Returns:
        The class numbers of each row, as lists, and the names of the classes.

    Raises:
        ValueError: if a text is no class.
    """
    names = names_of(classes)
    texts = [text for _, row in rows for text in row]
    if names is None and not any(map(_looks_like_number, texts)):
        names = tuple(sorted(set(texts)))
    size = _MOST_CLASSES if names is None else len(names)
    # Classes that are called by their numbers have no names.
    named = () if names is None or names == tuple(map(str, range(size))) else names
    numbers = {name: number for number, name in enumerate(named)}
    # A list goes by names or by numbers, as its first label does.
    by_name = named and texts and (texts[0] in numbers or not _is_number(texts[0]))
    found = []
    for place, row in rows:
        for text in row:
            if not text:
                raise fault(file, place, field, "must name a class", text, "Add its class.")
            if by_name and text not in numbers:
                rule = f"must be the name of one of the {size} classes"
                raise fault(file, place, field, rule, text, _propose(text, names))
            if not by_name and not (_is_number(text) and int(text) < size):
                rule = f"must be a class number in [0, {size})"
                way_out = (
                    "Classes are counted from 0; labels by name need `class_names`, their names."
                )
                raise fault(file, place, field, rule, text, way_out)
        found.append([numbers[text] if by_name else int(text) for text in row])
    if names is None:
        names = tuple(map(str, range(1 + max((max(row) for row in found if row), default=-1))))
    return found, names


def table_of(labels, classes):
    """Class numbers of each video as zeros and ones, float32 of shape `(videos, classes)`."""
    table = np.zeros((len(labels), classes), np.float32)
    for row, numbers in zip(table, labels, strict=True):
        row[list(numbers)] = 1
    return table


def _is_number(text):
    return text.isascii() and text.isdecimal()


def _looks_like_number(text):
    """Whether a text is a number of any kind: 1.0 and -1 are slips, and no names."""
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

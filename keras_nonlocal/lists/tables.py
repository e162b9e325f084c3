"""Text files that list videos, row by row, with errors that name line and field."""

import codecs
import collections
import csv
import io
import logging
import os
import re

import fsspec

_LOGGER = logging.getLogger("keras_nonlocal")

# One video of a list: `place` of its row ("line 17"), its `name` there, its `path` (`None`: it is
# missing), and its `label`, in the form of the list's reader.
Entry = collections.namedtuple("Entry", "place name path label")


def row_error(file, place, field, rule, received, hint):
    """Returns the error of one field of one row."""
    return ValueError(
        f"{os.fspath(file)!r}, {place}, field {field!r}: {rule}. Received: {received!r}. {hint}"
    )


def is_url(path):
    """Returns whether a path names a file system that fsspec opens, as `gs://bucket/name` does."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", os.fspath(path)) is not None


def read_lines(file):
    """Yields the lines of a text file or URL, without line ends.

    Text is UTF-8, or UTF-16 with its byte order mark, as Windows' programs write it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not text.
    """
    file, number = os.fspath(file), 1
    try:
        with fsspec.open(file, "rb") if is_url(file) else open(file, "rb") as lines:
            # Web servers seldom seek.
            lines = io.BytesIO(lines.read()) if is_url(file) else lines
            if lines.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                lines.seek(0)
                lines = io.BytesIO(lines.read().decode("utf-16").encode())
            lines.seek(0)
            for number, line in enumerate(lines, 1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if "\0" in text:
                    raise UnicodeDecodeError("utf-8", line, line.index(0), 1, "zero byte")
                yield text.rstrip("\r\n")
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(
            f"There is no file {file!r}. Give the path of a text file that is there."
        ) from None
    except UnicodeError as error:
        raise ValueError(
            f"{file!r}, line {number}: must be text in UTF-8, or UTF-16 with its byte order "
            f"mark. Received: {error}. Save it as UTF-8 (in Excel: CSV UTF-8)."
        ) from None


def read_rows(file, separator=",", lines=None):
    """Yields `(line number, fields)` of the rows that are not empty, their fields stripped.

    Args:
        file: path of the file.
        separator: one character. Fields in double quotes may hold it.
        lines: the lines of the file, where they were read before.
    """
    lines = read_lines(file) if lines is None else lines
    rows = csv.reader((f"{line}\n" for line in lines), delimiter=separator, strict=True)
    first = 1
    while True:
        try:
            fields = next(rows, None)
        except csv.Error as error:
            raise ValueError(
                f"{os.fspath(file)!r}, line {first}: a field that begins with a double quote must "
                f"end with one. Received: a line that cannot be divided ({error}). "
                'Write a quote inside quotes twice: "".'
            ) from None
        if fields is None:
            return
        if any(field.strip() for field in fields):
            yield first, [field.strip() for field in fields]
        first = rows.line_num + 1


def read_table(file, required):
    """Yields `(place, {column: field})` of a comma-separated file whose first row names columns.

    Args:
        file: path of the file.
        required: names of columns that must be there.
    """
    rows = read_rows(file)
    _, columns = next(rows, (1, []))
    absent = [name for name in required if name not in columns]
    if absent:
        raise ValueError(
            f"{os.fspath(file)!r}, line 1: must name the columns {', '.join(map(repr, required))}. "
            f"Received: {', '.join(map(repr, columns)) or 'nothing'}, without {absent[0]!r}. "
            "Give the file as it was published."
        )
    for line, fields in rows:
        if len(fields) != len(columns):
            raise ValueError(
                f"{os.fspath(file)!r}, line {line}: must have {len(columns)} fields, as line 1 "
                f"has. Received: {len(fields)}, the first {fields[0]!r}. "
                "Put a field that holds a comma into double quotes."
            )
        yield f"line {line}", dict(zip(columns, fields, strict=True))


def keep_present(file, entries, missing, folder, segments=None):
    """Returns the indices of the entries whose videos are there.

    Args:
        file: path of the file that lists them.
        entries: sequence of `Entry`.
        missing: `"raise"` or `"drop"`, what to do about videos that are not there.
        folder: where they were looked for.
        segments: `(start, end)` of each entry. Without, no video may be listed twice.

    Raises:
        FileNotFoundError: if videos are missing, all of them or any with `missing="raise"`.
        ValueError: if there are no entries, or one is listed twice.
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
    present = [index for index, entry in enumerate(entries) if entry.path is not None]
    # A video listed twice counts double in an evaluation.
    seen, what = {}, "a video" if segments is None else "a segment"
    for index in present:
        entry = entries[index]
        key = entry.path, None if segments is None else segments[index]
        before = seen.setdefault(key, entry)
        if before is not entry:
            alike = "the same label" if before.label == entry.label else "another label"
            rule = f"must not name {what} a second time, and {before.place} names it with {alike}"
            raise row_error(file, entry.place, "path", rule, entry.name, "Remove one of the two.")
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

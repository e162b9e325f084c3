"""Text files that list videos, row by row: how they are read, and how their errors speak."""

import csv
import os
import pathlib


def fault(file, place, field, rule, received, way_out):
    """The error of one field of one row."""
    return ValueError(
        f"{os.fspath(file)!r}, {place}, field {field!r}: {rule}. Received: {received!r}. {way_out}"
    )


def read_lines(file):
    """Yields the lines of a text file, without what ends them (a line feed, on Windows two signs).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not text in UTF-8.
    """
    if not os.path.isfile(file):
        raise FileNotFoundError(
            f"There is no file {os.fspath(file)!r}. Give the path of a text file that is there."
        )
    try:
        # The signature is the mark that Windows' programs put in front.
        with open(file, encoding="utf-8-sig") as lines:
            for line in lines:
                if "\0" in line:
                    raise _not_text(file)
                yield line.rstrip("\n")
    except UnicodeDecodeError:
        raise _not_text(file) from None


def read_rows(file, separator=","):
    """Yields `(line number, fields)` of the rows that are not empty, their fields stripped.

    Fields may stand in double quotes, and then hold the separator.
    """
    return split_rows(file, read_lines(file), separator)


def split_rows(file, lines, separator):
    """Like `read_rows`, of lines that were read before."""
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


def _not_text(file):
    data = pathlib.Path(file).read_bytes()
    try:
        position = data.index(b"\0") if b"\0" in data else len(data)
        data[:position].decode("utf-8")
    except UnicodeDecodeError as error:
        position = error.start
    line = data.count(b"\n", 0, position) + 1
    return ValueError(
        f"{os.fspath(file)!r}, line {line}: must be text in UTF-8. "
        f"Received: bytes that are none, {data[position : position + 4]!r}. "
        "Save it as UTF-8 (in Excel: CSV UTF-8)."
    )

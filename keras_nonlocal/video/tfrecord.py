"""TFRecord files: records one after another, of which each can be read alone.

A record is its length (8 bytes), a checksum of the length, the data, and a checksum of the data.
TensorFlow's readers cannot start at an offset, as clips in random order need.
"""

import contextlib
import os
import struct

import fsspec
import google_crc32c
from fsspec.implementations.local import LocalFileSystem

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_COPY_ANEW = "Copy the file again from its source."


def file_system(path):
    """Returns the fsspec file system of a path or URL, and the path in it."""
    path = os.fspath(path)
    # A local name may hold whatever a URL gives a meaning to.
    return fsspec.url_to_fs(path) if "://" in path else (LocalFileSystem(), path)


def frame_record(data):
    """Returns what a TFRecord file holds of a record: header, data and checksum, bytes each."""
    length = struct.pack("<Q", len(data))
    return length + _CHECKSUM.pack(_checksum(length)), data, _CHECKSUM.pack(_checksum(data))


def read_record(path, offset):
    """Reads the record at an offset of a file, and compares its checksum.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if no whole, undamaged record begins there.
    """
    with _open(path) as (file, size):
        length = _read_length(path, file, offset, size)
        data, (checksum,) = file.read(length), _CHECKSUM.unpack(file.read(_CHECKSUM.size))
    if checksum != _checksum(data):
        raise damaged(path, offset, "its bytes do not match its checksum")
    return data


def read_ranges(path, ranges):
    """Reads parts of a file.

    Args:
        path: path or URL of the file.
        ranges: list of pairs of a first byte and a size.

    Returns:
        A list of bytes, shorter than `size` where the file ends before.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    system, name = file_system(path)
    if not isinstance(system, LocalFileSystem):
        # Together, since each request takes a while.
        starts, ends = [start for start, _ in ranges], [sum(pair) for pair in ranges]
        with _missing_named(path):
            return system.cat_ranges([name] * len(ranges), starts, ends, on_error="raise")
    pieces = []
    with _open(path) as (file, _):
        for start, size in ranges:
            file.seek(start)
            pieces.append(file.read(size))
    return pieces


def scan_records(path):
    """Goes through the records of a file without reading their data.

    Yields:
        Offset and length of each record, and the file, which is at the first byte of its data.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, or is no TFRecord file.
    """
    with _open(path) as (file, size):
        offset = 0
        while offset < size:
            length = _read_length(path, file, offset, size)
            yield offset, length, file
            offset += _HEADER.size + length + _CHECKSUM.size


def damaged(path, offset, reason, hint=_COPY_ANEW):
    """Returns the error for a record that cannot be read."""
    return ValueError(
        f"The record at byte {offset} of {os.fspath(path)!r} cannot be read: {reason}. {hint}"
    )


@contextlib.contextmanager
def _open(path):
    """Yields a file and its size."""
    system, name = file_system(path)
    with _missing_named(path):
        info = system.info(name)
        # Opening a pipe would wait for a writer.
        if info["type"] != "file":
            raise ValueError(f"{os.fspath(path)!r} is not a regular file. Pass a TFRecord file.")
        if isinstance(system, LocalFileSystem):
            # Records are large and read one at a time: a buffer would only copy them.
            file = open(info["name"], "rb", buffering=0)
        else:
            file = system.open(name, "rb", block_size=1 << 16)
    with file:
        yield file, info["size"]


@contextlib.contextmanager
def _missing_named(path):
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no file of records {os.fspath(path)!r}. Pass the path of an existing file."
        ) from None


def _read_length(path, file, offset, size):
    """Returns the length of the record at an offset, and leaves the file at its data."""
    file.seek(offset)
    header = file.read(_HEADER.size)
    if offset == 0 and header.startswith(b"\x1f\x8b"):
        raise ValueError(
            f"{os.fspath(path)!r} is compressed by gzip, so records cannot be read one by one. "
            "Decompress it; JPEG files are not smaller for it."
        )
    if len(header) < _HEADER.size:
        raise damaged(path, offset, f"the file is truncated, it ends at byte {size}")
    length, checksum = _HEADER.unpack(header)
    if checksum != _checksum(header[:8]):
        raise damaged(path, offset, "no record begins there, or the file is no TFRecord file")
    end = offset + _HEADER.size + length + _CHECKSUM.size
    if end > size:
        raise damaged(path, offset, f"the file is truncated, it ends at byte {size} of {end}")
    return length


def _checksum(data):
    """CRC-32C, rotated and shifted, since checksums of checksums are weak."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

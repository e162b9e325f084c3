"""TFRecord files, byte by byte: records written one after another, read one at a time.

A record is its length (8 bytes), a checksum of these, the data, and a checksum of the data. Reading
at an offset, for clips drawn at random, is what TensorFlow's own readers do not offer.
"""

import os
import stat
import struct

import google_crc32c

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")


def frame_record(data):
    """Gives what stands around a record in a TFRecord file.

    Args:
        data: bytes of the record.

    Returns:
        Three bytes objects to write one after another: header, data, checksum.
    """
    length = struct.pack("<Q", len(data))
    header = _HEADER.pack(len(data), _checksum(length))
    return header, data, _CHECKSUM.pack(_checksum(data))


def read_record(path, offset):
    """Reads the record that begins at an offset, and makes sure of its checksum.

    Args:
        path: of a TFRecord file.
        offset: of the record's first byte.

    Returns:
        The record's bytes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if no whole, undamaged record begins there.
    """
    with _open(path) as file:
        length = _read_length(path, file, offset)
        data, checksum = file.read(length), file.read(_CHECKSUM.size)
    if len(data) < length or len(checksum) < _CHECKSUM.size:
        raise damaged(path, offset, "the file ends within it")
    if _CHECKSUM.unpack(checksum)[0] != _checksum(data):
        raise damaged(path, offset, "its bytes do not give the checksum that is stored with them")
    return data


def read_parts(path, offset, parts):
    """Reads parts of a record, for which its checksum says nothing.

    Args:
        path: of a TFRecord file.
        offset: of the record's first byte.
        parts: pairs of a start, from the first byte of the record's data, and a size.

    Returns:
        A list of bytes; shorter than asked for where the record ends before.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if no whole record begins there.
    """
    with _open(path) as file:
        length = _read_length(path, file, offset)
        pieces = []
        for start, size in parts:
            file.seek(offset + _HEADER.size + start)
            pieces.append(file.read(max(min(size, length - start), 0)))
    return pieces


def scan_records(path, head):
    """Goes from record to record without reading them, but for the first bytes of each.

    Args:
        path: of a TFRecord file.
        head: how many bytes of each record to read.

    Yields:
        Pairs of a record's offset and its first bytes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, or is no TFRecord file.
    """
    with _open(path) as file:
        offset, size = 0, os.stat(file.fileno()).st_size
        while offset < size:
            length = _read_length(path, file, offset)
            yield offset, file.read(min(head, length))
            offset += _HEADER.size + length + _CHECKSUM.size


def damaged(path, offset, reason, way_out="Copy the file anew from where it came."):
    """Gives the error that says which record cannot be read, why, and what to do."""
    return ValueError(
        f"The record at byte {offset} of {os.fspath(path)!r} cannot be read: {reason}. {way_out}"
    )


def _open(path):
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no file of records {os.fspath(path)!r}. Give the path of an existing file."
        ) from None
    # To open a pipe would wait for somebody to write into it.
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{os.fspath(path)!r} is no file of records: it is no ordinary file.")
    # Records are large and read one at a time: a buffer would only copy them.
    return open(path, "rb", buffering=0)


def _read_length(path, file, offset):
    """The length of the record at an offset, to whose first byte it brings the file."""
    size = os.stat(file.fileno()).st_size
    file.seek(offset)
    header = file.read(_HEADER.size)
    if offset == 0 and header.startswith(b"\x1f\x8b"):
        raise ValueError(
            f"{os.fspath(path)!r} is compressed by gzip, so that no record can be read alone. "
            "Decompress it; JPEG pictures do not get smaller by it."
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
    """CRC-32C, rotated and shifted: the format says so, as checksums of checksums are weak."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

"""Where the records of a zip archive lie, if its directory tells the truth.

Python's zipfile reads archives of many makers and forgives much. What it forgives, torch may
read differently. So this reads what torch.save writes, and nothing else.
"""

import struct

from keras_nonlocal.archives.errors import CheckpointError

MAX_RECORDS = 20_000
_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL = 0xFFFFFFFF


def read_records(data):
    """Gives the records of a zip archive, checked against the file and each other.

    Args:
        data: the whole file, bytes or an mmap.

    Returns:
        Dict of names to (first byte, number of bytes).

    Raises:
        CheckpointError: the directory is not one that torch.save writes, or lies.
    """
    try:
        return _read_records(data)
    except struct.error:
        raise _damage("its directory points outside of it") from None


def _damage(what):
    return CheckpointError(
        f"it looks like a file of torch.save, a zip archive, but {what}: it is cut short, "
        "damaged, or was packed anew by another program. Download or save it again."
    )


def _read_records(data):
    start, size, count, end = _find_directory(data)
    if start + size != end:
        raise _damage("its directory does not lie where its end says")
    if count > MAX_RECORDS:
        raise _damage(f"it claims {count} records")
    records = {}
    position = start
    for _ in range(count):
        position, name, record = _read_entry(data, position, start)
        # torch does not tell upper from lower case.
        if name.lower() in records:
            raise _damage(f"it holds two records {name!r}")
        records[name.lower()] = (name, *record)
    if position != end:
        raise _damage(f"its directory does not hold the {count} records that it claims")
    behind = 0
    for name, first, length in sorted(records.values(), key=lambda record: record[1:]):
        if first < behind:
            raise _damage(f"its record {name!r} overlaps another")
        behind = first + length
    return {name: (first, length) for name, first, length in records.values()}


def _find_directory(data):
    """Gives start, size, number of records of the directory, and where it must end."""
    end = len(data) - _END.size
    # No comment may follow: in one, a second end could hide.
    signature, *_, count, size, start, comment = _END.unpack_from(data, max(end, 0))
    if signature != b"PK\5\6" or comment:
        raise _damage("its end is missing")
    locator = end - _END64_LOCATOR.size
    if locator < 0 or data[locator : locator + 4] != b"PK\6\7":
        return start, size, count, end
    _, _, end, _ = _END64_LOCATOR.unpack_from(data, locator)
    signature, *_, count64, size64, start64 = _END64.unpack_from(data, _inside(data, end))
    if signature != b"PK\6\6" or end + _END64.size != locator:
        raise _damage("its end is missing")
    for short, long, full in (
        (count, count64, 0xFFFF),
        (size, size64, _FULL),
        (start, start64, _FULL),
    ):
        if short not in (long, full):
            raise _damage("it gives its directory two different sizes")
    return start64, size64, count64, end


def _read_entry(data, position, end):
    """Gives where the next entry begins, a record's name, and where its bytes lie."""
    (
        signature,
        _,
        _,
        flags,
        method,
        _,
        _,
        _,
        packed,
        size,
        name_length,
        extra_length,
        comment_length,
        _,
        _,
        _,
        local,
    ) = _ENTRY.unpack_from(data, _inside(data, position))
    if signature != b"PK\1\2":
        raise _damage("its directory is broken")
    position += _ENTRY.size
    raw_name = data[position : position + name_length]
    extra = data[position + name_length : position + name_length + extra_length]
    position += name_length + extra_length + comment_length
    name = raw_name.decode("utf-8", "replace")
    if _FULL in (packed, size, local):
        size, packed, local = _long_values(extra, size, packed, local)
    if method or packed != size or flags & 1:
        raise _damage(f"its record {name!r} is compressed or encrypted, which torch never does")
    signature, *_, local_name_length, local_extra_length = _LOCAL.unpack_from(
        data, _inside(data, local)
    )
    first = local + _LOCAL.size
    if signature != b"PK\3\4" or data[first : first + local_name_length] != raw_name:
        raise _damage(f"its record {name!r} does not lie where the directory says")
    first += local_name_length + local_extra_length
    if first + size > end:
        raise _damage(f"its record {name!r} claims {size} bytes, more than the file holds")
    return position, name, (first, size)


def _long_values(extra, *values):
    """Gives the values that did not fit into 32 bits from the entry's extra field."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{length // 8}Q", extra, position + 4))
            try:
                return [next(numbers) if value == _FULL else value for value in values]
            except StopIteration:
                break
        position += 4 + length
    raise _damage("an entry of its directory lacks its size")


def _inside(data, position):
    # struct takes a negative position from the end, and overflows at a huge one.
    if not 0 <= position < len(data):
        raise _damage("its directory points outside of it")
    return position

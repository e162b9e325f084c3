"""One file that holds arrays and JSON notes, and in which no flipped byte goes unseen."""

import hashlib
import json

import numpy as np

from keras_nonlocal.files import atomic_write

FORMAT = "keras_nonlocal.training 1"
# The layout of safetensors, so that other tools read the arrays: their names for NumPy's types.
_TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}
_NAMES = {code: name for name, code in _TYPES.items()}
# The digest stands first, so that its place is known before anything is parsed. It is that of the
# whole file with zeros in its own place.
_BEFORE_DIGEST = b'{"__metadata__":{"sha256":"'
_NO_DIGEST = "0" * 64
_DIGEST = slice(8 + len(_BEFORE_DIGEST), 8 + len(_BEFORE_DIGEST) + len(_NO_DIGEST))


class CorruptCheckpoint(ValueError):
    """A file that is not a whole checkpoint."""


def write_checkpoint(path, folder, arrays, notes):
    """Writes a checkpoint, whole or not at all.

    Args:
        path: where it shall appear.
        folder: where it is written before that, in the same file system.
        arrays: dict of names to NumPy arrays.
        notes: what JSON can hold; in place of any value in it, a NumPy array.

    Raises:
        OSError: if it cannot be written. What had been there stays.
    """
    arrays = dict(arrays)
    notes = _without_arrays(notes, "notes", arrays)
    described, end = {}, 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        described[name] = {
            "dtype": _TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    metadata = {"sha256": _NO_DIGEST, "format": FORMAT, "notes": json.dumps(notes)}
    header = json.dumps({"__metadata__": metadata} | described, separators=(",", ":")).encode()
    # Spaces, so that the arrays begin at a multiple of eight.
    header += b" " * (-len(header) % 8)
    header = len(header).to_bytes(8, "little") + header
    bodies = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays.values()]
    digest = hashlib.sha256(header)
    for body in bodies:
        digest.update(body)
    with atomic_write(path, folder) as file:
        file.write(header[: _DIGEST.start])
        file.write(digest.hexdigest().encode())
        file.write(header[_DIGEST.stop :])
        for body in bodies:
            file.write(body)


def read_checkpoint(path):
    """Reads what `write_checkpoint` has written.

    Args:
        path: of the file.

    Returns:
        The arrays, which cannot be written to, by their names; and the notes.

    Raises:
        CorruptCheckpoint: if one byte differs, or the file is something else.
    """
    with open(path, "rb") as file:
        content = file.read()
    if content[8 : _DIGEST.start] != _BEFORE_DIGEST:
        raise CorruptCheckpoint(
            f"{path!r} is not a checkpoint of a training: it has {len(content)} bytes that begin "
            f"with {content[:16]!r}."
        )
    view = memoryview(content)
    digest = hashlib.sha256(view[: _DIGEST.start])
    digest.update(_NO_DIGEST.encode())
    digest.update(view[_DIGEST.stop :])
    if digest.hexdigest().encode() != content[_DIGEST]:
        raise CorruptCheckpoint(
            f"{path!r} is damaged: its {len(content)} bytes are not those that were written (their "
            "SHA-256 is not the one that the file itself states)."
        )
    size = int.from_bytes(content[:8], "little")
    described = json.loads(content[8 : 8 + size])
    metadata = described.pop("__metadata__")
    if metadata["format"] != FORMAT:
        raise CorruptCheckpoint(
            f"{path!r} must have the format {FORMAT!r}. Received: {metadata['format']!r}. It was "
            "written by another version of this package: go on with that version."
        )
    arrays = {}
    for name, facts in described.items():
        begin, end = facts["data_offsets"]
        flat = np.frombuffer(view[8 + size + begin : 8 + size + end], np.uint8)
        arrays[name] = flat.view(np.dtype(_NAMES[facts["dtype"]])).reshape(facts["shape"])
    notes = _with_arrays(json.loads(metadata["notes"]), arrays)
    return arrays, notes


_ARRAY = "__array__"


def _without_arrays(value, name, arrays):
    """The value with the name of an array in place of each, which goes among the others."""
    if isinstance(value, (np.ndarray, np.generic)):
        arrays[name] = np.asarray(value)
        return {_ARRAY: name}
    if isinstance(value, dict):
        return {key: _without_arrays(item, f"{name}/{key}", arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(item, f"{name}/{i}", arrays) for i, item in enumerate(value)]
    return value


def _with_arrays(value, arrays):
    """The opposite: takes them out from among the others again."""
    if isinstance(value, dict):
        if _ARRAY in value:
            return arrays.pop(value[_ARRAY])
        return {key: _with_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_arrays(item, arrays) for item in value]
    return value

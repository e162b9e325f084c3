"""Files of safetensors: the library checks them, and the arrays stay views of the file."""

import math
import os

import numpy as np

from keras_nonlocal.archives.errors import CheckpointError

# A tensor takes about a hundred bytes of the header.
MAX_HEADER = 1 << 23
_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "BF16": "<u2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
    "C64": "<c8",
}


def read_safetensors(path, data):
    """Gives the tensors of a safetensors file by name, and its settings."""
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER, len(data) - 8):
        raise CheckpointError(
            f"it looks like a safetensors file, but its header claims {length} bytes of "
            f"{len(data)}: it is cut short or damaged. Download or save it again."
        )
    try:
        import safetensors
    except ImportError:
        raise CheckpointError(
            "it is a safetensors file. Install safetensors to read it: "
            'pip install "keras_nonlocal[torch]".'
        ) from None
    arrays = {}
    try:
        with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
            # The library has checked that the tensors fill the file in this order, without gaps.
            start = 8 + length
            for name in file.offset_keys():
                tensor = file.get_slice(name)
                arrays[name] = _view(data, start, tensor.get_dtype(), tensor.get_shape())
                start += _size(tensor.get_dtype(), tensor.get_shape())
            return arrays, file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"it looks like a safetensors file, but {error}: it is cut short or damaged. "
            "Download or save it again."
        ) from None


def _size(dtype, shape):
    return math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize


def _view(data, start, dtype, shape):
    if dtype not in _DTYPES:
        raise CheckpointError(
            f"it holds a tensor of dtype {dtype}, which NumPy does not have. Save it as float32."
        )
    array = np.ndarray(shape, _DTYPES[dtype], data, start)
    return widen(array) if dtype == "BF16" else array


def widen(bits):
    """Gives float32 for the bits of bfloat16, which are the upper half of it."""
    return (bits.view("uint16").astype("uint32") << 16).view("float32")

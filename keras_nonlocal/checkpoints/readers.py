"""Files of weights to named arrays, told apart by their content, never running code of the file."""

import dataclasses
import mmap
import os

import numpy as np

from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.pickled_arrays import read_pickle
from keras_nonlocal.checkpoints.safetensors_files import read_safetensors
from keras_nonlocal.checkpoints.torch_files import read_torch

__all__ = ["Archive", "CheckpointError", "non_finite", "read_arrays"]

# Under which key programs put the tensors, when they put other things beside them.
_WRAPPERS = ("blobs", "model_state", "state_dict", "model")


@dataclasses.dataclass(frozen=True)
class Archive:
    """What a file of weights holds.

    Attributes:
        arrays: dict of name to array, as stored; where possible a read-only view of the file.
        meta: dict of what else the file holds, plain values by the names the file gives them.
        container: "pickle", "torch" or "safetensors".
    """

    arrays: dict[str, np.ndarray]
    meta: dict
    container: str


def read_arrays(path):
    """Reads a file of weights.

    Args:
        path: a pickle of NumPy arrays, a file of `torch.save`, or a safetensors file.

    Returns:
        An `Archive`.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, or something else.
    """
    try:
        data = _map(path)
        container = "pickle"
        if data[:4] == b"PK\3\4" or data.find(_LEGACY_TORCH, 0, 64) == 0:
            container = "torch"
            content = read_torch(path, data)
        elif data[8:9] == b"{":
            return Archive(*read_safetensors(path, data), "safetensors")
        else:
            content = read_pickle(data)
        return Archive(*_unwrap(content), container)
    except CheckpointError as error:
        raise CheckpointError(f"{os.fspath(path)!r} cannot be read: {error}") from error


def non_finite(arrays):
    """Gives the names of the arrays that hold a NaN or an infinity."""
    return [
        name
        for name, array in arrays.items()
        if array.dtype.kind in "fc" and not np.isfinite(array).all()
    ]


_LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def _map(path):
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _unwrap(content):
    meta = {}
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            meta = {key: value for key, value in content.items() if key != wrapper}
            content = content[wrapper]
            break
    arrays = {}
    for name, value in content.items():
        name = name.decode("latin1") if isinstance(name, bytes) else str(name)
        if isinstance(value, (np.ndarray, np.generic, int, float)):
            arrays[name] = np.asarray(value)
        else:
            meta[name] = value
    if arrays and all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays, meta

"""Files of weights to named arrays, told apart by their content, running nothing of the file."""

import dataclasses
import mmap
import os
import reprlib
import stat

import numpy as np

from keras_nonlocal.archives.errors import CheckpointError
from keras_nonlocal.archives.pickled_arrays import read_pickle
from keras_nonlocal.archives.recognition import recognise
from keras_nonlocal.archives.safetensors_files import read_safetensors
from keras_nonlocal.archives.torch_files import read_torch

__all__ = ["Archive", "CheckpointError", "non_finite", "read_arrays"]

# Under which key programs put the tensors that they save beside other things.
_WRAPPERS = ("blobs", "model_state", "state_dict", "model")
# How torch's DataParallel names what is inside of it.
_PREFIX = "module."


@dataclasses.dataclass(frozen=True)
class Archive:
    """What a file of weights holds.

    Attributes:
        arrays: dict of name to numeric array, as stored; where possible a view of the file,
            which must then stay as it is for as long as the array is used.
        meta: dict of the plain values that stand beside the arrays, by the file's names for
            them: settings, numbers of iterations, class names.
        container: "pickle", "torch" or "safetensors".
    """

    arrays: dict[str, np.ndarray]
    meta: dict
    container: str


def read_arrays(path):
    """Reads a file of weights, and runs nothing that it may contain.

    A pickle is arbitrary code by design, and published weights are pickles. This one reads
    them with a machine of its own, that knows arrays and plain values and no function.

    Args:
        path: a pickle of NumPy arrays as Caffe2 programs write it, a file of `torch.save`, or a
            safetensors file. The file's content says which, its name does not matter.

    Returns:
        An `Archive`. Half-precision tensors of torch and bfloat16 ones come as float32. A
        prefix "module." that all names bear is taken off.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, or something else.

    Example:

    >>> import pickle
    >>> with open("weights.pkl", "wb") as file:
    ...     pickle.dump({"blobs": {"pred_b": np.zeros(400, "float32")}, "cfg": "DEPTH: 50"}, file)
    >>> archive = read_arrays("weights.pkl")
    >>> archive.arrays["pred_b"].shape, archive.meta
    ((400,), {'cfg': 'DEPTH: 50'})
    """
    try:
        data = _open(path)
        container = recognise(data)
        if container == "safetensors":
            items, beside = read_safetensors(path, data)
        else:
            tree = read_torch(path, data) if container == "torch" else read_pickle(data)
            items, beside = _unwrap(tree)
        return Archive(*_separate(items, beside), container)
    except CheckpointError as error:
        raise CheckpointError(
            f"The file of weights {os.fspath(path)!r} cannot be used: {error}"
        ) from error


def non_finite(arrays):
    """Gives the names of the arrays that hold a NaN or an infinity.

    Args:
        arrays: dict of name to array.

    Returns:
        List of names.

    Example:

    >>> non_finite({"a": np.ones(3), "b": np.array([1.0, np.nan])})
    ['b']
    """
    return [
        name
        for name, array in arrays.items()
        if array.dtype.kind in "fc" and not np.isfinite(array).all()
    ]


def _open(path):
    try:
        mode = os.stat(path).st_mode
        # To open a pipe would wait for somebody to write into it.
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a device or a socket"
            raise CheckpointError(f"it is {kind}. Give the path of a file.")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise CheckpointError("there is no such file. Check the path.") from None
    except PermissionError:
        raise CheckpointError("you may not read it. Change its permissions.") from None
    except OSError as error:
        raise CheckpointError(f"it cannot be opened ({error.strerror}).") from error


def _unwrap(tree):
    """Gives the dict that holds the arrays, and what stands beside it."""
    if not isinstance(tree, dict):
        raise CheckpointError(
            f"it holds a {type(tree).__name__} where a dict of names to arrays belongs. Save a "
            "dict, for instance a state_dict()."
        )
    for wrapper in _WRAPPERS:
        inner = tree.get(wrapper)
        if isinstance(inner, dict) and any(isinstance(item, np.ndarray) for item in inner.values()):
            return inner, {name: value for name, value in tree.items() if name != wrapper}
    return tree, {}


def _separate(items, beside):
    """Gives arrays, and plain values, by name."""
    arrays = {}
    meta = {name: value for name, value in beside.items() if _is_plain(value)}
    for key, value in items.items():
        name = key.decode("latin1") if isinstance(key, bytes) else str(key)
        array = (
            np.asarray(value) if isinstance(value, (np.ndarray, np.generic, int, float)) else None
        )
        # Python's integers can be too large for any dtype.
        if array is None or array.dtype.kind == "O":
            if _is_plain(value):
                meta[key] = value
        elif name in arrays:
            raise CheckpointError(f"it holds two arrays named {name[:200]!r}. Rename one.")
        else:
            arrays[name] = array
    if not arrays:
        raise CheckpointError(
            f"it holds no arrays by name, but {reprlib.repr(list(items))}. Save the arrays in one "
            f"dict, or in one dict under {', '.join(map(repr, _WRAPPERS))}."
        )
    if all(name.startswith(_PREFIX) for name in arrays):
        arrays = {name.removeprefix(_PREFIX): array for name, array in arrays.items()}
    return arrays, meta


def _is_plain(value):
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return not isinstance(value, (np.ndarray, np.dtype))

"""Files of torch.save, checked before torch sees them, and then read by torch.

Torch believes what a file says of its own sizes: it may read past the end of a record, or ask
for any amount of memory. So the records, and the pickle that speaks of them, are checked first,
with the machine that reads pickles of NumPy arrays and other stand-ins.
"""

import math
import os

import numpy as np

from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.inert import (
    MAX_VALUES,
    Inert,
    OrderedDict,
    Symbol,
    Text,
    damage,
    ordered_dict,
    plain,
    refusal,
)
from keras_nonlocal.checkpoints.unpickling import Machine
from keras_nonlocal.checkpoints.zip_records import read_records

# The pickle of a file without the tensors; some kilobytes for each of a thousand tensors.
MAX_PICKLE = 1 << 24

# How a file begins that torch wrote before version 1.6: a pickle of torch's magic number.
LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_LEGACY_PROTOCOL = 1001

# Bytes an element. Quantised types are left out: their numbers mean nothing without a scale.
_STORAGES = {
    "torch.BoolStorage": 1,
    "torch.ByteStorage": 1,
    "torch.CharStorage": 1,
    "torch.ShortStorage": 2,
    "torch.HalfStorage": 2,
    "torch.BFloat16Storage": 2,
    "torch.IntStorage": 4,
    "torch.FloatStorage": 4,
    "torch.LongStorage": 8,
    "torch.DoubleStorage": 8,
    "torch.ComplexFloatStorage": 8,
    "torch.ComplexDoubleStorage": 16,
}
_DTYPES = (
    "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128"
).split()


def read_torch(path, data):
    """Gives what a file of torch.save holds, as plain objects and NumPy arrays.

    Half-precision tensors come as float32, all others as views of what torch loaded.

    Args:
        path: of the file.
        data: the whole file, bytes or an mmap.

    Raises:
        CheckpointError: the file is damaged, lies, asks for more than tensors, or torch is
            not installed.
    """
    zipped = data[:2] == b"PK"
    tree = _check_zip(data) if zipped else _check_legacy(data)
    try:
        import torch
    except ImportError:
        raise CheckpointError(
            "it is a file of torch.save, and torch is not installed. Install it: "
            'pip install "keras_nonlocal[torch]".'
        ) from None
    try:
        content = torch.load(
            os.fspath(path), map_location="cpu", weights_only=True, mmap=zipped or None
        )
        return _fill(tree, content, {})
    # Torch has no kind of error of its own for a broken file.
    except Exception as error:
        raise CheckpointError(
            f"torch refuses it ({type(error).__name__}: {str(error)[:300]}). Download or save it "
            "again, as torch.save(model.state_dict(), path)."
        ) from error


class _Tensor(Inert):
    """Stands in for a tensor, until torch has loaded it."""

    def finish(self):
        return self


class _Storage(Inert):
    def __init__(self, key, itemsize, length):
        self.key, self.itemsize, self.length = key, itemsize, length

    def finish(self):
        raise refusal("keeps a bare storage of torch")


class _Tensors:
    """Answers what a file asks of torch, and keeps account of its tensors and storages.

    Args:
        file_size: that all tensors together must not exceed, in bytes.
    """

    def __init__(self, file_size):
        self.file_size = file_size
        self.storages = {}
        self.views = set()
        self.stand_ins = {
            "collections.OrderedDict": ordered_dict,
            "collections.Counter": _counter,
            "torch.Size": _size,
            "torch.device": _device,
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_parameter": _parameter,
            **dict.fromkeys(_STORAGES),
            **{f"torch.{name}": None for name in _DTYPES},
        }

    def storage(self, machine, identity):
        """Answers a persistent id."""
        match identity:
            case (Text() as kind, Symbol(name=name), Text() as key, Text(), int() as length, *rest):
                if (
                    machine.text(kind) != "storage"
                    or name not in _STORAGES
                    or rest not in ([], [None])
                ):
                    raise refusal(f"refers to a {machine.text(kind)[:40]} of {name!r}")
            case _:
                raise refusal("refers to objects that are no storages of tensors")
        storage = _Storage(machine.text(key), _STORAGES[name], length)
        known = self.storages.setdefault(storage.key, storage)
        if length < 0 or (known.itemsize, known.length) != (storage.itemsize, length):
            raise damage(f"gives the storage {storage.key[:40]!r} two sizes, or a negative one")
        return storage

    def tensor(self, machine, arguments):
        match arguments:
            case (_Storage() as storage, int() as offset, shape, strides, *rest):
                pass
            case _:
                raise damage("makes a tensor of what is no storage")
        numbers = (offset, *_lengths(shape), *_lengths(strides))
        if len(shape) != len(strides) or min(numbers) < 0:
            raise damage("has a tensor whose shape and strides do not belong together")
        # Whether its values have yet to be conjugated or negated.
        if rest[3:] not in ([], [None], [{}]):
            raise refusal("holds a tensor with metadata")
        size = math.prod(shape)
        last = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
        if size > storage.length or offset + (last + 1 if size else 0) > storage.length:
            raise refusal(
                f"holds a tensor of {str(size)[:20]} elements over a storage of {storage.length}"
            )
        view = (storage.key, *numbers)
        if view not in self.views:
            self.views.add(view)
            machine.spend("bytes of tensors", size * storage.itemsize, self.file_size)
        return _Tensor()


def _lengths(shape):
    if not isinstance(shape, tuple) or len(shape) > 32:
        raise damage("has a tensor without a shape")
    if not all(isinstance(length, int) and abs(length) < 1 << 63 for length in shape):
        raise damage("has a tensor whose shape is not made of integers")
    return shape


def _parameter(machine, arguments):
    match arguments:
        case (_Tensor() as tensor, *_):
            return tensor
    raise damage("makes a parameter of what is no tensor")


def _counter(machine, arguments):
    match arguments:
        case (dict() as counts,):
            machine.spend("values", len(counts), MAX_VALUES)
            return OrderedDict(counts)
    raise damage("makes a Counter of what is no dict")


def _size(machine, arguments):
    match arguments:
        case (tuple() | list() as lengths,):
            machine.spend("values", len(lengths), MAX_VALUES)
            return tuple(lengths)
    raise damage("has a torch.Size of what is no tuple")


def _device(machine, arguments):
    match arguments:
        case (Text() as name, *_):
            return name
    raise damage("has a torch.device without a name")


def _check_zip(data):
    records = read_records(data)
    # Torch takes the first part of the first name for all of them.
    folder = next(iter(records), "").split("/")[0]
    if f"{folder}/data.pkl" not in records:
        raise CheckpointError(
            "it is a zip archive, but not one that torch.save wrote. Unpack it, and give the "
            "file of weights inside."
        )
    if f"{folder}/constants.pkl" in records:
        raise CheckpointError(
            "it is a TorchScript archive, which holds code. Load it with torch.jit.load where "
            "you trust it, and save its state_dict() with torch.save."
        )
    for name in records:
        parts = name.split("/")
        if parts[0] != folder or ".." in parts or "" in parts or "\\" in name:
            raise CheckpointError(
                f"it is a zip archive with a record {name[:200]!r}, which torch.save never writes. "
                "Download or save it again."
            )
    start, size = records[f"{folder}/data.pkl"]
    if size > MAX_PICKLE:
        raise CheckpointError(f"its pickle without the tensors claims {size} bytes, too many.")
    tensors = _Tensors(len(data))
    machine = Machine(bytes(data[start : start + size]), tensors.stand_ins, tensors.storage)
    tree = plain(machine, machine.run())
    for key, storage in tensors.storages.items():
        _, held = records.get(f"{folder}/data/{key}", (0, 0))
        if storage.length * storage.itemsize > held:
            raise damage(
                f"claims {storage.length * storage.itemsize} bytes for the storage {key[:40]!r}, "
                f"where the archive holds {held}"
            )
    return tree


def _check_legacy(data):
    position = len(LEGACY_MAGIC)
    version, position = _read_next(data, position)
    if version != _LEGACY_PROTOCOL:
        raise damage(f"follows the protocol {str(version)[:40]} of torch, not {_LEGACY_PROTOCOL}")
    _, position = _read_next(data, position)
    tensors = _Tensors(len(data))
    machine = Machine(data, tensors.stand_ins, tensors.storage, position)
    tree = plain(machine, machine.run())
    keys, position = _read_next(data, machine.position)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(tensors.storages):
        raise damage("does not list the storages that its tensors use")
    for key in keys:
        storage = tensors.storages[key]
        if int.from_bytes(data[position : position + 8], "little") != storage.length:
            raise damage(f"gives the storage {key[:40]!r} two sizes")
        position += 8 + storage.length * storage.itemsize
    if position > len(data):
        raise damage(f"needs {position} bytes, of which the file has {len(data)}")
    return tree


def _read_next(data, position):
    machine = Machine(data, {}, position=position)
    return plain(machine, machine.run()), machine.position


def _fill(tree, content, arrays):
    """Gives the checked tree, with arrays of torch's tensors where tensors belong."""
    if isinstance(tree, _Tensor):
        # By the tensor's place in memory, so that tied tensors stay tied.
        key = (content.data_ptr(), content.dtype, content.shape, content.stride())
        if key not in arrays:
            arrays[key] = _to_array(content)
        return arrays[key]
    if isinstance(tree, dict):
        return {key: _fill(value, content[key], arrays) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_fill(*pair, arrays) for pair in zip(tree, content, strict=True))
    return tree


def _to_array(tensor):
    half = tensor.dtype.itemsize == 2 and tensor.dtype.is_floating_point
    return np.asarray((tensor.float() if half else tensor).detach().numpy())

"""What a pickle of torch.save may ask for: the functions that stand in for torch's.

No tensor is made. The stand-ins check that what the file says of its tensors and storages can be
true, so that torch may be told to load them.
"""

import math

from keras_nonlocal.archives.inert import (
    MAX_VALUES,
    Inert,
    OrderedDict,
    Symbol,
    Text,
    damage,
    ordered_dict,
    refusal,
)

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


class Tensor(Inert):
    """Stands in for a tensor, until torch has loaded it."""

    def finish(self):
        return self


class Storage(Inert):
    def __init__(self, key, itemsize, length):
        self.key, self.itemsize, self.length = key, itemsize, length

    def finish(self):
        raise refusal("keeps a bare storage of torch")


class Tensors:
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
        storage = Storage(machine.text(key), _STORAGES[name], length)
        known = self.storages.setdefault(storage.key, storage)
        if length < 0 or (known.itemsize, known.length) != (storage.itemsize, length):
            raise damage(f"gives the storage {storage.key[:40]!r} two sizes, or a negative one")
        return storage

    def tensor(self, machine, arguments):
        match arguments:
            case (Storage() as storage, int() as offset, shape, strides, *rest):
                pass
            case _:
                raise damage("makes a tensor of what is no storage")
        numbers = (offset, *_lengths(shape), *_lengths(strides))
        if len(shape) != len(strides) or min(numbers) < 0:
            raise damage("has a tensor whose shape and strides do not belong together")
        # After requires_grad and hooks: whether the values have yet to be conjugated or negated.
        if rest[2:] not in ([], [None], [{}]):
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
        return Tensor()


def _lengths(shape):
    if not isinstance(shape, tuple) or len(shape) > 32:
        raise damage("has a tensor without a shape")
    if not all(type(length) is int and abs(length) < 1 << 63 for length in shape):
        raise damage("has a tensor whose shape is not made of integers")
    return shape


def _parameter(machine, arguments):
    match arguments:
        case (Tensor() as tensor, *_):
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

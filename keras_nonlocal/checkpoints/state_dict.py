"""Reads the named tensors of a checkpoint, and never runs code from the file."""

import dataclasses
import functools
import json
import math
import mmap
import os
import re
import stat
import struct
import zipfile
import zlib

import numpy as np
import safetensors

from keras_nonlocal.checkpoints.errors import CheckpointError, damaged, unsafe
from keras_nonlocal.checkpoints.safe_unpickler import (
    MAX_VALUES,
    SafeUnpickler,
    Stub,
    raw_of,
    text_of,
)

# The keys under which programs store the tensors, beside other things.
_WRAPPERS = ("blobs", "model_state", "state_dict", "model")
_MAX_DEPTH, _MAX_DIRECTORY = 64, 1 << 23

_LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_PICKLE = rb"\x80[\x02-\x05]|\([dlic]|[}\]][.q(rsp\x94]|c[\w.]+\r?\n[\w.]+\r?\n"
_AGAIN = "Download it again, or pass another file."
_OTHERS = (
    (rb"\x1f\x8b|BZh\d|\xfd7zXZ\0|7z\xbc\xaf", "a compressed file. Unpack it first."),
    (rb"(?s).{257}ustar", "a tar archive. Unpack it, and pass the checkpoint inside."),
    (rb"\x89HDF", "an HDF5 file. Pass it to model.load_weights or keras.saving.load_model."),
    (rb"\x12\x01\0{6}", "a .params file of MXNet. Load it there, and save it as safetensors."),
    (rb"version https?://[\w.-]+/spec/v\d", "a Git LFS pointer. Run `git lfs pull`."),
    (rb"(\xef\xbb\xbf)?\s*<[!?\w]", f"an HTML page or an XML message of a server. {_AGAIN}"),
)
# By the names of safetensors, and by those of torch's storages. Quantized types are missing.
_DTYPES = {"BOOL": "?", "F16": "<f2", "BF16": "bfloat16", "F32": "<f4", "F64": "<f8", "C64": "<c8"}
_DTYPES |= {f"{kind}{8 * n}": f"<{kind.lower()}{n}" for kind in "IU" for n in (1, 2, 4, 8)}
_DTYPES |= {"Bool": "?", "Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8"}
_DTYPES |= {"Half": "<f2", "BFloat16": "bfloat16", "Float": "<f4", "Double": "<f8"}
_DTYPES |= {"ComplexFloat": "<c8", "ComplexDouble": "<c16"}

_DICTS = ("dict", "collections.OrderedDict", "collections.defaultdict")
_CONVERSIONS = ("collections.Counter", "torch.Size", "torch.device")
_RECONSTRUCT = "numpy.core.multiarray._reconstruct"
_SCALAR = "numpy.core.multiarray.scalar"
_PARAMETER = "torch._utils._rebuild_parameter"
_REBUILD = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_ARRAYS = (_SCALAR, "numpy.core.numeric._frombuffer", *_REBUILD)
_NUMBER = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16)")
_OMIT = object()


@dataclasses.dataclass(frozen=True)
class StateDict:
    """The content of a checkpoint.

    Attributes:
        tensors: dict of names to numeric arrays, half precision widened to float32. Where
            possible they are views of the file, which must not change while they are used.
        metadata: dict of the plain values stored beside the tensors: config, epoch, class names.
        format: "pickle", "torch" or "safetensors".
    """

    tensors: dict[str, np.ndarray]
    metadata: dict
    format: str


def read_state_dict(path):
    """Reads a checkpoint without running anything from the file.

    Args:
        path: a pickle of NumPy arrays as Caffe2 programs write it, a file of `torch.save` or a
            safetensors file. Its content decides which; its name does not matter.

    Returns:
        A `StateDict`. Objects of unknown classes stored beside the tensors are left out.

    Raises:
        CheckpointError: if the file is missing, damaged, unsafe, or not a checkpoint.
    """
    path = os.fspath(path)
    try:
        data = _open(path)
        form, read = _recognize(data)
        return StateDict(*read(path, data), form)
    except CheckpointError as error:
        raise CheckpointError(f"Cannot read the checkpoint {path!r}: {error}") from error
    except Exception as error:  # A damaged file ends the parsers in errors of any kind.
        what = damaged(f"{type(error).__name__}: {str(error)[:200]!r}")
        raise CheckpointError(f"Cannot read the checkpoint {path!r}: {what}") from error


def non_finite(tensors):
    """Returns the names of the arrays that contain NaN or infinity."""
    found = []
    for name, array in tensors.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            found.append(name)
        release(array)
    return found


def release(array):
    """Frees the memory into which a file's bytes were mapped. A later use maps them again."""
    while isinstance(array, np.ndarray):
        array = array.base
    file = array.obj if isinstance(array, memoryview) else array
    if isinstance(file, _File) and hasattr(mmap, "MADV_DONTNEED"):  # Windows lacks it.
        file.madvise(mmap.MADV_DONTNEED)


class _File(mmap.mmap):
    """A mapped file that `zipfile` can read, of which no directory of absurd size is read."""

    def seekable(self):
        return True

    def read(self, size=-1):
        if size > _MAX_DIRECTORY:
            raise damaged(f"a directory of {size} bytes")
        return super().read(size)


def _open(path):
    try:
        # Opening a pipe would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CheckpointError("it is a folder, a pipe or a device. Pass the path of a file.")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise CheckpointError(f"it is empty. {_AGAIN}")
            return _File(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(f"{error.strerror}. Check the path and its permissions.") from None


def _recognize(data):
    start = data[:512]
    for pattern, kind in _OTHERS:
        if re.match(pattern, start):
            raise CheckpointError(f"it is {kind}")
    if start.startswith(b"PK\3\4"):
        return "torch", _read_zip
    if start.startswith(_LEGACY_MAGIC):
        return "torch", _read_legacy
    # The length of a header, whose upper half is zero, and the header.
    if start[4:9] == b"\0\0\0\0{":
        return "safetensors", _read_safetensors
    if re.match(_PICKLE, start):
        return "pickle", lambda path, data: _Tensors(data).split(SafeUnpickler(data).load())
    raise CheckpointError(
        "it is neither a pickle, nor a file of torch.save, nor a safetensors file. It begins with "
        f"{start[:24]!r}. {_AGAIN}"
    )


def _read_safetensors(path, data):
    start = 8 + int.from_bytes(data[:8], "little")
    if start > min(_MAX_DIRECTORY, len(data)):
        raise damaged(f"a header of {start - 8} bytes")
    with safetensors.safe_open(path, "numpy") as file:  # It checks the header, but copies arrays.
        metadata = file.metadata() or {}
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            if (code := _DTYPES.get(entry["dtype"])) is None:
                raise CheckpointError(f"its tensor {name[:200]!r} is of dtype {entry['dtype']}.")
            dtype = "<u2" if code == "bfloat16" else code
            array = np.ndarray(entry["shape"], dtype, data, start + entry["data_offsets"][0])
            tensors[name] = _widen(array, code)
    if not tensors:
        raise CheckpointError("it contains no tensors.")
    return tensors, metadata


def _read_zip(path, data):
    records, end = {}, 0
    with zipfile.ZipFile(data) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
            archive.open(info).close()  # Compares the record's own header.
            lengths = struct.unpack_from("<2H", data, info.header_offset + 26)
            start, name = info.header_offset + 30 + sum(lengths), info.filename
            if info.compress_type or info.compress_size != info.file_size:
                raise CheckpointError(f"its record {name!r} is compressed. Unpack it first.")
            if info.header_offset < end or name in records:
                raise damaged(f"two records {name!r}, or one over another")
            end = start + info.file_size
            records[name] = (start, end, info.CRC)
    folder = next(iter(records), "").split("/")[0]
    if f"{folder}/data.pkl" not in records:
        raise CheckpointError(
            "it is a zip archive that torch.save did not write. Pass a .keras file to "
            "keras.saving.load_model; save the arrays of an .npz file as safetensors."
        )
    if f"{folder}/constants.pkl" in records:
        raise CheckpointError(
            "it is a TorchScript archive, which contains code. Load it with torch.jit.load where "
            "you trust it, and save its state_dict() with torch.save."
        )

    @functools.cache
    def read(name):
        start, end, checksum = records[f"{folder}/{name}"]
        content = memoryview(data)[start:end]
        # torch.serialization.set_crc32_options(False) writes zeros.
        if checksum and zlib.crc32(content) != checksum:
            raise damaged(f"the checksum of {name!r}")
        release(content)
        return content

    if f"{folder}/byteorder" in records and read("byteorder") != b"little":
        raise CheckpointError("a big-endian machine wrote it. Save it on a little-endian one.")
    tree = SafeUnpickler(bytes(read("data.pkl"))).load()
    return _Tensors(data, lambda key: read(f"data/{key}")).split(tree)


def _read_legacy(path, data):
    """Reads what torch wrote before version 1.6: pickles, and then the storages one by one."""
    parts, stubs, end = [], [], len(_LEGACY_MAGIC)
    for _ in ("version", "system", "content", "keys"):
        unpickler = SafeUnpickler(data, end)
        parts.append(unpickler.load())
        stubs, end = stubs + unpickler.storages, unpickler.end
    version, system, tree, keys = parts
    if version != 1001 or system.get("little_endian") is not True:
        raise CheckpointError("it is of an unknown version, or a big-endian machine wrote it.")
    storages, places = dict(map(_storage_of, stubs)), {}
    for key in keys:
        code, length = storages[key]
        start, end = end + 8, end + 8 + length * _itemsize(code)
        if int.from_bytes(data[start - 8 : start], "little") != length or key in places:
            raise damaged("two sizes of a storage")
        places[key] = memoryview(data)[start:end]
    if end != len(data) or len(places) != len(storages):
        raise damaged(f"{len(data)} bytes where {end} belong")
    return _Tensors(data, places.__getitem__).split(tree)


def _itemsize(code):
    return 2 if code == "bfloat16" else np.dtype(code).itemsize


def _storage_of(stub):
    """Returns key, and dtype and length of a storage of torch."""
    match stub:
        case Stub(name="storage", arguments=("storage", Stub(name=kind), key, _, length, *rest)):
            code = _DTYPES.get(kind.removeprefix("torch.").removesuffix("Storage"))
            if code and isinstance(key, str) and isinstance(length, int) and not any(rest):
                return key, (code, length)
    raise unsafe("refers to something other than a storage of plain numbers")


class _Tensors:
    """Turns the stubs of a pickle into arrays and plain values.

    Args:
        data: the file.
        read_storage: function of the key of a storage of torch that returns its bytes.
    """

    def __init__(self, data, read_storage=None):
        self.read_storage, self.made = read_storage, {}
        # What is repeated may not take more than the file.
        self.bytes, self.values = len(data), MAX_VALUES

    def split(self, tree):
        """Returns the tensors by name, and the plain values stored beside them."""
        if (tree := self.items_of(tree)) is None:
            raise CheckpointError("it contains no dict of tensors. Save a model's state_dict().")
        inner = {wrapper: self.items_of(tree.get(wrapper)) or {} for wrapper in _WRAPPERS}
        chosen = next((w for w in inner if any(map(_is_array, inner[w].values()))), None)
        beside = {k: self.plain(v) for k, v in tree.items() if chosen and k != chosen}
        metadata = {key: value for key, value in beside.items() if value is not _OMIT}
        tensors = {}
        for key, value in inner.get(chosen, tree).items():
            name = key.decode("latin1") if isinstance(key, bytes) else str(key)
            if name in tensors:
                raise CheckpointError(f"it contains {name[:200]!r} twice. Rename one of them.")
            if _is_array(value):
                tensors[name] = self.array(value)
            elif isinstance(value, (int, float)) and np.asarray(value).dtype != object:
                tensors[name] = np.asarray(value)
            elif (plain := self.plain(value)) is not _OMIT:
                metadata[key] = plain
            elif isinstance(value, Stub):
                raise unsafe(f"makes {name[:200]!r} by calling {value.name[:200]!r}")
        if not any(map(_is_array, inner.get(chosen, tree).values())):
            raise CheckpointError(
                f"it contains no tensors by name, but {list(tree)[:6]!r:.200}. Save them in one "
                f"dict, or in a dict under {', '.join(map(repr, _WRAPPERS))}."
            )
        return tensors, metadata

    def items_of(self, value):
        """Returns what is a dict in the file, or `None`."""
        if not isinstance(value, Stub) or value.name not in _DICTS or value.arguments is None:
            return None
        if value.name == "collections.OrderedDict" and value.arguments:  # As Python 2 makes one.
            for key, item in value.arguments[0]:
                value[key] = item
            value.arguments = ()
        return value

    def plain(self, value, depth=0):
        """Returns a value without arrays and objects, `_OMIT` where nothing is left."""
        self.values -= 1
        if self.values < 0 or depth > _MAX_DEPTH:
            raise unsafe(f"has values more than {_MAX_DEPTH} deep or {MAX_VALUES} in number")
        value = text_of(value)
        if (items := self.items_of(value)) is not None:
            pairs = [(key, self.plain(item, depth + 1)) for key, item in items.items()]
            return {key: item for key, item in pairs if item is not _OMIT}
        if isinstance(value, (list, tuple)):
            items = [self.plain(item, depth + 1) for item in value]
            return _OMIT if any(item is _OMIT for item in items) else type(value)(items)
        if not isinstance(value, Stub):
            return value
        if value.arguments is None:
            return value.name
        if value.name in _CONVERSIONS and value.arguments:
            return self.plain(value.arguments[0], depth + 1)
        if value.name == _SCALAR and _code_of(value.arguments[0]):
            return self.array(value).item()
        return _OMIT

    def array(self, stub):
        """Returns the array that a stub stands in for; the same one for tied tensors."""
        if stub.name == _PARAMETER:
            return self.array(stub.arguments[0])
        if stub.name in _REBUILD:
            return self.tensor(*stub.arguments)
        if id(stub) in self.made:
            return self.made[id(stub)]
        if stub.name == _RECONSTRUCT:
            _, shape, dtype, fortran, content = stub.state
            order = "F" if fortran else "C"
        elif stub.name == _SCALAR:
            (dtype, content), shape, order = stub.arguments, (), "C"
        else:
            content, dtype, shape, order = stub.arguments
        code, content = _code_of(dtype), raw_of(content)
        if code is None:
            raise unsafe("contains an array of objects, text or records")
        needed = math.prod(_check_sizes(shape)) * np.dtype(code).itemsize
        if needed != len(content):
            raise damaged(f"an array of {needed} bytes, of which there are {len(content)}")
        self.spend(needed)
        self.made[id(stub)] = _widen(np.ndarray(shape, code, content, order=order), code)
        return self.made[id(stub)]

    def tensor(self, storage, offset, shape, strides, gradient=None, hooks=None, bits=None):
        """Returns a tensor of torch. `bits`: whether its values are to be conjugated or negated."""
        key, (code, length) = _storage_of(storage)
        if bits:
            raise unsafe("contains a tensor with metadata")
        view = (
            key,
            code,
            length,
            *_check_sizes((offset,)),
            _check_sizes(shape),
            _check_sizes(strides),
        )
        if view not in self.made:
            itemsize, content = _itemsize(code), self.read_storage(key)
            last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
            size = math.prod(shape)
            # NumPy's own check of the strides overflows.
            if length * itemsize != len(content) or size > length or size and last >= length:
                raise damaged(f"a tensor or a storage of more than {len(content)} bytes")
            self.spend(size * itemsize)
            dtype, steps = "<u2" if code == "bfloat16" else code, [s * itemsize for s in strides]
            array = np.ndarray(shape, dtype, content, offset * itemsize if size else 0, steps)
            self.made[view] = _widen(array, code)
        return self.made[view]

    def spend(self, count):
        self.bytes -= count
        if self.bytes < 0:
            raise unsafe("has tensors that take more bytes than the file")


def _is_array(value):
    match value:
        case Stub(name=name, arguments=(inner, *_)):
            if name == _PARAMETER:
                return _is_array(inner)
            if name == _RECONSTRUCT:
                return isinstance(inner, Stub) and inner.name == "numpy.ndarray"
            return name in _ARRAYS
    return False


def _check_sizes(sizes):
    if not isinstance(sizes, tuple) or len(sizes) > 32:
        raise damaged("an array without a shape")
    if not all(type(size) is int and 0 <= size < 1 << 63 for size in sizes):
        raise damaged("an array whose shape or strides are not sizes")
    return sizes


def _code_of(dtype):
    """Returns the code of a NumPy dtype of numbers, or `None`."""
    match dtype:
        case Stub(name="numpy.dtype", arguments=(str() as code, *_), state=None):
            return code if _NUMBER.fullmatch(code) else None
        case Stub(arguments=(str() as code, *_), state=(_, str() as order, None, None, None, *_)):
            return order + code if _NUMBER.fullmatch(order + code) else None
    return None


def _widen(array, code):
    """Returns half precision as float32, and all numbers in the order of this machine."""
    if code == "bfloat16":
        return (array.astype("uint32") << 16).view("float32")
    native = array.dtype.newbyteorder("=")
    return array.astype("float32" if native == "float16" else native, copy=False)

"""Pickles of checkpoints: arrays and plain values, and nothing that is imported or called."""

import codecs
import io
import math
import pickle
import pickletools
import re
import struct

import numpy as np

from keras_nonlocal.checkpoints.errors import CheckpointError, damaged, unsafe

# Far above what the checkpoint of a network needs.
MAX_VALUES = 250_000
# A longer string stays in the file until it is needed.
_LONG = 256
_MAX_TEXT, _PIECE = 1 << 24, 1 << 16
_STRINGS = b"SVTUX\x8c\x8dBC\x8e\x96"
# Bytes of each opcode's argument, or how to find its end. Extensions, buffers outside of the file
# and ids in protocol 0 are left out.
_ARGUMENTS = {
    ord(opcode.code): opcode.arg.n if opcode.arg else 0
    for opcode in pickletools.opcodes
    if opcode.code not in "P\x82\x83\x84\x97\x98"
}
_COUNTS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
# What opcodes become, so that Python's unpickler makes no dicts, sets, objects or frames: it makes
# a list, a tuple or None instead, and hands it to `persistent_load` (Q), or it makes a call (R).
_REPLACED = {
    "}": b"]Q",
    "d": b"lQ",
    "Q": b"\x85Q",
    "\x8f": b"NQ",
    "\x91": b"t0NQ",
    "\x81": b"R",
    "\x92": b"0R",
    "\x95": b"",
}

# The keys under which programs store the tensors, beside other things.
_WRAPPERS = ("blobs", "model_state", "state_dict", "model")
_MAX_DEPTH = 64
# By the names of safetensors, and by those of torch's storages. Quantized types are missing.
DTYPES = {"BOOL": "?", "F16": "<f2", "BF16": "bfloat16", "F32": "<f4", "F64": "<f8", "C64": "<c8"}
DTYPES |= {f"{kind}{8 * n}": f"<{kind.lower()}{n}" for kind in "IU" for n in (1, 2, 4, 8)}
DTYPES |= {"Bool": "?", "Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8"}
DTYPES |= {"Half": "<f2", "BFloat16": "bfloat16", "Float": "<f4", "Double": "<f8"}
DTYPES |= {"ComplexFloat": "<c8", "ComplexDouble": "<c16"}

_DICTS = ("dict", "collections.OrderedDict", "collections.defaultdict")
_RECONSTRUCT = "numpy.core.multiarray._reconstruct"
_SCALAR = "numpy.core.multiarray.scalar"
_PARAMETER = "torch._utils._rebuild_parameter"
_REBUILD = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_ARRAYS = (_SCALAR, "numpy.core.numeric._frombuffer", *_REBUILD)
_NUMBER = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16)")
_OMIT = object()


class Stub(dict):
    """Stands in for what a pickle names (a class, a function) or makes by a call.

    Attributes:
        name: dotted name in the file. Names without a dot are "dict" and "set", "storage" for
            what the file refers to by a persistent id, and "text" for a long string.
        arguments: of the call, which does not take place; of a text, its opcode and its bytes.
            `None` for what is named and not called.
        state: what the file wants to set the object's attributes to.
    """

    __slots__ = ("name", "arguments", "state")

    def __init__(self, name, arguments=None):
        self.name, self.arguments, self.state = name, arguments, None

    def __call__(self, *arguments):
        return Stub(self.name, arguments)

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        key = text_of(key)
        # Nested tuples may take forever to hash, and large integers may all share one hash.
        if not isinstance(key, (str, bytes, int)) or isinstance(key, int) and abs(key) >> 63:
            return
        if key in self:
            raise CheckpointError(f"it contains {str(key)[:200]!r} twice. Rename one of them.")
        super().__setitem__(key, value)

    def append(self, *values):
        """Ignores items of what is not a list, as `extend` and `add` do."""

    extend = add = append


def text_of(value):
    """Returns the string or bytes that a stub stands in for, and any other value as it is."""
    match value:
        case Stub(name="text", arguments=(opcode, _)):
            if len(opcode) > _MAX_TEXT:
                raise unsafe(f"is a pickle with a text of {len(opcode)} bytes")
            # Kept, so that a thousand references to one string cost one decoding.
            value.state = value.state or _load_string(opcode)
            return value.state
        case Stub(name="_codecs.encode", arguments=(str() as text, "latin1")):
            return text.encode("latin1")
    return value


def _load_string(opcode):
    return pickle.loads(b"".join((opcode, b".")), encoding="latin1")


def raw_of(content):
    """Returns the bytes of an array, as a view of the file where they lie there as such."""
    match content:
        case Stub(name="text", arguments=(opcode, content)):
            if opcode[0] in b"TUBC\x8e\x96":
                return content
            if opcode[0] in b"SV":
                return _load_string(opcode).encode("latin1")
            # In pieces, as a character outside of Latin-1 makes Python use four bytes for each.
            decode = codecs.getincrementaldecoder("utf-8")().decode
            starts = range(0, len(content), _PIECE)
            pieces = [decode(content[i : i + _PIECE]).encode("latin1") for i in starts]
            decode(b"", final=True)
            return b"".join(pieces)
        case Stub(name="_codecs.encode", arguments=(text, "latin1")):
            return raw_of(text)
        case Stub(name="__builtin__.bytes", arguments=()):  # How protocols 0 to 2 store none.
            return b""
        case str():
            return content.encode("latin1")
    return content


class SafeUnpickler(pickle.Unpickler):
    """Reads containers, numbers and strings; all else becomes a `Stub`.

    Args:
        data: bytes or an mmap.
        position: byte at which the pickle begins; `end` is the byte after it. `storages` are the
            stubs of its persistent ids.
    """

    def __init__(self, data, position=0):
        self.data, self.texts, self.storages = data, [], []
        pickled, self.end = self._check(position)
        super().__init__(io.BytesIO(pickled), encoding="latin1")

    def find_class(self, module, name):
        return Stub(f"{module}.{name}".replace("numpy._core.", "numpy.core."))

    def persistent_load(self, pid):
        match pid:
            case int():
                return self.texts[pid]
            case None:
                return Stub("set", ())
            case tuple():
                self.storages.append(Stub("storage", pid[0]))
                return self.storages[-1]
        result = Stub("dict", ())
        for key, value in zip(pid[::2], pid[1::2], strict=True):
            result[key] = value
        return result

    def _check(self, position):
        """Returns the pickle with its opcodes replaced, and where it ends."""
        kept, done, data = bytearray(), position, self.data
        for _ in range(MAX_VALUES):
            start, code = position, data[position]
            content, position = self._find_argument(code, position + 1)
            replacement = _REPLACED.get(chr(code))
            if position - content > _LONG:
                if code not in _STRINGS:
                    raise unsafe(f"is a pickle with a number of {position - content} bytes")
                view = memoryview(data)
                self.texts.append(Stub("text", (view[start:position], view[content:position])))
                replacement = b"J" + struct.pack("<i", len(self.texts) - 1) + b"Q"
            # The unpickler makes room for as many values as an index of its memo says.
            elif code in b"pr":
                index = data[content:position]
                index = int(index) if code == ord("p") else int.from_bytes(index, "little")
                if not 0 <= index <= MAX_VALUES:
                    raise unsafe(f"is a pickle that stores a value at index {index}")
            if replacement is not None:
                kept += data[done:start] + replacement
                done = position
            if code == ord("."):
                return kept + data[done:position], position
        raise unsafe(f"is a pickle of more than {MAX_VALUES} opcodes")

    def _find_argument(self, code, position):
        """Returns where the argument of an opcode begins, after its length, and where it ends."""
        size = _ARGUMENTS.get(code)
        if size is None:
            raise unsafe(f"is a pickle with the opcode 0x{code:02x}")
        start = end = position
        if size == pickletools.UP_TO_NEWLINE:
            for _ in range(2 if code in b"ci" else 1):
                end = self.data.find(b"\n", end) + 1 or len(self.data) + 1
        elif size >= 0:
            end += size
        else:
            start += _COUNTS[size]
            signed = size == pickletools.TAKEN_FROM_ARGUMENT4
            end = start + int.from_bytes(self.data[position:start], "little", signed=signed)
        if not start <= end <= len(self.data):
            raise damaged(f"an opcode of a pickle at byte {position - 1}")
        return start, end


class PickledTensors:
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
        if self.items_of(tree) is None:
            kind = getattr(tree, "name", type(tree).__name__)
            raise unsafe(f"contains {kind[:200]!r} instead of a dict of tensors")
        inner = {wrapper: self.items_of(tree.get(wrapper)) or {} for wrapper in _WRAPPERS}
        chosen = next((w for w in inner if any(map(_is_array, inner[w].values()))), None)
        named = inner.get(chosen, tree)
        if not any(map(_is_array, named.values())):
            named = next(filter(None, inner.values()), tree)
            kinds = [getattr(v, "name", type(v).__name__) for v in named.values()]
            raise unsafe(f"contains no tensors by name, but {[*named][:6]} of {kinds[:6]}"[:500])
        beside = {} if chosen is None else {k: v for k, v in tree.items() if k != chosen}
        metadata, tensors = self.plain(beside), {}
        for key, value in named.items():
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
        return tensors, metadata

    def items_of(self, value):
        """Returns what is a dict in the file, or `None`."""
        if not isinstance(value, Stub):
            return value if isinstance(value, dict) else None
        if value.name not in _DICTS or value.arguments is None:
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
        if isinstance(value, (list, tuple)):
            items = [self.plain(item, depth + 1) for item in value]
            return _OMIT if any(item is _OMIT for item in items) else type(value)(items)
        value = text_of(value)
        if (items := self.items_of(value)) is not None:
            pairs = [(key, self.plain(item, depth + 1)) for key, item in items.items()]
            return {key: item for key, item in pairs if item is not _OMIT}
        if _is_array(value) and value.name == _SCALAR and _code_of(value.arguments[0]):
            return self.array(value).item()
        return _OMIT if isinstance(value, Stub) else value

    def array(self, stub):
        """Returns the array that a stub stands in for; the same one for tied tensors."""
        if stub.name == _PARAMETER:
            return self.array(stub.arguments[0])
        if stub.name in _REBUILD:
            return self.tensor(*stub.arguments)
        if stub.name == _RECONSTRUCT:
            _, shape, dtype, fortran, content = stub.state
            order = "F" if fortran else "C"
        elif stub.name == _SCALAR:
            (dtype, content), shape, order = stub.arguments, (), "C"
        else:
            content, dtype, shape, order = stub.arguments
        if (code := _code_of(dtype)) is None:
            raise unsafe("contains an array of objects, text or records")
        if id(stub) not in self.made:
            needed = math.prod(_check_sizes(shape)) * np.dtype(code).itemsize
            content = raw_of(content)
            if needed != len(content):
                raise damaged(f"an array of {needed} bytes, of which there are {len(content)}")
            self.spend(needed)
            self.made[id(stub)] = widen(np.ndarray(shape, code, content, order=order), code)
        return self.made[id(stub)]

    def tensor(self, storage, offset, shape, strides, gradient=None, hooks=None, bits=None):
        """Returns a tensor of torch. `bits`: whether its values are to be conjugated or negated."""
        key, (code, length) = storage_of(storage)
        view = (key, code, *map(_check_sizes, ((offset,), shape, strides)))
        if bits or len(shape) != len(strides):
            raise unsafe("contains a tensor with metadata, or with strides of another rank")
        if view not in self.made:
            dtype = np.dtype("<u2" if code == "bfloat16" else code)
            content, size = self.read_storage(key), math.prod(shape)
            last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
            # NumPy's own check of the strides overflows.
            if length * dtype.itemsize != len(content) or size > length or size and last >= length:
                raise damaged(f"a tensor or a storage of more than {len(content)} bytes")
            self.spend(size * dtype.itemsize)
            steps = [step * dtype.itemsize for step in strides]
            start = offset * dtype.itemsize if size else 0
            self.made[view] = widen(np.ndarray(shape, dtype, content, start, steps), code)
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


def storage_of(stub):
    """Returns key, and dtype and length of a storage of torch."""
    match stub:
        case Stub(name="storage", arguments=("storage", Stub(name=kind), key, _, length, *rest)):
            code = DTYPES.get(kind.removeprefix("torch.").removesuffix("Storage"))
            if code and isinstance(key, str) and isinstance(length, int) and not any(rest):
                return key, (code, length)
    raise unsafe("refers to something other than a storage of plain numbers")


def widen(array, code):
    """Returns half precision as float32, and all numbers in the order of this machine."""
    if code == "bfloat16":
        return (array.astype("uint32") << 16).view("float32")
    native = array.dtype.newbyteorder("=")
    return array.astype("float32" if native == "float16" else native, copy=False)

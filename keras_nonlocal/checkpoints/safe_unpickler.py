"""Unpickling that imports nothing, calls nothing, and keeps within the size of the file."""

import codecs
import io
import pickle
import pickletools
import struct

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

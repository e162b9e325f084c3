"""A stack machine that reads plain data from a pickle, and never runs what the pickle asks for.

Python's own unpickler calls whatever a file names, and sizes its memo by a number of the file.
This one knows the opcodes of containers, strings and numbers. A call is answered by a function
of ours, from a table of the few names that a file of arrays needs; any other name ends the
reading. Strings, which is where arrays keep their bytes, are left in the buffer until asked for.
"""

import codecs
import pickletools
import re
import struct

from keras_nonlocal.checkpoints.errors import CheckpointError

# Far above what a network of thousands of tensors needs, and read in a second.
MAX_OPCODES = 500_000
MAX_DEPTH = 64
# All text that is not the bytes of an array, names of tensors and settings, in bytes.
MAX_TEXT = 1 << 24
# The longest line that is a number or a name.
MAX_LINE = 700
# The longest number of the binary opcodes: more digits Python would not even print.
MAX_NUMBER = 255
CHUNK = 1 << 20

# What a Python 2 string may hold between its quotes, once pairs of backslashes are gone.
_BAD_ESCAPE = re.compile(rb"\\(?!['\"nrt]|x[0-9a-fA-F]{2})")


def refusal(what):
    """An error for a pickle that asks for more than plain arrays need."""
    return CheckpointError(
        f"it is a pickle that {what}, which a file of plain arrays never does. Nothing of it was "
        "run. If you trust the file, load it yourself and save its arrays alone, for instance "
        "with safetensors.numpy.save_file."
    )


def damage(what):
    """An error for a pickle that contradicts itself."""
    return CheckpointError(
        f"it is a pickle that {what}: it is cut short or damaged. Download or save it again."
    )


class Text:
    """A string of the file: where it lies, and how its bytes are to be read."""

    __slots__ = ("start", "stop", "encoding", "value")

    def __init__(self, start, stop, encoding):
        self.start, self.stop, self.encoding = start, stop, encoding
        self.value = None


class Inert:
    """Stands in for an object that the file wants built."""

    def build(self, machine, state):
        raise refusal("sets the state of an object twice, or of one that has none")

    def finish(self):
        raise refusal("keeps a class or a function as a value")


class Symbol(Inert):
    """Stands in for a class or a function that the file names."""

    def __init__(self, name):
        self.name = name


class OrderedDict(dict):
    """Stands in for collections.OrderedDict; the attributes that torch hangs on it are dropped."""

    def build(self, machine, state):
        pass


def ordered_dict(machine, arguments):
    """Stands in for the call of collections.OrderedDict, which Python 2 hands its items."""
    result = OrderedDict()
    match arguments:
        case ():
            return result
        case (list() as items,):
            for item in items:
                match item:
                    case (key, value):
                        machine.set_item(result, key, value)
                    case _:
                        raise damage("makes an OrderedDict of something that is no pair")
            return result
    raise damage("makes an OrderedDict of something that is no list of pairs")


class Machine:
    """Reads one pickle from a buffer.

    Args:
        data: bytes or an mmap.
        stand_ins: dict from dotted names to the function of ours that answers a call, which
            takes this machine and the tuple of arguments, or to None where the file may name
            a class but not call it.
        persistent: function that answers a persistent id, takes this machine and the id.
        position: byte at which the pickle begins; behind its end after `run`.
    """

    def __init__(self, data, stand_ins, persistent=None, position=0):
        self.data = data
        self.view = memoryview(data)
        self.stand_ins = stand_ins
        self.persistent = persistent
        self.position = position
        self.stack = []
        self.marks = []
        self.memo = {}
        self.spent = {}

    def run(self):
        """Gives what the pickle holds, strings still as `Text` and arrays as stand-ins."""
        while True:
            self.spend("opcodes", 1, MAX_OPCODES)
            start, _ = self._take(1)
            opcode = self.data[start]
            if opcode == 0x2E:  # STOP
                return self._pop()
            operation = _OPERATIONS.get(opcode)
            if operation is None:
                raise refusal(f"has the opcode {_name(opcode)} at byte {start}")
            method, argument = operation
            method(self, argument)

    def spend(self, what, amount, limit):
        """Counts against a limit, so that references cannot multiply what a file holds."""
        self.spent[what] = self.spent.get(what, 0) + amount
        if self.spent[what] > limit:
            raise refusal(f"holds more than {limit} {what}")

    def text(self, value):
        """Gives a string of the file as `str`, or as `bytes` where it is meant as such."""
        if not isinstance(value, Text):
            raise damage("has something else where a string belongs")
        if value.value is None:
            self.spend("bytes of text", value.stop - value.start, MAX_TEXT)
            content = bytes(self.view[value.start : value.stop])
            if value.encoding == "escaped":
                content = _unescape(content).decode("latin1")
            elif value.encoding is not None:
                errors = "surrogatepass" if value.encoding == "utf-8" else "strict"
                try:
                    content = content.decode(value.encoding, errors)
                except UnicodeDecodeError:
                    raise damage(f"has a string that is no {value.encoding}") from None
            value.value = content
        return value.value

    def raw(self, value):
        """Gives the bytes behind a string, as a view of the buffer wherever they lie there."""
        if isinstance(value, (bytes, bytearray)):
            return value
        if not isinstance(value, Text):
            raise damage("has something else where the bytes of an array belong")
        view = self.view[value.start : value.stop]
        if value.encoding in (None, "latin1"):
            return view
        self.spend("decoded bytes", len(view), len(self.data))
        if value.encoding == "escaped":
            return _unescape(bytes(view))
        # Python 3 writes bytes as text in old protocols. Piece by piece, as one character
        # outside of Latin-1 would have Python use four bytes for each.
        decoder = codecs.getincrementaldecoder(value.encoding)()
        content = bytearray()
        try:
            for start in range(0, len(view), CHUNK):
                piece = bytes(view[start : start + CHUNK])
                content += decoder.decode(piece).encode("latin1")
            content += decoder.decode(b"", final=True).encode("latin1")
        except UnicodeError:
            raise damage("has bytes of an array that are not Latin-1") from None
        return content

    def plain(self, value, depth=0):
        """Gives a value of the machine as plain Python and NumPy objects."""
        self.spend("values", 1, MAX_OPCODES)
        if depth > MAX_DEPTH:
            raise refusal(f"nests its values more than {MAX_DEPTH} deep")
        if isinstance(value, Text):
            return self.text(value)
        if isinstance(value, Inert):
            return value.finish()
        if isinstance(value, dict):
            return {key: self.plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.plain(item, depth + 1) for item in value)
        return value

    def set_item(self, target, key, value):
        if isinstance(key, Text):
            key = self.text(key)
        # The hash of nested tuples can take for ever, and huge integers can share one.
        if not isinstance(key, (str, bytes, int)) or isinstance(key, int) and abs(key) >> 63:
            raise refusal("has keys that are neither strings nor small integers")
        target[key] = value

    def _take(self, count):
        start, stop = self.position, self.position + count
        if stop > len(self.data):
            raise damage(f"needs {count} bytes at byte {start} of {len(self.data)}")
        self.position = stop
        return start, stop

    def _unpack(self, code):
        start, _ = self._take(struct.calcsize(code))
        return struct.unpack_from(code, self.data, start)[0]

    def _take_line(self, limit=MAX_LINE):
        start = self.position
        stop = self.data.find(b"\n", start, start + limit if limit else len(self.data))
        if stop < 0:
            raise damage(f"has a line at byte {start} that does not end where it should")
        self.position = stop + 1
        return start, stop

    def _line(self):
        start, stop = self._take_line()
        return bytes(self.view[start:stop])

    def _pop(self):
        if not self.stack:
            raise damage(f"takes from an empty stack at byte {self.position - 1}")
        return self.stack.pop()

    def _pop_mark(self):
        if not self.marks:
            raise damage(f"looks for a mark that is not there at byte {self.position - 1}")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _top(self, kind):
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise damage(f"has no {kind.__name__} to fill at byte {self.position - 1}")
        return self.stack[-1]

    # One method an idea; _OPERATIONS below says which opcode takes which, with what argument.

    def _push(self, value):
        self.stack.append(value)

    def _empty(self, kind):
        self.stack.append(kind())

    def _number(self, code):
        self.stack.append(self._unpack(code))

    def _long(self, code):
        count = self._unpack(code)
        if not 0 <= count <= MAX_NUMBER:
            raise refusal(f"has a number of {count} bytes at byte {self.position}")
        start, stop = self._take(count)
        self.stack.append(int.from_bytes(self.view[start:stop], "little", signed=True))

    def _number_line(self, kind):
        line = self._line()
        if kind is bool:
            kind, line = (int, line) if line not in (b"00", b"01") else (bool, line[1:].strip(b"0"))
        try:
            self.stack.append(kind(line.removesuffix(b"L") if kind is int else line))
        except ValueError:
            raise damage(f"has {line[:40]!r} where a number belongs") from None

    def _string(self, argument):
        code, encoding = argument
        count = self._unpack(code)
        if count < 0:
            raise damage(f"has a string of {count} bytes at byte {self.position}")
        self.stack.append(Text(*self._take(count), encoding))

    def _string_line(self, encoding):
        start, stop = self._take_line(limit=None)
        if encoding == "escaped":
            quotes = bytes(self.view[start : start + 1]) + bytes(self.view[stop - 1 : stop])
            if stop - start < 2 or quotes not in (b"''", b'""'):
                raise damage(f"has a string without quotes at byte {start}")
            start, stop = start + 1, stop - 1
        self.stack.append(Text(start, stop, encoding))

    def _mark(self, _):
        self.marks.append(self.stack)
        self.stack = []

    def _tuple_of(self, count):
        items = [self._pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def _tuple(self, _):
        items = self._pop_mark()
        self.stack.append(tuple(items))

    def _list(self, _):
        items = self._pop_mark()
        self.stack.append(items)

    def _append(self, _):
        item = self._pop()
        self._top(list).append(item)

    def _extend(self, _):
        items = self._pop_mark()
        self._top(list).extend(items)

    def _set(self, _):
        value, key = self._pop(), self._pop()
        self.set_item(self._top(dict), key, value)

    def _update(self, _):
        items = self._pop_mark()
        if len(items) % 2:
            raise damage("has a key without a value")
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.set_item(target, key, value)

    def _dict(self, _):
        # The same as an empty one below the mark, filled.
        items = self._pop_mark()
        self.stack.append({})
        self.marks.append(self.stack)
        self.stack = items
        self._update(None)

    def _put(self, code):
        index = self._unpack(code) if code else self._index_line()
        self.memo[index] = self._top(object)

    def _memoize(self, _):
        self.memo[len(self.memo)] = self._top(object)

    def _get(self, code):
        index = self._unpack(code) if code else self._index_line()
        if index not in self.memo:
            raise damage(f"refers to a value it has not put aside, at byte {self.position}")
        self.stack.append(self.memo[index])

    def _index_line(self):
        line = self._line()
        if not line.isdigit():
            raise damage(f"has {line[:40]!r} where an index belongs")
        return int(line)

    def _protocol(self, _):
        version = self._unpack("<B")
        if version > 5:
            raise damage(f"names the protocol {version}, of which there are five")

    def _frame(self, _):
        count = self._unpack("<Q")
        if count > len(self.data) - self.position:
            raise damage(f"announces {count} bytes at byte {self.position} of {len(self.data)}")

    def _global(self, _):
        module, name = self._line(), self._line()
        self._name(module.decode("latin1"), name.decode("latin1"))

    def _stack_global(self, _):
        name, module = self._pop(), self._pop()
        self._name(self.text(module), self.text(name))

    def _name(self, module, name):
        full = f"{module}.{name}"
        if full not in self.stand_ins:
            raise refusal(f"asks for {full[:200]!r}")
        self.stack.append(Symbol(full))

    def _reduce(self, _):
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Symbol) or not isinstance(arguments, tuple):
            raise refusal(f"calls something that is no function, at byte {self.position - 1}")
        stand_in = self.stand_ins[function.name]
        if stand_in is None:
            raise refusal(f"calls {function.name!r}")
        self.stack.append(stand_in(self, arguments))

    def _build(self, _):
        state = self._pop()
        target = self._top(object)
        if not isinstance(target, (Inert, OrderedDict)):
            raise refusal(f"sets the state of a {type(target).__name__} (opcode BUILD)")
        target.build(self, state)

    def _persistent(self, _):
        if self.persistent is None:
            raise refusal("refers to objects outside of it (opcode BINPERSID)")
        self.stack.append(self.persistent(self, self._pop()))


def _unescape(content):
    """Decodes the escapes that Python 2's repr writes, and only those."""
    # Others would make Python warn.
    if _BAD_ESCAPE.search(content.replace(rb"\\", b"")):
        raise damage("has a string with an escape that Python 2 never wrote")
    return codecs.escape_decode(content)[0]


def _name(opcode):
    known = pickletools.code2op.get(chr(opcode))
    return f"{known.name} (0x{opcode:02x})" if known else f"0x{opcode:02x}, which nobody knows,"


_OPERATIONS = {
    ord(opcode): operation
    for opcode, operation in {
        "\x80": (Machine._protocol, None),
        "\x95": (Machine._frame, None),
        "N": (Machine._push, None),
        "\x88": (Machine._push, True),
        "\x89": (Machine._push, False),
        ")": (Machine._empty, tuple),
        "]": (Machine._empty, list),
        "}": (Machine._empty, dict),
        "J": (Machine._number, "<i"),
        "K": (Machine._number, "<B"),
        "M": (Machine._number, "<H"),
        "G": (Machine._number, ">d"),
        "\x8a": (Machine._long, "<B"),
        "\x8b": (Machine._long, "<i"),
        "I": (Machine._number_line, bool),
        "L": (Machine._number_line, int),
        "F": (Machine._number_line, float),
        "T": (Machine._string, ("<i", "latin1")),
        "U": (Machine._string, ("<B", "latin1")),
        "X": (Machine._string, ("<I", "utf-8")),
        "\x8c": (Machine._string, ("<B", "utf-8")),
        "\x8d": (Machine._string, ("<Q", "utf-8")),
        "B": (Machine._string, ("<I", None)),
        "C": (Machine._string, ("<B", None)),
        "\x8e": (Machine._string, ("<Q", None)),
        "\x96": (Machine._string, ("<Q", None)),
        "S": (Machine._string_line, "escaped"),
        "V": (Machine._string_line, "raw-unicode-escape"),
        "(": (Machine._mark, None),
        "\x85": (Machine._tuple_of, 1),
        "\x86": (Machine._tuple_of, 2),
        "\x87": (Machine._tuple_of, 3),
        "t": (Machine._tuple, None),
        "l": (Machine._list, None),
        "a": (Machine._append, None),
        "e": (Machine._extend, None),
        "d": (Machine._dict, None),
        "s": (Machine._set, None),
        "u": (Machine._update, None),
        "q": (Machine._put, "<B"),
        "r": (Machine._put, "<I"),
        "p": (Machine._put, None),
        "\x94": (Machine._memoize, None),
        "h": (Machine._get, "<B"),
        "j": (Machine._get, "<I"),
        "g": (Machine._get, None),
        "c": (Machine._global, None),
        "\x93": (Machine._stack_global, None),
        "R": (Machine._reduce, None),
        "b": (Machine._build, None),
        "Q": (Machine._persistent, None),
    }.items()
}

"""A stack machine that reads plain data from a pickle, and never runs what the pickle asks for.

Python's own unpickler calls whatever a file names, and sizes its memo by a number in the file.
This one knows the opcodes of containers, strings and numbers. A call is answered by a function
of ours, from a table of the few names that a file of arrays needs; any other name ends the
reading. Strings, which is where arrays keep their bytes, stay in the buffer until asked for.
"""

import pickletools
import struct

from keras_nonlocal.checkpoints.inert import (
    MAX_VALUES,
    Inert,
    OrderedDict,
    Symbol,
    Text,
    damage,
    refusal,
    to_bytes,
)

# The longest line that is a number, an index or a name.
_MAX_LINE = 700
# Far above the depth to which values may be nested.
_MAX_MARKS = 1000
# The longest number in bytes: more digits Python would not even print.
_MAX_NUMBER = 255


class Machine:
    """Reads one pickle from a buffer.

    Args:
        data: bytes or an mmap.
        stand_ins: dict from dotted names to the function of ours that answers a call, which
            takes this machine and the tuple of arguments; or to None where the file may name
            something but not call it.
        persistent: function that answers a persistent id; takes this machine and the id.
        position: byte at which the pickle begins, and after `run` the byte behind it.
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
        """Gives what the pickle holds; `inert.plain` makes plain objects of it."""
        for _ in range(MAX_VALUES):
            start = self.position
            if start >= len(self.data):
                raise damage(f"does not end where the file does, at byte {start}")
            self.position = start + 1
            opcode = self.data[start]
            if opcode == ord("."):
                return self._pop()
            if opcode not in _OPERATIONS:
                raise refusal(f"has the opcode {_name_of(opcode)} at byte {start}")
            method, argument = _OPERATIONS[opcode]
            method(self, argument)
        raise refusal(f"has more than {MAX_VALUES} opcodes")

    def spend(self, what, amount, limit):
        """Counts against a limit, so that references cannot multiply what a file holds."""
        self.spent[what] = self.spent.get(what, 0) + amount
        if self.spent[what] > limit:
            raise refusal(f"holds more than {limit} {what}")

    def text(self, value):
        """Gives a string that the file must have at this place."""
        value = value.read(self) if isinstance(value, Text) else None
        if not isinstance(value, str):
            raise damage("has something else where a string belongs")
        return value

    def set_item(self, target, key, value):
        """Sets a dict's item, if the key is of a harmless kind."""
        if isinstance(key, Text):
            key = key.read(self)
        elif isinstance(key, (bytearray, memoryview)):
            key = to_bytes(self, key)
        # The hash of nested tuples can take for ever, and huge integers can all share one.
        if not isinstance(key, (str, bytes, int)) or isinstance(key, int) and abs(key) >> 63:
            raise refusal("has a dict whose keys are neither strings nor common integers")
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

    def _take_line(self, limit):
        start = self.position
        stop = self.data.find(b"\n", start, min(start + limit, len(self.data)))
        if stop < 0:
            raise damage(f"has a line at byte {start} that does not end where it should")
        self.position = stop + 1
        return start, stop

    def _line(self):
        start, stop = self._take_line(_MAX_LINE)
        return bytes(self.view[start:stop]).decode("latin1")

    def _index(self, code):
        if code is not None:
            return self._unpack(code)
        line = self._line()
        if not (line.isascii() and line.isdigit()):
            raise damage(f"has {line[:40]!r} where an index belongs")
        return int(line)

    def _pop(self):
        if not self.stack:
            raise damage(f"takes from an empty stack before byte {self.position}")
        return self.stack.pop()

    def _pop_mark(self):
        if not self.marks:
            raise damage(f"looks for a mark that is not there before byte {self.position}")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _top(self, kind):
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise damage(f"lacks the {kind.__name__} to work on before byte {self.position}")
        return self.stack[-1]

    # What the opcodes do; _OPERATIONS below says which does what, with what argument.

    def _push(self, value):
        self.stack.append(value)

    def _push_empty(self, kind):
        self.stack.append(kind())

    def _push_number(self, code):
        self.stack.append(self._unpack(code))

    def _push_long(self, code):
        count = self._unpack(code)
        if not 0 <= count <= _MAX_NUMBER:
            raise refusal(f"has a number of {count} bytes before byte {self.position}")
        start, stop = self._take(count)
        self.stack.append(int.from_bytes(self.view[start:stop], "little", signed=True))

    def _push_number_line(self, kind):
        line = self._line()
        try:
            self.stack.append(kind(line))
        except ValueError:
            raise damage(f"has {line[:40]!r} where a number belongs") from None

    def _push_string(self, argument):
        code, encoding = argument
        count = self._unpack(code)
        if count < 0:
            raise damage(f"has a string of {count} bytes before byte {self.position}")
        self.stack.append(Text(*self._take(count), encoding))

    def _push_string_line(self, encoding):
        start, stop = self._take_line(len(self.data))
        if encoding == "escaped":
            quotes = bytes(self.view[start : start + 1]) + bytes(self.view[stop - 1 : stop])
            if stop - start < 2 or quotes not in (b"''", b'""'):
                raise damage(f"has a string without quotes at byte {start}")
            start, stop = start + 1, stop - 1
        self.stack.append(Text(start, stop, encoding))

    def _mark(self, _):
        if len(self.marks) > _MAX_MARKS:
            raise refusal(f"nests its values more than {_MAX_MARKS} deep")
        self.marks.append(self.stack)
        self.stack = []

    def _collect(self, count):
        items = [self._pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def _collect_marked(self, kind):
        items = self._pop_mark()
        self.stack.append(kind(items))

    def _collect_dict(self, _):
        items = self._pop_mark()
        self.stack.append({})
        self._set_items(items)

    def _append(self, _):
        item = self._pop()
        self._top(list).append(item)

    def _extend(self, _):
        items = self._pop_mark()
        self._top(list).extend(items)

    def _set(self, _):
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _update(self, _):
        self._set_items(self._pop_mark())

    def _set_items(self, items):
        if len(items) % 2:
            raise damage(f"has a key without a value before byte {self.position}")
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.set_item(target, key, value)

    def _put(self, code):
        self.memo[self._index(code)] = self._top(object)

    def _memoize(self, _):
        self.memo[len(self.memo)] = self._top(object)

    def _get(self, code):
        index = self._index(code)
        if index not in self.memo:
            raise damage(f"asks for a value it did not put aside, before byte {self.position}")
        self.stack.append(self.memo[index])

    def _protocol(self, _):
        version = self._unpack("<B")
        if version > 5:
            raise damage(f"says it follows protocol {version}, which is none of 0 to 5")

    def _frame(self, _):
        count = self._unpack("<Q")
        if count > len(self.data) - self.position:
            raise damage(f"announces {count} bytes at byte {self.position} of {len(self.data)}")

    def _global(self, _):
        module = self._line()
        self._push_symbol(module, self._line())

    def _stack_global(self, _):
        name, module = self._pop(), self._pop()
        self._push_symbol(self.text(module), self.text(name))

    def _push_symbol(self, module, name):
        full = f"{module}.{name}"
        if full not in self.stand_ins:
            raise refusal(f"asks for {full[:200]!r}")
        self.stack.append(Symbol(full))

    def _reduce(self, _):
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Symbol) or not isinstance(arguments, tuple):
            raise refusal("calls what is no function (opcode REDUCE)")
        stand_in = self.stand_ins[function.name]
        if stand_in is None:
            raise refusal(f"calls {function.name!r} (opcode REDUCE)")
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


def _name_of(opcode):
    known = pickletools.code2op.get(chr(opcode))
    return f"{known.name} (0x{opcode:02x})" if known else f"0x{opcode:02x}"


def _integer(line):
    # How protocol 0 writes booleans.
    return {"00": False, "01": True}[line] if line in ("00", "01") else int(line)


def _long_integer(line):
    return int(line.removesuffix("L"))


_OPERATIONS = {
    ord(opcode): operation
    for opcode, operation in {
        "\x80": (Machine._protocol, None),
        "\x95": (Machine._frame, None),
        "N": (Machine._push, None),
        "\x88": (Machine._push, True),
        "\x89": (Machine._push, False),
        ")": (Machine._push_empty, tuple),
        "]": (Machine._push_empty, list),
        "}": (Machine._push_empty, dict),
        "J": (Machine._push_number, "<i"),
        "K": (Machine._push_number, "<B"),
        "M": (Machine._push_number, "<H"),
        "G": (Machine._push_number, ">d"),
        "\x8a": (Machine._push_long, "<B"),
        "\x8b": (Machine._push_long, "<i"),
        "I": (Machine._push_number_line, _integer),
        "L": (Machine._push_number_line, _long_integer),
        "F": (Machine._push_number_line, float),
        # Python 2's strings are bytes or text; Latin-1 keeps both.
        "T": (Machine._push_string, ("<i", "latin1")),
        "U": (Machine._push_string, ("<B", "latin1")),
        "X": (Machine._push_string, ("<I", "utf-8")),
        "\x8c": (Machine._push_string, ("<B", "utf-8")),
        "\x8d": (Machine._push_string, ("<Q", "utf-8")),
        "B": (Machine._push_string, ("<I", None)),
        "C": (Machine._push_string, ("<B", None)),
        "\x8e": (Machine._push_string, ("<Q", None)),
        "\x96": (Machine._push_string, ("<Q", None)),
        "S": (Machine._push_string_line, "escaped"),
        "V": (Machine._push_string_line, "raw-unicode-escape"),
        "(": (Machine._mark, None),
        "\x85": (Machine._collect, 1),
        "\x86": (Machine._collect, 2),
        "\x87": (Machine._collect, 3),
        "t": (Machine._collect_marked, tuple),
        "l": (Machine._collect_marked, list),
        "d": (Machine._collect_dict, None),
        "a": (Machine._append, None),
        "e": (Machine._extend, None),
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

"""A stack machine that reads plain data from a pickle, and never runs what the pickle asks for.

Python's own unpickler calls whatever a file names, and sizes its memo by a number in the file.
This one knows the opcodes of containers, strings and numbers. A call is answered by a function
of ours, from a table of the few names that a file of arrays needs; any other name ends the
reading. Strings, which is where arrays keep their bytes, stay in the buffer until asked for.
"""

import pickletools

from keras_nonlocal.archives.inert import (
    MAX_VALUES,
    Inert,
    OrderedDict,
    Symbol,
    Text,
    damage,
    refusal,
)
from keras_nonlocal.archives.pickle_stack import Stack

# The longest number in bytes: more digits Python would not even print.
_MAX_NUMBER = 255


class Machine(Stack):
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
        super().__init__(data, position)
        self.stand_ins = stand_ins
        self.persistent = persistent

    def run(self):
        """Gives what the pickle holds; `inert.plain` makes plain objects of it."""
        for _ in range(MAX_VALUES):
            start = self.position
            if start >= len(self.data):
                raise damage(f"does not end where the file does, at byte {start}")
            self.position = start + 1
            opcode = self.data[start]
            if opcode == ord("."):
                return self.pop()
            if opcode not in _OPERATIONS:
                raise refusal(f"has the opcode {_name_of(opcode)} at byte {start}")
            method, argument = _OPERATIONS[opcode]
            method(self, argument)
        raise refusal(f"has more than {MAX_VALUES} opcodes")

    # What the opcodes do; _OPERATIONS below says which does what, with what argument.

    def _push_empty(self, kind):
        self.push(kind())

    def _push_number(self, code):
        self.push(self.unpack(code))

    def _push_long(self, code):
        count = self.unpack(code)
        if not 0 <= count <= _MAX_NUMBER:
            raise refusal(f"has a number of {count} bytes before byte {self.position}")
        start, stop = self.take(count)
        self.push(int.from_bytes(self.view[start:stop], "little", signed=True))

    def _push_number_line(self, kind):
        line = self.line()
        try:
            self.push(kind(line))
        except ValueError:
            raise damage(f"has {line[:40]!r} where a number belongs") from None

    def _push_string(self, argument):
        code, encoding = argument
        count = self.unpack(code)
        if count < 0:
            raise damage(f"has a string of {count} bytes before byte {self.position}")
        self.push(Text(*self.take(count), encoding))

    def _push_string_line(self, encoding):
        start, stop = self.take_line(len(self.data))
        if encoding == "escaped":
            quotes = bytes(self.view[start : start + 1]) + bytes(self.view[stop - 1 : stop])
            if stop - start < 2 or quotes not in (b"''", b'""'):
                raise damage(f"has a string without quotes at byte {start}")
            start, stop = start + 1, stop - 1
        self.push(Text(start, stop, encoding))

    def _mark(self, _):
        self.mark()

    def _collect(self, count):
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def _collect_marked(self, kind):
        items = self.pop_mark()
        self.push(kind(items))

    def _collect_dict(self, _):
        items = self.pop_mark()
        self.push({})
        self._set_items(items)

    def _append(self, _):
        item = self.pop()
        self.top(list).append(item)

    def _extend(self, _):
        items = self.pop_mark()
        self.top(list).extend(items)

    def _set(self, _):
        value, key = self.pop(), self.pop()
        self._set_items([key, value])

    def _update(self, _):
        self._set_items(self.pop_mark())

    def _set_items(self, items):
        if len(items) % 2:
            raise damage(f"has a key without a value before byte {self.position}")
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.set_item(target, key, value)

    def _put(self, code):
        self.memo[self.index(code)] = self.top(object)

    def _memoize(self, _):
        self.memo[len(self.memo)] = self.top(object)

    def _get(self, code):
        index = self.index(code)
        if index not in self.memo:
            raise damage(f"asks for a value it did not put aside, before byte {self.position}")
        self.push(self.memo[index])

    def _protocol(self, _):
        version = self.unpack("<B")
        if version > 5:
            raise damage(f"says it follows protocol {version}, which is none of 0 to 5")

    def _frame(self, _):
        count = self.unpack("<Q")
        if count > len(self.data) - self.position:
            raise damage(f"announces {count} bytes at byte {self.position} of {len(self.data)}")

    def _global(self, _):
        module = self.line()
        self._push_symbol(module, self.line())

    def _stack_global(self, _):
        name, module = self.pop(), self.pop()
        self._push_symbol(self.text(module), self.text(name))

    def _push_symbol(self, module, name):
        full = f"{module}.{name}"
        if full not in self.stand_ins:
            raise refusal(f"asks for {full[:200]!r}")
        self.push(Symbol(full))

    def _reduce(self, _):
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Symbol) or not isinstance(arguments, tuple):
            raise refusal("calls what is no function (opcode REDUCE)")
        stand_in = self.stand_ins[function.name]
        if stand_in is None:
            raise refusal(f"calls {function.name!r} (opcode REDUCE)")
        self.push(stand_in(self, arguments))

    def _build(self, _):
        state = self.pop()
        target = self.top(object)
        if not isinstance(target, (Inert, OrderedDict)):
            raise refusal(f"sets the state of a {type(target).__name__} (opcode BUILD)")
        target.build(self, state)

    def _persistent(self, _):
        if self.persistent is None:
            raise refusal("refers to objects outside of it (opcode BINPERSID)")
        self.push(self.persistent(self, self.pop()))


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
        "N": (Machine.push, None),
        "\x88": (Machine.push, True),
        "\x89": (Machine.push, False),
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

"""The buffer, the stack, the memo and the limits of the machine in unpickling.py."""

import struct

from keras_nonlocal.archives.inert import Text, damage, refusal, to_bytes

# The longest line that is a number, an index or a name.
_MAX_LINE = 700
# Far above the depth to which values may be nested.
_MAX_MARKS = 1000


class Stack:
    """What a pickle's opcodes take from the buffer, and where they put it.

    Args:
        data: bytes or an mmap.
        position: byte at which the pickle begins.
    """

    def __init__(self, data, position):
        self.data = data
        self.view = memoryview(data)
        self.position = position
        self.stack = []
        self.marks = []
        self.memo = {}
        self.spent = {}

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

    def take(self, count):
        """Gives the first of the next bytes, and the one behind the last."""
        start, stop = self.position, self.position + count
        if stop > len(self.data):
            raise damage(f"needs {count} bytes at byte {start} of {len(self.data)}")
        self.position = stop
        return start, stop

    def unpack(self, code):
        """Gives a number of the format `code` of struct."""
        start, _ = self.take(struct.calcsize(code))
        return struct.unpack_from(code, self.data, start)[0]

    def take_line(self, limit):
        """Gives where the next line begins and ends, if it ends within `limit` bytes."""
        start = self.position
        stop = self.data.find(b"\n", start, min(start + limit, len(self.data)))
        if stop < 0:
            raise damage(f"has a line at byte {start} that does not end where it should")
        self.position = stop + 1
        return start, stop

    def line(self):
        start, stop = self.take_line(_MAX_LINE)
        return bytes(self.view[start:stop]).decode("latin1")

    def index(self, code):
        """Gives an index of the memo, in a line of its own where `code` is None."""
        if code is not None:
            return self.unpack(code)
        line = self.line()
        if not (line.isascii() and line.isdigit()):
            raise damage(f"has {line[:40]!r} where an index belongs")
        return int(line)

    def push(self, value):
        self.stack.append(value)

    def pop(self):
        if not self.stack:
            raise damage(f"takes from an empty stack before byte {self.position}")
        return self.stack.pop()

    def mark(self):
        """Sets what there is aside, until `pop_mark`."""
        if len(self.marks) > _MAX_MARKS:
            raise refusal(f"nests its values more than {_MAX_MARKS} deep")
        self.marks.append(self.stack)
        self.stack = []

    def pop_mark(self):
        """Gives what was pushed since the last mark."""
        if not self.marks:
            raise damage(f"looks for a mark that is not there before byte {self.position}")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def top(self, kind):
        """Gives the value on top, which must be of a kind."""
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise damage(f"lacks the {kind.__name__} to work on before byte {self.position}")
        return self.stack[-1]

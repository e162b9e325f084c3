"""What the machine of unpickling.py makes of a pickle's strings and objects, none of it alive."""

import abc
import codecs
import re

from keras_nonlocal.archives.errors import CheckpointError

# Of opcodes, and of values: what a network of thousands of tensors needs, and read in a second.
MAX_VALUES = 250_000
MAX_DEPTH = 64
# All text that is not the bytes of an array: names of tensors, settings.
MAX_TEXT = 1 << 24
_PIECE = 1 << 20

# A backslash that does not begin what Python 2's repr writes, once the doubled ones are gone.
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
    """A string of the file: where it lies, and how its bytes are to be read.

    Args:
        start: first byte.
        stop: byte behind the last.
        encoding: of Python, "escaped" for the literals of Python 2, None for bytes.
    """

    __slots__ = ("start", "stop", "encoding", "value")

    def __init__(self, start, stop, encoding):
        self.start, self.stop, self.encoding = start, stop, encoding
        self.value = None

    def read(self, machine):
        """Gives `str`, or `bytes` where the file says so."""
        # Kept, so that a thousand references to one long string cost one decoding.
        if self.value is None:
            machine.spend("bytes of text", self.stop - self.start, MAX_TEXT)
            content = bytes(machine.view[self.start : self.stop])
            encoding = self.encoding
            if encoding == "escaped":
                content, encoding = _unescape(content), "latin1"
            self.value = content if encoding is None else _decode(content, encoding)
        return self.value

    def raw(self, machine):
        """Gives the bytes of an array, as a view of the file wherever they lie there as such."""
        view = machine.view[self.start : self.stop]
        if self.encoding in (None, "latin1"):
            return view
        machine.spend("bytes to decode", len(view), len(machine.data))
        if self.encoding == "escaped":
            return _unescape(bytes(view))
        return _to_latin1(view, self.encoding)


def _decode(content, encoding):
    try:
        return content.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError:
        raise damage(f"has a string that is no {encoding}") from None


def _unescape(content):
    # Python would only warn of escapes that it does not know.
    if _BAD_ESCAPE.search(content.replace(rb"\\", b"")):
        raise damage("has a string with an escape that Python 2 does not write")
    return codecs.escape_decode(content)[0]


def _to_latin1(view, encoding):
    """Decodes the text that Python 3 makes of bytes in protocols 0 to 2."""
    # In pieces, as one character outside of Latin-1 makes Python use four bytes for each.
    decoder = codecs.getincrementaldecoder(encoding)()
    content = bytearray()
    try:
        for start in range(0, len(view), _PIECE):
            content += decoder.decode(bytes(view[start : start + _PIECE])).encode("latin1")
        content += decoder.decode(b"", final=True).encode("latin1")
    except UnicodeError:
        raise damage("has an array whose bytes are not Latin-1") from None
    return content


class Inert(abc.ABC):
    """Stands in for an object that the file wants made."""

    def build(self, machine, state):
        """Answers the opcode that sets an object's state."""
        raise refusal(f"sets the state of a {type(self).__name__.lstrip('_')} (opcode BUILD)")

    @abc.abstractmethod
    def finish(self):
        """Gives what the caller gets in the place of the object."""


class Symbol(Inert):
    """Stands in for a class or a function that the file names."""

    def __init__(self, name):
        self.name = name

    def finish(self):
        return self.name


class OrderedDict(dict):
    """Stands in for collections.OrderedDict."""

    def build(self, machine, state):
        # torch hangs the versions of its modules on a state dict; nobody here needs them.
        if not isinstance(state, dict) or set(state) - {"_metadata"}:
            raise refusal("sets attributes of an OrderedDict (opcode BUILD)")


def ordered_dict(machine, arguments):
    """Answers the call of collections.OrderedDict, which Python 2 hands a list of items."""
    result = OrderedDict()
    match arguments:
        case ():
            return result
        case (list() as items,):
            machine.spend("values", len(items), MAX_VALUES)
            for item in items:
                match item:
                    case (key, value):
                        machine.set_item(result, key, value)
                    case _:
                        raise damage("makes an OrderedDict of what is no pair")
            return result
    raise damage("makes an OrderedDict of what is no list")


def plain(machine, value, depth=0):
    """Gives a value of the machine as plain Python and NumPy objects."""
    # Counted along every path: containers that hold each other twice, over and over, would
    # unfold to more than any memory holds.
    machine.spend("values", 1, MAX_VALUES)
    if depth > MAX_DEPTH:
        raise refusal(f"nests its values more than {MAX_DEPTH} deep")
    match value:
        case Text():
            return value.read(machine)
        case Inert():
            return value.finish()
        case dict():
            return {key: plain(machine, item, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return type(value)([plain(machine, item, depth + 1) for item in value])
        case bytearray() | memoryview():
            return to_bytes(machine, value)
    return value


def to_bytes(machine, content):
    """Gives bytes that turn out to be no array's."""
    machine.spend("bytes of text", len(content), MAX_TEXT)
    return bytes(content)

"""NumPy arrays in a pickle, as Caffe2 wrote them: the functions that stand in for NumPy's."""

import math
import re
import reprlib

import numpy as np

from keras_nonlocal.archives.inert import (
    Inert,
    Symbol,
    Text,
    damage,
    ordered_dict,
    plain,
    refusal,
)
from keras_nonlocal.archives.unpickling import Machine

_NUMBER = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16)")
# Of NumPy 1 as of NumPy 2; more no array has.
_MAX_DIMENSIONS = 32


def read_pickle(data):
    """Gives what a pickle holds, its arrays as views of `data` wherever their bytes lie there."""
    machine = Machine(data, _STAND_INS)
    return plain(machine, machine.run())


class _DType(Inert):
    def __init__(self, dtype):
        self.dtype = dtype

    def build(self, machine, state):
        match state:
            case (3 | 4, Text() as order, None, None, None, *_):
                order = machine.text(order)
                if order not in ("<", ">", "|", "="):
                    raise damage(f"has the byte order {order[:9]!r}")
                self.dtype = self.dtype.newbyteorder(order)
            case _:
                raise refusal("holds an array of records instead of numbers")

    def finish(self):
        return self.dtype


class _Array(Inert):
    def __init__(self, array=None):
        self.array = array

    def build(self, machine, state):
        match state:
            case (int(), shape, dtype, order, content) if self.array is None:
                self.array = _array(machine, shape, dtype, "F" if order else "C", content)
            case _:
                raise damage("sets the state of an array twice, or to what no array has")

    def finish(self):
        if self.array is None:
            raise damage("has an array without content")
        return self.array


def _array(machine, shape, dtype, order, content):
    if not isinstance(dtype, _DType):
        raise damage("has an array without a dtype")
    if not (
        isinstance(shape, tuple)
        and len(shape) <= _MAX_DIMENSIONS
        and all(type(length) is int and 0 <= length < 1 << 63 for length in shape)
    ):
        raise damage("has an array whose shape is no tuple of lengths")
    if isinstance(content, Text):
        content = content.raw(machine)
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise damage("has an array without bytes")
    needed = math.prod(shape) * dtype.dtype.itemsize
    if needed != len(content):
        raise damage(
            f"has an array of shape {reprlib.repr(shape)} and dtype {dtype.dtype}, which takes "
            f"{reprlib.repr(needed)} bytes, and {len(content)} bytes for it"
        )
    machine.spend("bytes of arrays", needed, len(machine.data))
    try:
        array = np.ndarray(shape, dtype.dtype, content, order=order)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    except ValueError as error:
        raise damage(f"has an array that NumPy refuses ({error})") from None


def _reconstruct(machine, arguments):
    match arguments:
        case (Symbol(name="numpy.ndarray"), _, _):
            return _Array()
    raise refusal("makes an array of a class other than numpy.ndarray")


def _dtype(machine, arguments):
    match arguments:
        case (Text() as code, *_):
            code = machine.text(code)
            if _NUMBER.fullmatch(code):
                return _DType(np.dtype(code))
            raise refusal(f"holds an array of dtype {reprlib.repr(code)} instead of numbers")
    raise damage("has a dtype that is not named")


def _scalar(machine, arguments):
    match arguments:
        case (dtype, content):
            return _Array(_array(machine, (), dtype, "C", content)[()])
    raise refusal("holds a NumPy scalar that is no number")


def _from_buffer(machine, arguments):
    match arguments:
        case (content, dtype, shape, Text() as order) if machine.text(order) in ("C", "F"):
            return _Array(_array(machine, shape, dtype, machine.text(order), content))
    raise damage("has an array that lacks its shape or order")


def _encode(machine, arguments):
    match arguments:
        case (Text() as text, Text() as encoding) if machine.text(encoding) == "latin1":
            return text.raw(machine)
    raise refusal("encodes a text as something else than Latin-1")


def _bytes(machine, arguments):
    if arguments:
        raise refusal("calls 'bytes' with arguments")
    return b""


_STAND_INS = {
    "collections.OrderedDict": ordered_dict,
    "_codecs.encode": _encode,
    # How Python 3 writes empty bytes in protocols 0 to 2.
    "__builtin__.bytes": _bytes,
    "numpy.ndarray": None,
    "numpy.dtype": _dtype,
}
for _core in ("numpy.core", "numpy._core"):  # the names of NumPy 1 and NumPy 2
    _STAND_INS |= {
        f"{_core}.multiarray._reconstruct": _reconstruct,
        f"{_core}.multiarray.scalar": _scalar,
        f"{_core}.numeric._frombuffer": _from_buffer,
    }

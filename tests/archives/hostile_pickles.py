"""Pickles that lie: by name, what makes their bytes, and a word that their error must hold."""

import importlib
import os
import pickle

import numpy as np

from tests.archives.weight_files import HUGE, MANY, long_integer, opcode, python2_pickle

_MEGABYTE = opcode(b"X", "<I", 1 << 20) + b"a" * (1 << 20)


class Call:
    """Is pickled as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class _OfTheUser:
    def __setstate__(self, state):
        open(state["canary"], "w").close()


def _user_object(canary):
    value = _OfTheUser()
    value.canary = canary
    return pickle.dumps({"a": value}, 2)


def _calling(function, code, protocol=2):
    """A pickle that calls `function` with `code`, in which {} stands for the canary."""
    return lambda canary: pickle.dumps({"a": Call(function, code.format(canary))}, protocol)


def _pickling(value, protocol=2):
    return lambda canary: pickle.dumps(value, protocol)


def bytes_of(*parts):
    return lambda canary: b"".join(parts)


def valued(*opcodes):
    """A pickle of {"a": ...}, with the value given as opcodes."""
    return bytes_of(b"\x80\x02}U\x01a", *opcodes, b"s.")


def _doubling(close, opening=b""):
    """Forty containers, each of which holds the one before twice."""
    body = opening * 40 + b"K\x01q\0"
    for index in range(40):
        body += opcode(b"h", "B", index) + close + opcode(b"q", "B", index + 1)
    return body


def repeating(function, arguments, count=50_000):
    """A list of many calls of one function with the same arguments."""
    return bytes_of(
        b"\x80\x02](", b"c" + function + b"\nq\0", arguments, b"q\1", b"h\0h\1R" * count, b"e."
    )


def _repeated(use, close):
    """A megabyte from one call of _codecs.encode, used many times; `use` begins by getting it."""
    call = b"c_codecs\nencode\n" + _MEGABYTE + b"X\6\0\0\0latin1\x86Rq\0"
    return valued(b"(", call, use[2:], use * 50_000, close)


def _many_arrays(canary):
    """A string of one megabyte, and a hundred thousand arrays that all say it is theirs."""
    count = 1 << 18
    state = b"(K\x01" + opcode(b"J", "<i", count) + b"\x85cnumpy\ndtype\nU\x02f4K\0K\x01\x87R\x89"
    state += opcode(b"T", "<i", 4 * count) + bytes(4 * count) + b"tq\x02"
    empty = b"cnumpy.core.multiarray\n_reconstruct\nq\0cnumpy\nndarray\nK\0\x85U\x01b\x87q\x01"
    return b"\x80\x02](" + empty + state + b"h\0h\x01Rh\x02b" * 100_000 + b"e."


def _colliding_keys(canary):
    """Integers that all have the hash 0."""
    keys = ((index * (2**61 - 1)).to_bytes(11, "little") for index in range(60_000))
    return b"\x80\x02}(" + b"".join(b"\x8a\x0b" + key + b"N" for key in keys) + b"u."


PAIRS = b"](" + b"".join(opcode(b"M", "<H", key) + b"N\x86" for key in range(50_000)) + b"e"
NESTED = bytes_of(b"\x80\x02", b"]" * 100_000, b"a" * 99_999, b".")
DOUBLED_KEY = bytes_of(b"\x80\x02}", _doubling(b"\x86"), b"Ns.")

CODE = {
    "os.system": (_calling(os.system, "touch {}"), "system"),
    "os.system in protocol 0": (_calling(os.system, "touch {}", 0), "system"),
    "os.system in protocol 4": (_calling(os.system, "touch {}", 4), "system"),
    "eval": (_calling(eval, "open('{}', 'w')"), "__builtin__.eval"),
    "exec": (_calling(exec, "open('{}', 'w')", 4), "builtins.exec"),
    "getattr": (_pickling({"a": Call(getattr, "a", "upper")}), "getattr"),
    "importlib": (_pickling({"a": Call(importlib.import_module, "os")}), "import_module"),
    "a class of the user's": (_user_object, "_OfTheUser"),
    "a function of NumPy": (valued(b"cnumpy\nload\nU\x01a\x85R"), "numpy.load"),
    "a call of ndarray": (valued(b"cnumpy\nndarray\nK\x01\x85R"), "numpy.ndarray"),
    "a call of a result": (valued(b"ccollections\nOrderedDict\n)R)R"), "REDUCE"),
    "bytes of a number": (valued(b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R"), "arguments"),
    "the state of a dict": (valued(b"}}b"), "BUILD"),
    "the attributes of an OrderedDict": (
        valued(b"ccollections\nOrderedDict\n)R}U\x05itemsK\x01sb"),
        "attributes",
    ),
    "INST": (valued(b"(ios\nsystem\n"), "INST"),
    "OBJ": (valued(b"(cnumpy\nndarray\no"), "OBJ"),
    "NEWOBJ": (valued(b"cnumpy\nndarray\n)\x81"), "NEWOBJ"),
    "NEWOBJ_EX": (valued(b"cnumpy\nndarray\n)}\x92"), "NEWOBJ_EX"),
    "EXT1": (valued(b"\x82\1"), "EXT1"),
    "EXT2": (valued(b"\x83\1\0"), "EXT2"),
    "EXT4": (valued(b"\x84\1\0\0\0"), "EXT4"),
    "PERSID": (valued(b"Pfile\n"), "PERSID"),
    "BINPERSID": (valued(b"U\1aQ"), "BINPERSID"),
    "an opcode that is none": (valued(b"\xff"), "0xff"),
}

SIZES = {
    "nested lists": (NESTED, "deep"),
    "nested tuples": (valued(b")", b"\x85" * 100_000), "deep"),
    "nested dicts": (bytes_of(b"\x80\x02", b"}U\1a" * 50_000, b"N", b"s" * 50_000, b"."), "deep"),
    "a list in itself": (valued(b"]q\0h\0a"), "deep"),
    "a million marks": (bytes_of(b"\x80\x02", b"(" * MANY), "deep"),
    "a million dicts": (bytes_of(b"\x80\x02(", b"}" * MANY, b"l."), "250000"),
    "a million strings": (bytes_of(b"\x80\x02(", b"U\x01a" * MANY, b"l."), "250000"),
    "doubled lists": (valued(_doubling(b"l", b"(")), "250000"),
    "doubled tuples": (valued(_doubling(b"\x86")), "250000"),
    "doubled tuples as a key": (DOUBLED_KEY, "keys"),
    "colliding keys": (_colliding_keys, "keys"),
    "an array of a petabyte": (
        bytes_of(python2_pickle(shape=long_integer(HUGE) + b"\x85")),
        str(4 * HUGE),
    ),
    "an array of no rows of a petabyte": (
        bytes_of(python2_pickle(b"K\0" + long_integer(2**62) * 2 + b"\x87", content=b"U\0")),
        "NumPy",
    ),
    "an array of -1": (bytes_of(python2_pickle(b"J\xff\xff\xff\xff\x85")), "shape"),
    "an array of half its bytes": (bytes_of(python2_pickle(b"K\1\x85")), "4 bytes, and 8"),
    "an array of True": (bytes_of(python2_pickle(b"\x88\x85", content=b"U\4abcd")), "shape"),
    "an array of 100 axes": (bytes_of(python2_pickle(b"(" + b"K\1" * 100 + b"t")), "shape"),
    "BINBYTES8": (valued(opcode(b"\x8e", "<Q", HUGE)), str(HUGE)),
    "BINUNICODE8": (valued(opcode(b"\x8d", "<Q", HUGE)), str(HUGE)),
    "BYTEARRAY8": (valued(opcode(b"\x96", "<Q", HUGE)), str(HUGE)),
    "BINSTRING": (valued(opcode(b"T", "<i", -5)), "-5"),
    "LONG4": (valued(opcode(b"\x8b", "<i", 2**31 - 1)), str(2**31 - 1)),
    "a number of a thousand bytes": (
        valued(opcode(b"\x8b", "<i", 1000), b"\1" * 1000),
        "number of 1000 bytes",
    ),
    "FRAME": (bytes_of(b"\x80\4", opcode(b"\x95", "<Q", HUGE), b"}."), str(HUGE)),
    "LONG_BINPUT": (valued(b"N", opcode(b"r", "<I", 2**31 - 1), b"h\0"), "put aside"),
    "a million digits": (bytes_of(b"(dS'a'\nI", b"9" * MANY, b"\ns."), "line"),
    "one string as many arrays": (_many_arrays, "bytes of arrays"),
    "one text as many bytes": (
        repeating(b"_codecs\nencode", _MEGABYTE + b"X\6\0\0\0latin1\x86"),
        "bytes to decode",
    ),
    "one text as many values": (_repeated(b"h\0", b"l"), "bytes of text"),
    "one text as many keys": (_repeated(b"h\0N", b"d"), "bytes of text"),
    "one list as many dicts": (repeating(b"collections\nOrderedDict", PAIRS + b"\x85"), "values"),
    "too much text": (valued(opcode(b"X", "<I", 1 << 25), b"a" * (1 << 25)), "text"),
}

VALUES = {
    "objects": (bytes_of(python2_pickle(dtype=b"O8")), "O8"),
    "objects beside them": (_pickling({"a": np.array([{}, None])}), "O8"),
    "records": (_pickling({"a": np.zeros(2, "i4,f4")}), "V8"),
    "strings": (_pickling({"a": np.array(["x"])}), "U1"),
    "dates": (_pickling({"a": np.zeros(2, "M8[s]")}), "M8"),
    "masked arrays": (_pickling({"a": np.ma.zeros(3)}), "numpy.ma"),
    "an array without content": (
        valued(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R"),
        "content",
    ),
    "a number as content": (bytes_of(python2_pickle(content=b"K\1")), "bytes"),
    "no array": (_pickling({"a": "b"}), "'a'"),
    "a list": (_pickling([np.zeros(3)]), "list"),
    "two arrays of one name": (_pickling({"a": np.zeros(3), b"a": np.ones(3)}, 3), "two arrays"),
    "an unknown escape": (bytes_of(b"(dS'\\q'\nI1\ns."), "escape"),
    "not UTF-8": (valued(b"X\1\0\0\0\xff"), "utf-8"),
    "protocol 9": (bytes_of(b"\x80\x09}."), "protocol 9"),
    "an empty stack": (bytes_of(b"\x80\2."), "stack"),
}

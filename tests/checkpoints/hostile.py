"""Files that lie: by name, what makes their bytes, and a word that their error must hold.

Each maker takes the path of a canary, a file that would appear if any of their code ran.
"""

import gzip
import importlib
import io
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np

from tests.checkpoints import weight_files
from tests.checkpoints.weight_files import (
    long_integer,
    opcode,
    python2_pickle,
    replaced,
    with_pickle,
    with_record,
)

HUGE = 10**15
_MEGABYTE = opcode(b"X", "<I", 1 << 20) + b"a" * (1 << 20)
_MANY = 1_000_000


class _Call:
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
    return lambda canary: pickle.dumps({"a": _Call(function, code.format(canary))}, protocol)


def _pickling(value, protocol=2):
    return lambda canary: pickle.dumps(value, protocol)


def _bytes(*parts):
    return lambda canary: b"".join(parts)


def _valued(*opcodes):
    """A pickle of {"a": ...}, with the value given as opcodes."""
    return _bytes(b"\x80\x02}U\x01a", *opcodes, b"s.")


def _doubling(close, opening=b""):
    """Forty containers, each of which holds the one before twice."""
    body = opening * 40 + b"K\x01q\0"
    for index in range(40):
        body += opcode(b"h", "B", index) + close + opcode(b"q", "B", index + 1)
    return body


def _repeating(function, arguments, count=50_000):
    """A list of many calls of one function with the same arguments."""
    return _bytes(
        b"\x80\x02](", b"c" + function + b"\nq\0", arguments, b"q\1", b"h\0h\1R" * count, b"e."
    )


def _repeated(use, close):
    """A megabyte from one call of _codecs.encode, used many times; `use` begins by getting it."""
    call = b"c_codecs\nencode\n" + _MEGABYTE + b"X\6\0\0\0latin1\x86Rq\0"
    return _valued(b"(", call, use[2:], use * 50_000, close)


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


_PAIRS = b"](" + b"".join(opcode(b"M", "<H", key) + b"N\x86" for key in range(50_000)) + b"e"
_NESTED = _bytes(b"\x80\x02", b"]" * 100_000, b"a" * 99_999, b".")
_DOUBLED_KEY = _bytes(b"\x80\x02}", _doubling(b"\x86"), b"Ns.")

_CODE = {
    "os.system": (_calling(os.system, "touch {}"), "system"),
    "os.system in protocol 0": (_calling(os.system, "touch {}", 0), "system"),
    "os.system in protocol 4": (_calling(os.system, "touch {}", 4), "system"),
    "eval": (_calling(eval, "open('{}', 'w')"), "__builtin__.eval"),
    "exec": (_calling(exec, "open('{}', 'w')", 4), "builtins.exec"),
    "getattr": (_pickling({"a": _Call(getattr, "a", "upper")}), "getattr"),
    "importlib": (_pickling({"a": _Call(importlib.import_module, "os")}), "import_module"),
    "a class of the user's": (_user_object, "_OfTheUser"),
    "a function of NumPy": (_valued(b"cnumpy\nload\nU\x01a\x85R"), "numpy.load"),
    "a call of ndarray": (_valued(b"cnumpy\nndarray\nK\x01\x85R"), "numpy.ndarray"),
    "a call of a result": (_valued(b"ccollections\nOrderedDict\n)R)R"), "REDUCE"),
    "bytes of a number": (_valued(b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R"), "arguments"),
    "the state of a dict": (_valued(b"}}b"), "BUILD"),
    "the attributes of an OrderedDict": (
        _valued(b"ccollections\nOrderedDict\n)R}U\x05itemsK\x01sb"),
        "attributes",
    ),
    "INST": (_valued(b"(ios\nsystem\n"), "INST"),
    "OBJ": (_valued(b"(cnumpy\nndarray\no"), "OBJ"),
    "NEWOBJ": (_valued(b"cnumpy\nndarray\n)\x81"), "NEWOBJ"),
    "NEWOBJ_EX": (_valued(b"cnumpy\nndarray\n)}\x92"), "NEWOBJ_EX"),
    "EXT1": (_valued(b"\x82\1"), "EXT1"),
    "EXT2": (_valued(b"\x83\1\0"), "EXT2"),
    "EXT4": (_valued(b"\x84\1\0\0\0"), "EXT4"),
    "PERSID": (_valued(b"Pfile\n"), "PERSID"),
    "BINPERSID": (_valued(b"U\1aQ"), "BINPERSID"),
    "an opcode that is none": (_valued(b"\xff"), "0xff"),
}

_SIZES = {
    "nested lists": (_NESTED, "deep"),
    "nested tuples": (_valued(b")", b"\x85" * 100_000), "deep"),
    "nested dicts": (_bytes(b"\x80\x02", b"}U\1a" * 50_000, b"N", b"s" * 50_000, b"."), "deep"),
    "a list in itself": (_valued(b"]q\0h\0a"), "deep"),
    "a million marks": (_bytes(b"\x80\x02", b"(" * _MANY), "deep"),
    "a million dicts": (_bytes(b"\x80\x02(", b"}" * _MANY, b"l."), "250000"),
    "a million strings": (_bytes(b"\x80\x02(", b"U\x01a" * _MANY, b"l."), "250000"),
    "doubled lists": (_valued(_doubling(b"l", b"(")), "250000"),
    "doubled tuples": (_valued(_doubling(b"\x86")), "250000"),
    "doubled tuples as a key": (_DOUBLED_KEY, "keys"),
    "colliding keys": (_colliding_keys, "keys"),
    "an array of a petabyte": (
        _bytes(python2_pickle(shape=long_integer(HUGE) + b"\x85")),
        str(4 * HUGE),
    ),
    "an array of no rows of a petabyte": (
        _bytes(python2_pickle(b"K\0" + long_integer(2**62) * 2 + b"\x87", content=b"U\0")),
        "NumPy",
    ),
    "an array of -1": (_bytes(python2_pickle(b"J\xff\xff\xff\xff\x85")), "shape"),
    "an array of 100 axes": (_bytes(python2_pickle(b"(" + b"K\1" * 100 + b"t")), "shape"),
    "BINBYTES8": (_valued(opcode(b"\x8e", "<Q", HUGE)), str(HUGE)),
    "BINUNICODE8": (_valued(opcode(b"\x8d", "<Q", HUGE)), str(HUGE)),
    "BYTEARRAY8": (_valued(opcode(b"\x96", "<Q", HUGE)), str(HUGE)),
    "BINSTRING": (_valued(opcode(b"T", "<i", -5)), "-5"),
    "LONG4": (_valued(opcode(b"\x8b", "<i", 2**31 - 1)), str(2**31 - 1)),
    "FRAME": (_bytes(b"\x80\4", opcode(b"\x95", "<Q", HUGE), b"}."), str(HUGE)),
    "LONG_BINPUT": (_valued(b"N", opcode(b"r", "<I", 2**31 - 1), b"h\0"), "put aside"),
    "a million digits": (_bytes(b"(dS'a'\nI", b"9" * _MANY, b"\ns."), "line"),
    "one string as many arrays": (_many_arrays, "bytes of arrays"),
    "one text as many bytes": (
        _repeating(b"_codecs\nencode", _MEGABYTE + b"X\6\0\0\0latin1\x86"),
        "bytes to decode",
    ),
    "one text as many values": (_repeated(b"h\0", b"l"), "bytes of text"),
    "one text as many keys": (_repeated(b"h\0N", b"d"), "bytes of text"),
    "one list as many dicts": (_repeating(b"collections\nOrderedDict", _PAIRS + b"\x85"), "values"),
    "too much text": (_valued(opcode(b"X", "<I", 1 << 25), b"a" * (1 << 25)), "text"),
}

_VALUES = {
    "objects": (_bytes(python2_pickle(dtype=b"O8")), "O8"),
    "objects beside them": (_pickling({"a": np.array([{}, None])}), "O8"),
    "records": (_pickling({"a": np.zeros(2, "i4,f4")}), "V8"),
    "strings": (_pickling({"a": np.array(["x"])}), "U1"),
    "dates": (_pickling({"a": np.zeros(2, "M8[s]")}), "M8"),
    "masked arrays": (_pickling({"a": np.ma.zeros(3)}), "numpy.ma"),
    "an array without content": (
        _valued(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R"),
        "content",
    ),
    "a number as content": (_bytes(python2_pickle(content=b"K\1")), "bytes"),
    "no array": (_pickling({"a": "b"}), "'a'"),
    "a list": (_pickling([np.zeros(3)]), "list"),
    "two arrays of one name": (_pickling({"a": np.zeros(3), b"a": np.ones(3)}, 3), "two arrays"),
    "an unknown escape": (_bytes(b"(dS'\\q'\nI1\ns."), "escape"),
    "not UTF-8": (_valued(b"X\1\0\0\0\xff"), "utf-8"),
    "protocol 9": (_bytes(b"\x80\x09}."), "protocol 9"),
    "an empty stack": (_bytes(b"\x80\2."), "stack"),
}


def _torch(make):
    """A file of torch.save that holds what `make` gives when it is handed torch."""

    def write(canary):
        import torch

        return weight_files.torch_bytes(make(torch))

    return write


def _torch_around(maker):
    """A file of torch.save around the pickle of another maker."""
    return lambda canary: with_pickle(weight_files.torch_saved(), maker(canary))


def _torch_saying(old, new):
    """A file of torch.save in whose pickle `old` has become `new`."""

    def write(canary):
        content = weight_files.torch_saved()
        body = weight_files.record(content, "/data.pkl")
        return with_pickle(content, replaced(body, old, new))

    return write


def _legacy_saying(old, new):
    """The same in the format before torch 1.6."""
    return lambda canary: replaced(weight_files.torch_saved(zipped=False), old, new)


def _torch_entry(field, *numbers):
    """A file of torch.save whose directory gives a record other numbers."""

    def write(canary):
        content = bytearray(weight_files.torch_saved())
        entry = content.rindex(b"PK\1\2", 0, content.rindex(b"/data/0"))
        struct.pack_into(f"<{len(numbers)}L", content, entry + field, *numbers)
        return bytes(content)

    return write


def _torch_bomb(canary):
    """64 megabytes of zeros, packed a thousand times smaller."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(weight_files.torch_saved())) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            with new.open(name, "w") as record:
                record.write(old.read(name))
                for _ in range(64 if name.endswith("/data/0") else 0):
                    record.write(bytes(1 << 20))
    return stream.getvalue()


_CONV1_W = b"K\4K\3K\2\x87"
_TORCH = {
    "torch: os.system": (_torch_around(_CODE["os.system"][0]), "system"),
    "torch: eval, before 1.6": (
        _legacy_saying(b"ccollections\nOrderedDict", b"c__builtin__\neval"),
        "eval",
    ),
    "torch: a bytearray of a petabyte": (
        _torch_around(_valued(b"c__builtin__\nbytearray\n", long_integer(HUGE), b"\x85R")),
        "bytearray",
    ),
    "torch: nested lists": (_torch_around(_NESTED), "deep"),
    "torch: doubled tuples as a key": (_torch_around(_DOUBLED_KEY), "keys"),
    "torch: one list as many sizes": (
        _torch_around(_repeating(b"torch\nSize", _PAIRS + b"\x85")),
        "values",
    ),
    "torch: a storage of a petabyte": (
        _torch_saying(b"K\x18t", long_integer(HUGE) + b"t"),
        "storage",
    ),
    "torch: a storage of a petabyte, before 1.6": (
        _legacy_saying(b"K\x18N", long_integer(HUGE) + b"N"),
        "two sizes",
    ),
    "torch: a tensor larger than its storage": (_torch_saying(_CONV1_W, b"K\4K\3K\3\x87"), "over"),
    "torch: a tensor behind its storage": (
        _torch_saying(b"QK\0" + _CONV1_W, b"QK\1" + _CONV1_W),
        "over",
    ),
    "torch: a tensor larger than its storage, before 1.6": (
        _legacy_saying(_CONV1_W, b"K\4K\3K\3\x87"),
        "over",
    ),
    "torch: negative strides": (
        _torch_saying(b"K\6K\2K\1\x87", b"J\xff\xff\xff\xffK\2K\1\x87"),
        "strides",
    ),
    "torch: an expanded tensor": (_torch(lambda torch: {"a": torch.ones(1).expand(HUGE)}), "over"),
    "torch: a sparse tensor": (_torch(lambda torch: {"a": torch.eye(3).to_sparse()}), "_sparse_"),
    "torch: a quantised tensor": (
        _torch(lambda torch: {"a": _Call(torch._utils._rebuild_qtensor, 1)}),
        "_rebuild_qtensor",
    ),
    "torch: a whole module": (_torch(lambda torch: torch.nn.Linear(2, 2)), "Linear"),
    "torch: a bare storage": (
        _torch(lambda torch: {"a": torch.ones(3).untyped_storage()}),
        "Storage",
    ),
    "torch: TorchScript": (
        lambda canary: with_record(weight_files.torch_saved(), "/constants.pkl"),
        "torch.jit.load",
    ),
    "torch: a record of 4 GB": (_torch_entry(24, 2**32 - 2), "compressed"),
    "torch: a record of 4 GB, twice": (_torch_entry(20, 2**32 - 2, 2**32 - 2), "claims"),
    "torch: a record over others": (_torch_entry(20, 500, 500), "overlaps"),
    "torch: a record elsewhere": (_torch_entry(42, 7), "where the directory says"),
    "torch: a record behind the end": (_torch_entry(42, 2**32 - 2), "outside"),
    "torch: a bomb": (_torch_bomb, "compressed"),
    "torch: a climbing name": (
        lambda canary: with_record(weight_files.torch_saved(), "/../../a"),
        "/../../a",
    ),
    "torch: one name twice": (
        lambda canary: with_record(weight_files.torch_saved(), "/DATA.PKL"),
        "two records",
    ),
    "torch: a comment behind it": (lambda canary: weight_files.torch_saved() + b"PK\5\6", "end"),
}


def _safetensors(header, *body):
    return _bytes(struct.pack("<Q", len(header)), header, *body)


_SAFETENSORS = {
    "safetensors: a header of a petabyte": (_bytes(struct.pack("<Q", HUGE), b"{}"), str(HUGE)),
    "safetensors: a header of 2 GB": (_bytes(struct.pack("<Q", 1 << 31), b"{}"), str(1 << 31)),
    "safetensors: nested lists": (_safetensors(b"{" + b'"a":[' * _MANY), "safetensors"),
    "safetensors: offsets behind the end": (
        _safetensors(b'{"a":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}', bytes(4)),
        "safetensors",
    ),
    "safetensors: a shape of its own": (
        _safetensors(b'{"a":{"dtype":"F32","shape":[%d],"data_offsets":[0,4]}}' % HUGE, bytes(4)),
        "safetensors",
    ),
    "safetensors: one place for two": (
        _safetensors(
            b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
            b'"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}',
            bytes(4),
        ),
        "safetensors",
    ),
    "safetensors: eight bits of float": (
        _safetensors(b'{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}', bytes(4)),
        "F8_E4M3",
    ),
    "safetensors: no tensors": (_safetensors(b"{}"), "no arrays"),
}


def _tar(canary):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pkl"))
    return stream.getvalue()


def _zip(name):
    def write(canary):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(name, b"{}")
        return stream.getvalue()

    return write


def _npz(canary):
    stream = io.BytesIO()
    np.savez(stream, **weight_files.arrays())
    return stream.getvalue()


_OTHERS = {
    "an empty file": (_bytes(), "empty"),
    "zeros": (_bytes(bytes(1000)), "neither"),
    "one byte": (_bytes(b"\x80"), "neither"),
    "a text": (_bytes(b"Not found\n"), "text file"),
    "a text in parentheses": (_bytes(b"(deleted)\n"), "mark"),
    "an HTML page": (_bytes(b"\n<!DOCTYPE html>\n<html><body>403</body></html>"), "HTML page"),
    "an XML document": (_bytes(b'<?xml version="1.0"?><Error/>'), "server"),
    "a pointer of Git LFS": (_bytes(b"version https://git-lfs.github.com/spec/v1\noid"), "git lfs"),
    "gzip": (lambda canary: gzip.compress(weight_files.pickled()), "compressed"),
    "tar": (_tar, "tar archive"),
    "zip": (_zip("weights.pkl"), "Unpack"),
    "a .keras file": (_zip("model.weights.h5"), "keras.saving.load_model"),
    "a .weights.h5 file": (_bytes(b"\x89HDF\r\n\x1a\n", bytes(500)), "load_weights"),
    "an .npz file": (_npz, ".npz"),
    "a .params file": (_bytes(b"\x12\1", bytes(14), b"\3"), "MXNet"),
}

FILES = {**_CODE, **_SIZES, **_VALUES, **_TORCH, **_SAFETENSORS, **_OTHERS}

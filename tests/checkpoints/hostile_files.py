"""Files that lie, by name: their bytes, and a word that their error must contain.

Makers take the path of a canary, a file that would appear if any of their code ran.
"""

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np

HUGE, MANY = 10**15, 1_000_000
ARRAYS = {
    "conv1_w": np.random.default_rng(7).normal(size=(4, 3, 2)).astype("float32"),
    "conv1_b": np.random.default_rng(8).normal(size=90).astype("float32"),
    "count": np.array(3, "int64"),
    "mask": np.array([True, False, True]),
}


class Call:
    """Is pickled as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def torch_bytes(content, zipped=True):
    import torch

    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def torch_file(zipped=True):
    import torch

    state = {name: torch.tensor(array) for name, array in ARRAYS.items()}
    return torch_bytes({"model_state": state, "cfg": "DEPTH: 50"}, zipped)


def safetensors_file():
    import safetensors.numpy

    return safetensors.numpy.save(ARRAYS, metadata={"cfg": "DEPTH: 50"})


FILES = {
    **{
        f"pickle {protocol}": lambda p=protocol: pickle.dumps(
            {"blobs": ARRAYS, "cfg": "DEPTH: 50"}, p
        )
        for protocol in range(6)
    },
    "torch": torch_file,
    "torch before 1.6": lambda: torch_file(zipped=False),
    "safetensors": safetensors_file,
}


def python2_pickle(shape=b"K\x02\x85", dtype=b"f4", content=b"U\x08\0\0\x80?\0\0\0@"):
    """The pickle of {"a": an array}, as Python 2 writes it; shape and content are opcodes."""
    return b"".join(
        (
            b"\x80\x02}q\x01U\x01aq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03",
            b"cnumpy\nndarray\nq\x04K\0\x85q\x05U\x01bq\x06\x87q\x07Rq\x08(K\x01" + shape,
            b"cnumpy\ndtype\nq\x09" + b"U" + bytes([len(dtype)]) + dtype + b"K\0K\x01\x87Rq\x0a",
            b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89" + content + b"tbs.",
        )
    )


def rezipped(content, records=(), **options):
    """A zip archive packed anew, with other records: bytes, or `None` for none, by name."""
    stream, old = io.BytesIO(), zipfile.ZipFile(io.BytesIO(content))
    contents = {name: old.read(name) for name in old.namelist()}
    contents |= {f"archive/{name}": record for name, record in dict(records).items()}
    with zipfile.ZipFile(stream, "w", **options) as new:
        for name, record in contents.items():
            if record is not None:
                new.writestr(name, record)
    return stream.getvalue()


def replaced(content, old, new):
    if content.count(old) < 1:
        raise LookupError(f"{old!r} is not there to be replaced")
    return content.replace(old, new)


def _in_pickle(old, new):
    """A file of torch.save in whose pickle `old` has become `new`."""

    def make(canary):
        content = torch_file()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            body = archive.read("archive/data.pkl")
        return rezipped(content, {"data.pkl": replaced(body, old, new)})

    return make


def _in_legacy(old, new):
    return lambda canary: replaced(torch_file(zipped=False), old, new)


def _in_entry(offset, code, *values):
    """A file of torch.save whose directory says something else of one record."""

    def make(canary):
        content = bytearray(torch_file())
        entry = content.rindex(b"PK\1\2", 0, content.rindex(b"/data/0"))
        struct.pack_into(code, content, entry + offset, *values)
        return bytes(content)

    return make


def _torch(make):
    def write(canary):
        import torch

        return torch_bytes(make(torch))

    return write


def _torch_with(name, record):
    """A file of torch.save with another record."""
    return lambda canary: rezipped(
        torch_file(), {name: record(canary) if callable(record) else record}
    )


def _safetensors(header, content=bytes(4), length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + content


def _entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def _calling(function, code, protocol):
    return lambda canary: pickle.dumps({"a": Call(function, code.format(canary))}, protocol)


def _valued(*opcodes):
    """A pickle of {"a": ...}, with the value given as opcodes."""
    return b"".join((b"\x80\x02}U\x01a", *opcodes, b"s."))


def _beside(*opcodes):
    """A pickle of {"a": an array, "b": ...}, with the value given as opcodes."""
    return b"".join((python2_pickle()[:-1], b"U\1b", *opcodes, b"s."))


def _long(number):
    return b"\x8a\x08" + struct.pack("<q", number)


def _doubled(close, opening=b""):
    """Forty containers, each of which contains the one before twice."""
    steps = (b"h%c%sq%c" % (i, close, i + 1) for i in range(40))
    return opening * 40 + b"K\x01q\0" + b"".join(steps)


def _npz():
    stream = io.BytesIO()
    np.savez(stream, **ARRAYS)
    return stream.getvalue()


_TEXT = b"X" + struct.pack("<I", MANY) + b"a" * MANY
_PAIRS = b"](" + b"".join(b"M%sN\x86" % struct.pack("<H", key) for key in range(50_000)) + b"e"
_KEYS = b"".join(b"\x8a\x0b%sN" % (i * (2**61 - 1)).to_bytes(11, "little") for i in range(60_000))
_EMPTY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R"
_SHAPE, _STRIDES = b"K\4K\3K\2\x87", b"K\6K\2K\1\x87"
_ARRAY = _EMPTY + b"(K\1J" + struct.pack("<i", MANY) + b"\x85cnumpy\ndtype\nU\x02u1K\0K\x01\x87R"
_ARRAY += b"\x89h\1tb"
_PARAMETER = b"ctorch._utils\n_rebuild_parameter\nqc"
_TWO_ARRAYS = b"\x80\2}(" + _TEXT + b"q\1K\0K\1" + _ARRAY + b"K\2" + _ARRAY + b"u."
_DICT = _PAIRS + b"\x85qcccollections\nOrderedDict\nqb"

HOSTILE = {
    "os.system": (_calling(os.system, "touch {}", 2), "system"),
    "os.system, protocol 0": (_calling(os.system, "touch {}", 0), "system"),
    "eval": (_calling(eval, "open('{}', 'w')", 4), "builtins.eval"),
    "a call of NumPy": (_valued(b"cnumpy\nload\nU\x01a\x85R"), "numpy.load"),
    "INST": (_valued(b"(U\1aios\nsystem\n"), "os.system"),
    "OBJ": (_valued(b"(cos\nsystem\nU\1ao"), "os.system"),
    "NEWOBJ": (_valued(b"cos\nsystem\n)\x81"), "os.system"),
    "NEWOBJ_EX": (_valued(b"cos\nsystem\n)}\x92"), "os.system"),
    "state of a global": (_valued(b"cos\nsystem\n}U\x04nameU\1xsb)R"), "os.system"),
    "EXT1": (_valued(b"\x82\1"), "0x82"),
    "PERSID": (_valued(b"Pfile\n"), "0x50"),
    "a persistent id of ours": (_valued(b"K\0Q"), "no tensors"),
    "no such opcode": (_valued(b"\xff"), "0xff"),
    "nested lists": (b"\x80\x02}U\1a" + b"]" * 90_000 + b"a" * 89_999 + b"s.", "no tensors"),
    "nested lists beside": (_beside(b"]" * 90_000, b"a" * 89_999), "64 deep"),
    "nested calls": (_beside(_PARAMETER, b"hc" * 50_000, b"N", b"\x85R" * 50_001), "damaged"),
    "a list in itself": (_beside(b"]qchca"), "64 deep"),
    "doubled lists": (_beside(_doubled(b"l", b"(")), "64 deep"),
    "doubled tuples as a key": (b"\x80\2}" + _doubled(b"\x86") + b"Ns.", "no tensors"),
    "keys with one hash": (b"\x80\2}(" + _KEYS + b"u.", "no tensors"),
    "a million marks": (b"\x80\2}" + b"(" * MANY, "250000"),
    "a million dicts": (b"\x80\2(" + b"}" * MANY + b"l.", "250000"),
    "LONG_BINPUT": (_valued(b"Nr\xff\xff\xff\x7f"), "index 2147483647"),
    "PUT": (_valued(b"Np4294967295\n"), "index 4294967295"),
    "BINUNICODE8": (_valued(b"\x8d" + struct.pack("<Q", HUGE)), "damaged"),
    "BINBYTES8": (_valued(b"\x8e" + struct.pack("<Q", HUGE)), "damaged"),
    "BYTEARRAY8": (_valued(b"\x96" + struct.pack("<Q", HUGE)), "damaged"),
    "BINSTRING": (_valued(b"T" + struct.pack("<i", -5)), "damaged"),
    "LONG4": (_valued(b"\x8b" + struct.pack("<i", MANY) + bytes(MANY)), "number of 1000000"),
    "a million digits": (b"(dS'a'\nI" + b"9" * MANY + b"\ns.", "number of 1000001"),
    "an empty stack": (b"\x80\2.", "damaged"),
    "not UTF-8": (_valued(b"X\1\0\0\0\xff"), "damaged"),
    "protocol 9": (b"\x80\x09}.", "neither"),
    "one text as many arrays": (_TWO_ARRAYS, "more bytes than the file"),
    "one list as many dicts": (_beside(b"](", _DICT, b"hbhcR" * 20_000, b"e"), "250000 in number"),
    "a long text as metadata": (_beside(b"X\0\0\0\2" + b"a" * 2**25), "text of 33554437 bytes"),
    "a shape of a petabyte": (python2_pickle(shape=_long(HUGE) + b"\x85"), str(4 * HUGE)),
    "a shape of no rows": (
        python2_pickle(b"K\0" + _long(2**62) * 2 + b"\x87", content=b"U\0"),
        "damaged",
    ),
    "a shape of -1": (python2_pickle(b"J\xff\xff\xff\xff\x85"), "not sizes"),
    "a shape of half the bytes": (python2_pickle(b"K\1\x85"), "4 bytes, of which there are 8"),
    "a shape of True": (python2_pickle(b"\x88\x85", content=b"U\4abcd"), "not sizes"),
    "objects": (python2_pickle(dtype=b"O8"), "objects"),
    "records": (lambda c: pickle.dumps({"a": np.zeros(2, "i4,f4")}), "records"),
    "dates": (lambda c: pickle.dumps({"a": np.zeros(2, "M8[s]")}), "records"),
    "masked arrays": (lambda c: pickle.dumps({"a": np.ma.zeros(3)}), "numpy.ma"),
    "no content": (_valued(_EMPTY), "damaged"),
    "a number as content": (python2_pickle(content=b"K\1"), "damaged"),
    "a list": (pickle.dumps([np.zeros(3)]), "'list'"),
    "no arrays": (pickle.dumps({"a": "b"}), "'a'"),
    "one name twice": (python2_pickle()[:-1] + b"h\2K\1s.", "'a' twice"),
    "text and bytes as one name": (pickle.dumps({"a": np.ones(1), b"a": np.ones(1)}, 3), "twice"),
    "torch: os.system": (_torch_with("data.pkl", _calling(os.system, "touch {}", 2)), "system"),
    "torch: a checksum": (
        lambda c: replaced(torch_file(), ARRAYS["conv1_w"].tobytes()[:9], b"damaged!!"),
        "checksum of 'data/0'",
    ),
    "torch: a long storage": (_in_pickle(b"K\x18t", _long(HUGE) + b"t"), "storage of more"),
    "torch: another dtype": (_in_pickle(b"FloatStorage", b"HalfStorage"), "storage of more"),
    "torch: quantized": (_in_pickle(b"FloatStorage", b"QInt32Storage"), "plain numbers"),
    "torch: a larger tensor": (_in_pickle(_SHAPE, b"K\4K\3K\3\x87"), "tensor or a storage"),
    "torch: an offset": (_in_pickle(b"QK\0" + _SHAPE, b"QK\1" + _SHAPE), "tensor or a storage"),
    "torch: a negative offset": (_in_pickle(b"QK\0", b"QJ\xff\xff\xff\xff"), "not sizes"),
    "torch: negative strides": (
        _in_pickle(_STRIDES, b"J\xff\xff\xff\xff" + _STRIDES[2:]),
        "not si",
    ),
    "torch: long strides": (_in_pickle(_STRIDES, _long(2**62) + _STRIDES[2:]), "tensor or a stor"),
    "torch: strides of another rank": (_in_pickle(_STRIDES, b"K\2K\1\x86"), "rank"),
    "torch: an unknown function": (_in_pickle(b"_rebuild_tensor_v2", b"_rebuild_x"), "_rebuild_x"),
    "torch: expanded": (_torch(lambda t: {"a": t.ones(1).expand(HUGE)}), "tensor or a storage"),
    "torch: conjugated": (_torch(lambda t: {"a": t.ones(2, dtype=t.cfloat).conj()}), "metadata"),
    "torch: sparse": (_torch(lambda t: {"a": t.eye(3).to_sparse()}), "_sparse_"),
    "torch: a module": (_torch(lambda t: t.nn.Linear(2, 2)), "Linear"),
    "torch: many views": (
        _torch(lambda t: dict(enumerate(t.ones(10_000).half().unfold(0, 9_900, 1)))),
        "more bytes than the file",
    ),
    "torch: TorchScript": (_torch_with("constants.pkl", b"{}"), "torch.jit.load"),
    "torch: big-endian": (_torch_with("byteorder", b"big"), "big-endian"),
    "torch: a missing record": (_torch_with("data/1", None), "data/1"),
    "torch: compressed": (
        lambda c: rezipped(torch_file(), compression=zipfile.ZIP_DEFLATED),
        "compressed",
    ),
    "torch: a record of 4 GB": (_in_entry(24, "<L", 2**32 - 2), "compressed"),
    "torch: a record over others": (_in_entry(20, "<2L", 500, 500), "over another"),
    "torch: a record elsewhere": (_in_entry(42, "<L", 0), "damaged"),
    "torch: a long directory": (
        lambda c: rezipped(torch_file())[:-10] + struct.pack("<2LH", 2**30, 0, 0),
        "damaged",
    ),
    "torch before 1.6: a larger tensor": (_in_legacy(_SHAPE, b"K\4K\3K\3\x87"), "tensor or a"),
    "torch before 1.6: a larger storage": (_in_legacy(b"K\x18N", _long(HUGE) + b"N"), "two sizes"),
    "torch before 1.6: big-endian": (_in_legacy(b"endianq\2\x88", b"endianq\2\x89"), "big-endian"),
    "safetensors: a long header": (_safetensors({}, length=1 << 31), "header of"),
    "safetensors: nested lists": (_safetensors(b"{" + b'"a":[' * 9_000), "damaged"),
    "safetensors: after the end": (_safetensors({"a": _entry(shape=(9,), offsets=(0, 36))}), "dam"),
    "safetensors: a shape of its own": (_safetensors({"a": _entry(shape=(HUGE,))}), "damaged"),
    "safetensors: one place for two": (_safetensors({"a": _entry(), "b": _entry()}), "damaged"),
    "safetensors: one name twice": (
        _safetensors(
            b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},'
            b'"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}'
        ),
        "damaged",
    ),
    "safetensors: float8": (_safetensors({"a": _entry("F8_E4M3", (4,))}), "F8_E4M3"),
    "safetensors: no tensors": (_safetensors({}, b""), "no tensors"),
    "empty": (b"", "empty"),
    "zeros": (bytes(1000), "neither"),
    "text": (b"Not found\n", "begins with b'Not found"),
    "HTML": (b"\n<!DOCTYPE html>\n<html><body>403</body></html>", "HTML page"),
    "XML": (b'<?xml version="1.0"?><Error/>', "server"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "gzip": (b"\x1f\x8b\x08" + bytes(50), "compressed"),
    "tar": (b"w.pkl" + bytes(252) + b"ustar" + bytes(300), "tar archive"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(500), "load_weights"),
    ".npz": (_npz(), "npz"),
    "MXNet": (b"\x12\1" + bytes(14) + b"\3", "MXNet"),
}


def make(name, canary="canary"):
    maker = HOSTILE[name][0]
    return maker if isinstance(maker, bytes) else maker(canary)

"""Small files of weights as the formats' own writers make them, and ways to bend them."""

import collections
import io
import pickle
import struct
import zipfile

import numpy as np

# A petabyte, and enough of anything to be too much.
HUGE = 10**15
MANY = 1_000_000


def arrays():
    """Arrays of several dtypes, no two alike."""
    rng = np.random.default_rng(7)
    return {
        "conv1_w": rng.normal(size=(4, 3, 2)).astype("float32"),
        "conv1_b": rng.normal(size=5).astype("float32"),
        "count": np.array(3, "int64"),
        "mask": np.array([True, False, True]),
    }


def pickled(protocol=2):
    return pickle.dumps({"blobs": arrays(), "cfg": "DEPTH: 50"}, protocol)


def torch_bytes(content, zipped=True):
    import torch

    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def torch_saved(zipped=True):
    import torch

    state = collections.OrderedDict((k, torch.tensor(v)) for k, v in arrays().items())
    return torch_bytes({"model_state": state, "cfg": "DEPTH: 50"}, zipped)


def safetensors_saved():
    import safetensors.numpy

    return safetensors.numpy.save(arrays(), metadata={"cfg": "DEPTH: 50"})


def opcode(name, code, number):
    """An opcode with its argument, as pickles hold it."""
    return name + struct.pack(code, number)


def long_integer(number):
    return opcode(b"\x8a\x08", "<q", number)


def python2_pickle(shape=b"K\x02\x85", dtype=b"f4", content=b"U\x08\0\0\x80?\0\0\0@"):
    """The pickle of {"a": an array}, as Python 2 writes it; shape and content are opcodes."""
    return b"".join(
        (
            b"\x80\x02}q\x01U\x01aq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03",
            b"cnumpy\nndarray\nq\x04K\0\x85q\x05U\x01bq\x06\x87q\x07Rq\x08",
            b"(K\x01" + shape + b"cnumpy\ndtype\nq\x09",
            opcode(b"U", "<B", len(dtype)) + dtype + b"K\0K\x01\x87Rq\x0a",
            b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb",
            b"\x89" + content + b"tbs.",
        )
    )


def record(content, ending):
    """The bytes of the record of a zip archive whose name ends so."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return next(archive.read(name) for name in archive.namelist() if name.endswith(ending))


def with_pickle(content, body):
    """A file of torch.save around another pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            new.writestr(name, body if name.endswith("/data.pkl") else old.read(name))
    return stream.getvalue()


def with_record(content, name):
    """A zip archive with one more record, in the folder of the others."""
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(archive.namelist()[0].split("/")[0] + name, b"{}")
    return stream.getvalue()


def replaced(content, old, new):
    """Bytes with a part that they must have replaced."""
    if old not in content:
        raise LookupError(f"{old!r} is not there to be replaced")
    return content.replace(old, new)

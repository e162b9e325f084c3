"""Files that lie: by name, what makes their bytes, and a word that their error must hold.

Each maker takes the path of a canary, a file that would appear if any of their code ran.
"""

import gzip
import io
import tarfile
import zipfile

import numpy as np

from tests.archives import weight_files
from tests.archives.hostile_pickles import CODE, SIZES, VALUES, bytes_of
from tests.archives.hostile_tensors import SAFETENSORS, TORCH


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
    "an empty file": (bytes_of(), "empty"),
    "zeros": (bytes_of(bytes(1000)), "neither"),
    "one byte": (bytes_of(b"\x80"), "neither"),
    "a text": (bytes_of(b"Not found\n"), "text file"),
    "a text in parentheses": (bytes_of(b"(deleted)\n"), "mark"),
    "an HTML page": (bytes_of(b"\n<!DOCTYPE html>\n<html><body>403</body></html>"), "HTML page"),
    "an XML document": (bytes_of(b'<?xml version="1.0"?><Error/>'), "server"),
    "a pointer of Git LFS": (
        bytes_of(b"version https://git-lfs.github.com/spec/v1\noid"),
        "git lfs",
    ),
    "gzip": (lambda canary: gzip.compress(weight_files.pickled()), "compressed"),
    "tar": (_tar, "tar archive"),
    "zip": (_zip("weights.pkl"), "Unpack"),
    "a .keras file": (_zip("model.weights.h5"), "keras.saving.load_model"),
    "a .weights.h5 file": (bytes_of(b"\x89HDF\r\n\x1a\n", bytes(500)), "load_weights"),
    "an .npz file": (_npz, ".npz"),
    "a .params file": (bytes_of(b"\x12\1", bytes(14), b"\3"), "MXNet"),
}

FILES = {**CODE, **SIZES, **VALUES, **TORCH, **SAFETENSORS, **_OTHERS}

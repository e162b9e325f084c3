"""What a file is, by how it begins, never by its name."""

import codecs
import re

from keras_nonlocal.archives.errors import CheckpointError
from keras_nonlocal.archives.torch_files import LEGACY_MAGIC, ZIP_MAGIC

_SAVE_AGAIN = "Download it again, or give another file."
_UNPACK = "Unpack it, and give the file of weights inside."
# Beginnings of files that are something else, what to call them, and the way out.
_OTHERS = (
    (rb"\x1f\x8b|BZh\d|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf", "a compressed file", _UNPACK),
    (
        rb"\x89HDF\r\n\x1a\n",
        "an HDF5 file",
        "Give a .weights.h5 of Keras to model.load_weights, and a whole model in one .h5 file to "
        "keras.saving.load_model.",
    ),
    (rb"\x93NUMPY", "a single NumPy array", "Give the file that holds all arrays by name."),
    (
        rb"\x12\x01\0\0\0\0\0\0",
        "a .params file of MXNet",
        "Load it with MXNet, and save its arrays with safetensors.numpy.save_file.",
    ),
    (
        rb"version https?://[\w.-]+/spec/v\d",
        "a pointer of Git LFS, not the file that it points to",
        "Run `git lfs pull` where it comes from.",
    ),
    (
        rb"(\xef\xbb\xbf)?\s*(?i:<!doctype html|<html|<head|<body)",
        "an HTML page, probably an error page of the server",
        "Open it in a browser to see what the server says, then download the file again.",
    ),
    (
        rb"(\xef\xbb\xbf)?\s*<\?xml",
        "an XML document, probably an error message of the server",
        "Open it in a browser to see what the server says, then download the file again.",
    ),
)
# Protocols 2 to 5 say so; 0 and 1 begin with a dict, or with a class to make one of.
_PICKLE = re.compile(rb"\x80[\x02-\xff]|\(d|\(l|\(i|\(c|[}\]][.q(rsp\x94]|c[\w.]+\r?\n[\w.]+\r?\n")

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def recognise(data):
    """Gives "pickle", "torch" or "safetensors".

    Args:
        data: the whole file, bytes or an mmap.

    Raises:
        CheckpointError: the file is something else.
    """
    if len(data) == 0:
        raise CheckpointError(f"it is empty. {_SAVE_AGAIN}")
    beginning = data[:512]
    for pattern, kind, way_out in _OTHERS:
        if re.match(pattern, beginning):
            raise CheckpointError(f"it is {kind}. {way_out}")
    if beginning[257:262] == b"ustar":
        raise CheckpointError(f"it is a tar archive. {_UNPACK}")
    if beginning.startswith(ZIP_MAGIC):
        return _recognise_zip(data)
    if beginning.startswith(LEGACY_MAGIC):
        return "torch"
    # The length of a header, with its upper half zero, and the header.
    if beginning[4:9] == b"\0\0\0\0{":
        return "safetensors"
    if _PICKLE.match(beginning):
        return "pickle"
    if _is_text(beginning):
        raise CheckpointError(f"it is a text file, which begins {beginning[:40]!r}. {_SAVE_AGAIN}")
    if beginning[8:9] == b"{":
        return "safetensors"
    raise CheckpointError(
        f"it is neither a pickle, nor a file of torch.save, nor a safetensors file: it begins with "
        f"the bytes {beginning[:16].hex(' ')}. {_SAVE_AGAIN}"
    )


def _is_text(beginning):
    try:
        # One that accepts a character cut off at the end.
        text = codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError:
        return False
    return not _CONTROL.search(text)


def _recognise_zip(data):
    # The names stand once more in the directory at the end, if they are not cut off.
    end = max(0, len(data) - (1 << 16))
    for name, kind, way_out in (
        (b"model.weights.h5", "a .keras file", "Give it to keras.saving.load_model."),
        (b".npyPK", "an .npz file", "Save its arrays with safetensors.numpy.save_file."),
    ):
        if data.find(name, end) >= 0 or data.find(name, 0, 1 << 16) >= 0:
            raise CheckpointError(f"it is {kind}. {way_out}")
    return "torch"

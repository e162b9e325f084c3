"""Reads the named tensors of a checkpoint, and never runs code from the file."""

import dataclasses
import functools
import json
import mmap
import os
import re
import stat
import struct
import zipfile
import zlib

import numpy as np
import safetensors

from keras_nonlocal.checkpoints import pickles
from keras_nonlocal.checkpoints.errors import CheckpointError, damaged

# Far above what the directory of a network's tensors needs.
_MAX_DIRECTORY = 1 << 20
_LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_PICKLE = rb"\x80[\x02-\x05]|\([dlic]|[}\]][.q(rsp\x94]|c[\w.]+\r?\n[\w.]+\r?\n"
_AGAIN = "Download it again, or pass another file."
_OTHERS = (
    (rb"\x1f\x8b|BZh\d|\xfd7zXZ\0|7z\xbc\xaf", "a compressed file. Unpack it first."),
    (rb"(?s).{257}ustar", "a tar archive. Unpack it, and pass the checkpoint inside."),
    (rb"\x89HDF", "an HDF5 file. Pass it to model.load_weights or keras.saving.load_model."),
    (rb"\x12\x01\0{6}", "a .params file of MXNet. Load it there, and save it as safetensors."),
    (rb"version https?://[\w.-]+/spec/v\d", "a Git LFS pointer. Run `git lfs pull`."),
    (rb"(\xef\xbb\xbf)?\s*<[!?\w]", f"an HTML page or an XML message of a server. {_AGAIN}"),
)


@dataclasses.dataclass(frozen=True)
class StateDict:
    """The content of a checkpoint.

    Attributes:
        tensors: dict of names to numeric arrays, half precision widened to float32. Where
            possible they are views of the file, which must not change while they are used.
        metadata: dict of the plain values stored beside the tensors: config, epoch, class names.
        format: "pickle", "torch" or "safetensors".
    """

    tensors: dict[str, np.ndarray]
    metadata: dict
    format: str


def read_state_dict(path):
    """Reads a checkpoint without running anything from the file.

    Args:
        path: a pickle of NumPy arrays as Caffe2 programs write it, a file of `torch.save` or a
            safetensors file. Its content decides which; its name does not matter.

    Returns:
        A `StateDict`. Objects of unknown classes stored beside the tensors are left out.

    Raises:
        CheckpointError: if the file is missing, damaged, unsafe, or not a checkpoint.
    """
    path = os.fspath(path)
    try:
        data = _open(path)
        form, read = _recognize(data)
        return StateDict(*read(path, data), form)
    except CheckpointError as error:
        raise CheckpointError(f"Cannot read the checkpoint {path!r}: {error}") from error
    except Exception as error:  # A damaged file ends the parsers in errors of any kind.
        what = damaged(f"{type(error).__name__}: {str(error)[:200]!r}")
        raise CheckpointError(f"Cannot read the checkpoint {path!r}: {what}") from error


def non_finite(tensors):
    """Returns the names of the arrays that contain NaN or infinity."""
    found = []
    for name, array in tensors.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            found.append(name)
        release(array)
    return found


def release(array):
    """Frees the memory into which a file's bytes were mapped. A later use maps them again."""
    while isinstance(array, np.ndarray):
        array = array.base
    file = array.obj if isinstance(array, memoryview) else array
    if isinstance(file, _File) and hasattr(mmap, "MADV_DONTNEED"):  # Windows lacks it.
        file.madvise(mmap.MADV_DONTNEED)


class _File(mmap.mmap):
    """A mapped file that `zipfile` can read, of which no directory of absurd size is read."""

    def seekable(self):
        return True

    def read(self, size=-1):
        if size > _MAX_DIRECTORY:
            raise damaged(f"a directory of {size} bytes")
        return super().read(size)


def _open(path):
    try:
        # Opening a pipe would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CheckpointError("it is a folder, a pipe or a device. Pass the path of a file.")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise CheckpointError(f"it is empty. {_AGAIN}")
            return _File(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(f"{error.strerror}. Check the path and its permissions.") from None


def _recognize(data):
    start = data[:512]
    for pattern, kind in _OTHERS:
        if re.match(pattern, start):
            raise CheckpointError(f"it is {kind}")
    if start.startswith(b"PK\3\4"):
        return "torch", _read_zip
    if start.startswith(_LEGACY_MAGIC):
        return "torch", _read_legacy
    # The length of a header, whose upper half is zero, and the header.
    if start[4:9] == b"\0\0\0\0{":
        return "safetensors", _read_safetensors
    if re.match(_PICKLE, start):
        return "pickle", lambda path, data: pickles.PickledTensors(data).split(
            pickles.SafeUnpickler(data).load()
        )
    raise CheckpointError(
        "it is neither a pickle, nor a file of torch.save, nor a safetensors file. It begins with "
        f"{start[:24]!r}. {_AGAIN}"
    )


def _read_safetensors(path, data):
    start = 8 + int.from_bytes(data[:8], "little")
    if start > min(_MAX_DIRECTORY, len(data)):
        raise damaged(f"a header of {start - 8} bytes")
    with safetensors.safe_open(path, "numpy") as file:  # It checks the header, but copies arrays.
        metadata = file.metadata() or {}
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            if (code := pickles.DTYPES.get(entry["dtype"])) is None:
                raise CheckpointError(f"its tensor {name[:200]!r} is of dtype {entry['dtype']}.")
            dtype = "<u2" if code == "bfloat16" else code
            array = np.ndarray(entry["shape"], dtype, data, start + entry["data_offsets"][0])
            tensors[name] = pickles.widen(array, code)
    if not tensors:
        raise CheckpointError("it contains no tensors.")
    return tensors, metadata


def _read_zip(path, data):
    records, end, archive = {}, 0, zipfile.ZipFile(data)
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.compress_type or info.compress_size != info.file_size:
            raise CheckpointError(f"its record {info.filename!r} is compressed. Unpack it first.")
        if info.header_offset < end or info.filename in records:
            raise damaged(f"two records {info.filename!r}, or one over another")
        lengths = struct.unpack_from("<2H", data, info.header_offset + 26)
        start = info.header_offset + 30 + sum(lengths)
        end = start + info.file_size
        records[info.filename] = (start, end, info)
    folder = next(iter(records), "").split("/")[0]
    if f"{folder}/data.pkl" not in records:
        raise CheckpointError(
            "it is a zip archive that torch.save did not write. Pass a .keras file to "
            "keras.saving.load_model; save the arrays of an .npz file as safetensors."
        )
    if f"{folder}/constants.pkl" in records:
        raise CheckpointError(
            "it is a TorchScript archive, which contains code. Load it with torch.jit.load where "
            "you trust it, and save its state_dict() with torch.save."
        )

    @functools.cache
    def read(name):
        start, end, info = records[f"{folder}/{name}"]
        archive.open(info).close()  # Compares the record's own header.
        content = memoryview(data)[start:end]
        # torch.serialization.set_crc32_options(False) writes zeros.
        if info.CRC and zlib.crc32(content) != info.CRC:
            raise damaged(f"the checksum of {name!r}")
        release(content)
        return content

    if f"{folder}/byteorder" in records and read("byteorder") != b"little":
        raise CheckpointError("a big-endian machine wrote it. Save it on a little-endian one.")
    tree = pickles.SafeUnpickler(bytes(read("data.pkl"))).load()
    return pickles.PickledTensors(data, lambda key: read(f"data/{key}")).split(tree)


def _read_legacy(path, data):
    """Reads what torch wrote before version 1.6: pickles, and then the storages one by one."""
    parts, stubs, end = [], [], len(_LEGACY_MAGIC)
    for _ in ("version", "system", "content", "keys"):
        unpickler = pickles.SafeUnpickler(data, end)
        parts.append(unpickler.load())
        stubs, end = stubs + unpickler.storages, unpickler.end
    version, system, tree, keys = parts
    if version != 1001 or system.get("little_endian") is not True:
        raise CheckpointError("it is of an unknown version, or a big-endian machine wrote it.")
    storages, places = dict(map(pickles.storage_of, stubs)), {}
    for key in keys:
        code, length = storages[key]
        itemsize = 2 if code == "bfloat16" else np.dtype(code).itemsize
        start, end = end + 8, end + 8 + length * itemsize
        if int.from_bytes(data[start - 8 : start], "little") != length or key in places:
            raise damaged("two sizes of a storage")
        places[key] = memoryview(data)[start:end]
    if end != len(data) or len(places) != len(storages):
        raise damaged(f"{len(data)} bytes where {end} belong")
    return pickles.PickledTensors(data, places.__getitem__).split(tree)

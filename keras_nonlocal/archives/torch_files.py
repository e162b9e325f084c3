"""Files of torch.save, checked before torch sees them, and then read by torch.

Torch believes what a file says of its own sizes: it may read past the end of a record, or ask
for any amount of memory. So the records, and the pickle that speaks of them, are checked first,
with the machine that reads pickles of NumPy arrays and other stand-ins.
"""

import os

from keras_nonlocal.archives.errors import CheckpointError
from keras_nonlocal.archives.inert import damage, plain
from keras_nonlocal.archives.pickled_tensors import Tensor, Tensors
from keras_nonlocal.archives.safetensors_files import widen
from keras_nonlocal.archives.unpickling import Machine
from keras_nonlocal.archives.zip_records import read_records

# The pickle of a file without the tensors; some kilobytes for each of a thousand tensors.
MAX_PICKLE = 1 << 24

ZIP_MAGIC = b"PK\3\4"
# How a file begins that torch wrote before version 1.6: a pickle of torch's magic number.
LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_LEGACY_PROTOCOL = 1001


def read_torch(path, data):
    """Gives what a file of torch.save holds, as plain objects and NumPy arrays.

    Half-precision tensors come as float32, all others as views of what torch loaded.

    Args:
        path: of the file.
        data: the whole file, bytes or an mmap.

    Raises:
        CheckpointError: the file is damaged, lies, asks for more than tensors, or torch is
            not installed.
    """
    zipped = data[:4] == ZIP_MAGIC
    tree = _check_zip(data) if zipped else _check_legacy(data)
    try:
        import torch
    except ImportError:
        raise CheckpointError(
            "it is a file of torch.save, and torch is not installed. Install it: "
            'pip install "keras_nonlocal[torch]".'
        ) from None
    try:
        content = torch.load(
            os.fspath(path), map_location="cpu", weights_only=True, mmap=zipped or None
        )
        return _fill(tree, content, {})
    # Torch has no kind of error of its own for a broken file.
    except Exception as error:
        raise CheckpointError(
            f"torch refuses it ({type(error).__name__}: {str(error)[:300]}). Download or save it "
            "again, as torch.save(model.state_dict(), path)."
        ) from error


def _check_zip(data):
    records = read_records(data)
    # Torch takes the first part of the first name for all of them.
    folder = next(iter(records), "").split("/")[0]
    if f"{folder}/data.pkl" not in records:
        raise CheckpointError(
            "it is a zip archive, but not one that torch.save wrote. Unpack it, and give the "
            "file of weights inside."
        )
    if f"{folder}/constants.pkl" in records:
        raise CheckpointError(
            "it is a TorchScript archive, which holds code. Load it with torch.jit.load where "
            "you trust it, and save its state_dict() with torch.save."
        )
    for name in records:
        parts = name.split("/")
        if parts[0] != folder or ".." in parts or "" in parts or "\\" in name:
            raise CheckpointError(
                f"it is a zip archive with a record {name[:200]!r}, which torch.save never writes. "
                "Download or save it again."
            )
    start, size = records[f"{folder}/data.pkl"]
    if size > MAX_PICKLE:
        raise CheckpointError(f"its pickle without the tensors claims {size} bytes, too many.")
    tensors = Tensors(len(data))
    machine = Machine(bytes(data[start : start + size]), tensors.stand_ins, tensors.storage)
    tree = plain(machine, machine.run())
    for key, storage in tensors.storages.items():
        _, held = records.get(f"{folder}/data/{key}", (0, 0))
        if storage.length * storage.itemsize > held:
            raise damage(
                f"claims {storage.length * storage.itemsize} bytes for the storage {key[:40]!r}, "
                f"where the archive holds {held}"
            )
    return tree


def _check_legacy(data):
    position = len(LEGACY_MAGIC)
    version, position = _read_next(data, position)
    if version != _LEGACY_PROTOCOL:
        raise damage(f"follows the protocol {str(version)[:40]} of torch, not {_LEGACY_PROTOCOL}")
    _, position = _read_next(data, position)
    tensors = Tensors(len(data))
    machine = Machine(data, tensors.stand_ins, tensors.storage, position)
    tree = plain(machine, machine.run())
    keys, position = _read_next(data, machine.position)
    if not isinstance(keys, list) or sorted(map(repr, keys)) != sorted(map(repr, tensors.storages)):
        raise damage("does not list the storages that its tensors use")
    for key in keys:
        storage = tensors.storages[key]
        if int.from_bytes(data[position : position + 8], "little") != storage.length:
            raise damage(f"gives the storage {key[:40]!r} two sizes")
        position += 8 + storage.length * storage.itemsize
    if position > len(data):
        raise damage(f"needs {position} bytes, of which the file has {len(data)}")
    return tree


def _read_next(data, position):
    machine = Machine(data, {}, position=position)
    return plain(machine, machine.run()), machine.position


def _fill(tree, content, arrays):
    """Gives the checked tree, with arrays of torch's tensors where tensors belong."""
    if isinstance(tree, Tensor):
        # By the tensor's place in memory, so that tied tensors stay tied.
        key = (content.data_ptr(), content.dtype, content.shape, content.stride())
        if key not in arrays:
            arrays[key] = _to_array(content)
        return arrays[key]
    if isinstance(tree, dict):
        return {key: _fill(value, content[key], arrays) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_fill(*pair, arrays) for pair in zip(tree, content, strict=True))
    return tree


def _to_array(tensor):
    import torch

    tensor = tensor.detach()
    # Widened by NumPy, as torch would wake its threads for every tensor.
    if tensor.dtype == torch.bfloat16:
        return widen(tensor.view(torch.int16).numpy())
    array = tensor.numpy()
    return array.astype("float32") if array.dtype == "float16" else array

"""Files of torch and of safetensors that lie, in the form of hostile_pickles.py."""

import io
import re
import struct
import zipfile

from tests.archives import weight_files
from tests.archives.hostile_pickles import (
    CODE,
    DOUBLED_KEY,
    NESTED,
    PAIRS,
    Call,
    bytes_of,
    repeating,
    valued,
)
from tests.archives.weight_files import (
    HUGE,
    MANY,
    long_integer,
    replaced,
    with_pickle,
    with_record,
)


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


def _legacy_with_numbers_as_keys(canary):
    """A file before torch 1.6 that lists its storages by numbers, where its tensors use text."""
    content = weight_files.torch_saved(zipped=False)
    start = content.rindex(b"\x80\x02]q\0(")
    listed = content[start : content.index(b"e.", start)]
    numbers = re.sub(rb"X....(\d+)q.", rb"I\1\n", listed, flags=re.DOTALL)
    return content.replace(listed, numbers)


def _torch_with_long_sizes(canary):
    """A zip archive that says its sizes stand in a field that it lacks."""
    content = bytearray(weight_files.torch_saved())
    entry = content.rindex(b"PK\1\2")
    struct.pack_into("<2L", content, entry + 20, 2**32 - 1, 2**32 - 1)
    return bytes(content)


def _torch_exchanged(canary):
    """A zip archive whose directory has one record begin where another does."""
    content = bytearray(weight_files.torch_saved())
    place = content.rindex(b"PK\3\4", 0, content.index(b"/data/1"))
    entry = content.rindex(b"PK\1\2", 0, content.rindex(b"/data/0"))
    struct.pack_into("<L", content, entry + 42, place)
    return bytes(content)


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
TORCH = {
    "torch: os.system": (_torch_around(CODE["os.system"][0]), "system"),
    "torch: eval, before 1.6": (
        _legacy_saying(b"ccollections\nOrderedDict", b"c__builtin__\neval"),
        "eval",
    ),
    "torch: a bytearray of a petabyte": (
        _torch_around(valued(b"c__builtin__\nbytearray\n", long_integer(HUGE), b"\x85R")),
        "bytearray",
    ),
    "torch: nested lists": (_torch_around(NESTED), "deep"),
    "torch: doubled tuples as a key": (_torch_around(DOUBLED_KEY), "keys"),
    "torch: one list as many sizes": (
        _torch_around(repeating(b"torch\nSize", PAIRS + b"\x85")),
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
    "torch: a tensor larger than its storage": (
        _torch_saying(_CONV1_W, b"K\4K\3K\3\x87"),
        "over a storage of 24",
    ),
    "torch: a tensor behind its storage": (
        _torch_saying(b"QK\0" + _CONV1_W, b"QK\1" + _CONV1_W),
        "over a storage of 24",
    ),
    "torch: a tensor larger than its storage, before 1.6": (
        _legacy_saying(_CONV1_W, b"K\4K\3K\3\x87"),
        "over a storage of 24",
    ),
    "torch: storages by number, before 1.6": (_legacy_with_numbers_as_keys, "does not list"),
    "torch: sizes left out": (_torch_with_long_sizes, "lacks its size"),
    "torch: negative strides": (
        _torch_saying(b"K\6K\2K\1\x87", b"J\xff\xff\xff\xffK\2K\1\x87"),
        "strides",
    ),
    "torch: an expanded tensor": (
        _torch(lambda torch: {"a": torch.ones(1).expand(HUGE)}),
        "storage of 1",
    ),
    "torch: a conjugated tensor": (
        _torch(lambda torch: {"a": torch.ones(2, dtype=torch.complex64).conj()}),
        "metadata",
    ),
    "torch: before it, another file": (
        lambda canary: b"PK\5\6" + weight_files.torch_saved(),
        "neither",
    ),
    "torch: one storage as many tensors": (
        _torch(lambda torch: dict(enumerate(torch.ones(10_000).half().unfold(0, 9_900, 1)))),
        "bytes of tensors",
    ),
    "torch: a sparse tensor": (_torch(lambda torch: {"a": torch.eye(3).to_sparse()}), "_sparse_"),
    "torch: a quantised tensor": (
        _torch(lambda torch: {"a": Call(torch._utils._rebuild_qtensor, 1)}),
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
    "torch: a record of another method": (_torch_entry(10, 8), "compressed"),
    "torch: a record in the place of another": (_torch_exchanged, "where the directory says"),
    "torch: no end": (
        lambda canary: replaced(weight_files.torch_saved(), b"PK\5\6", b"PK\5\7"),
        "end is missing",
    ),
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
    return bytes_of(struct.pack("<Q", len(header)), header, *body)


SAFETENSORS = {
    "safetensors: a header of a petabyte": (bytes_of(struct.pack("<Q", HUGE), b"{}"), str(HUGE)),
    "safetensors: a header of 2 GB": (bytes_of(struct.pack("<Q", 1 << 31), b"{}"), str(1 << 31)),
    "safetensors: nested lists": (_safetensors(b"{" + b'"a":[' * MANY), "safetensors"),
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

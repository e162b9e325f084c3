"""Checkpoints are read as written or refused, and nothing in a file is ever run."""

import argparse
import collections
import os
import pickle
import random
import re
import resource
import struct
import tracemalloc
import types
import zipfile

import numpy as np
import pytest

from keras_nonlocal.checkpoints import state_dict
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.state_dict import non_finite, read_state_dict
from tests.checkpoints import hostile_files
from tests.checkpoints.hostile_files import ARRAYS, FILES, HOSTILE, Call

CONTENT = {name: make() for name, make in FILES.items() if name.startswith("pickle")}


@pytest.fixture(autouse=True)
def _clean_state():
    """Nothing here touches Keras, and clearing its state would take most of the time."""


@pytest.fixture
def reading(tmp_path):
    """Writes bytes to a file, and reads it."""

    def read(content):
        path = tmp_path / "weights"
        path.write_bytes(content)
        return read_state_dict(path)

    return read


def content_of(name):
    """The bytes of a good file, written once."""
    if name.startswith("torch"):
        pytest.importorskip("torch")
    if name not in CONTENT:
        CONTENT[name] = FILES[name]()
    return CONTENT[name]


def assert_same(given, expected):
    assert sorted(given) == sorted(expected)
    for name in expected:
        np.testing.assert_array_equal(given[name], expected[name], strict=True)


@pytest.mark.parametrize("name", FILES)
def test_files_return_what_was_written(name, reading):
    result = reading(content_of(name))
    assert_same(result.tensors, ARRAYS)
    assert (result.metadata, result.format) == ({"cfg": "DEPTH: 50"}, name.split()[0])


STATE = {"a": np.arange(3.0), "b": np.arange(4)}
TREES = {
    "flat": STATE,
    "names of bytes": {b"a": STATE["a"], b"b": STATE["b"]},
    "blobs": {"blobs": STATE},
    "model_state": {"model_state": STATE, "optimizer_state": {"state": {0: STATE}}},
    "state_dict": {"state_dict": STATE, "model": {"depth": 50}},
    "model": {"model": STATE},
    "flat, beside settings": {"model": {"depth": 50}, **STATE},
    "OrderedDict": {"model": collections.OrderedDict(STATE)},
    "defaultdict": {"model": collections.defaultdict(list, STATE)},
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_tensors_are_found_under_every_wrapper(tree, protocol, reading):
    assert_same(reading(pickle.dumps(tree, protocol)).tensors, STATE)


@pytest.mark.parametrize("protocol", range(6))
def test_all_that_is_plain_is_metadata(protocol, reading):
    """Long strings, which stay in the file at first, among it."""
    plain = {
        "epoch": 3,
        "score": np.float32(0.5),
        "text": "ä€" * 400 + "\\n",
        "bytes": b"\0\xff",
        "nested": [{"a": (1, None, True), 7: 2.5}, "b"],
        "large": 2**70,
    }
    beside = {"optimizer": {"state": {0: STATE["a"]}, "lr": 0.1}, "arrays": [STATE["a"]]}
    result = reading(pickle.dumps({"blobs": {**STATE, "lr": 0.5}, **plain, **beside}, protocol))
    assert_same(result.tensors, {**STATE, "lr": np.array(0.5)})
    assert result.metadata == {**plain, "optimizer": {"state": {}, "lr": 0.1}}


class Buffer:
    """Stands in for a class of a training framework."""

    def __init__(self):
        self.values, self.owner = [np.ones(3), {1}], self


class Config(dict):
    pass


class Log(list):
    pass


def beside_tensors(canary):
    config, log = Config(a={"b": Buffer()}), Log([1, Buffer()])
    config.log = log
    return {
        "message_hub": {"log_scalars": {"loss": Buffer()}},
        "objects": [argparse.Namespace(lr=0.1), config, log, types.SimpleNamespace, os.system],
        "sets": [{1, 2}, frozenset({3}), {(1, 2): 3}, 1j, slice(1), object],
        "numpy": [np.dtype("O"), np.array([{}]), np.array(["x"]), np.float64, np.ma.zeros(2)],
        "call": Call(os.system, f"touch {canary}"),
        "epoch": 5,
    }


@pytest.mark.parametrize("protocol", range(6))
def test_objects_beside_the_tensors_are_neither_made_nor_in_the_way(protocol, reading, tmp_path):
    canary = tmp_path / "canary"
    content = pickle.dumps({"state_dict": STATE, **beside_tensors(canary)}, protocol)
    result = reading(content)
    assert_same(result.tensors, STATE)
    assert result.metadata == {"message_hub": {"log_scalars": {}}, "epoch": 5}
    assert not canary.exists()
    pickle.loads(content)
    assert canary.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_training_checkpoints_of_torch_are_read(zipped, reading, tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    content = {
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5]).state_dict(),
        "others": [torch.Size([2]), torch.float16, torch.device("cpu"), torch.eye(2).to_sparse()],
        **beside_tensors(tmp_path / "canary"),
    }
    result = reading(hostile_files.torch_bytes(content, zipped))
    assert_same(result.tensors, {n: t.numpy() for n, t in model.state_dict().items()})
    assert result.metadata["epoch"] == 5
    assert result.metadata["optimizer"]["param_groups"][0]["momentum"] == 0.9
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "../a", "é" * 1000, "a\nb"], ids=ascii)
def test_odd_names_are_kept(name, reading):
    assert_same(reading(pickle.dumps({name: STATE["a"]})).tensors, {name: STATE["a"]})


def test_numbers_are_tensors_and_integers_are_names(reading):
    state = {7: STATE["a"], "iter": 400, "lr": 0.5, "large": 2**70}
    result = reading(pickle.dumps(state))
    expected = {"7": STATE["a"], "iter": np.array(400), "lr": np.array(0.5)}
    assert_same(result.tensors, expected)
    assert result.metadata == {"large": 2**70}


DTYPES = "? b B <h >h <i >i <q >q <f >f <d >d <F >D <e".split()


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_numbers_of_all_kinds_and_orders_are_read(protocol, reading):
    values = np.arange(600).reshape(3, 5, 40) % 100
    arrays = {code: values.astype(code) for code in DTYPES}
    arrays |= {"F": np.asfortranarray(values), "empty": np.zeros((0, 3)), "part": values[::2, 1]}
    arrays["again"] = arrays["F"]
    result = reading(pickle.dumps(arrays, protocol)).tensors
    arrays["<e"] = arrays["<e"].astype("float32")
    assert_same(result, {n: a.astype(a.dtype.newbyteorder("=")) for n, a in arrays.items()})
    assert result["again"] is result["F"]


LONG = np.arange(90, dtype="float32")
STRINGS = {
    "SHORT_BINSTRING": b"U\x08\0\0\x80?\0\0\0@",
    "BINSTRING": b"T\x08\0\0\0\0\0\x80?\0\0\0@",
    "STRING": b"S'\\x00\\x00\\x80?\\x00\\x00\\x00@'\n",
    "STRING in double quotes": b'S"\\x00\\x00\\x80?\\x00\\x00\\x00@"\n',
    "long BINSTRING": b"T\x68\1\0\0" + LONG.tobytes(),
    "long STRING": b"S" + repr(LONG.tobytes())[1:].encode() + b"\n",
}


@pytest.mark.parametrize("content", STRINGS.values(), ids=STRINGS)
def test_arrays_of_python_2_have_their_values(content, reading):
    shape = b"K\x5a\x85" if len(content) > 99 else b"K\x02\x85"
    tensors = reading(hostile_files.python2_pickle(shape, content=content)).tensors
    assert_same(tensors, {"a": LONG if len(content) > 99 else np.array([1, 2], "float32")})


def test_dicts_of_python_2_are_read(reading):
    pairs = b"ccollections\nOrderedDict\n](](U\x01bK\x02e](U\x04na\xefvU\x01xee\x85R"
    result = reading(hostile_files.python2_pickle()[:-1] + b"U\4meta" + pairs + b"s.")
    # Beside the arrays, as they are in one dict.
    assert result.metadata == {"meta": {"b": 2, "naïv": "x"}}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_torch_files_keep_shapes_types_and_ties(zipped, reading):
    torch = pytest.importorskip("torch")
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state = collections.OrderedDict(
        turned=base.T,
        part=base[1:, ::2],
        tied=base,
        tied_again=base,
        half=base.half(),
        brain=base.bfloat16(),
        complex=torch.tensor([1 + 2j]),
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(7),
        parameter=torch.nn.Parameter(base + 1),
    )
    result = reading(hostile_files.torch_bytes({"state_dict": state, "meta": {"a": 1}}, zipped))
    expected = {
        name: tensor.detach().to(torch.float32 if tensor.dtype.itemsize == 2 else None).numpy()
        for name, tensor in state.items()
    }
    assert_same(result.tensors, expected)
    assert result.tensors["tied"] is result.tensors["tied_again"]
    assert result.metadata == {"meta": {"a": 1}}


def test_torch_files_packed_anew_are_read(reading, monkeypatch):
    """Also with the directory of an archive beyond 4 GB, and without checksums."""
    content = content_of("torch")
    assert_same(reading(hostile_files.rezipped(content)).tensors, ARRAYS)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)
    long = hostile_files.rezipped(content)
    assert long.count(b"PK\x06\x06") == 1
    assert_same(reading(long).tensors, ARRAYS)
    torch = pytest.importorskip("torch")
    torch.serialization.set_crc32_options(False)
    try:
        assert_same(reading(FILES["torch"]()).tensors, ARRAYS)
    finally:
        torch.serialization.set_crc32_options(True)


def test_half_precision_of_safetensors_is_widened(reading):
    values = np.array([1.5, -2.0, np.inf], "float32")
    brain = (values.view("uint32") >> 16).astype("<u2").tobytes()
    header = (
        b'{"__metadata__":{"a":"b"},"brain":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]},'
        b'"half":{"dtype":"F16","shape":[3,1],"data_offsets":[6,12]}}'
    )
    content = struct.pack("<Q", len(header)) + header + brain + values.astype("<f2").tobytes()
    result = reading(content)
    assert_same(result.tensors, {"brain": values, "half": values[:, None]})
    assert result.metadata == {"a": "b"}


@pytest.mark.parametrize("protocol, share", [(2, 1.2), (5, 0.1)], ids=["text", "bytes"])
def test_pickles_take_no_more_memory_than_their_arrays(protocol, share, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"blob{index}": rng.normal(size=11_000).astype("float32") for index in range(327)}
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol))
    tracemalloc.start()
    try:
        result = read_state_dict(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(result.tensors) == len(arrays)
    assert peak < share * sum(array.nbytes for array in arrays.values())


def test_non_finite_names_the_arrays(reading):
    arrays = {
        "fine": np.ones(3),
        "integer": np.arange(3),
        "nan": np.array([1, np.nan], "float32"),
        "infinite": np.array(-np.inf),
        "complex": np.array([complex(0, np.nan)]),
    }
    assert non_finite(reading(pickle.dumps(arrays)).tensors) == ["nan", "infinite", "complex"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name, tmp_path):
    if name.startswith("torch"):
        pytest.importorskip("torch")
    path = tmp_path / "weights.pkl"
    path.write_bytes(hostile_files.make(name, str(tmp_path / "canary")))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=HOSTILE[name][1]) as caught:
        read_state_dict(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert str(caught.value).startswith(f"Cannot read the checkpoint {str(path)!r}: ")
    assert len(str(caught.value)) < 1000
    assert 1024 * grown < 2 * path.stat().st_size + 2**26
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", FILES)
def test_files_cut_short_are_refused(name, tmp_path):
    content, path = content_of(name), tmp_path / "weights"
    for part in range(50):
        path.write_bytes(content[: len(content) * part // 50])
        with pytest.raises(CheckpointError):
            read_state_dict(path)


@pytest.mark.parametrize("name", FILES)
def test_changed_files_are_read_or_refused(name, tmp_path):
    """A checksum shows changes in the tensors of torch."""
    content, path, draw = content_of(name), tmp_path / "weights", random.Random(0)
    for _ in range(100):
        place, other = draw.randrange(len(content)), draw.randrange(len(content))
        changed = draw.choice(
            (
                content[:place] + bytes([content[place] ^ 1 << other % 8]) + content[place + 1 :],
                content[:place] + bytes([other % 256]) + content[place:],
                content[:place] + content[other : other + 20] + content[place:],
                content[:place] + content[place + 1 + other % 16 :],
            )
        )
        path.write_bytes(changed)
        try:
            tensors = read_state_dict(path).tensors
        except CheckpointError:
            continue
        for key, array in tensors.items():
            # All of the memory that the arrays claim is theirs.
            assert len(array.tobytes()) == array.nbytes
            assert name != "torch" or np.array_equal(array, ARRAYS[key])


PATHS = {
    "missing": (lambda path: None, "No such file"),
    "folder": (os.mkdir, "a folder, a pipe"),
    "pipe": (lambda path: os.mkfifo(path), "a folder, a pipe"),
    "dangling link": (lambda path: os.symlink("nowhere", path), "No such file"),
    "looping link": (lambda path: os.symlink(path, path), "symbolic links"),
}


@pytest.mark.parametrize("make, words", PATHS.values(), ids=PATHS)
def test_paths_that_are_no_file_are_refused(make, words, tmp_path):
    path = tmp_path / "weights.pkl"
    make(path)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}.*{words}"):
        read_state_dict(path)


def test_missing_permission_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "weights.pkl").write_bytes(b"x")
    monkeypatch.setattr(state_dict, "open", refuse, raising=False)
    with pytest.raises(CheckpointError, match="Permission denied. Check"):
        read_state_dict(str(tmp_path / "weights.pkl"))


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux tells of mapped memory")
def test_released_arrays_take_no_memory_and_keep_their_values(reading):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    values = np.arange(2**22, dtype="float64").reshape(2**11, 2**11)
    array = reading(pickle.dumps({"a": values}, 5)).tensors["a"].T
    assert array.sum() == values.sum()
    before = resident()
    state_dict.release(array)
    assert resident() < before - 0.8 * values.nbytes
    np.testing.assert_array_equal(array, values.T)
    state_dict.release(values)

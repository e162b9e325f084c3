"""Honest files of every container, and paths that lead to no file."""

import collections
import os
import pickle
import re
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from keras_nonlocal.checkpoints import state_dict
from keras_nonlocal.archives.readers import CheckpointError, non_finite, read_arrays
from tests.archives import weight_files


@pytest.fixture(autouse=True)
def _clean_state():
    """Nothing here touches Keras, and clearing its state would take most of the time."""


@pytest.fixture
def reading(tmp_path):
    """Writes bytes to a file, and reads it."""

    def read(content):
        # No suffix, as none is looked at.
        path = tmp_path / "weights"
        path.write_bytes(content)
        return read_arrays(path)

    return read


def assert_same(given, expected):
    assert list(given) == list(expected)
    for name in expected:
        assert given[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(given[name], expected[name], strict=True)


FILES = {
    **{f"pickle, protocol {p}": (lambda p=p: weight_files.pickled(p)) for p in range(6)},
    "torch": weight_files.torch_saved,
    "torch, before 1.6": lambda: weight_files.torch_saved(zipped=False),
    "safetensors": weight_files.safetensors_saved,
}


@pytest.mark.parametrize("name", FILES)
def test_files_give_what_was_written(name, reading):
    container = name.split(",")[0]
    if container != "pickle":
        pytest.importorskip(container)
    archive = reading(FILES[name]())
    # The order of a safetensors file is its own.
    assert_same(dict(sorted(archive.arrays.items())), dict(sorted(weight_files.arrays().items())))
    assert (archive.meta, archive.container) == ({"cfg": "DEPTH: 50"}, container)


STATE = {"a": np.arange(3.0), "b": np.arange(4)}
TREES = {
    "flat": STATE,
    "flat, prefixed": {"module.a": STATE["a"], "module.b": STATE["b"]},
    "bytes as names": {b"a": STATE["a"], b"b": STATE["b"]},
    "blobs": {"blobs": STATE},
    "model_state": {"model_state": STATE, "optimizer_state": {"state": {0: STATE}}},
    "state_dict": {"state_dict": STATE, "model": {"depth": 50}},
    "model": {"model": STATE},
    "flat, beside settings": {"model": {"depth": 50}, **STATE},
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_arrays_are_found_under_every_wrapper(tree, reading):
    assert_same(reading(pickle.dumps(tree)).arrays, STATE)


def test_prefix_stays_where_not_all_names_bear_it(reading):
    tree = {"module.a": STATE["a"], "b": STATE["b"]}
    assert_same(reading(pickle.dumps(tree)).arrays, tree)


def test_plain_values_stand_in_meta_and_numbers_are_arrays(reading):
    state = {**STATE, "model_iter": 400, "lr": 0.5, "note": "text", "large": 2**70}
    archive = reading(pickle.dumps({"blobs": state, "epoch": 3, "momentum": {"a": STATE["a"]}}))
    expected = {**STATE, "model_iter": np.array(400), "lr": np.array(0.5)}
    assert_same(archive.arrays, expected)
    assert archive.meta == {"epoch": 3, "note": "text", "large": 2**70}


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "../a", "é" * 1000, "a\nb"], ids=ascii)
def test_odd_names_are_kept(name, reading):
    assert_same(reading(pickle.dumps({name: STATE["a"]})).arrays, {name: STATE["a"]})


def test_integers_as_names_become_text(reading):
    assert_same(reading(pickle.dumps({7: STATE["a"]})).arrays, {"7": STATE["a"]})


def test_arrays_of_a_pickle_cannot_be_written(reading):
    with pytest.raises(ValueError, match="read-only"):
        reading(pickle.dumps(STATE, 4)).arrays["a"][0] = 1


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
        parameter=torch.nn.Parameter(base + 1),
    )
    archive = reading(weight_files.torch_bytes({"state_dict": state, "meta": {"a": 1}}, zipped))
    expected = {
        name: tensor.detach().to(torch.float32 if tensor.dtype.itemsize == 2 else None).numpy()
        for name, tensor in state.items()
    }
    assert_same(archive.arrays, expected)
    assert archive.arrays["tied"] is archive.arrays["tied_again"]
    assert archive.meta == {"meta": {"a": 1}}


def test_torch_files_of_many_gigabytes_keep_their_directory(reading, monkeypatch):
    pytest.importorskip("torch")
    # Has Python write each number of the directory as it does beyond 4 GB.
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)
    content = weight_files.torch_saved()
    content = weight_files.with_pickle(content, weight_files.record(content, "/data.pkl"))
    assert content.count(b"PK\x06\x06") == 1
    assert_same(reading(content).arrays, weight_files.arrays())


def test_torch_settings_of_training_are_read(reading):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    content = {
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": {"milestones": schedule.state_dict()["milestones"]},
        "size": torch.Size([2, 3]),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
    }
    archive = reading(weight_files.torch_bytes(content))
    assert set(archive.arrays) == {"weight", "bias"}
    assert archive.meta == {
        "schedule": {"milestones": {3: 1, 5: 1}},
        "size": (2, 3),
        "dtype": "torch.float16",
        "device": "cpu",
    }


def test_bfloat16_of_safetensors_becomes_float32(reading):
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    values = torch.tensor([1.5, -2.0, float("inf")])
    content = safetensors.save({"a": values.bfloat16(), "b": values.half(), "c": values})
    expected = {"a": values.numpy(), "b": values.half().numpy(), "c": values.numpy()}
    assert_same(dict(sorted(reading(content).arrays.items())), expected)


@pytest.mark.parametrize("package", ["torch", "safetensors"])
def test_missing_package_is_named_with_its_extra(package, reading, monkeypatch):
    pytest.importorskip(package)
    content = FILES[package]()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CheckpointError, match=re.escape('pip install "keras_nonlocal[torch]"')):
        reading(content)


def _published_size():
    """As many arrays as a network of 50 layers has, of a tenth of its size."""
    rng = np.random.default_rng(0)
    return {f"blob{index}": rng.normal(size=(11_000,)).astype("float32") for index in range(327)}


@pytest.mark.parametrize("protocol, share", [(2, 1.1), (5, 0.1)], ids=["old", "new"])
def test_pickles_take_no_more_memory_than_their_arrays(protocol, share, tmp_path):
    arrays = _published_size()
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol))
    tracemalloc.start()
    try:
        archive = read_arrays(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(archive.arrays) == len(arrays)
    assert peak < share * sum(array.nbytes for array in arrays.values())


def test_non_finite_names_the_arrays():
    arrays = {
        "fine": np.ones(3),
        "integer": np.arange(3),
        "nan": np.array([1, np.nan], "float32"),
        "infinite": np.array(-np.inf, ">f8"),
        "complex": np.array([complex(0, np.nan)]),
    }
    assert non_finite(arrays) == ["nan", "infinite", "complex"]


def test_non_finite_arrays_are_read(reading):
    tree = {"a": np.array([np.nan, np.inf])}
    assert_same(reading(pickle.dumps(tree)).arrays, tree)


def _fifo(path):
    os.mkfifo(path)


PATHS = {
    "missing": (lambda path: None, "no such file"),
    "folder": (os.mkdir, "it is a folder"),
    "pipe": (_fifo, "a pipe"),
    "dangling link": (lambda path: os.symlink("nowhere", path), "no such file"),
    "looping link": (lambda path: os.symlink(path, path), "cannot be opened"),
}


@pytest.mark.parametrize("make, words", PATHS.values(), ids=PATHS)
def test_paths_that_are_no_file_are_refused(make, words, tmp_path):
    path = tmp_path / "weights.pkl"
    make(path)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}.*{words}"):
        read_arrays(path)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="the system has no such devices")
def test_devices_are_refused():
    with pytest.raises(CheckpointError, match="device"):
        read_arrays("/dev/zero")


def test_missing_permission_is_named(tmp_path, monkeypatch):
    path = tmp_path / "weights.pkl"
    path.write_bytes(weight_files.pickled())

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(readers, "open", refuse, raising=False)
    with pytest.raises(CheckpointError, match="may not read it"):
        read_arrays(str(path))

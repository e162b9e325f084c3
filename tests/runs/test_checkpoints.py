"""Checkpoints come back as they were, or are seen to be damaged."""

import errno
import json
import os
import pathlib

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from keras_nonlocal.runs.checkpoint_files import (
    CorruptCheckpoint,
    read_checkpoint,
    write_checkpoint,
)
from keras_nonlocal.runs.checkpoints import Checkpoints

TYPES = (
    "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64"
).split()


def arrays_of_all_types():
    generator = np.random.default_rng(0)
    arrays = {}
    for number, name in enumerate(TYPES):
        type_ = ml_dtypes.bfloat16 if name == "bfloat16" else name
        arrays[f"model/{name}"] = generator.integers(0, 9, (2, number)).astype(type_)
    return arrays | {"optimizer/iteration": np.array(17), "hole": np.array([np.nan, -np.inf])}


def write(folder, name="checkpoint", arrays=None, notes=None):
    path = str(folder / name)
    write_checkpoint(path, str(folder), arrays or arrays_of_all_types(), notes or {"step": 3})
    return pathlib.Path(path)


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def filled(folder, count, **arguments):
    checkpoints = Checkpoints(folder, **arguments)
    for step in range(count):
        checkpoints.write(1, step, {"model/kernel": np.full(3, step)}, {"rows": [step]})
    return checkpoints


def test_arrays_of_every_type_come_back_to_the_bit(tmp_path):
    arrays = arrays_of_all_types()
    read, _ = read_checkpoint(str(write(tmp_path)))
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].tobytes() == array.tobytes()


def test_notes_come_back_with_the_arrays_in_them(tmp_path):
    third = 1 / 3
    notes = {"a": [None, {"b": np.arange(3.0)}], "best": third, "one": np.float32(third), "r": []}
    read_arrays, read = read_checkpoint(str(write(tmp_path, notes=notes)))
    np.testing.assert_array_equal(read["a"][1].pop("b"), [0, 1, 2])
    assert read == {"a": [None, {}], "best": third, "one": np.float32(third), "r": []}
    assert "notes/one" not in read_arrays


def test_the_file_is_one_of_safetensors(tmp_path):
    arrays = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.array([5, 6])}
    path = write(tmp_path, "checkpoint.safetensors", arrays)
    read = safetensors.numpy.load_file(path)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_every_flipped_byte_is_seen(tmp_path):
    path = write(tmp_path, arrays={"a": np.arange(8.0), "b": np.array(3)})
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CorruptCheckpoint):
            read_checkpoint(str(path))


def test_every_truncation_and_addition_is_seen(tmp_path):
    path = write(tmp_path, arrays={"a": np.arange(8.0)})
    content = path.read_bytes()
    for wrong in [content[:size] for size in range(len(content))] + [content + b"\0"]:
        path.write_bytes(wrong)
        with pytest.raises(CorruptCheckpoint):
            read_checkpoint(str(path))


def test_another_file_is_named_with_how_it_begins(tmp_path):
    path = tmp_path / "a.keras"
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(CorruptCheckpoint, match=r"not a checkpoint.* 14 bytes .*PK"):
        read_checkpoint(str(path))


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_nonlocal.runs.checkpoint_files.FORMAT", "other 2")
    path = write(tmp_path)
    monkeypatch.undo()
    with pytest.raises(CorruptCheckpoint, match="Received: 'other 2'"):
        read_checkpoint(str(path))


def test_the_last_one_is_read_with_its_place(tmp_path):
    arrays, notes = filled(tmp_path, 3).read_last()
    assert arrays["model/kernel"].tolist() == [2, 2, 2]
    assert notes == {"epoch": 1, "step": 2, "rows": [2]}


def test_nothing_is_read_where_nothing_is(tmp_path):
    assert Checkpoints(tmp_path / "none").read_last() is None


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_as_many_stay_as_asked_for(tmp_path, keep):
    paths = filled(tmp_path, 6, keep=keep).paths()
    assert [int(path.stem[-8:]) for path in paths] == list(range(6 - keep, 6))


def test_order_goes_by_epoch_before_step(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for place in ((9, 900), (10, 0), (10, 5)):
        checkpoints.write(*place, {"a": np.zeros(1)}, {})
    assert checkpoints.read_last()[1] == {"epoch": 10, "step": 5}


def test_a_damaged_last_one_falls_back_and_says_so(tmp_path, caplog):
    checkpoints = filled(tmp_path, 3)
    damage(checkpoints.paths()[-1])
    assert checkpoints.read_last()[1]["step"] == 1
    assert "is damaged" in caplog.text and "goes on from the one before" in caplog.text
    assert "step-00000001" in caplog.text


def test_a_damaged_one_never_takes_the_place_of_a_good_one(tmp_path):
    checkpoints = filled(tmp_path, 3)
    damage(checkpoints.paths()[-1])
    checkpoints.read_last()
    # An earlier place than that of the damaged one, whose name would be the last.
    checkpoints.write(1, 1, {"model/kernel": np.zeros(3)}, {"rows": ["again"]})
    checkpoints.keep = 1
    checkpoints.write(1, 1, {"model/kernel": np.zeros(3)}, {"rows": ["again"]})
    assert checkpoints.read_last()[1]["rows"] == ["again"]
    assert len(list(tmp_path.glob("*.corrupt"))) == 1


def test_none_whole_is_an_error_that_names_all(tmp_path):
    checkpoints = filled(tmp_path, 2)
    for path in checkpoints.paths():
        damage(path)
    with pytest.raises(CorruptCheckpoint, match=r"(?s)None .*00001\.saf.*00000\.saf.*overwrite=T"):
        checkpoints.read_last()
    assert len(checkpoints.paths()) == 2


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    checkpoints = filled(tmp_path, 2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"00000009.* cannot be written: No space left"):
        checkpoints.write(1, 9, {"a": np.zeros(3)}, {})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_notes_are_json_that_others_read(tmp_path):
    path = write(tmp_path, notes={"epoch": 4})
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["notes"]) == {"epoch": 4}


@pytest.mark.parametrize("keep", [0, 1.5, None])
def test_keeping_none_is_an_error(keep, tmp_path):
    with pytest.raises(ValueError, match=f"`keep` .*Received: keep={keep}"):
        Checkpoints(tmp_path, keep=keep)

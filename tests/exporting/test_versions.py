"""Versions are numbered as TF Serving counts them, and none overwrites another."""

import os

import pytest

from keras_nonlocal.exporting.destination import written_beside
from keras_nonlocal.exporting.versions import find_version, next_version


def make(*folders):
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()


def test_the_next_version_follows_the_highest(tmp_path):
    assert next_version(tmp_path / "new") == tmp_path / "new" / "1"
    make(tmp_path / "2", tmp_path / "10", tmp_path / "x11", tmp_path / ".12")
    # TF Serving takes what is named by a number for a version, whatever it is.
    (tmp_path / "0013").touch()
    assert next_version(str(tmp_path)) == tmp_path / "14"


def test_a_version_and_the_folder_of_versions_lead_to_it(tmp_path):
    make(tmp_path / "9", tmp_path / "10")
    assert find_version(tmp_path) == tmp_path / "10"
    assert find_version(tmp_path / "9") == tmp_path / "9"


def test_what_is_half_written_is_no_version(tmp_path):
    make(tmp_path / "1")
    with written_beside(next_version(tmp_path), overwrite=False) as written:
        make(written)
        # TF Serving passes over names that are no numbers.
        assert sorted(path.name.isdecimal() for path in tmp_path.iterdir()) == [False, True]
        assert find_version(tmp_path) == tmp_path / "1"
    assert find_version(tmp_path) == tmp_path / "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_of_two_that_write_a_version_the_first_keeps_it(tmp_path):
    path = next_version(tmp_path)
    with (
        pytest.raises(FileExistsError, match=r"`path` must not exist yet.*overwrite=True"),
        written_beside(path, overwrite=False) as late,
    ):
        make(late)
        make(path)
        (path / "first").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert (path / "first").exists()


def test_a_folder_that_appears_in_the_last_moment_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "1"
    replace = os.replace

    def replace_late(source, target):
        # After the look whether something is there.
        make(path)
        replace(source, target)

    with (
        pytest.raises(FileExistsError, match=r"`path` must not exist yet"),
        written_beside(path, overwrite=False) as late,
    ):
        make(late)
        (late / "late").touch()
        monkeypatch.setattr(os, "replace", replace_late)
    assert not (path / "late").exists()

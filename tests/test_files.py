"""Files appear complete or not at all, and a lock is held by one at a time, on every system."""

import errno
import importlib
import os
import sys

import fsspec
import pytest

from keras_nonlocal import files


@pytest.fixture(params=["local", "url"])
def room(request, tmp_path):
    """A folder, and the file system that it is in."""
    root = str(tmp_path) if request.param == "local" else f"memory:/{tmp_path}"
    system, path = fsspec.url_to_fs(root)
    system.makedirs(path, exist_ok=True)
    yield root, system
    system.rm(path, recursive=True)


def contents(root, system):
    return {
        os.path.basename(path): system.cat_file(path)
        for path in system.find(fsspec.url_to_fs(root)[1])
    }


@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
def test_a_file_has_its_name_after_its_last_byte(before, room):
    root, system = room
    if before:
        system.pipe_file(fsspec.url_to_fs(f"{root}/a")[1], b"before")
    with files.atomic_write(f"{root}/a") as file:
        file.write(b"one")
        assert contents(root, system).get("a") == (b"before" if before else None)
        file.write(b"two")
    assert contents(root, system) == {"a": b"onetwo"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_kept_of_a_block_that_raises(error, room):
    root, system = room
    with files.atomic_write(f"{root}/a") as file:
        file.write(b"before")
    with pytest.raises(error), files.atomic_write(f"{root}/a") as file:
        file.write(b"after")
        raise error
    assert contents(root, system) == {"a": b"before"}


def test_the_temporary_file_is_in_the_given_folder(room):
    root, system = room
    folder = fsspec.url_to_fs(f"{root}/work")[1]
    system.makedirs(folder)
    with files.atomic_write(f"{root}/a", f"{root}/work") as file:
        file.write(b"x")
        # What is written to a URL exists once it is closed.
        assert files.is_url(root) or system.find(folder)[0].endswith(files.PART)
    assert contents(root, system) == {"a": b"x"}


def test_a_name_without_a_folder_is_in_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with files.atomic_write("a") as file:
        file.write(b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=["disk", "quota"])
def test_a_full_disk_is_named_with_the_way_out(number, tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    message = f"a' cannot be written: {os.strerror(number)}.*Free space"
    with pytest.raises(OSError, match=message), files.atomic_write(tmp_path / "a"):
        pass
    assert os.listdir(tmp_path) == []


@pytest.fixture
def portable(monkeypatch):
    """The module as it is where there is no `fcntl` and folders cannot be opened, as on Windows."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    open_file = os.open

    def open_no_folder(path, *arguments, **options):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_no_folder)
    specification = importlib.util.find_spec("keras_nonlocal.files")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_nothing_needs_fcntl_or_the_descriptor_of_a_folder(portable, tmp_path):
    with portable.atomic_write(tmp_path / "a") as file:
        file.write(b"x")
    with portable.locked(tmp_path / "lock"):
        with pytest.raises(BlockingIOError), portable.locked(tmp_path / "lock"):
            pytest.fail("locked twice")
    assert os.listdir(tmp_path) == ["a"]


def test_a_lock_that_is_held_is_refused_at_once(tmp_path):
    path = tmp_path / "lock"
    with files.locked(path):
        with pytest.raises(BlockingIOError, match="Another process holds the lock.*lock'"):
            with files.locked(path):
                pytest.fail("locked twice")
    with files.locked(path):
        assert path.exists()
    assert not path.exists()


URLS = {
    "gs://bucket/a": True,
    "memory://a": True,
    "/data/a": False,
    "a": False,
    "C:\\a": False,
    "a/b://c": False,
}


@pytest.mark.parametrize("path", URLS)
def test_urls_are_told_from_paths(path):
    assert files.is_url(path) == URLS[path]

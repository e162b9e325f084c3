"""An index is made once, kept on disk and in memory within bounds, and made anew if it must be."""

import dataclasses
import os
import pathlib
import zlib

import numpy as np
import pytest

from keras_nonlocal.video import index
from keras_nonlocal.video.index import IndexCache, index_video
from keras_nonlocal.video.open import VideoFile
from tests.made_videos import decode_whole, moving_bars, write


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a cache, of which nothing is in memory."""
    folder = tmp_path / "indexes"
    monkeypatch.setenv("KERAS_NONLOCAL_VIDEO_INDEX", str(folder))
    monkeypatch.setattr(index, "_CACHE", IndexCache())
    return folder


@pytest.fixture
def scans(monkeypatch):
    """The files that are read for their index."""
    scans, build = [], index._build_index

    def build_and_note(source, *arguments):
        scans.append(pathlib.Path(source).name)
        return build(source, *arguments)

    monkeypatch.setattr(index, "_build_index", build_and_note)
    return scans


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def forget(monkeypatch):
    """As a process that has just begun."""
    monkeypatch.setattr(index, "_CACHE", IndexCache())


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.ts"])
def test_an_index_lasts_and_is_the_same(tmp_path, folder, scans, monkeypatch, name):
    path = write(tmp_path / name, moving_bars(30, 48, 64), "mpeg4", g=7, bf=2)
    made = index_video(str(path))
    forget(monkeypatch)
    read = index_video(str(path))
    assert scans == [name]
    for field in dataclasses.fields(made):
        one, other = getattr(made, field.name), getattr(read, field.name)
        np.testing.assert_array_equal(one, other, field.name)
        assert type(one) is type(other) or field.name == "orientation"
    np.testing.assert_array_equal(VideoFile(path).decode([29, 8]), decode_whole(path)[[29, 8]])
    assert scans == [name]


def test_a_file_that_changed_is_indexed_anew(tmp_path, folder, scans):
    path = write(tmp_path / "a.mp4", moving_bars(5, 48, 64))
    assert VideoFile(path).info.frames == 5
    status = path.stat()
    content = path.read_bytes()
    path.write_bytes(content)  # of the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert VideoFile(path).info.frames == 5
    write(path, moving_bars(9, 48, 64))
    assert VideoFile(path).info.frames == 9
    assert len(scans) == 3


def test_strict_and_other_indexes_are_kept_apart(video, folder, scans):
    for strict in (True, False, True, False):
        assert VideoFile(video, strict).info.frames == 50
    assert len(scans) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "other", "short"])
def test_a_damaged_index_is_made_anew(video, folder, scans, monkeypatch, damage):
    made = index_video(str(video))
    (file,) = files_of(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"empty": b"", "cut": content[:50], "flipped": content, "other": b"{}"}
    # Whole by its checksum, but with fewer numbers than frames.
    damaged["short"] = zlib.compress(zlib.decompress(file.read_bytes())[:-80])
    file.write_bytes(damaged[damage])
    forget(monkeypatch)
    np.testing.assert_array_equal(index_video(str(video)).stamps, made.stamps)
    assert len(scans) == 2
    forget(monkeypatch)
    index_video(str(video))
    assert len(scans) == 2


def test_without_a_folder_to_write_to_memory_serves(video, folder, scans):
    folder.write_text("This is a file.")
    assert VideoFile(video).info.frames == VideoFile(video).info.frames == 50
    assert len(scans) == 1


def test_nothing_stays_of_an_index_that_cannot_be_written(video, folder, scans, monkeypatch):
    def refuse(*paths):
        raise PermissionError("Windows does not replace files that are open.")

    monkeypatch.setattr(index.os, "replace", refuse)
    assert VideoFile(video).info.frames == 50
    assert files_of(folder) == []


def test_the_folder_is_below_that_of_keras(video, tmp_path, folder, monkeypatch):
    monkeypatch.delenv("KERAS_NONLOCAL_VIDEO_INDEX")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    index_video(str(video))
    assert len(files_of(tmp_path / "home" / "video_index" / "keras_nonlocal")) == 1


def test_memory_is_bounded_in_bytes(video, folder, monkeypatch):
    one = index_video(str(video))
    monkeypatch.setattr(index, "_MEMORY_LIMIT", 3 * index._size(one))
    cache = IndexCache()
    for number in range(5):
        cache.put(f"{number}{number}1", one)
        cache.put(f"{number}{number}1", one)
        cache.get("001")  # What is used stays.
    assert list(cache._memory) == ["331", "441", "001"]
    assert cache._bytes == 3 * index._size(one)


def test_the_disk_is_bounded_in_bytes_and_the_oldest_go(video, folder, monkeypatch):
    one, cache = index_video(str(video)), IndexCache()
    size = len(index._pack(one))
    monkeypatch.setattr(index, "_DISK_LIMIT", 256 * 3 * size)
    abandoned = folder / "ab" / "0.1234.part"
    for number in range(6):
        cache.put(f"ab0{number}", one)
        os.utime(folder / "ab" / f"0{number}", ns=(0, number))
        if number == 2:
            abandoned.touch()
            os.utime(abandoned, ns=(0, 0))
    names = sorted(path.name for path in (folder / "ab").iterdir())
    assert names == ["03", "04", "05"]


@pytest.mark.parametrize("codec, kind", [("libx264", "mp4"), ("mpeg4", "avi"), ("ffv1", "mkv")])
def test_a_clip_does_not_read_the_file_from_its_beginning(tmp_path, codec, kind):
    class Counted:
        def __init__(self, file):
            self.file, self.bytes, self.name = file, 0, "counted"

        def read(self, size):
            content = self.file.read(size)
            self.bytes += len(content)
            return content

        def seek(self, *arguments):
            return self.file.seek(*arguments)

        def tell(self):
            return self.file.tell()

    noise = np.random.default_rng(0).integers(0, 256, (60, 144, 192, 3), np.uint8)
    path = write(tmp_path / f"a.{kind}", noise, codec, g=10, b=20_000_000)
    whole = decode_whole(path)
    with open(path, "rb") as file:
        counted = Counted(file)
        video = VideoFile(counted)
        assert video.info.frames == 60
        counted.bytes = 0
        np.testing.assert_array_equal(video.decode([45, 47]), whole[[45, 47]])
    opened = 2**18  # FFmpeg reads as much to find out what a file is.
    assert counted.bytes < opened + path.stat().st_size / 3
    assert path.stat().st_size > 3 * opened

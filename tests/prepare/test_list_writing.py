"""A list that is written is read back as the videos that it is of."""

import os

import pytest

from keras_nonlocal.data import VideoList, read_list
from keras_nonlocal.prepare.list_writing import write_list


def videos_at(folder, names, labels, classes):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return VideoList([folder / name for name in names], labels, classes)


NAMES = {
    "plain": "a.mp4",
    "a comma": "a, b.mp4",
    "quotes": 'the "a".mp4',
    "spaces": "a b  c.mp4",
    "numbers": "a 1 2.mp4",
    "a number sign": "# a.mp4",
    "another script": "跑步.mp4",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_list_is_read_back(name, tmp_path):
    videos = videos_at(tmp_path, [name, "z.mp4"], [0, 1], ["jump, high", "run"])
    assert write_list(tmp_path / "list.csv", videos)
    again = read_list(tmp_path / "list.csv")
    assert again.paths == videos.paths
    assert again.class_names == videos.class_names
    assert again.labels.tolist() == [0, 1]


def test_relative_paths_are_written_from_the_root(tmp_path, monkeypatch):
    videos_at(tmp_path, ["a.mp4"], [0], ["run"])
    (tmp_path / "lists").mkdir()
    monkeypatch.chdir(tmp_path)
    assert write_list("lists/list.csv", VideoList(["a.mp4"], [0], ["run"]))
    assert read_list("lists/list.csv").paths == (str(tmp_path / "a.mp4"),)


OTHER_CLASSES = {
    "a class without videos": ([0, 2], ["a", "b", "c"]),
    "not by the alphabet": ([0, 1], ["b", "a"]),
}


@pytest.mark.parametrize("labels, classes", OTHER_CLASSES.values(), ids=OTHER_CLASSES)
def test_classes_that_are_read_otherwise_are_told(labels, classes, tmp_path):
    videos = videos_at(tmp_path, ["a.mp4", "b.mp4"], labels, classes)
    assert not write_list(tmp_path / "list.csv", videos)
    assert read_list(tmp_path / "list.csv", class_names=classes).labels.tolist() == labels


IMPOSSIBLE = {
    "spaces at an end": (["a.mp4 "], [0], ["run"]),
    "a line break": (["a\nb.mp4"], [0], ["run"]),
    "spaces around a class": (["a.mp4"], [0], ["run "]),
    "no UTF-8": ([os.fsdecode(b"a\xff.mp4")], [0], ["run"]),
    "several classes": (["a.mp4"], [[1, 1]], ["run", "jump"]),
}


@pytest.mark.parametrize("names, labels, classes", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_a_list_cannot_say_is_refused(names, labels, classes, tmp_path):
    videos = videos_at(tmp_path, names, labels, classes)
    with pytest.raises(ValueError, match="`videos` (cannot|must show)"):
        write_list(tmp_path / "list.csv", videos)


def test_records_are_refused(tmp_path):
    (tmp_path / "a.tfrecord").write_text("")
    videos = VideoList([f"{tmp_path}/a.tfrecord@0"], [0], ["run"])
    with pytest.raises(ValueError, match="`videos` cannot be written as a list"):
        write_list(tmp_path / "list.csv", videos)

"""Folders to lists of videos, and their division."""

import numpy as np
import pytest

from keras_nonlocal.data import VideoList, read_folder, split_videos


def make_files(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def videos_of(*counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    paths = [f"{label}/{number}.mp4" for number, label in enumerate(labels)]
    return VideoList(paths, labels, [f"class{n}" for n in range(len(counts))])


def test_read_folder_sorts_classes_and_files(tmp_path):
    videos = read_folder(make_files(tmp_path, "run/b.mp4", "run/a.avi", "jump/c.mkv"))
    assert videos.classes == ("jump", "run")
    assert videos.paths == tuple(
        str(tmp_path / n) for n in ("jump/c.mkv", "run/a.avi", "run/b.mp4")
    )
    assert videos.labels.tolist() == [0, 1, 1]


def test_read_folder_passes_over_what_is_no_video(tmp_path):
    make_files(tmp_path, "run/a.MP4", "run/a.txt", "run/.b.mp4", "notes.txt", ".hidden/c.mp4")
    assert read_folder(tmp_path).paths == (str(tmp_path / "run/a.MP4"),)


def test_read_folder_looks_into_folders_of_a_class(tmp_path):
    assert len(read_folder(make_files(tmp_path, "run/day1/a.mp4", "run/day2/a.mp4"))) == 2


def test_read_folder_names_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="`directory` must be a folder.*'.*nowhere'"):
        read_folder(tmp_path / "nowhere")


def test_read_folder_names_empty_classes(tmp_path):
    make_files(tmp_path, "run/a.mp4", "jump/a.txt")
    with pytest.raises(ValueError, match="must hold videos .*Received: none in 'jump'"):
        read_folder(tmp_path)


def test_read_folder_needs_class_folders(tmp_path):
    with pytest.raises(ValueError, match="Received: no class folders"):
        read_folder(make_files(tmp_path, "a.mp4"))


def test_split_is_a_division_within_each_class():
    videos = videos_of(10, 5)
    training, validation = split_videos(videos, validation=0.2, seed=0)
    assert sorted(training.paths + validation.paths) == sorted(videos.paths)
    assert np.bincount(validation.labels).tolist() == [2, 1]
    assert all(
        path[0] == str(label) for path, label in zip(training.paths, training.labels, strict=True)
    )


def test_split_follows_its_seed():
    videos = videos_of(20, 20)
    first, again, other = (split_videos(videos, seed=seed)[1].paths for seed in (1, 1, 2))
    assert first == again != other


def test_split_leaves_every_class_a_video_on_both_sides():
    for share in (0.01, 0.99):
        for part in split_videos(videos_of(2, 3), validation=share):
            assert set(part.labels) == {0, 1}


def test_split_needs_two_videos_a_class():
    with pytest.raises(ValueError, match="two videos or more.*Received: 1 of class 'class1'"):
        split_videos(videos_of(2, 1))


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_split_share_must_be_a_share(share):
    with pytest.raises(ValueError, match=f"must lie between 0 and 1. Received: validation={share}"):
        split_videos(videos_of(2, 2), validation=share)


def test_labels_must_match_paths():
    with pytest.raises(ValueError, match="`labels` must hold one class number a path. Received: 1"):
        VideoList(["a.mp4"], [0, 1], ["x", "y"])


def test_labels_must_be_classes():
    with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 1\).*Received: 1 for 'b.mp4'"):
        VideoList(["a.mp4", "b.mp4"], [0, 1], ["x"])

"""Folders of class folders to lists of videos, and videos found by their names."""

import os
import re

import fsspec
import pytest

from keras_nonlocal.data import read_folder
from keras_nonlocal.lists.folders import choose_video, find_videos
from tests.lists.annotation_files import frames, touch


def paths_in(root):
    return [os.path.relpath(path, root) for path in read_folder(root).paths]


def test_read_folder_sorts_classes_and_files(tmp_path):
    videos = read_folder(touch(tmp_path, "run/b.mp4", "run/a.avi", "jump/c.mkv"))
    assert videos.class_names == ("jump", "run")
    assert videos.paths == tuple(
        str(tmp_path / n) for n in ("jump/c.mkv", "run/a.avi", "run/b.mp4")
    )
    assert videos.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "suffix",
    "mp4 mkv webm avi mov MP4 MTS m2ts vob ogv asf 3g2 f4v gif mxf dv m2v y4m mpe divx rm".split(),
)
def test_read_folder_knows_video_files_by_suffix(tmp_path, suffix):
    assert paths_in(touch(tmp_path, f"run/a.{suffix}")) == [f"run/a.{suffix}"]


def test_read_folder_names_what_it_passes_over(tmp_path, caplog):
    touch(tmp_path, "run/a.MP4", "run/a.txt", "run/.b.mp4", "notes.txt", ".hidden/c.mp4", "d.mov")
    touch(tmp_path, "run/day/b.TXT", "run/day/c.jpg", "run/day/d.mp4", "run/e", "run/v/1.jpg")
    touch(tmp_path, "run/v/times.csv")
    os.mkfifo(tmp_path / "run/pipe.mp4")
    (tmp_path / "run/gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "run/loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "run/back").symlink_to(tmp_path / "run")
    videos = read_folder(tmp_path)
    assert [os.path.relpath(p, tmp_path) for p in videos.paths] == [
        "run/a.MP4",
        "run/day/d.mp4",
        "run/v",
    ]
    skipped = {
        k: sorted(os.path.relpath(p, tmp_path) for p in v) for k, v in videos.skipped.items()
    }
    assert skipped == {
        ".txt": ["run/a.txt", "run/day/b.TXT"],
        ".csv": ["run/v/times.csv"],
        ".jpg": ["run/day/c.jpg"],
        "no ending": ["run/e"],
        "link that leads nowhere": ["run/gone.mp4", "run/loop.mp4"],
        "link to a folder that is read already": ["run/back"],
        "video beside the class folders": ["d.mov"],
    }
    assert len(caplog.records) == 1
    assert re.search(
        r"without some files; .*1 x \.csv \('.*times.csv'\).*2 x \.txt \('", caplog.text
    )
    assert videos[1:].skipped == videos.skipped


def test_read_folder_says_nothing_where_all_is_read(tmp_path, caplog):
    assert read_folder(touch(tmp_path, "run/a.mp4", "list.csv")).skipped == {}
    assert not caplog.records


def test_read_folder_gives_two_folders_one_numbering(tmp_path):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "train/c/1.mp4", "val/a/2.mp4", "val/c/2.mp4")
    training = read_folder(tmp_path / "train")
    (tmp_path / "val/b").mkdir()
    videos = read_folder(tmp_path / "val", class_names=training.class_names)
    assert videos.class_names == ("a", "b", "c")
    assert videos.labels.tolist() == [0, 2]
    names = ["c", "x", "a"]
    videos = read_folder(tmp_path / "val", class_names=names)
    assert [names[n] for n in videos.labels] == [path.split("/")[-2] for path in videos.paths]
    with pytest.raises(
        ValueError, match="among `class_names`, 2 .*Received: the class folders 'c'"
    ):
        read_folder(tmp_path / "val", class_names=["a", "b"])
    with pytest.raises(ValueError, match="among `class_names`.*Received: no videos"):
        read_folder(tmp_path / "val/b", class_names=["a", "b"])


@pytest.mark.parametrize("parts", [("train", "val"), ("Train", "TEST"), ("valid",)], ids=str)
def test_read_folder_refuses_the_folder_above_training_and_validation(tmp_path, parts):
    for part in parts:
        touch(tmp_path, f"{part}/run/1.mp4", f"{part}/jump/day/2.mp4")
    with pytest.raises(ValueError, match="class_names=training.class_names") as caught:
        read_folder(tmp_path)
    assert all(repr(part) in str(caught.value) for part in parts)
    assert read_folder(tmp_path, class_names=parts).class_names == parts


def test_read_folder_reads_classes_that_are_called_like_parts(tmp_path):
    touch(tmp_path, "train/1.mp4", "train/day/2.mp4", "test/3.mp4")
    frames(tmp_path, "val/v")
    assert read_folder(tmp_path).class_names == ("test", "train", "val")


def test_read_folder_lists_videos_without_labels(tmp_path):
    frames(touch(tmp_path, "b.mp4", "sub/a.avi", "notes.txt"), "v")
    videos = read_folder(tmp_path, labels=None)
    assert [os.path.relpath(path, tmp_path) for path in videos.paths] == ["b.mp4", "sub/a.avi", "v"]
    assert videos.labels.tolist() == [-1, -1, -1]
    assert list(videos.skipped) == [".txt"]
    with pytest.raises(ValueError, match='`labels` must be "inferred" or None'):
        read_folder(tmp_path, labels="no")
    with pytest.raises(ValueError, match='`class_names` goes with labels="inferred"'):
        read_folder(tmp_path, class_names=["a"], labels=None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="must hold videos. Received: none"):
        read_folder(tmp_path / "empty", labels=None)


def test_folders_may_be_urls():
    system = fsspec.filesystem("memory")
    for name in ("run/b.mp4", "jump/day/a.MOV", "jump/v/1.jpg", "run/c.txt"):
        system.pipe(f"/folders/{name}", b"")
    videos = read_folder("memory://folders")
    expected = ["jump/day/a.MOV", "jump/v", "run/b.mp4"]
    assert videos.paths == tuple(f"memory://folders/{name}" for name in expected)
    assert videos.labels.tolist() == [0, 0, 1]
    assert videos.skipped == {".txt": ["memory://folders/run/c.txt"]}
    assert find_videos("memory://folders/", ["b", "v"]) == {
        "b": ["memory://folders/run/b.mp4"],
        "v": ["memory://folders/jump/v"],
    }
    with pytest.raises(FileNotFoundError, match="must be a folder"):
        read_folder("memory://nowhere")


def test_read_folder_looks_into_folders_of_a_class(tmp_path):
    assert len(read_folder(touch(tmp_path, "run/day1/a.mp4", "run/day2/a.mp4"))) == 2


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png"])
def test_read_folder_takes_a_folder_of_pictures_for_a_video(tmp_path, suffix):
    touch(tmp_path, f"run/v1/1.{suffix}", f"run/v1/2.{suffix}", f"run/day/v2/1.{suffix}")
    assert paths_in(tmp_path) == ["run/day/v2", "run/v1"]


def test_read_folder_mixes_files_and_folders_of_frames(tmp_path):
    frames(touch(tmp_path, "run/b.mp4"), "run/a", "run/c")
    assert paths_in(tmp_path) == ["run/a", "run/b.mp4", "run/c"]


def test_read_folder_passes_over_thumbnails(tmp_path):
    touch(tmp_path, "run/cover.jpg", "run/day/cover.jpg", "run/day/cam/a.mp4")
    assert paths_in(tmp_path) == ["run/day/cam/a.mp4"]


def test_read_folder_takes_no_class_folder_for_a_video(tmp_path):
    touch(tmp_path, "run/1.jpg", "jump/a.mp4")
    with pytest.raises(ValueError, match="or folders of frames .*Received: none in 'run'"):
        read_folder(tmp_path)


def test_read_folder_follows_links_once(tmp_path):
    touch(tmp_path, "all/run/a.mp4", "all/jump/b.mp4")
    (tmp_path / "some").mkdir()
    (tmp_path / "some/run").symlink_to(tmp_path / "all/run")
    (tmp_path / "all/run/back").symlink_to(tmp_path / "all/run")
    assert paths_in(tmp_path / "some") == ["run/a.mp4"]


def test_read_folder_names_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="`directory` must be a folder.*'.*nowhere'"):
        read_folder(tmp_path / "nowhere")


def test_read_folder_names_empty_classes(tmp_path):
    touch(tmp_path, "run/a.mp4", "jump/a.txt")
    with pytest.raises(ValueError, match="must hold videos .*Received: none in 'jump'"):
        read_folder(tmp_path)


def test_read_folder_needs_class_folders(tmp_path):
    with pytest.raises(ValueError, match="Received: no class folders"):
        read_folder(touch(tmp_path, "a.mp4"))


def test_find_videos_finds_files_and_folders_at_any_depth(tmp_path):
    frames(touch(tmp_path, "a.mp4", "x/b.WEBM", "x/y/c.avi", "x/a.txt", "x/other.mp4"), "x/d")
    found = find_videos(tmp_path, ["a", "b", "c", "d", "e"])
    expected = {"a": "a.mp4", "b": "x/b.WEBM", "c": "x/y/c.avi", "d": "x/d"}
    assert found == {name: [str(tmp_path / path)] for name, path in expected.items()}


def test_find_videos_does_not_look_into_folders_of_frames(tmp_path):
    frames(tmp_path, "a", "a/b")
    assert list(find_videos(tmp_path, ["a", "b"])) == ["a"]


def test_find_videos_ends_where_links_lead_back(tmp_path):
    touch(tmp_path, "x/a.mp4")
    (tmp_path / "x/back").symlink_to(tmp_path)
    assert find_videos(tmp_path, ["a"]) == {"a": [str(tmp_path / "x/a.mp4")]}


def test_find_videos_names_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="`videos` must be the folder.*'.*nowhere'"):
        find_videos(tmp_path / "nowhere", ["a"])


def test_choose_video_prefers_the_first_name():
    assert choose_video({"a_1": ["a_1.mp4"], "a": ["a.mp4"]}, ("a_1", "a")) == "a_1.mp4"
    assert choose_video({"a": ["a.mp4"]}, ("a_1", "a")) == "a.mp4"
    assert choose_video({}, ("a_1", "a")) is None


@pytest.mark.parametrize("folder", ["riding a bike", "riding_a_bike"])
def test_choose_video_prefers_the_folder_of_the_class(folder):
    found = {"a": ["drumming/a.mp4", f"{folder}/a.mp4"]}
    assert choose_video(found, ("a",), "riding a bike") == f"{folder}/a.mp4"


def test_choose_video_does_not_guess():
    with pytest.raises(ValueError, match="lie in one place. Received: 'x/a.mp4' and 'y/a.avi'"):
        choose_video({"a": ["y/a.avi", "x/a.mp4"]}, ("a",), "run")

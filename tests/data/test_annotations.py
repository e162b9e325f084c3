"""`read_videos` finds out what it is given."""

import os
import re

import fsspec
import pytest
import tensorflow as tf

from keras_nonlocal.data import read_videos
from keras_nonlocal.data.annotations import FORMATS
from tests.lists import annotation_files
from tests.lists.annotation_files import PATH_LABEL_LISTS, touch, write


def a_folder(root):
    return {"source": touch(root, "jump/a.mp4", "run/b.mp4")}


def a_list(root):
    touch(root, "a.mp4", "b.mp4", "c.mp4")
    return {"source": write(root / "train.csv", PATH_LABEL_LISTS["pyslowfast"])}


def a_frame_list(root):
    return {"source": annotation_files.frame_list(root)}


def kinetics(root):
    source, videos = annotation_files.kinetics(root)
    return {"source": source, "videos": videos}


def ucf101(root):
    lists, videos = annotation_files.ucf101(root)
    return {"source": lists / "trainlist01.txt", "videos": videos}


def renamed_ucf101(root):
    lists, videos = annotation_files.ucf101(root)
    return {"source": (lists / "trainlist01.txt").rename(lists / "train.txt"), "videos": videos}


def hmdb51(root):
    splits, videos = annotation_files.hmdb51(root)
    return {"source": splits, "videos": videos, "split": 1, "part": "train"}


def something_something(root):
    source, videos = annotation_files.something_something(root)
    return {"source": source, "videos": videos}


def charades(root):
    source, videos = annotation_files.charades(root)
    return {"source": source, "videos": videos}


def a_record_file(root):
    path = root / "videos-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for label in (0, 2):
            example = tf.train.SequenceExample()
            example.context.feature["clip/label/index"].int64_list.value.append(label)
            frames = example.feature_lists.feature_list["image/encoded"]
            frames.feature.add().bytes_list.value.append(b"a picture")
            writer.write(example.SerializeToString())
    return {"source": path}


def records(root):
    (root / "classes").mkdir()  # what lies beside does not matter
    return {"source": a_record_file(root)["source"].parent}


def records_of_others(root):
    return {"source": a_record_file(root)["source"].rename(root / "train-00000-of-00001")}


SOURCES = {
    a_folder: ("folder", 2),
    a_list: ("list", 2),
    a_frame_list: ("list", 4),
    kinetics: ("kinetics", 3),
    ucf101: ("ucf101", 3),
    renamed_ucf101: ("ucf101", 3),
    hmdb51: ("hmdb51", 2),
    something_something: ("something-something", 2),
    charades: ("charades", 157),
    a_record_file: ("records", 3),
    records: ("records", 3),
    records_of_others: ("records", 3),
}
NAMES = [make.__name__ for make in SOURCES]


@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
@pytest.mark.parametrize(("make", "expected"), SOURCES.items(), ids=NAMES)
def test_read_videos_knows_its_formats(tmp_path, make, expected, named):
    name, classes = expected
    videos = read_videos(**make(tmp_path), format=name if named else None)
    assert len(videos.class_names) == classes
    assert all(os.path.exists(path.split("@")[0]) for path in videos.paths)
    # In all sources but those with several labels a video, two videos or more differ.
    assert len({tuple(label) for label in videos.labels.reshape(len(videos), -1)}) > 1


def test_read_videos_looks_beside_the_source(tmp_path):
    source, videos = annotation_files.charades(tmp_path)
    assert len(read_videos(source)) == len(read_videos(source, videos)) == 2


@pytest.mark.parametrize(
    ("make", "file"),
    [
        (ucf101, "ucfTrainTestlist/classInd.txt"),
        (something_something, "labels.json"),
        (charades, "Charades_v1_classes.txt"),
    ],
    ids=["ucf101", "something", "charades"],
)
def test_read_videos_takes_the_file_of_classes(tmp_path, make, file):
    arguments = make(tmp_path)
    if make is something_something:
        (tmp_path / "something-something-v2-labels.json").rename(tmp_path / file)
    moved = (tmp_path / file).rename(tmp_path / "moved")
    assert " " in "".join(read_videos(**arguments, class_names=moved).class_names) or make is ucf101


def test_read_videos_hands_on_what_belongs_to_lists(tmp_path):
    touch(tmp_path, "x/a.mp4", "x/b.mp4")
    source = write(tmp_path / "list.txt", "a.mp4|3|1\nb.mp4|4|0\ngone.mp4|5|0")
    options = {"separator": "|", "columns": "path length label", "class_names": ["u", "v"]}
    videos = read_videos(source, tmp_path / "x", missing="drop", **options)
    assert videos.labels.tolist() == [1, 0]
    assert videos.class_names == ("u", "v")


def test_read_videos_takes_names_of_classes_for_records(tmp_path):
    classes = write(tmp_path / "classes.txt", "jump\nrest\nrun\n")
    assert read_videos(**records_of_others(tmp_path), class_names=classes).class_names[2] == "run"


def test_read_videos_tells_of_unfinished_records(tmp_path):
    (tmp_path / ".preparing").mkdir()
    (tmp_path / "class").mkdir()
    with pytest.raises(ValueError, match="not complete: their preparation was broken off"):
        read_videos(tmp_path)


@pytest.mark.parametrize(
    ("make", "options", "name"),
    [
        (a_folder, {"videos": "x"}, "videos"),
        (hmdb51, {"class_names": ["x"]}, "class_names"),
        (a_list, {"split": 1}, "split"),
        (kinetics, {"columns": "path label"}, "columns"),
        (records, {"videos": "x"}, "videos"),
        (charades, {"separator": ","}, "separator"),
    ],
    ids=["folder_videos", "hmdb51_classes", "split", "columns", "records_videos", "separator"],
)
def test_read_videos_refuses_what_the_format_does_not_take(tmp_path, make, options, name):
    with pytest.raises(ValueError, match=f"`{name}` must not be given with .*Leave it out"):
        read_videos(**make(tmp_path) | options)


def test_read_videos_needs_the_part_of_hmdb51(tmp_path):
    arguments = hmdb51(tmp_path)
    del arguments["part"]
    with pytest.raises(ValueError, match="`split` .* and `part` .* must be given.*part=None"):
        read_videos(**arguments)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("empty", "a folder without class folders"),
        ("a.mp4", "one video"),
        ("empty.txt", "a file that begins with ''"),
        ("notes.txt", "a file that begins with 'Notes'"),
    ],
)
def test_read_videos_lists_the_formats_it_knows(tmp_path, name, what):
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "a.mp4", "empty.txt")
    write(tmp_path / "notes.txt", "\nNotes\nof a day\n")
    with pytest.raises(ValueError, match="`source` must be of a known format") as caught:
        read_videos(tmp_path / name)
    assert all(f"'{known}', {meaning}" in str(caught.value) for known, meaning in FORMATS.items())
    assert re.search(f"Received: '.*{name}', {what}. .*`format`", str(caught.value))


@pytest.mark.parametrize(
    "text",
    ['[{"id": "1", "caption": "a"}]', '{"database": {"id": {"template": 1}}}', "[]", "3"],
    ids=["captions", "activitynet", "empty", "number"],
)
def test_read_videos_does_not_take_the_json_of_others(tmp_path, text):
    with pytest.raises(ValueError, match="Received: '.*a.json', a JSON file without `id` and"):
        read_videos(write(tmp_path / "a.json", text))


def test_read_videos_reads_folders_with_one_numbering(tmp_path):
    videos = read_videos(**a_folder(tmp_path), class_names=["run", "sit", "jump"])
    assert (videos.class_names, videos.labels.tolist()) == (("run", "sit", "jump"), [0, 2])


def test_read_videos_reads_segments_and_lists_without_labels(tmp_path):
    touch(tmp_path, "a.mp4")
    source = write(tmp_path / "list.csv", "path,start,end\na.mp4,1,2\na.mp4,2,4\n")
    assert read_videos(source, time_unit="frames").segments.tolist() == [[1, 2], [2, 4]]
    for text in ("a.mp4\n", "path\na\n"):
        assert read_videos(write(tmp_path / "flat.txt", text)).labels.tolist() == [-1]


def test_read_videos_reads_urls():
    fsspec.filesystem("memory").pipe("/read/run/a.mp4", b"")
    fsspec.filesystem("memory").pipe("/read/list.csv", b"run/a.mp4,1\n")
    assert read_videos("memory://read/list.csv").paths == ("memory://read/run/a.mp4",)
    assert read_videos("memory://read").class_names == ("run",)


def test_read_videos_names_unknown_formats(tmp_path):
    with pytest.raises(ValueError, match="`format` must be one of 'folder'.*format='ucf'"):
        read_videos(tmp_path, format="ucf")


def test_read_videos_names_a_missing_source(tmp_path):
    with pytest.raises(FileNotFoundError, match="`source` must be a folder or a file.*nowhere"):
        read_videos(tmp_path / "nowhere")

"""Lists of records: by their own labels, in whatever way these were written."""

import json

import fsspec
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.data.record_lists import read_records
from keras_nonlocal.lists.video_list import VideoList
from keras_nonlocal.video import tfrecord
from keras_nonlocal.video.open import probe_video
from keras_nonlocal.video.records import INDEX_SUFFIX, encode_index, make_example, write_record

PICTURE = tf.io.encode_jpeg(np.zeros((8, 8, 3), np.uint8)).numpy()


def example(*labels, names=(), key="clip/label/text", frames=1):
    made = tf.train.SequenceExample()
    if labels:
        made.context.feature["clip/label/index"].int64_list.value[:] = labels
    if names:
        made.context.feature[key].bytes_list.value[:] = [name.encode() for name in names]
    for _ in range(frames):
        made.feature_lists.feature_list["image/encoded"].feature.add().bytes_list.value[:] = [
            PICTURE
        ]
    return made.SerializeToString()


def write(path, *records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def test_numbers_without_names_are_their_own_names(tmp_path):
    path = write(tmp_path / "a.tfrecord", example(2), example(0))
    videos = read_records(path)
    assert isinstance(videos, VideoList)
    assert videos.class_names == ("0", "1", "2")
    assert videos.labels.tolist() == [2, 0]
    assert videos.labels.dtype == np.int32


@pytest.mark.parametrize("key", ["clip/label/text", "clip/label/string"])
def test_names_are_those_in_the_records(key, tmp_path):
    records = [example(2, names=["run"], key=key), example(0, names=["jump"], key=key)]
    assert read_records(write(tmp_path / "a.tfrecord", *records)).class_names == (
        "jump",
        "1",
        "run",
    )


def test_names_alone_are_numbered_by_the_alphabet(tmp_path):
    records = [example(names=["run"]), example(names=["jump"])]
    videos = read_records(write(tmp_path / "a.tfrecord", *records))
    assert (videos.class_names, videos.labels.tolist()) == (("jump", "run"), [1, 0])


def test_several_labels_are_zeros_and_ones(tmp_path):
    videos = read_records(write(tmp_path / "a.tfrecord", example(0, 2), example(1)))
    assert videos.labels.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert videos.labels.dtype == np.float32


def test_given_classes_renumber_by_name(tmp_path):
    records = [example(0, names=["run"]), example(1, names=["jump"])]
    videos = read_records(write(tmp_path / "a.tfrecord", *records), ["jump", "rest", "run"])
    assert (videos.class_names, videos.labels.tolist()) == (("jump", "rest", "run"), [2, 0])


def test_given_classes_name_numbers(tmp_path):
    videos = read_records(write(tmp_path / "a.tfrecord", example(1)), ["jump", "run", "rest"])
    assert (videos.class_names, videos.labels.tolist()) == (("jump", "run", "rest"), [1])


def test_one_text_for_several_labels_is_not_their_names(tmp_path):
    records = [example(0, 1, names=["a man jumps, and runs"])]
    assert read_records(write(tmp_path / "a.tfrecord", *records)).class_names == ("0", "1")


def test_addresses_lead_to_the_records(tmp_path):
    path = write(tmp_path / "a.tfrecord", example(0, frames=2), example(1, frames=5))
    videos = read_records(path)
    assert [probe_video(address).frames for address in videos.paths] == [2, 5]


@pytest.mark.parametrize(
    "names",
    [
        ["a.tfrecord", "b.tfrecord"],
        ["train-00000-of-00002", "train-00001-of-00002"],
        ["ucf.tfrecord-00000-of-00002", "ucf.tfrecord-00001-of-00002"],
    ],
    ids=["tfrecord", "of", "tfrecord of"],
)
def test_a_folder_is_read_in_the_order_of_its_files(names, tmp_path):
    for number, name in reversed(list(enumerate(names))):
        write(tmp_path / name, example(number))
    (tmp_path / "README.md").write_text("not a record")
    (tmp_path / (names[0] + INDEX_SUFFIX)).write_text("not a record either")
    (tmp_path / ".a.tfrecord").write_text("hidden")
    assert read_records(tmp_path).paths == tuple(f"{tmp_path / name}@0" for name in names)


def test_a_sequence_of_paths_is_read_in_its_order(tmp_path):
    paths = [write(tmp_path / name, example(0)) for name in ("b", "a")]
    assert read_records(paths).paths == (f"{paths[0]}@0", f"{paths[1]}@0")


def test_frames_are_not_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tfrecord", example(1, frames=3))
    monkeypatch.setattr(tfrecord, "read_record", None)
    assert read_records(path).labels.tolist() == [1]


def test_a_context_behind_the_frames_is_found(tmp_path):
    # The order of a message's fields is free: here as some other writer might have it.
    made = tf.train.SequenceExample.FromString(example(1))
    context = tf.train.SequenceExample(context=made.context).SerializeToString()
    frames = tf.train.SequenceExample(feature_lists=made.feature_lists).SerializeToString()
    assert read_records(write(tmp_path / "a.tfrecord", frames + context)).labels.tolist() == [1]


def test_a_context_longer_than_the_first_bytes_is_found(tmp_path):
    made = tf.train.SequenceExample.FromString(example(1))
    made.context.feature["WAVEFORM/feature/floats"].float_list.value[:] = [0.0] * 50_000
    path = write(tmp_path / "a.tfrecord", made.SerializeToString())
    assert read_records(path).labels.tolist() == [1]


def test_a_damaged_context_is_an_error(tmp_path):
    path = write(tmp_path / "a.tfrecord", example(1))
    content = bytearray(path.read_bytes())
    for position in range(12, 16):
        path.write_bytes(content[:position] + b"\xff" + content[position + 1 :])
        with pytest.raises(ValueError, match="byte 0 of '.*tfrecord' .*not match its checksum"):
            read_records(path)


def test_records_at_urls_are_listed(tmp_path):
    system, url = fsspec.filesystem("memory"), "memory://listed/ours"
    with system.open("/listed/ours/a.tfrecord", "wb") as file:
        written = write_record(file, make_example(np.zeros((2, 8, 8, 3), np.uint8), [1], "ab", "v"))
        size = file.tell()
    system.pipe_file("/listed/ours/a.tfrecord" + INDEX_SUFFIX, encode_index([written]))
    assert read_records(url).paths == read_records(f"{url}/a.tfrecord").paths
    assert read_records([f"{url}/"]).paths == (f"{url}/a.tfrecord@0",)
    assert read_records(url).class_names == ("0", "b")
    entry = {"bytes": size, "records": [{"offset": 0, "labels": [1]}]}
    manifest = {
        "format": "keras_nonlocal records 1",
        "classes": ["a", "b", "c"],
        "multi_label": False,
        "shards": {"a.tfrecord": entry},
    }
    system.pipe_file("/listed/ours/manifest.json", json.dumps(manifest).encode())
    for paths in (url, f"{url}/a.tfrecord"):
        videos = read_records(paths)
        assert (videos.class_names, videos.labels.tolist()) == (("a", "b", "c"), [1])
        assert probe_video(videos.paths[0]).frames == 2
    system.pipe_file("/listed/ours/a.tfrecord", b"short")
    with pytest.raises(ValueError, match="it has 5 bytes; the manifest beside it says"):
        read_records(url)
    system.rm_file("/listed/ours/a.tfrecord")
    with pytest.raises(FileNotFoundError, match="a.tfrecord' is missing; the manifest"):
        read_records(url)
    with pytest.raises(FileNotFoundError, match="no file of records 'memory://nowhere'"):
        read_records("memory://nowhere")
    with pytest.raises(ValueError, match="preparation was broken off"):
        system.makedirs("/listed/begun/.preparing")
        read_records("memory://listed/begun")


def test_events_are_read(tmp_path):
    made = make_example(
        np.zeros((2, 8, 8, 3), np.uint8), [0, 1], ["a", "b"], "v", events=[(1, 0.5, 2.25)]
    )
    videos = read_records(write(tmp_path / "a.tfrecord", made.SerializeToString()))
    assert videos.events == (((1, 0.5, 2.25),),)


ERRORS = {
    "no labels": (
        [example(frames=2)],
        None,
        "byte 0 of '.*' cannot be .* has no labels, 'clip/label/index'",
    ),
    "negative": ([example(-1)], None, "'clip/label/index' holds -1, which is no class"),
    "two names": (
        [example(0, names=["a"]), example(0, names=["b"])],
        None,
        "Class 0 must have one name in all records. Received: 'b' in .*, 'a' before",
    ),
    "one name twice": (
        [example(0, names=["a"]), example(1, names=["a"])],
        None,
        "must be distinct. Received: 'a' twice",
    ),
    "unknown name": (
        [example(0, names=["a"])],
        ["b"],
        "must hold every class of the records. Received: 'a' of .*not among the 1",
    ),
    "unknown number": ([example(1)], ["b"], "Received: 1 of '.*@0', which is not among the 1"),
    "no record": ([], None, "must hold at least one record. Received: none in"),
}


@pytest.mark.parametrize(("records", "classes", "message"), ERRORS.values(), ids=ERRORS)
def test_labels_that_do_not_fit_are_errors(records, classes, message, tmp_path):
    path = write(tmp_path / "a.tfrecord", *records)
    with pytest.raises(ValueError, match=message):
        read_records(path, classes)


def test_a_truncated_file_says_so(tmp_path):
    path = write(tmp_path / "a.tfrecord", example(1), example(1))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="a.tfrecord' cannot be read: the file is truncated"):
        read_records(tmp_path)


def test_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(ValueError, match="must hold TFRecord files. Received: no names with"):
        read_records(tmp_path)


def test_no_paths_are_an_error():
    with pytest.raises(ValueError, match="`paths` must name at least one file"):
        read_records([])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file of records '.*nothing'"):
        read_records(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["{}", "[1", '{"format": "other"}', "\xff"])
def test_a_manifest_of_others_is_passed_over(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    write(tmp_path / "a.tfrecord", example(1))
    assert len(read_records(tmp_path)) == 1


def test_an_unfinished_preparation_is_an_error(tmp_path):
    (tmp_path / ".preparing").mkdir()
    write(tmp_path / "videos-00000-of-00002.tfrecord", example(1))
    with pytest.raises(ValueError, match="not complete: their preparation was broken off.*again"):
        read_records(tmp_path)

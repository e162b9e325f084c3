"""A shard holds its videos, as TensorFlow reads them; what is broken is noted, not hidden."""

import concurrent.futures
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.lists.video_list import VideoList
from keras_nonlocal.prepare.convert import convert_shard, convert_video, make_plan
from keras_nonlocal.prepare.manifest import OutputFolder, load_shards
from keras_nonlocal.video.images import FrameFolder
from keras_nonlocal.video.open import decode_frames, open_video, probe_video
from tests.made_videos import moving_bars

from .conftest import files_in


def load_shard(plan, number, folder):
    return load_shards(plan, OutputFolder(folder))[number]


def stored(plan, video):
    return convert_video(plan, video)


def pictures_in(example):
    features = example.feature_lists.feature_list["image/encoded"].feature
    return [tf.io.decode_image(each.bytes_list.value[0]).numpy() for each in features]


def numbers_of(pictures, path):
    """Which frame of a video each picture is most like; it must be like it."""
    frames = decode_frames(path, range(probe_video(path).frames)).astype(float)
    errors = np.abs(frames - np.stack(pictures)[:, None]).mean(axis=(2, 3, 4))
    assert errors.min(axis=1).max() < 5
    return errors.argmin(axis=1).tolist()


def test_a_shard_holds_the_videos_of_the_plan(videos, tmp_path):
    plan = make_plan(videos, shards=3)
    convert_shard(plan, 1, tmp_path)
    records = tf.data.TFRecordDataset(str(tmp_path / "videos-00001-of-00003.tfrecord"))
    made = [tf.train.SequenceExample.FromString(each.numpy()) for each in records]
    paths = [each.context.feature["clip/data_path"].bytes_list.value[0].decode() for each in made]
    assert paths == [plan.names[video] for video in plan.shards[1]]
    lengths = [len(pictures_in(each)) for each in made]
    assert lengths == [8 + video for video in plan.shards[1]]


def test_the_note_tells_what_is_in_the_shard(videos, tmp_path):
    plan = make_plan(videos, shards=3)
    shard = convert_shard(plan, 0, tmp_path)
    path = tmp_path / plan.shard_name(0)
    assert shard["bytes"] == path.stat().st_size
    for record, video in zip(shard["records"], plan.shards[0], strict=True):
        address = f"{path}@{record['offset']}"
        assert probe_video(address).frames == record["frames"] == 8 + video
        assert (record["path"], record["labels"]) == (plan.names[video], [video % 3])
    assert load_shard(plan, 0, tmp_path) == shard


@pytest.mark.parametrize(
    ("short_side", "size"),
    [(16, (16, 24)), (32, (32, 48)), (256, (32, 48)), (None, (32, 48))],
    ids=["smaller", "as it is", "no enlarging", "none"],
)
def test_frames_are_made_smaller_and_never_larger(short_side, size, videos):
    example = stored(make_plan(videos, short_side=short_side), 3)
    assert {picture.shape[:2] for picture in pictures_in(example)} == {size}


def test_frames_are_those_of_the_video(videos):
    pictures = pictures_in(stored(make_plan(videos), 3))
    assert numbers_of(pictures, videos.paths[3]) == list(range(11))


def test_faster_videos_are_thinned(videos):
    # Of 25 frames a second in 11 frames, 10 a second are frames 0, 2.5, 5, 7.5 and 10.
    example = stored(make_plan(videos, fps=10), 3)
    assert numbers_of(pictures_in(example), videos.paths[3]) == [0, 3, 5, 8, 10]
    assert example.context.feature["image/frame_rate"].float_list.value[:] == [10]
    stamps = example.feature_lists.feature_list["image/timestamp"].feature
    assert [each.int64_list.value[0] for each in stamps] == [n * 100_000 for n in range(5)]


@pytest.mark.parametrize("fps", [25, 100])
def test_slower_videos_are_not_thinned(fps, videos):
    example = stored(make_plan(videos, fps=fps), 3)
    assert len(pictures_in(example)) == 11
    assert example.context.feature["image/frame_rate"].float_list.value[:] == [25]


@pytest.fixture
def frame_folder(tmp_path):
    (tmp_path / "walk").mkdir()
    for number, frame in enumerate(moving_bars(6, 32, 48)):
        tf.io.write_file(str(tmp_path / "walk" / f"{number}.png"), tf.io.encode_png(frame))
    return tmp_path / "walk"


def test_folders_of_frames_are_stored_as_their_list_says(frame_folder):
    videos = VideoList([frame_folder], [0], ["walk"], num_frames=[4], fps=12.0)
    example = stored(make_plan(videos), 0)
    assert len(pictures_in(example)) == 4
    assert example.context.feature["image/frame_rate"].float_list.value[:] == [12]


def test_a_video_of_unknown_rate_cannot_be_thinned(frame_folder):
    assert isinstance(open_video(frame_folder), FrameFolder)
    with pytest.raises(ValueError, match="walk' has no frame rate.*reduced to 5 frames"):
        convert_video(make_plan(VideoList([frame_folder], [0], ["walk"]), fps=5), 0)


def test_labels_and_events_are_stored(source):
    path = sorted(source.glob("*/*.mp4"))[0]
    videos = VideoList([path], np.array([[1, 0, 1]]), "xyz", events=[[(2, 0.1, 0.25)]])
    context = stored(make_plan(videos), 0).context.feature
    assert context["clip/label/index"].int64_list.value[:] == [0, 2]
    assert context["clip/label/text"].bytes_list.value[:] == [b"x", b"z"]
    assert context["segment/label/index"].int64_list.value[:] == [2]
    assert context["segment/label/string"].bytes_list.value[:] == [b"z"]
    assert context["segment/start/timestamp"].int64_list.value[:] == [100_000]
    assert context["segment/end/timestamp"].int64_list.value[:] == [250_000]


def test_the_same_shard_made_twice_at_a_time_is_the_same(videos, tmp_path):
    plan = make_plan(videos, shards=2)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        shards = list(pool.map(lambda _: convert_shard(plan, 0, tmp_path), range(3)))
    assert shards[0] == shards[1] == shards[2]
    assert sorted(files_in(tmp_path)) == [
        ".preparing/videos-00000-of-00002.tfrecord.json",
        "videos-00000-of-00002.tfrecord",
        "videos-00000-of-00002.tfrecord.idx",
    ]


@pytest.fixture
def broken(source, tmp_path):
    """Three videos, of which the second is cut."""
    root = tmp_path / "broken"
    shutil.copytree(source / "a", root)
    paths = sorted(root.iterdir())[:3]
    paths[1].write_bytes(paths[1].read_bytes()[:400])
    return VideoList(paths, [0, 0, 0], ["a"])


def test_a_broken_video_is_noted_and_the_others_stored(broken, tmp_path):
    plan, told = make_plan(broken, shards=1), []
    shard = convert_shard(plan, 0, tmp_path, report=lambda *words: told.append(words))
    (failure,) = shard["failures"]
    assert failure["path"] == "03.mp4"
    assert "'03.mp4' cannot be read" in failure["reason"]
    assert str(tmp_path) not in failure["reason"]
    assert sorted(record["path"] for record in shard["records"]) == ["00.mp4", "06.mp4"]
    assert sorted(told) == [
        ("00.mp4", None),
        ("03.mp4", failure["reason"]),
        ("06.mp4", None),
    ]


def test_a_vanished_video_is_noted(broken, tmp_path):
    os.remove(broken.paths[1])
    (failure,) = convert_shard(make_plan(broken, shards=1), 0, tmp_path)["failures"]
    assert failure["path"] == "03.mp4"
    assert failure["state"] is None


def test_a_report_that_raises_leaves_nothing_of_the_shard(broken, tmp_path):
    def report(name, reason):
        if reason:
            raise RuntimeError(name)

    with pytest.raises(RuntimeError, match="03.mp4"):
        convert_shard(make_plan(broken, shards=1), 0, tmp_path / "out", report)
    assert files_in(tmp_path / "out") == {}


def test_a_mended_video_is_tried_again(broken, source, tmp_path):
    plan = make_plan(broken, shards=1)
    convert_shard(plan, 0, tmp_path)
    assert load_shard(plan, 0, tmp_path)["failures"]
    shutil.copy(source / "a" / "03.mp4", broken.paths[1])
    assert load_shard(plan, 0, tmp_path) is None


@pytest.mark.parametrize("lost", ["videos-00000-of-00002.tfrecord", ".preparing"])
def test_a_shard_without_its_file_or_note_is_not_finished(lost, videos, tmp_path):
    plan = make_plan(videos, shards=2)
    convert_shard(plan, 0, tmp_path)
    (shutil.rmtree if lost == ".preparing" else os.remove)(tmp_path / lost)
    assert load_shard(plan, 0, tmp_path) is None


def test_a_cut_shard_is_not_finished(videos, tmp_path):
    plan = make_plan(videos, shards=2)
    shard = convert_shard(plan, 0, tmp_path)
    os.truncate(tmp_path / plan.shard_name(0), shard["bytes"] - 1)
    assert load_shard(plan, 0, tmp_path) is None


def test_records_can_be_prepared_again(videos, tmp_path):
    plan = make_plan(videos, shards=3)
    shard = convert_shard(plan, 0, tmp_path)
    address = f"{tmp_path / plan.shard_name(0)}@{shard['records'][0]['offset']}"
    again = make_plan(VideoList([address], [0], ["a"]), short_side=16)
    pictures = pictures_in(stored(again, 0))
    assert (len(pictures), pictures[0].shape) == (shard["records"][0]["frames"], (16, 24, 3))

"""What `clip_dataset` does about videos that cannot be read."""

import logging
import os

import numpy as np
import pytest
import tensorflow as tf
from keras_nonlocal.data.failures import Failures

from keras_nonlocal.data import VideoList, clip_dataset, read_folder
from tests.made_videos import write

SMALL = {"clip": "4x2", "crop": 32, "short_side": 36, "batch_size": 2}


def break_as_text(path):
    path.write_bytes(b"this is no video")


def break_as_empty(path):
    path.write_bytes(b"")


def break_by_cutting(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def break_by_removing(path):
    path.unlink()


def break_by_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def break_by_an_empty_folder(path):
    path.unlink()
    path.mkdir()


BREAKS = [
    break_as_text,
    break_as_empty,
    break_by_cutting,
    break_by_removing,
    break_by_a_pipe,
    break_by_an_empty_folder,
]


@pytest.fixture
def videos(tmp_path):
    """Ten videos, each of a brightness of its own, in classes of five."""
    for number in range(10):
        folder = tmp_path / "ab"[number // 5]
        folder.mkdir(exist_ok=True)
        frames = np.full((12, 40, 56, 3), 20 * number, np.uint8)
        write(folder / f"{number}.mp4", frames, "mpeg4")
    return read_folder(tmp_path)


def break_some(videos, how, numbers=(3, 6)):
    import pathlib

    for number in numbers:
        how(pathlib.Path(videos.paths[number]))


@pytest.mark.parametrize("how", BREAKS, ids=lambda how: how.__name__)
def test_raise_stops_with_the_path(videos, how):
    break_some(videos, how, [3])
    with pytest.raises(tf.errors.OpError, match=r"3\.mp4"):
        list(clip_dataset(videos, **SMALL))


@pytest.mark.parametrize("how", BREAKS, ids=lambda how: how.__name__)
def test_skip_goes_on_and_tells_at_the_end(videos, how, caplog):
    break_some(videos, how)
    dataset = clip_dataset(videos, **SMALL, on_error="skip", max_broken=0.2)
    with caplog.at_level(logging.WARNING, "keras_nonlocal"):
        batches = list(dataset)
    labels = np.concatenate([labels for _, labels in batches])
    brightness = np.concatenate([clips.numpy().mean((1, 2, 3, 4)) for clips, _ in batches])
    # Each clip still has its own label: the five darker videos are of the first class.
    assert len(labels) == 8
    np.testing.assert_array_equal(labels, (brightness > 90).astype(int))
    (record,) = caplog.records
    assert "2 of 10 videos could not be read and were left out" in record.message
    assert "3.mp4" in record.message and "6.mp4" in record.message
    assert sorted(dataset.failures.names) == [videos.paths[3], videos.paths[6]]


def test_every_epoch_tells_of_its_own(videos, caplog):
    break_some(videos, break_as_text)
    dataset = clip_dataset(videos, **SMALL, training=True, on_error="skip", max_broken=0.2, seed=1)
    for epoch in (1, 2):
        assert len(list(dataset)) == 4
        assert len(caplog.records) == epoch
    break_some(videos, break_by_removing)
    for number in (3, 6):
        write(videos.paths[number], np.full((12, 40, 56, 3), 100, np.uint8), "mpeg4")
    assert len(list(dataset)) == 5
    assert len(caplog.records) == 2
    assert dataset.failures.names == {}


def test_an_epoch_that_was_broken_off_is_told_before_the_next(videos, caplog):
    break_some(videos, break_as_text, [0])
    dataset = clip_dataset(videos, **SMALL, on_error="skip", max_broken=0.2)
    next(iter(dataset.take(1)))
    break_some(videos, break_by_removing, [0])
    write(videos.paths[0], np.full((12, 40, 56, 3), 100, np.uint8), "mpeg4")
    list(dataset)
    assert [record.message.count("0.mp4") for record in caplog.records] == [1]


def test_skip_fails_when_too_much_is_broken(videos):
    break_some(videos, break_as_text, [1, 3, 6])
    message = r"More than `max_broken` \(20%\) of 10 videos cannot be read:\n.*1.mp4"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(clip_dataset(videos, **SMALL, on_error="skip", max_broken=0.2))


def test_skip_with_nothing_broken_says_nothing(videos, caplog):
    assert len(list(clip_dataset(videos, **SMALL, on_error="skip"))) == 5
    assert not caplog.records


def test_shapes_are_known_while_skipping(videos):
    kept = clip_dataset(videos, **SMALL)
    skipping = clip_dataset(videos, **SMALL, on_error="skip")
    assert skipping.element_spec == kept.element_spec


def test_a_broken_video_of_ones_own_decoder_is_skipped(videos):
    def decode(path, indices):
        if path == videos.paths[4]:
            raise RuntimeError("no such codec")
        return np.zeros((len(indices), 40, 56, 3), np.uint8)

    dataset = clip_dataset(videos, **SMALL, decoder=decode, on_error="skip", max_broken=0.2)
    assert sum(len(labels) for _, labels in dataset) == 9
    assert "no such codec" in dataset.failures.names[videos.paths[4]]


def test_a_label_out_of_range_is_refused_before_reading(videos):
    with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 2\).*Received: 2 for"):
        VideoList(videos.paths, [2] * 10, videos.class_names)


def test_many_names_are_cut(caplog):
    failures = Failures(total=100, max_broken=1.0)
    for number in range(50):
        failures.add(f"{number}.mp4", f"{number}.mp4 is broken")
    failures.end_epoch()
    assert "19.mp4 is broken\n  and 30 more" in caplog.records[0].message

"""The chain from files to batches: shapes, order, reproducibility, values."""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.data import clip_dataset, decode_frames, read_folder, transforms

from .conftest import write

SMALL = {"clip": "4x2", "crop": 32, "short_side": 36}


@pytest.fixture
def videos(folder):
    return read_folder(folder)


def training(videos, **options):
    options = {**SMALL, "short_side": (36, 48), "batch_size": 2, "training": True, **options}
    return clip_dataset(videos, **options)


def epoch(dataset):
    batches = [(clips.numpy(), labels.numpy()) for clips, labels in dataset]
    return [np.concatenate(part) for part in zip(*batches, strict=True)]


@pytest.mark.parametrize(
    "options, shape",
    [
        ({}, (3, 4, 32, 32, 3)),
        ({"clips_per_video": 2}, (3, 2, 4, 32, 32, 3)),
        ({"crops_per_clip": 3}, (3, 3, 4, 32, 32, 3)),
        ({"clips_per_video": 2, "crops_per_clip": 3}, (3, 6, 4, 32, 32, 3)),
    ],
    ids=["one-view", "clips", "crops", "clips-and-crops"],
)
def test_testing_shapes_are_known_and_kept(videos, options, shape):
    dataset = clip_dataset(videos, **SMALL, batch_size=3, **options)
    assert dataset.element_spec[0].shape[1:] == shape[1:]
    assert dataset.cardinality() == 3
    batches = list(dataset)
    assert [len(labels) for _, labels in batches] == [3, 3, 2]
    assert batches[0][0].shape == shape


@pytest.mark.parametrize("clips_per_video, batches", [(1, 2), (3, 8)])
def test_training_shapes_are_known_and_kept(videos, clips_per_video, batches):
    dataset = training(videos, batch_size=3, clips_per_video=clips_per_video)
    assert dataset.element_spec[0] == tf.TensorSpec((3, 4, 32, 32, 3), tf.float32)
    assert dataset.element_spec[1] == tf.TensorSpec((3,), tf.int32)
    assert dataset.cardinality() == batches
    assert len(list(dataset)) == batches


def test_testing_keeps_the_order_of_the_videos(videos):
    _, labels = epoch(clip_dataset(videos, **SMALL))
    np.testing.assert_array_equal(labels, videos.labels)


def test_testing_clip_is_what_its_parts_make(videos):
    clips, _ = epoch(clip_dataset(videos, **SMALL, clips_per_video=2, crops_per_clip=3, wrap=False))
    # The last of two clips of 7 frames in a video of 20 begins at frame 13.
    frames = decode_frames(videos.paths[5], [13, 15, 17, 19])
    prepare = transforms.compose(
        transforms.resize_short_side(36), transforms.three_crops(32), transforms.normalize()
    )
    np.testing.assert_allclose(clips[5, 3:], prepare(frames), atol=1e-5)


def test_clips_keep_their_labels(videos):
    clips, labels = epoch(training(videos, clips_per_video=3, seed=1))
    np.testing.assert_array_equal(clips.mean((1, 2, 3, 4)) > 0, labels == 1)


def test_an_epoch_sees_each_video_once(videos):
    clips, _ = epoch(training(videos, seed=1))
    # Each video has a brightness of its own, in steps of 10 (0.17 after normalisation).
    assert len(np.unique(np.round(clips.mean((1, 2, 3, 4)), 1))) == len(videos)


def test_a_seed_fixes_order_and_draws(videos):
    first, again = (
        epoch(training(videos, clips_per_video=2, color=0.3, labels_after_flip=[0, 1], seed=4))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first[1], again[1])
    np.testing.assert_array_equal(first[0], again[0])


def test_seeds_differ(video_of_noise):
    assert not np.array_equal(*(epoch(training(video_of_noise, seed=s))[0] for s in (1, 2)))


def test_without_a_seed_runs_differ(video_of_noise):
    assert not np.array_equal(*(epoch(training(video_of_noise))[0] for _ in range(2)))


def test_epochs_bring_other_clips(video_of_noise):
    dataset = training(video_of_noise, seed=1)
    assert not np.array_equal(epoch(dataset)[0], epoch(dataset)[0])


def test_flips_change_labels_in_training(videos):
    dataset = training(videos, labels_after_flip=[1, 0], seed=3)
    clips, labels = epoch(dataset.repeat(3))
    dark = clips.mean((1, 2, 3, 4)) < 0
    assert 0 < np.mean(dark == (labels == 0)) < 1


def test_a_broken_file_is_named(tmp_path, videos):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"this is no video")
    broken = type(videos)([str(path)], [0], ["x"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="broken.mp4' cannot be read"):
        next(iter(clip_dataset(broken, **SMALL)))


@pytest.fixture
def video_of_noise(tmp_path, videos):
    frames = np.random.default_rng(0).integers(0, 255, (20, 40, 56, 3), np.uint8)
    path = write(tmp_path / "noise.mp4", frames)
    return type(videos)([str(path)] * 2, [0, 0], ["noise"])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"crop": 64}, r"`crop` must not exceed the resized short side \(36\). Received: crop=64"),
        ({"crops_per_clip": 2}, "`crops_per_clip` must be 1 .* or 3 .*crops_per_clip=2"),
        ({"training": True, "crops_per_clip": 3}, "`crops_per_clip` must be 1 in training"),
        ({"clips_per_video": 0}, "`clips_per_video` must be at least 1"),
        ({"training": True, "batch_size": 9}, r"between 1 and the number of clips \(8\)"),
        ({"batch_size": 0}, "`batch_size` must lie between 1"),
        ({"short_side": (36, 40)}, "`short_side` must be one number of pixels in testing"),
        ({"source": "nobody"}, "`source` must be one of"),
        ({"clip": "4 by 2"}, "must be written as frames x stride"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(videos, options, message):
    with pytest.raises(ValueError, match=message):
        clip_dataset(videos, **{**SMALL, **options})

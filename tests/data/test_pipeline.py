"""The chain from files to batches: shapes, order, reproducibility, values."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal import transforms
from keras_nonlocal.data import (
    RandomClipSampler,
    TSNSampler,
    UniformClipSampler,
    VideoList,
    clip_dataset,
    decode_frames,
    read_folder,
)
from tests.made_videos import write

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
    assert dataset.element_spec[0] == tf.TensorSpec((3, 4, 32, 32, 3), tf.uint8)
    assert dataset.element_spec[1] == tf.TensorSpec((3,), tf.int32)
    assert dataset.cardinality() == batches
    assert len(list(dataset)) == batches


def test_testing_keeps_the_order_of_the_videos(videos):
    _, labels = epoch(clip_dataset(videos, **SMALL))
    np.testing.assert_array_equal(labels, videos.labels)


def test_testing_clip_is_what_its_parts_make(videos):
    sampler = UniformClipSampler("4x2", 2, "mmaction2")
    clips, _ = epoch(clip_dataset(videos, **{**SMALL, "clip": sampler}, crops_per_clip=3))
    # The last of two clips of 7 frames in a video of 20 begins at frame 13.
    frames = decode_frames(videos.paths[5], [13, 15, 17, 19], short_side=36)
    np.testing.assert_array_equal(clips[5, 3:], transforms.three_crops(32)(frames))


def test_clips_keep_their_labels(videos):
    clips, labels = epoch(training(videos, clips_per_video=3, seed=1))
    np.testing.assert_array_equal(clips.mean((1, 2, 3, 4)) > 114.75, labels == 1)


def test_an_epoch_sees_each_video_once(videos):
    clips, _ = epoch(training(videos, seed=1))
    # Each video has a brightness of its own, in steps of 10.
    assert len(np.unique(np.round(clips.mean((1, 2, 3, 4)) / 5))) == len(videos)


def test_a_seed_fixes_order_and_draws(videos):
    first, again = (epoch(training(videos, clips_per_video=2, color=0.3, seed=4)) for _ in range(2))
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
    dataset = training(videos, flip=[1, 0], seed=3)
    clips, labels = epoch(dataset.repeat(3))
    dark = clips.mean((1, 2, 3, 4)) < 0
    assert 0 < np.mean(dark == (labels == 0)) < 1


@pytest.fixture
def gradient(tmp_path):
    """A video that is dark on its left, in a class that names that side."""
    frames = np.broadcast_to(np.arange(56, dtype=np.uint8)[:, None] * 4, (20, 40, 56, 3))
    path = str(write(tmp_path / "gradient.mp4", frames))

    def of(*classes):
        return VideoList([path] * 2, np.arange(2) % len(classes), classes)

    return of


@pytest.mark.parametrize(
    "classes, flip, sides",
    [
        (("pan left", "pan right"), True, {(True, 0), (False, 1), (True, 1), (False, 0)}),
        (("pan left", "zoom"), True, {(True, 0), (True, 1), (False, 1)}),
        (("pan left", "zoom"), False, {(True, 0), (True, 1)}),
    ],
    ids=["mirrored", "never", "off"],
)
def test_classes_that_name_a_side_go_with_the_mirror(gradient, classes, flip, sides):
    dataset = training(gradient(*classes), flip=flip, seed=3)
    clips, labels = epoch(dataset.repeat(20))
    dark_left = clips[..., 0, :].mean((1, 2, 3)) < clips[..., -1, :].mean((1, 2, 3))
    assert set(zip(dark_left.tolist(), labels.tolist(), strict=True)) == sides


def test_the_short_side_is_drawn_between_both_sizes(gradient):
    clips, _ = epoch(training(gradient("zoom"), flip=False, seed=1).repeat(30))
    # Pixels of the video differ by 4; 31 of them at a short side of 36 instead of 40 by 138, of 48
    # by 103.
    rise = (clips[..., -1, 0] - np.float32(clips[..., 0, 0])).mean((1, 2))
    assert rise.min() < 108 and rise.max() > 132


def test_segments_span_the_video(videos):
    clips, _ = epoch(clip_dataset(videos, **{**SMALL, "clip": TSNSampler(4)}))
    assert clips.shape == (8, 4, 32, 32, 3)
    frames = decode_frames(videos.paths[2], [2, 7, 12, 17], short_side=36)
    np.testing.assert_array_equal(clips[2], transforms.center_crop(32)(frames))


@pytest.mark.parametrize("change", [{}, {"color": 0.1}], ids=["crop", "color"])
def test_pixels_stay_bytes(videos, change):
    assert training(videos, **change).element_spec[0].dtype == "uint8"


def test_augment_sees_pixels_and_batches_have_what_it_returns(videos):
    seen = []

    def augment(clip, seed):
        seen.append(clip.dtype)
        return tf.cast(clip, tf.float32) * 0 + 115.5

    clips, _ = epoch(training(videos, augment=augment))
    assert seen == ["uint8"] and (clips == 115.5).all()


def test_mix_gets_batches_and_seeds_of_its_own(videos):
    seeds = []

    def mix(clips, labels, seed):
        tf.py_function(lambda seed: seeds.append(tuple(seed.numpy())), [seed], [])
        return clips[::-1], tf.one_hot(labels, 2)

    dataset = training(videos, mix=mix)
    assert dataset.element_spec[1].shape[1:] == (2,)
    epoch(dataset)
    assert len(set(seeds)) == 4


def test_several_labels_a_video_are_batched(folder):
    paths = read_folder(folder).paths
    labels = np.float32([[1, 0, 1]] * 4 + [[0, 1, 1]] * 4)
    _, batched = epoch(clip_dataset(VideoList(paths, labels, "abc"), **SMALL))
    np.testing.assert_array_equal(batched, labels)


def test_labels_of_a_clip_are_those_of_its_time(folder):
    # 20 frames at 25 a second: the first event is over before the second half begins.
    path = read_folder(folder).paths[0]
    videos = VideoList(
        [path] * 4, np.float32([[1, 1]] * 4), "ab", events=[((0, 0.0, 0.36), (1, 0.4, 0.8))] * 4
    )
    dataset = training(videos, clip="4x1", labels_of="clip", clips_per_video=8, seed=1)
    _, labels = epoch(dataset)
    # Clips that begin at frames 0 to 6 end before 0.4 s, those from 9 on begin after 0.36 s.
    assert {tuple(label) for label in labels.tolist()} == {(1, 0), (1, 1), (0, 1)}


def test_labels_of_a_clip_go_by_time_stamps(tmp_path):
    # Twenty frames in 0.2 s, ten more in 2 s; the event goes on while the last five are shown.
    times = np.concatenate([np.arange(20), 20 + 20 * np.arange(10)])
    path = str(write(tmp_path / "a.mkv", np.zeros((30, 40, 56, 3), np.uint8), times=times))
    events = [((0, 1.25, 2.1),)] * 2
    videos = VideoList([path] * 2, np.float32([[1]] * 2), "a", events=events)
    late = lambda num_frames, fps, generator, times: np.array([[25, 26], [20, 22]])  # noqa: E731
    late.clips, late.frames = 2, 2
    _, labels = epoch(training(videos, clip=late, labels_of="clip"))
    assert sorted(labels[:, 0]) == [0, 0, 1, 1]


def test_a_path_is_as_good_as_its_list(folder):
    by_path, by_list = (epoch(clip_dataset(x, **SMALL)) for x in (folder, read_folder(folder)))
    np.testing.assert_array_equal(by_path[0], by_list[0])


def test_without_a_seed_that_of_keras_counts(video_of_noise):
    clips = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        clips.append(epoch(training(video_of_noise))[0])
    np.testing.assert_array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[0], clips[2])


def test_a_decoder_of_ones_own_is_called(videos):
    calls = []

    def decode(path, indices):
        calls.append((path, indices.tolist()))
        return np.full((len(indices), 72, 100, 3), 115, np.uint8)

    dataset = clip_dataset(videos, **SMALL, decoder=decode, probe=lambda path: 100)
    clips, _ = epoch(dataset)
    assert clips.shape == (8, 4, 32, 32, 3)
    assert (clips == 115).all()
    assert sorted(calls) == [(path, [0, 2, 4, 6]) for path in sorted(videos.paths)]


@pytest.mark.parametrize(
    "decode, message",
    [
        (
            lambda path, indices: np.zeros((1, 8, 8, 3), np.uint8),
            "`decoder` must give uint8 frames",
        ),
        (lambda path, indices: np.zeros((4, 8, 8, 3)), "`decoder` must give uint8 .*float64"),
        (lambda path, indices: [][0], "The video '.*0.mp4' cannot be read: list index"),
    ],
    ids=["too-few", "floats", "raises"],
)
def test_a_decoder_that_fails_is_told(videos, decode, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        next(iter(clip_dataset(videos, **SMALL, decoder=decode)))


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
        ({"training": True, "short_side": (48, 36)}, "a pair of the smaller and the greater"),
        (
            {"clip": RandomClipSampler("4x2"), "clips_per_video": 2},
            "must be left out beside a sampler",
        ),
        ({"labels_of": "clip"}, '`labels_of` must be "video", or "clip" in training on videos'),
        ({"mix": lambda *batch: batch}, "`mix` must be None in testing"),
        ({"on_error": "ignore"}, "`on_error` must be 'raise' .*or 'skip'.*on_error='ignore'"),
        ({"on_error": "skip", "max_broken": 5}, "`max_broken` must be a share .*max_broken=5"),
        ({"shard": (2, 2)}, r"`shard` must be a pair .*Received: shard=\(2, 2\)"),
        ({"shard": 3}, "`shard` must be a pair"),
        ({"probe": len}, "`probe` goes with `decoder`. Received: a probe alone"),
        (
            {"training": True, "shard": (0, 2), "batch_size": 2, "on_error": "skip"},
            "`on_error` must be 'raise' where several processes train together",
        ),
        ({"clip": "4 by 2"}, "must be written as frames x stride"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(videos, options, message):
    with pytest.raises(ValueError, match=message):
        clip_dataset(videos, **{**SMALL, **options})

"""`ClipSource`: clips by index, in NumPy alone."""

import dataclasses
import pathlib
import subprocess
import sys

import grain
import numpy as np
import pytest
import torch

import keras_nonlocal
from keras_nonlocal import transforms
from keras_nonlocal.data import (
    ClipSource,
    RandomClipSampler,
    UniformClipSampler,
    VideoInfo,
    VideoList,
    decode_frames,
    read_folder,
)
from keras_nonlocal.data import source as source_module
from tests.data.made_clips import MADE, noise, videos_of
from tests.made_videos import write


def test_an_index_gives_the_frames_and_the_label(folder):
    videos = read_folder(folder)
    source = ClipSource(videos, UniformClipSampler("4x2"))
    assert len(source) == len(videos) == 8
    for index in (0, np.int64(5), -1):
        frames, label = source[index]
        np.testing.assert_array_equal(frames, decode_frames(videos.paths[index], [0, 2, 4, 6]))
        assert label == videos.labels[index] and label.dtype == np.int32
    with pytest.raises(IndexError, match="`index` must be below 8. Received: index=8"):
        source[8]


def test_scale_and_crops_are_those_of_the_transforms(folder):
    path = read_folder(folder).paths[5]
    videos = VideoList([path], [0], ["a"])
    source = ClipSource(
        videos, UniformClipSampler("4x2", 2, "mmaction2"), 32, scale=37, num_crops=3
    )
    views, _ = source[0]
    # The last of two clips of 7 frames in a video of 20 begins at frame 13.
    frames = decode_frames(path, [13, 15, 17, 19], short_side=37)
    assert views.shape == (6, 4, 32, 32, 3)
    np.testing.assert_array_equal(views[3:], transforms.three_crops(32)(frames))
    (middle, _) = ClipSource(videos, UniformClipSampler("4x2"), 32, scale=37)[0]
    frames = decode_frames(path, [0, 2, 4, 6], short_side=37)
    np.testing.assert_array_equal(middle, transforms.center_crop(32)(frames))


@pytest.mark.parametrize("size", [(20, 12), [np.int64(20), np.int32(12)]], ids=["tuple", "numpy"])
def test_a_size_may_be_a_pair(size):
    source = ClipSource(videos_of(), UniformClipSampler("4x2"), size, scale=24, **MADE)
    expected = noise("3", [0, 2, 4, 6], None)[:, 2:22, 8:20]
    np.testing.assert_array_equal(source[3][0], expected)


def test_crops_lie_at_random_places_inside():
    source = ClipSource(
        videos_of(), UniformClipSampler("1x1"), 20, scale=24, random_crop=True, **MADE
    )
    frame = noise("0", [0], None)[0]
    found = set()
    for _ in range(200):
        crop = source[0][0][0]
        (place,) = [
            (top, left)
            for top in range(5)
            for left in range(9)
            if np.array_equal(crop, frame[top : top + 20, left : left + 20])
        ]
        found.add(place)
    assert {top for top, _ in found} == set(range(5)) and {left for _, left in found} == set(
        range(9)
    )


def test_the_short_side_is_drawn_between_both():
    sides = []

    def decode(path, indices, short_side):
        sides.append(short_side)
        return np.zeros((len(indices), short_side, short_side + 4, 3), np.uint8)

    source = ClipSource(
        videos_of(), UniformClipSampler("1x1"), 8, (20, 23), decoder=decode, probe=len
    )
    for _ in range(50):
        source[0]
    assert set(sides) == {20, 21, 22, 23}


def test_seeds_fix_the_draws_and_none_draws_anew():
    options = {"size": 16, "scale": (18, 24), "random_crop": True, **MADE}
    first, again = (
        ClipSource(videos_of(), RandomClipSampler("4x2"), **options, seed=1) for _ in "ab"
    )
    fresh = ClipSource(videos_of(), RandomClipSampler("4x2"), **options)
    np.testing.assert_array_equal(first[3][0], again[3][0])
    assert not np.array_equal(fresh[3][0], fresh[3][0])


def test_grain_reads_epochs_that_differ_and_come_again():
    source = ClipSource(
        videos_of(), RandomClipSampler("4x2"), 16, (20, 24), random_crop=True, **MADE
    )

    def read():
        clips = grain.MapDataset.range(len(source)).seed(1).shuffle().repeat(2)
        return list(clips.random_map(source.sample).batch(11))

    first, again = read(), read()
    for number in range(2):
        clips, labels = first[number]
        assert clips.shape == (11, 4, 16, 16, 3) and clips.dtype == np.uint8
        assert sorted(labels) == sorted(source.videos.labels)
        np.testing.assert_array_equal(clips, again[number][0])
    assert not np.array_equal(first[0][0], first[1][0])


def test_grain_takes_it_as_a_source():
    source = ClipSource(videos_of(), UniformClipSampler("4x2"), 16, **MADE)
    clips, labels = next(iter(grain.MapDataset.source(source).batch(3)))
    np.testing.assert_array_equal(clips, np.stack([source[index][0] for index in range(3)]))
    np.testing.assert_array_equal(labels, [0, 1, 2])


def test_a_torch_loader_takes_it():
    source = ClipSource(videos_of(), UniformClipSampler("4x2"), 16, **MADE)
    clips, labels = next(iter(torch.utils.data.DataLoader(source, batch_size=3)))
    np.testing.assert_array_equal(clips, np.stack([source[index][0] for index in range(3)]))
    np.testing.assert_array_equal(labels, [0, 1, 2])


def test_labels_of_a_clip_are_those_of_its_time(folder):
    # 20 frames at 25 a second: the first event is over before the second half begins.
    path = read_folder(folder).paths[0]
    events = [((0, 0.0, 0.36), (1, 0.4, 0.8))]
    videos = VideoList([path], np.float32([[1, 1]]), "ab", events=events)
    # Clips that begin at frames 0 to 6 end before 0.4 s, those from 9 on begin after 0.36 s.
    for start, expected in ((0, [1, 0]), (6, [1, 0]), (7, [1, 1]), (8, [1, 1]), (9, [0, 1])):
        np.testing.assert_array_equal(label_of(videos, [start, start + 3]), expected)


def label_of(videos, indices):
    sampler = lambda num_frames, fps, generator, times: np.array([indices])  # noqa: E731
    sampler.clips, sampler.frames = 1, len(indices)
    return ClipSource(videos, sampler, clip_labels=True)[0][1]


def test_labels_of_a_clip_go_by_time_stamps(tmp_path):
    # Twenty frames in 0.2 s, ten more in 2 s; the event is over before the last of these.
    times = np.concatenate([np.arange(20), 20 + 20 * np.arange(10)])
    path = str(write(tmp_path / "a.mkv", np.zeros((30, 40, 56, 3), np.uint8), times=times))
    videos = VideoList([path], np.float32([[1]]), "a", events=[((0, 1.25, 2.1),)])
    assert label_of(videos, [25, 26]) == 1 and label_of(videos, [20, 22]) == 0


@pytest.mark.parametrize("unit", ["seconds", "frames"])
def test_clips_lie_inside_their_segment(unit, folder):
    # 20 frames at 25 a second.
    path = read_folder(folder).paths[0]
    segments = np.array([[4, 11], [12, np.inf], [0, 1]]) / (25 if unit == "seconds" else 1)
    videos = VideoList([path] * 3, [0, 1, 0], "ab", segments=segments, time_unit=unit)
    source = ClipSource(videos, UniformClipSampler("3x2", 2, "mmaction2"))
    for index, expected in enumerate(
        [[[4, 6, 8], [6, 8, 10]], [[12, 14, 16], [15, 17, 19]], [[0] * 3] * 2]
    ):
        frames = decode_frames(path, np.ravel(expected))
        np.testing.assert_array_equal(source[index][0], frames.reshape(2, 3, *frames.shape[1:]))
    outside = dataclasses.replace(videos, segments=segments + 100)
    received = r"\(104\.0, 111\.0\)" if unit == "frames" else r"\(100\.16, 100\.44\)"
    with pytest.raises(ValueError, match=f"must hold a frame of its video. Received: {received}"):
        ClipSource(outside, UniformClipSampler("3x2"))[0]


def test_segments_go_by_time_stamps(tmp_path):
    times = np.concatenate([np.arange(20), 20 + 20 * np.arange(10)])
    frames = np.repeat(np.arange(0, 240, 8, dtype=np.uint8), 40 * 56 * 3).reshape(30, 40, 56, 3)
    path = str(write(tmp_path / "a.mkv", frames, times=times))
    videos = VideoList([path], [0], "a", segments=[(0.05, 0.61)])
    seen = []

    def sample(num_frames, fps, generator, times):
        seen.append((num_frames, times.tolist()))
        return np.array([[0, num_frames - 1]])

    sample.clips, sample.frames = 1, 2
    frames, _ = ClipSource(videos, sample)[0]
    # From frame 5, shown at 0.05 s, to frame 22, shown from 0.6 s on.
    np.testing.assert_array_equal(frames, decode_frames(path, [5, 22]))
    assert seen[0][0] == 18 and seen[0][1][0] == 0 and seen[0][1][-1] == pytest.approx(0.55)


def test_a_decoder_is_told_what_is_wanted_and_resized():
    calls = []

    def decode(path, indices, short_side):
        calls.append((path, indices.tolist(), short_side))
        return np.full((len(indices), 72, 100, 3), 115, np.uint8)

    info = VideoInfo(100, fps=25.0, height=72, width=100, codec="", duration=4.0)
    source = ClipSource(
        videos_of(), UniformClipSampler("4x2"), scale=36, decoder=decode, probe=lambda path: info
    )
    np.testing.assert_array_equal(source[2][0], np.full((4, 36, 50, 3), 115))
    assert calls == [("2", [0, 2, 4, 6], 36)]


@pytest.mark.parametrize(
    "decode, probe, message",
    [
        (lambda *_: np.zeros((1, 8, 8, 3), np.uint8), 40, "`decoder` must return uint8.*'3'"),
        (lambda *_: np.zeros((4, 8, 8, 3)), 40, "`decoder` must return uint8 .*float64 .*'3'"),
        (lambda *_: [][0], 40, "The video '3' cannot be read: IndexError: list index"),
        (noise, 4.5, "`probe` must return the number of frames.* 4.5 for '3'"),
        (noise, 0, "The video '3' cannot be read: `num_frames` must be at least 1"),
    ],
    ids=["too-few", "floats", "raises", "probe", "empty"],
)
def test_a_decoder_that_fails_is_told_with_the_path(decode, probe, message):
    source = ClipSource(
        videos_of(), UniformClipSampler("4x2"), decoder=decode, probe=lambda path: probe
    )
    with pytest.raises(ValueError, match=f"(?s){message}"):
        source[3]


def test_frames_smaller_than_the_crop_are_told():
    source = ClipSource(videos_of(), UniformClipSampler("4x2"), (24, 40), scale=24, **MADE)
    with pytest.raises(
        ValueError, match=r"'3' .*`size` must not exceed the resized frames \(24, 28"
    ):
        source[3]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sampler": "8x8"}, "`sampler` must choose the frames .*sampler='8x8'"),
        ({"videos": "videos"}, "`videos` must be a `VideoList`.*Received: 'videos'"),
        ({"videos": videos_of(0)}, "`videos` must hold at least one video"),
        ({"probe": len}, "`probe` goes with `decoder`. Received: a probe alone"),
        ({"num_crops": 2, "size": 8}, "`num_crops` must be 1, or 3 .*num_crops=2"),
        ({"num_crops": 3}, "`num_crops` must be 1, or 3 .*beside `size`"),
        ({"num_crops": 3, "size": 8, "random_crop": True}, "without `random_crop`"),
        ({"clip_labels": True}, "`clip_labels` needs a list that tells when.*`read_charades`"),
        ({"size": 0}, "`size` must be a positive number of pixels, or a pair.*size=0"),
        ({"size": (8, 8, 3)}, r"`size` must be a positive .*size=\(8, 8, 3\)"),
        ({"size": 8.0}, "`size` must be a positive .*size=8.0"),
        ({"size": True}, "`size` must be a positive .*size=True"),
        ({"scale": (48, 36)}, "`scale` must be a positive .* a pair of the smaller"),
        ({"scale": "256"}, "`scale` must be a positive .*scale='256'"),
        ({"size": 64, "scale": 36}, r"`size` must not exceed the resized short side \(36\)"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        ClipSource(**{"videos": videos_of(), "sampler": UniformClipSampler("4x2"), **options})


ALONE = """
import sys, types
import numpy as np
# The package without what its top imports, where there is neither TensorFlow nor Keras.
package = types.ModuleType("keras_nonlocal")
package.__path__ = [sys.argv[1]]
sys.modules.update(keras_nonlocal=package, tensorflow=None, keras=None)
from keras_nonlocal.data import ClipSource, RandomClipSampler, VideoList
videos = VideoList([sys.argv[2]], [0], ["a"])
frames, label = ClipSource(videos, RandomClipSampler("4x2"), 32, (36, 40), random_crop=True)[0]
print(frames.shape, frames.dtype, int(label))
"""


def test_it_needs_no_tensorflow(folder):
    package = str(pathlib.Path(keras_nonlocal.__file__).parent)
    words = [sys.executable, "-c", ALONE, package, read_folder(folder).paths[0]]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.stdout == "(4, 32, 32, 3) uint8 0\n", ended.stderr


def test_damage_may_be_concealed(monkeypatch, folder):
    seen, true = [], source_module.open_video

    def opened(path, num_frames, fps, strict):
        seen.append(strict)
        return true(path, num_frames, fps, strict)

    monkeypatch.setattr(source_module, "open_video", opened)
    for strict in (True, False):
        ClipSource(read_folder(folder), UniformClipSampler("4x2"), strict=strict)[0]
    assert seen == [True, False]

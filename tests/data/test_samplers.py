"""Frames of clips, against hand-worked numbers and the arithmetic of each source."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import torch

from keras_nonlocal.data import ClipSpec, RandomClipSampler, TSNSampler, UniformClipSampler

MMA, PSF, TFM = "mmaction2", "pyslowfast", "tf-models-official"

KINDS = (RandomClipSampler, UniformClipSampler)


def starts(sampler, num_frames, **facts):
    return sampler(num_frames, **facts)[:, 0].tolist()


@pytest.mark.parametrize("num_frames", [1, 7, 105, 250, 299, 1001])
def test_the_authors_divide_the_whole_video(num_frames):
    authors = [int(num_frames / 10 * j) for j in range(10)]
    assert starts(UniformClipSampler("8x8", 10), num_frames) == authors


@pytest.mark.parametrize(
    "clip, clips, num_frames, expected",
    [
        # 250 / 10 = 25 frames apart.
        ("8x8", 10, 250, [0, 25, 50, 75, 100, 125, 150, 175, 200, 225]),
        # 29.9 apart, cut down: 29.9, 59.8, 89.7, 119.6, 149.5, 179.4, 209.3, 239.2, 269.1.
        ("32x2", 10, 299, [0, 29, 59, 89, 119, 149, 179, 209, 239, 269]),
        ("8x8", 3, 100, [0, 33, 66]),
        ("8x8", 10, 4, [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]),
    ],
)
def test_starts_of_video_nonlocal_net(clip, clips, num_frames, expected):
    assert starts(UniformClipSampler(clip, clips), num_frames) == expected


@pytest.mark.parametrize(
    "clip, clips, num_frames, expected",
    [
        # A span of 31 * 2 + 1 = 63 leaves 300 - 63 = 237 to nine steps of 26.33:
        # 26.3, 52.7, 79, 105.3, 131.7, 158, 184.3, 210.7, 237.
        ("32x2", 10, 300, [0, 26, 53, 79, 105, 132, 158, 184, 211, 237]),
        # 57 of 250 leave 193, nine steps of 21.44: 21.4, 42.9, 64.3, 85.8, 107.2, 128.7, 150.1 ...
        ("8x8", 10, 250, [0, 21, 43, 64, 86, 107, 129, 150, 172, 193]),
        # Halves go to the even number: 15 of 20 leave 5, two steps of 2.5.
        ("8x2", 3, 20, [0, 2, 5]),
        ("8x2", 1, 40, [12]),
        # One frame: the middles of parts of 37.5 frames, 18.75, 56.25, 93.75 ...
        ("1x1", 8, 300, [18, 56, 93, 131, 168, 206, 243, 281]),
        # Shorter than a clip.
        ("8x8", 3, 20, [0, 0, 0]),
    ],
)
def test_starts_of_mmaction2(clip, clips, num_frames, expected):
    assert starts(UniformClipSampler(clip, clips, MMA), num_frames) == expected


def test_starts_of_tf_models_official():
    # 8 * 8 = 64 frames per clip, linspace in float32, rounded down.
    for num_frames in (1, 40, 64, 65, 250, 299, 300, 1001):
        room = max(num_frames - 64, 0)
        expected = tf.cast(tf.linspace(0.0, float(room), 10), tf.int32).numpy().tolist()
        assert starts(UniformClipSampler("8x8", 10, TFM), num_frames) == expected
        assert starts(UniformClipSampler("8x8", 1, TFM), num_frames) == [room // 2]


LENGTHS = (1, 9, 16, 31, 50, 64, 75, 90, 100, 128, 150, 200, 250, 300, 1000)
RATES = (10, 15, 24, 25, 30000 / 1001, 30, 60)
CLIPS = ("1x1", "2x1", "3x5", "4x6", "8x8", "16x4", "32x2")


@pytest.mark.parametrize("clip", CLIPS)
def test_pyslowfast_agrees_with_its_source(clip):
    # With the 15 lengths, 7 rates and 12 numbers of clips these are 8,820 combinations.
    spec = ClipSpec.parse(clip)
    for num_frames, fps, clips in itertools.product(LENGTHS, RATES, range(1, 13)):
        expected = []
        for index in range(clips):
            size = max(1.0, spec.stride * spec.frames / 30 * fps)
            start = max(num_frames - size, 0) * index / clips
            places = torch.linspace(start, start + size - 1, spec.frames)
            expected.append(torch.clamp(places, 0, num_frames - 1).long().tolist())
        drawn = UniformClipSampler(f"{clip}@30", clips)(num_frames, fps)
        assert drawn.tolist() == expected, (num_frames, fps, clips)


def test_clips_of_pyslowfast_at_the_videos_own_rate():
    # 8 * 8 = 64 of 264 frames leave 200, a fifth of it apart; 8 places from 0 to 63 are 9 apart.
    clips = UniformClipSampler("8x8", 5, PSF)(264)
    assert clips[:, 0].tolist() == [0, 40, 80, 120, 160]
    assert clips[1].tolist() == [40, 49, 58, 67, 76, 85, 94, 103]


def test_clips_of_pyslowfast_at_a_rate_of_their_own():
    # 4 * 6 / 30 s are 0.8 s, 12 frames at 15 a second, which leave 18 of 30; half of it apart.
    # From 9 to 9 + 11 in three steps of 3.67: 9, 12.67, 16.33, 20.
    clips = UniformClipSampler("4x6@30", 2, PSF)(30, fps=15)
    assert clips.tolist() == [[0, 3, 7, 11], [9, 12, 16, 20]]


def test_clips_of_pyslowfast_repeat_the_last_frame():
    # From 0 to 63 in steps of 9, of which 20 frames are there.
    assert UniformClipSampler("8x8", 1, PSF)(20).tolist() == [[0, 9, 18, 19, 19, 19, 19, 19]]


def test_times_find_the_frame_on_show():
    # Ten frames in the first second, then one a second: 14 frames in 5 s, 2.8 a second. Four
    # places from 0 to 4 * 1 * 2.8 - 1 = 10.2 in steps of 3.4 lie at 0, 1.21, 2.43 and 3.64 s.
    times = np.concatenate([np.arange(10) / 10, [1, 2, 3, 4]])
    clips = UniformClipSampler("4x1@1", 1, PSF)(14, fps=2.8, times=times)
    assert clips.tolist() == [[0, 10, 11, 12]]


def test_times_of_a_constant_rate_change_nothing():
    sampler = UniformClipSampler("8x8@30", 3, PSF)
    times = np.arange(250) / 25
    np.testing.assert_array_equal(sampler(250, 25), sampler(250, 25, times=times))


def test_times_in_ticks_find_the_frames_that_they_begin():
    # 3003 ticks of 1/90000 s, as 29.97 frames a second are stored: a hair less or more than n/fps.
    times, fps = np.arange(250) * 3003 * (1 / 90000), 30000 / 1001
    sampler = UniformClipSampler(ClipSpec(250, 1, fps), 1, PSF)
    by_number = sampler(250, fps)
    assert (np.searchsorted(times, by_number / fps, side="right") - 1 != by_number).any()
    np.testing.assert_array_equal(sampler(250, fps, times=times), by_number)


@pytest.mark.parametrize(
    "out_of_bound, expected", [("loop", [1, 4, 2, 0, 3]), ("repeat_last", [1, 4, 4, 4, 4])]
)
def test_out_of_bound(out_of_bound, expected):
    # The second clip of five in 5 frames starts at 1.
    clips = UniformClipSampler("5x3", 5, out_of_bound=out_of_bound)(5)
    assert clips[1].tolist() == expected


def test_repeat_last_repeats_a_frame_of_the_clip():
    # 20 frames hold 0, 8 and 16 of it.
    (clip,) = UniformClipSampler("8x8", 1, MMA, "repeat_last")(20)
    assert clip.tolist() == [0, 8] + [16] * 6


@pytest.mark.parametrize(
    "source, expected",
    # Of 10 frames, 4 * 2 = 8 leave the starts 0, 1, 2; the last frame of the clip is 6 after its
    # first, so that 3 fits as well.
    [(None, {0, 1, 2}), (MMA, {0, 1, 2}), (TFM, {0, 1, 2, 3})],
)
def test_random_starts_of_each_source(source, expected):
    draw, generator = RandomClipSampler("4x2", 1, source), np.random.default_rng(0)
    drawn = np.concatenate([draw(10, generator=generator) for _ in range(100)])
    assert set(drawn[:, 0]) == expected
    np.testing.assert_array_equal(drawn - drawn[:, :1], [[0, 2, 4, 6]] * 100)
    assert set(RandomClipSampler("4x2", 400)(10, generator=generator)[:, 0]) == {0, 1, 2}


@pytest.mark.parametrize(
    "num_frames, expected",
    [
        # 8 frames leave 7 starts in 14 frames: 3 parts of 2; the seventh stays out.
        (14, [{0, 1}, {2, 3}, {4, 5}]),
        # 2 starts for 3 clips: drawn from both, in order.
        (9, [{0, 1}, {0, 1}, {0, 1}]),
        (8, [{0}, {0}, {1}]),  # 1 start: 0, 1/3 and 2/3, rounded
        (7, [{0}, {0}, {0}]),
    ],
)
def test_random_starts_of_several_clips_of_mmaction2(num_frames, expected):
    draw, generator = RandomClipSampler("4x2", 3, MMA), np.random.default_rng(0)
    drawn = np.stack([starts(draw, num_frames, generator=generator) for _ in range(100)])
    assert [set(column) for column in drawn.T] == expected
    assert (np.diff(drawn) >= 0).all()


@pytest.mark.parametrize(
    "out_of_bound, expected",
    [("loop", [0, 8, 16, 4, 12, 0, 8, 16]), ("repeat_last", [0, 8] + [16] * 6)],
)
def test_a_random_clip_of_a_short_video_begins_at_its_start(out_of_bound, expected):
    sampler = RandomClipSampler("8x8", out_of_bound=out_of_bound)
    assert sampler(20, generator=np.random.default_rng(0)).tolist() == [expected]


def test_random_clips_of_pyslowfast_fill_the_video():
    # 4 * 2 of 10 frames leave starts from 0.0 to 2.0; 4 places from 0 to 7 are 7/3 apart.
    drawn = RandomClipSampler("4x2", 400, PSF)(10, generator=np.random.default_rng(0))
    assert set(drawn[:, 0]) == {0, 1} and set(drawn[:, 3]) == {7, 8}
    assert {tuple(row - row[0]) for row in drawn} == {(0, 2, 4, 7), (0, 2, 5, 7), (0, 3, 5, 7)}


def test_random_clips_in_time_last_equally_long():
    # 8 * 4 frames at 30 a second last 1.07 s, which 15 a second fill with 16 frames.
    drawn = RandomClipSampler("8x4@30", 500)(40, 15, np.random.default_rng(0))
    lasting = drawn[:, -1] - drawn[:, 0]
    assert set(lasting) <= {15, 16}
    assert (drawn.min(), drawn.max()) == (0, 38)  # starts below 24, 15 more to the last


def test_random_clips_in_time_differ_by_fractions_of_a_frame():
    drawn = RandomClipSampler("3x1@10", 100)(7, 25, np.random.default_rng(0))
    # 3 / 10 s are 7.5 frames, of 7: nothing to draw.
    assert len(np.unique(drawn, axis=0)) == 1
    drawn = RandomClipSampler("3x1@10", 100)(9, 25, np.random.default_rng(0))
    assert len(np.unique(drawn, axis=0)) > 2


def test_segments_take_the_middle_of_each_part():
    # Parts of 2.5 frames: middles 1.25, 3.75, 6.25, 8.75.
    assert TSNSampler(4)(10).tolist() == [[1, 3, 6, 8]]


def test_random_segments_draw_within_each_part():
    drawn = TSNSampler(4, clips=500, random=True)(10, generator=np.random.default_rng(0))
    assert [set(column) for column in drawn.T] == [{0, 1}, {2, 3, 4}, {5, 6}, {7, 8, 9}]


@pytest.mark.parametrize("random", [False, True])
def test_segments_of_a_short_video_repeat_frames(random):
    drawn = TSNSampler(6, random=random)(3, generator=np.random.default_rng(0))
    assert drawn.tolist() == [[0, 0, 1, 1, 2, 2]]


@pytest.mark.parametrize(
    "sampler",
    [
        *(kind("8x8", 3, s) for kind in KINDS for s in (None, MMA, PSF, TFM)),
        TSNSampler(8),
        TSNSampler(8, 2, random=True),
    ],
    ids=repr,
)
@pytest.mark.parametrize("num_frames", [1, 3, 56, 57, 58, 300])
def test_every_index_lies_in_the_video(sampler, num_frames):
    drawn = sampler(num_frames, 25.0, np.random.default_rng(0))
    assert drawn.shape == (sampler.clips, sampler.frames)
    assert drawn.dtype == np.int64
    assert 0 <= drawn.min() <= drawn.max() < num_frames


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: UniformClipSampler("8x8", 0),
            "`clips` must be a positive integer. Received: clips=0",
        ),
        (lambda: RandomClipSampler("8x8", 1.5), "`clips` must be a positive integer"),
        (
            lambda: UniformClipSampler("8x8", 2, "theirs"),
            "`source` must be one of 'video-nonlocal-net', .*Received: source='theirs'",
        ),
        (
            lambda: RandomClipSampler("8x8@30", 2, MMA),
            "`target_fps` needs source='pyslowfast'. Received: clip=8x8@30, source='mmaction2'",
        ),
        (
            lambda: RandomClipSampler("8x8", out_of_bound="wrap"),
            "`out_of_bound` must be 'loop' or 'repeat_last'. Received: out_of_bound='wrap'",
        ),
        (lambda: TSNSampler(0), "`frames` must be a positive integer"),
        (lambda: TSNSampler(8, clips=2), "`clips` must be 1 for the middles"),
        (lambda: RandomClipSampler("8 by 8"), "must be written as frames x stride"),
        (lambda: ClipSpec(8, 8, -1), "`target_fps` must be a positive number .*target_fps=-1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_target_rate_needs_the_videos_rate():
    with pytest.raises(ValueError, match=r"a `target_fps` \(8x8@30\) needs the video's frames per"):
        RandomClipSampler("8x8@30")(300, 0.0, np.random.default_rng(0))


def test_a_video_without_frames_is_refused():
    with pytest.raises(ValueError, match="`num_frames` must be at least 1. Received: num_frames=0"):
        UniformClipSampler("8x8")(0)

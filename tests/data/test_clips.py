"""Frame-index arithmetic against hand-worked numbers."""

import numpy as np
import pytest

from keras_nonlocal.data import ClipSpec


def test_parse_reads_frames_and_stride():
    assert ClipSpec.parse("32x2") == ClipSpec(frames=32, stride=2)


def test_parse_is_undone_by_str():
    assert str(ClipSpec.parse("128x1")) == "128x1"


@pytest.mark.parametrize("text", ["8", "8x", "x8", "8 x 8", "8x8x8", "-8x2", 8, None])
def test_parse_refuses_other_forms(text):
    with pytest.raises(ValueError, match='written as frames x stride. .*Write for example "8x8"'):
        ClipSpec.parse(text)


@pytest.mark.parametrize("frames, stride", [(0, 1), (8, 0), (8, -2), (8.0, 2), (True, 1)])
def test_sizes_must_be_positive_integers(frames, stride):
    with pytest.raises(ValueError, match="must be a positive integer. Received: "):
        ClipSpec(frames, stride)


def test_span_counts_first_and_last_frame():
    assert ClipSpec(8, 8).span == 57


def test_indices_step_by_stride():
    np.testing.assert_array_equal(ClipSpec(4, 3).indices(5, 100), [5, 8, 11, 14])


def test_indices_wrap_round_in_a_short_video():
    np.testing.assert_array_equal(ClipSpec(5, 2).indices(2, 5), [2, 4, 1, 3, 0])


def test_indices_of_one_frame_repeat_it():
    np.testing.assert_array_equal(ClipSpec(3, 4).indices(0, 1), [0, 0, 0])


def test_random_start_reaches_both_ends_and_no_further():
    generator = np.random.default_rng(0)
    spec = ClipSpec(4, 2)  # spans 7 frames, so that 4 places fit into 10
    starts = {spec.random_start(10, generator) for _ in range(200)}
    assert starts == {0, 1, 2, 3}


def test_random_start_of_a_short_video_is_its_first_frame():
    assert ClipSpec(8, 8).random_start(20, np.random.default_rng(0)) == 0


@pytest.mark.parametrize("num_frames", [1, 7, 105, 250, 299, 1001])
def test_even_starts_are_the_authors(num_frames):
    authors = [int(num_frames / 10 * j) for j in range(10)]
    np.testing.assert_array_equal(ClipSpec(8, 8).even_starts(num_frames, 10), authors)


def test_even_starts_divide_the_video_by_any_number():
    np.testing.assert_array_equal(ClipSpec(8, 8).even_starts(100, 3), [0, 33, 66])


def test_even_starts_without_wrapping_stay_inside():
    spec = ClipSpec(8, 2)  # spans 15 frames
    np.testing.assert_array_equal(spec.even_starts(40, 3, wrap=False), [0, 12, 25])


def test_one_even_start_without_wrapping_is_central():
    assert ClipSpec(8, 2).even_starts(40, 1, wrap=False) == [12]


def test_even_starts_without_wrapping_of_a_short_video_begin_at_its_start():
    np.testing.assert_array_equal(ClipSpec(8, 8).even_starts(20, 2, wrap=False), [0, 0])


def test_counts_must_be_positive():
    with pytest.raises(ValueError, match="`num_frames` must be at least 1. Received: num_frames=0"):
        ClipSpec(8, 8).indices(0, 0)
    with pytest.raises(ValueError, match="`num_clips` must be at least 1. Received: num_clips=0"):
        ClipSpec(8, 8).even_starts(10, 0)

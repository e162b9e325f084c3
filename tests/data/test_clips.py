"""Frame-index arithmetic against hand-worked numbers."""

import numpy as np
import pytest

from keras_nonlocal.data import ClipSpec


def test_parse_reads_frames_and_stride():
    assert ClipSpec.parse("32x2") == ClipSpec(frames=32, stride=2)


def test_parse_reads_a_rate():
    assert ClipSpec.parse("8x8@29.97") == ClipSpec(8, 8, target_fps=29.97)


@pytest.mark.parametrize("text", ["128x1", "8x8@30", "8x8@29.97"])
def test_parse_is_undone_by_str(text):
    assert str(ClipSpec.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["8", "8x", "x8", "8 x 8", "8x8x8", "-8x2", "8x8@", "8x8@x", 8, None]
)
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


def test_frames_must_be_there():
    with pytest.raises(ValueError, match="`num_frames` must be at least 1. Received: num_frames=0"):
        ClipSpec(8, 8).indices(0, 0)

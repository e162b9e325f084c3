"""Clips out of what a user has."""

import pathlib

import numpy as np
import pytest

from keras_nonlocal.exporting.calibration import example_shape, make_noise, split_clips, take_clips

SHAPE = (2, 4, 4, 3)
CLIPS = np.random.default_rng(0).normal(size=(150, *SHAPE)).astype("float32")


@pytest.mark.parametrize(
    "given",
    [
        CLIPS,
        [CLIPS[:60], CLIPS[60:]],
        [(CLIPS[:60], 0), (CLIPS[60:], 1)],
        [CLIPS.reshape(50, 3, *SHAPE)],
        [[CLIPS[:60], [0] * 60], [CLIPS[60:], [1] * 90]],
        list(CLIPS),
        [(clip, 0) for clip in CLIPS],
        [list(CLIPS[:60]), list(CLIPS[60:])],
    ],
    ids="array batches labelled views labelled-lists clips labelled-clips lists".split(),
)
def test_the_first_hundred_are_taken(given):
    np.testing.assert_array_equal(take_clips(given, SHAPE), CLIPS[:100])


def test_batches_are_read_no_further_than_needed():
    def batches():
        yield CLIPS
        raise AssertionError("read on")

    assert len(take_clips(batches(), SHAPE)) == 100


def test_clips_of_several_sizes_are_refused():
    with pytest.raises(ValueError, match="`clips` must be of one size"):
        take_clips([CLIPS[:2], CLIPS[:2, :, :3]], (2, None, 4, 3))


@pytest.mark.parametrize("given", ["videos", pathlib.Path("videos"), {"clips": CLIPS}, object()])
def test_what_holds_no_clips_is_refused(given):
    with pytest.raises(
        ValueError, match=r"`clips` must be an array of clips or a tf.data.*evaluation_clips"
    ):
        take_clips(given, SHAPE)


@pytest.mark.parametrize(
    "count, quantize, most, compared",
    [(19, "int8", 32, 19), (20, "int8", 32, 7), (100, "int8", 32, 25), (100, "int8", 8, 8)]
    + [(100, None, 32, 25), (33, "dynamic", 32, 17), (8, None, 32, 8)],
)
def test_clips_compared_are_spread_and_new_to_int8(count, quantize, most, compared):
    clips = np.arange(count)
    left, chosen, of = split_clips(clips, quantize, most)
    assert len(chosen) == compared <= most
    steps = np.diff(chosen)
    assert steps.min() == steps.max() and chosen[0] < steps[0] and count - chosen[-1] <= steps[0]
    if quantize == "int8" and count >= 20:
        assert of == "clips held out from calibration"
        assert sorted([*left, *chosen]) == list(clips) and len(left) >= 10
    else:
        assert of == ("the clips given" if quantize != "int8" else "the clips of the calibration")
        np.testing.assert_array_equal(left, clips)


@pytest.mark.parametrize(
    "pixels", [CLIPS[:12], CLIPS[:12] / 5 + 0.5], ids=["normalized", "negative"]
)
def test_normalized_clips_are_refused_where_pixels_are_expected(pixels):
    with pytest.raises(ValueError, match="`clips` must be pixels from 0 to 255.*values from -"):
        take_clips(pixels, SHAPE, pixels=True)


def test_pixels_of_eight_bits_are_taken():
    pixels = np.random.default_rng(0).integers(0, 256, (12, *SHAPE)).astype("uint8")
    for given in (pixels, [(pixels[:5], 0), (pixels[5:], 1)]):
        taken = take_clips(given, SHAPE, pixels=True)
        assert taken.dtype == np.uint8
        np.testing.assert_array_equal(taken, pixels)
    with pytest.raises(ValueError, match="values from 0 to 510"):
        take_clips(2.0 * pixels, SHAPE, pixels=True)


@pytest.mark.parametrize("dtype, pixels", [("uint8", False), ("uint8", True), ("float32", True)])
def test_noise_is_pixels_for_integers_and_networks_of_pixels(dtype, pixels):
    noise = make_noise(example_shape((None, None, None, 3)), dtype, pixels)
    assert noise.shape == (4, 8, 64, 64, 3) and noise.dtype == dtype
    assert noise.std() > 30 and noise.min() == 0 and noise.max() == 255
    np.testing.assert_array_equal(noise, np.round(noise))

"""Sizes and places of what is cut out, and bilinear resizing against a plain loop."""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal import transforms
from tests.transforms.pixels import noise_clip, of_unknown_size, still_clip


def resized_by_loop(frame, height, width):
    """Bilinear: a new pixel's middle lies between the middles of four old ones, or at the edge."""

    def neighbours(new, old, position):
        place = min(max((position + 0.5) * old / new - 0.5, 0), old - 1)
        return int(place), min(int(place) + 1, old - 1), place - int(place)

    result = np.empty((height, width, 3))
    for i in range(height):
        top, bottom, down = neighbours(height, frame.shape[0], i)
        for j in range(width):
            left, right, across = neighbours(width, frame.shape[1], j)
            upper = (1 - across) * frame[top, left] + across * frame[top, right]
            lower = (1 - across) * frame[bottom, left] + across * frame[bottom, right]
            result[i, j] = (1 - down) * upper + down * lower
    return result


@pytest.mark.parametrize("size", [9, 31], ids=["smaller", "larger"])
def test_resizing_is_bilinear(size):
    clip = noise_clip(frames=2, dtype="float32")
    resized = transforms.resize_short_side(size)(clip).numpy()
    expected = [resized_by_loop(frame, *resized.shape[1:3]) for frame in clip]
    np.testing.assert_allclose(resized, expected, rtol=1e-4, atol=1e-3)


def test_resizing_rounds_bytes():
    floats = transforms.resize_short_side(15)(noise_clip(dtype="float32")).numpy()
    np.testing.assert_array_equal(transforms.resize_short_side(15)(noise_clip()), floats.round())


@pytest.mark.parametrize(
    "height, width, size, expected",
    [(24, 32, 12, (12, 16)), (32, 24, 48, (64, 48)), (24, 35, 13, (13, 19)), (7, 7, 5, (5, 5))],
    ids=["lying", "upright", "rounded", "square"],
)
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_resize_short_side_keeps_the_aspect(height, width, size, expected, known):
    clip, resize = still_clip(2, height, width), transforms.resize_short_side(size)
    resized = resize(clip) if known else next(iter(of_unknown_size(clip).map(resize)))
    assert resized.shape == (2, *expected, 3)


def test_resize_short_side_knows_the_size_before_it_resizes():
    dataset = tf.data.Dataset.from_tensors(still_clip()).map(transforms.resize_short_side(12))
    assert dataset.element_spec.shape == (4, 12, 16, 3)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_resize_short_side_leaves_alone_what_fits(dtype):
    clip = tf.constant(noise_clip(dtype=dtype))
    assert transforms.resize_short_side(24)(clip) is clip
    mapped = next(iter(of_unknown_size(clip.numpy()).map(transforms.resize_short_side(24))))
    np.testing.assert_array_equal(mapped, clip)


def test_random_short_side_reaches_both_ends():
    transform = transforms.random_short_side(20, 22)
    sides = {min(transform(still_clip(), (0, n)).shape[1:3]) for n in range(40)}
    assert sides == {20, 21, 22}


def test_random_crop_reaches_every_corner():
    clip = still_clip(height=11, width=12)
    crops = {transforms.random_crop(10)(clip, (0, n)).numpy()[0, 0, 0, 0] for n in range(80)}
    assert crops == {clip[0, top, left, 0] for top in range(2) for left in range(3)}


def test_random_crop_is_a_part_of_the_clip():
    clip = noise_clip()
    crop = transforms.random_crop(10)(clip, (1, 1)).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(clip, (10, 10), (1, 2))
    found = (windows.transpose(1, 2, 0, 4, 5, 3) == crop).all((2, 3, 4, 5))
    assert found.sum() == 1


def test_center_crop_is_central():
    clip = still_clip()
    np.testing.assert_array_equal(transforms.center_crop(10)(clip), clip[:, 7:17, 11:21])


@pytest.mark.parametrize("upright", [False, True], ids=["lying", "upright"])
def test_three_crops_lie_along_the_longer_side(upright):
    clip = still_clip(width=33)  # an odd room of 23, whose last pixel stays outside
    if upright:
        clip = clip.transpose(0, 2, 1, 3)
    expected = [clip[:, 7:17, left : left + 10] for left in (0, 11, 22)]
    if upright:
        expected = [clip[:, top : top + 10, 7:17] for top in (0, 11, 22)]
    np.testing.assert_array_equal(transforms.three_crops(10)(clip), expected)


@pytest.mark.parametrize("crop", ["center_crop", "random_crop", "three_crops"])
def test_a_crop_larger_than_the_frame_is_refused(crop):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`crop` must not exceed"):
        getattr(transforms, crop)(25)(still_clip(), (0, 0))


@pytest.mark.parametrize(
    "factory", ["resize_short_side", "random_crop", "center_crop", "three_crops"]
)
def test_sizes_must_be_positive(factory):
    with pytest.raises(ValueError, match="`size` must be a positive number of pixels.*size=0"):
        getattr(transforms, factory)(0)


def test_jitter_takes_the_smaller_size_first():
    with pytest.raises(ValueError, match=r"`maximum` must not be below `minimum` \(320\)"):
        transforms.random_short_side(320, 256)

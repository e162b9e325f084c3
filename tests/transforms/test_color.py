"""Colours against Pillow and the definitions; the range of each source."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from keras_nonlocal import transforms
from tests.transforms.pixels import noise_clip, still_clip

CHANGES = ["brightness", "contrast", "saturation", "hue"]
SEEDS = [(0, n) for n in range(5)]
NONE = dict.fromkeys(CHANGES, 0.0)
# ITU-R BT.601 and the NTSC's two axes of colour.
LUMINANCE = np.array([0.299, 0.587, 0.114])
COLOUR = np.array([0.596 + 0.211j, -0.274 - 0.523j, -0.322 + 0.312j])


def mild_clip(frames=3):
    """Noise around the middle of the range, so that small changes do not leave it."""
    return (noise_clip(frames, dtype="float32") - 127) * 0.3 + 127


def changed(clip, seed, **limits):
    return transforms.random_color(**{**NONE, **limits})(clip, seed).numpy()


def factor(before, after, center):
    """By how much the distances from a centre have grown: the same everywhere."""
    return np.sum((after - center) * (before - center)) / np.sum((before - center) ** 2)


def grey_of(clip):
    return (clip @ LUMINANCE)[..., None]


@pytest.mark.parametrize("seed", SEEDS)
def test_brightness_multiplies(seed):
    clip = mild_clip()
    after = changed(clip, seed, brightness=0.3)
    share = factor(clip, after, 0)
    np.testing.assert_allclose(after, share * clip, rtol=1e-4)
    assert 0.7 <= share <= 1.3 and share != 1


@pytest.mark.parametrize("seed", SEEDS)
def test_contrast_goes_from_the_mean_luminance(seed):
    clip = mild_clip()
    after = changed(clip, seed, contrast=0.3)
    mean = grey_of(clip).mean()
    share = factor(clip, after, mean)
    np.testing.assert_allclose(after, mean + share * (clip - mean), rtol=1e-4)
    assert 0.7 <= share <= 1.3 and share != 1


@pytest.mark.parametrize("seed", SEEDS)
def test_saturation_goes_from_grey(seed):
    clip = mild_clip()
    after = changed(clip, seed, saturation=0.3)
    share = factor(clip, after, grey_of(clip))
    np.testing.assert_allclose(after, grey_of(clip) + share * (clip - grey_of(clip)), rtol=1e-4)
    assert 0.7 <= share <= 1.3 and share != 1


@pytest.mark.parametrize("seed", SEEDS)
def test_hue_turns_colours_around_grey(seed):
    clip = mild_clip()
    after = changed(clip, seed, hue=0.1)
    np.testing.assert_allclose(after @ LUMINANCE, clip @ LUMINANCE, rtol=1e-4)
    turns = (after @ COLOUR) / (clip @ COLOUR)
    np.testing.assert_allclose(turns, turns.mean(), atol=0.02)
    assert abs(abs(turns.mean()) - 1) < 1e-3
    assert 0 < abs(np.angle(turns.mean())) <= 2 * np.pi * 0.1


@pytest.mark.parametrize(
    "name, enhance",
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_changes_agree_with_pillow(name, enhance):
    frame = noise_clip(1)[0]
    after = changed(frame[None], (1, 3), **{name: 0.5})[0]
    share = {
        "brightness": lambda: factor(mild_clip(), changed(mild_clip(), (1, 3), brightness=0.5), 0),
        "contrast": lambda: factor(
            mild_clip(), changed(mild_clip(), (1, 3), contrast=0.5), grey_of(mild_clip()).mean()
        ),
        "saturation": lambda: factor(
            mild_clip(), changed(mild_clip(), (1, 3), saturation=0.5), grey_of(mild_clip())
        ),
    }[name]()
    expected = np.asarray(enhance(Image.fromarray(frame)).enhance(share))
    # Pillow rounds the luminance, and cuts off behind the point.
    np.testing.assert_allclose(after, expected, atol=2)


def test_all_changes_are_done_one_after_another():
    limits = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.05}
    seed, clip = (2, 5), mild_clip()
    expected = clip
    for name in CHANGES:
        # The same seed draws the same change, whatever the limits of the others.
        expected = changed(expected, seed, **{name: limits[name]})
    np.testing.assert_allclose(changed(clip, seed, **limits), expected, atol=0.01)


@pytest.mark.parametrize("name", CHANGES)
def test_changes_reach_both_ends(name):
    color, clip = transforms.random_color(**{**NONE, name: 0.4}), mild_clip(1)
    after = np.array([color(clip, (4, n)).numpy() for n in range(40)])
    if name == "hue":
        values = np.angle(((after @ COLOUR) / (clip @ COLOUR)).mean((1, 2, 3))) / (2 * np.pi)
        assert values.min() < -0.36 and values.max() > 0.36 and np.abs(values).max() < 0.401
        return
    center = {"brightness": 0, "contrast": grey_of(clip).mean(), "saturation": grey_of(clip)}[name]
    values = np.array([factor(clip, one, center) for one in after])
    assert 0.6 <= values.min() < 0.65 and 1.35 < values.max() <= 1.4


def test_nothing_changes_without_limits():
    np.testing.assert_allclose(changed(noise_clip(), (0, 1)), noise_clip(), atol=0.01)


def test_random_color_stays_in_range():
    clip = transforms.random_color(1.0, 1.0, 1.0, 0.5)(still_clip(), (0, 1)).numpy()
    assert clip.min() >= 0 and clip.max() <= 255


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_random_color_gives_floats(dtype):
    assert transforms.random_color()(noise_clip(dtype=dtype)).dtype == tf.float32


@pytest.mark.parametrize(
    "name, value, limit",
    [
        ("brightness", -0.1, "1"),
        ("contrast", 1.5, "1"),
        ("saturation", 2, "1"),
        ("hue", 0.6, "0.5"),
    ],
)
def test_changes_that_go_too_far_are_refused(name, value, limit):
    with pytest.raises(ValueError, match=f"`{name}` must lie in 0..{limit}. Received: {name}="):
        transforms.random_color(**{name: value})

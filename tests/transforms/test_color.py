"""Colors against loops over pixels and the definitions."""

import colorsys

import numpy as np
import pytest

from keras_nonlocal import transforms
from tests.transforms.pixels import noise_clip, still_clip

CHANGES = ["brightness", "contrast", "saturation", "hue"]
SEEDS = [(0, n) for n in range(5)]
NONE = dict.fromkeys(CHANGES, 0.0)


def mild_clip(frames=3):
    """Noise around the middle of the range, so that small changes do not leave it."""
    return (noise_clip(frames, 4, 5, dtype="float32") - 127) * 0.3 + 127


def changed(clip, seed, **limits):
    return transforms.random_color(**{**NONE, **limits})(clip, seed).numpy()


def in_hsv(clip, change):
    """The clip after a change of hue and saturation, pixel by pixel."""
    pixels = []
    for red, green, blue in clip.reshape(-1, 3) / 255:
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        pixels.append(colorsys.hsv_to_rgb(*change(hue, saturation), value))
    return np.array(pixels).reshape(clip.shape) * 255


def drawn(name, before, after):
    """The change that was drawn: a shift, a factor, or a turn."""
    if name == "brightness":
        return (after - before).mean() / 255
    if name == "contrast":
        center = before.mean((0, 1, 2))
        return np.sum((after - center) * (before - center)) / np.sum((before - center) ** 2)
    hsv = [colorsys.rgb_to_hsv(*clip[0, 0, 0] / 255) for clip in (before, after)]
    if name == "saturation":
        return hsv[1][1] / hsv[0][1]
    return (hsv[1][0] - hsv[0][0] + 0.5) % 1 - 0.5


def by_definition(name, clip, amount):
    if name == "brightness":
        return clip + 255 * amount
    if name == "contrast":
        mean = clip.mean((0, 1, 2), dtype=float)
        return mean + amount * (clip - mean)
    if name == "saturation":
        return in_hsv(clip, lambda hue, saturation: (hue, saturation * amount))
    return in_hsv(clip, lambda hue, saturation: ((hue + amount) % 1, saturation))


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_those_of_their_definition(name):
    clip, amounts = mild_clip(), []
    for seed in SEEDS:
        after = changed(clip, seed, **{name: 0.3})
        amounts.append(drawn(name, clip, after))
        np.testing.assert_allclose(after, by_definition(name, clip, amounts[-1]), atol=0.05)
    assert len(set(np.round(amounts, 3))) == len(SEEDS)


def test_all_changes_are_applied_one_after_another():
    limits = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.05}
    seed, clip = (2, 5), mild_clip()
    expected = clip
    for name in CHANGES:
        # The same seed draws the same change, whatever the limits of the others.
        expected = changed(expected, seed, **{name: limits[name]})
    np.testing.assert_allclose(changed(clip, seed, **limits), expected, atol=0.01)
    # No two of them share a draw.
    brightness, hue = (
        drawn(name, clip, changed(clip, seed, **{name: 0.1})) / 0.1
        for name in ("brightness", "hue")
    )
    assert abs(brightness - hue) > 0.01


@pytest.mark.parametrize("name", CHANGES)
def test_changes_reach_both_ends(name):
    color, clip = transforms.random_color(**{**NONE, name: 0.4}), mild_clip(1)
    values = np.array([drawn(name, clip, color(clip, (4, n)).numpy()) for n in range(60)])
    values -= 1 if name in ("contrast", "saturation") else 0
    assert -0.401 < values.min() < -0.35 and 0.35 < values.max() < 0.401


def test_nothing_changes_without_limits():
    np.testing.assert_array_equal(changed(noise_clip(), (0, 1)), noise_clip())


def test_bytes_are_floats_rounded():
    limits = {"brightness": 0.2, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}
    floats = changed(noise_clip(dtype="float32"), (3, 3), **limits)
    np.testing.assert_array_equal(changed(noise_clip(), (3, 3), **limits), floats.round())


def test_random_color_stays_in_range():
    clip = transforms.random_color(1.0, 1.0, 1.0, 0.5)(still_clip(), (0, 1)).numpy()
    assert clip.min() >= 0 and clip.max() <= 255


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

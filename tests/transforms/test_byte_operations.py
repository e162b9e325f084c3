"""Each operation of RandAugment against Pillow, whose operations the method was published with."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_nonlocal.transforms import byte_operations
from tests.transforms.pixels import noise_clip, still_clip

STRENGTHS = [0.0, 0.5, 0.9]
SIGNS = [1.0, -1.0]
GREY = (128,) * 3

every_operation = pytest.mark.parametrize(
    "operation", byte_operations.OPERATIONS, ids=lambda operation: operation.__name__
)


def picture(width=33):
    """A picture of few levels, dark and without pure black, with some noise: 24 high."""
    rows = np.linspace(20, 120, 24)[:, None, None] + np.linspace(0, 60, width)[:, None]
    noise = np.random.default_rng(1).integers(0, 12, (24, width, 3))
    return (rows + noise + [0, 10, 20]).astype(np.uint8)


def done(name, frame, strength, sign):
    return np.asarray(getattr(byte_operations, name)(frame[None], strength, tf.constant(sign))[0])


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(
    "name, pillow",
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("color", ImageEnhance.Color),
        ("sharpness", ImageEnhance.Sharpness),
    ],
)
def test_enhancements_agree(name, pillow, strength, sign):
    expected = np.asarray(pillow(Image.fromarray(picture())).enhance(1 + 0.9 * strength * sign))
    # Pillow rounds the luminance and the smoothed picture, and cuts off behind the point.
    difference = np.abs(done(name, picture(), strength, sign) - expected.astype(float))
    assert difference.max() <= 2


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize(
    "name, pillow, tolerance",
    [
        ("identity", lambda image, strength: image, 0),
        # Pillow cuts off behind the point here.
        ("auto_contrast", lambda image, strength: ImageOps.autocontrast(image), 1),
        ("equalize", lambda image, strength: ImageOps.equalize(image), 0),
        ("solarize", lambda image, strength: ImageOps.solarize(image, 256 * (1 - strength)), 0),
        (
            "posterize",
            lambda image, strength: ImageOps.posterize(image, 8 - round(4 * strength)),
            0,
        ),
    ],
)
@pytest.mark.parametrize("kind", ["picture", "noise"])
def test_tables_agree(name, pillow, tolerance, strength, kind):
    frame = picture() if kind == "picture" else noise_clip(1, 60, 64)[0]
    expected = np.asarray(pillow(Image.fromarray(frame), strength))
    np.testing.assert_allclose(done(name, frame, strength, 1.0), expected, atol=tolerance)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(
    "name, matrix",
    [
        ("shear_x", lambda amount, width, height: (1, 0.3 * amount, 0, 0, 1, 0)),
        ("shear_y", lambda amount, width, height: (1, 0, 0, 0.3 * amount, 1, 0)),
        (
            "translate_x",
            lambda amount, width, height: (1, 0, round(0.45 * amount * width), 0, 1, 0),
        ),
        (
            "translate_y",
            lambda amount, width, height: (1, 0, 0, 0, 1, round(0.45 * amount * height)),
        ),
    ],
)
def test_shears_and_translations_agree(name, matrix, strength, sign):
    frame = noise_clip(1)[0]
    a, b, c, d, e, f = matrix(strength * sign, 32, 24)
    # Pillow counts from the corners of pixels, we from their middles.
    c, f = c + (1 - a - b) / 2, f + (1 - d - e) / 2
    expected = Image.fromarray(frame).transform(
        (32, 24), Image.Transform.AFFINE, (a, b, c, d, e, f), fillcolor=GREY
    )
    same = (done(name, frame, strength, sign) == np.asarray(expected)).all(-1)
    # A place in the middle between two pixels may fall to either.
    assert same.mean() >= (1 if "translate" in name else 0.9)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("sign", SIGNS)
def test_rotation_agrees(strength, sign):
    frame = noise_clip(1)[0]
    expected = Image.fromarray(frame).rotate(30 * strength * sign, fillcolor=GREY)
    same = (done("rotate", frame, strength, sign) == np.asarray(expected)).all(-1)
    assert same.mean() > 0.95


@every_operation
@pytest.mark.parametrize("sign", SIGNS)
def test_frames_that_are_alike_stay_alike(operation, sign):
    frames = operation(still_clip(dtype="uint8"), 0.9, tf.constant(sign))
    frames = tf.convert_to_tensor(frames).numpy()
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, np.broadcast_to(frames[:1], frames.shape))


@pytest.mark.parametrize("name", ["auto_contrast", "equalize", "contrast"])
def test_statistics_are_those_of_the_whole_clip(name):
    dark, light = picture(), picture() + 70
    clip = byte_operations.to_bytes(tf.stack([dark, light]))
    operation = getattr(byte_operations, name)
    together = operation(clip, 0.9, tf.constant(-1.0)).numpy()
    # One below the other in a single frame, the operation knows no more and no less.
    tall = operation(tf.reshape(clip, (1, 48, 33, 3)), 0.9, tf.constant(-1.0)).numpy()
    np.testing.assert_array_equal(together.reshape(tall.shape), tall)
    assert together[0].mean() < together[1].mean()


@every_operation
@pytest.mark.parametrize("level", [0, 128, 255])
def test_clips_of_one_color_stay_so_away_from_what_is_shown_beyond(operation, level):
    clip = np.full((2, 24, 32, 3), level, np.uint8)
    after = tf.convert_to_tensor(operation(clip, 0.9, tf.constant(1.0))).numpy()
    assert len(np.unique(after[after != 128])) <= 1


def test_to_bytes_rounds_and_cuts_off():
    values = tf.constant([-3.0, 0.4, 0.6, 254.7, 300.0])
    np.testing.assert_array_equal(byte_operations.to_bytes(values), [0, 0, 1, 255, 255])

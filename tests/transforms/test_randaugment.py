"""RandAugment's operations against Pillow, its draws; the rectangles of random erasing."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_nonlocal import transforms
from keras_nonlocal.transforms import randaugment
from tests.transforms.pixels import noise_clip, of_unknown_size, still_clip

STRENGTHS = [0.0, 0.5, 0.9]
SIGNS = [1.0, -1.0]
GRAY = (128,) * 3

every_operation = pytest.mark.parametrize(
    "operation", randaugment.OPERATIONS, ids=lambda operation: operation.__name__
)


def picture(width=33):
    """A picture of few levels, dark and without pure black, with some noise: 24 high."""
    rows = np.linspace(20, 120, 24)[:, None, None] + np.linspace(0, 60, width)[:, None]
    noise = np.random.default_rng(1).integers(0, 12, (24, width, 3))
    return (rows + noise + [0, 10, 20]).astype(np.uint8)


def done(name, frame, strength, sign):
    return np.asarray(
        getattr(randaugment, name)(tf.constant(frame[None]), tf.constant(strength * sign))[0]
    )


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
        (32, 24), Image.Transform.AFFINE, (a, b, c, d, e, f), fillcolor=GRAY
    )
    same = (done(name, frame, strength, sign) == np.asarray(expected)).all(-1)
    # A place in the middle between two pixels may fall to either.
    assert same.mean() >= (1 if "translate" in name else 0.9)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("sign", SIGNS)
def test_rotation_agrees(strength, sign):
    frame = noise_clip(1)[0]
    expected = Image.fromarray(frame).rotate(30 * strength * sign, fillcolor=GRAY)
    same = (done("rotate", frame, strength, sign) == np.asarray(expected)).all(-1)
    assert same.mean() > 0.95


@every_operation
@pytest.mark.parametrize("sign", SIGNS)
def test_frames_that_are_alike_stay_alike(operation, sign):
    frames = operation(tf.constant(still_clip(dtype="uint8")), tf.constant(0.9 * sign))
    frames = tf.convert_to_tensor(frames).numpy()
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, np.broadcast_to(frames[:1], frames.shape))


@pytest.mark.parametrize("name", ["auto_contrast", "equalize", "contrast"])
def test_statistics_are_those_of_the_whole_clip(name):
    dark, light = picture(), picture() + 70
    clip = tf.stack([dark, light])
    operation = getattr(randaugment, name)
    together = operation(clip, tf.constant(-0.9)).numpy()
    # One below the other in a single frame, the operation knows no more and no less.
    tall = operation(tf.reshape(clip, (1, 48, 33, 3)), tf.constant(-0.9)).numpy()
    np.testing.assert_array_equal(together.reshape(tall.shape), tall)
    assert together[0].mean() < together[1].mean()


@every_operation
@pytest.mark.parametrize("level", [0, 128, 255])
def test_clips_of_one_color_stay_so_away_from_what_is_shown_beyond(operation, level):
    clip = tf.fill((2, 24, 32, 3), np.uint8(level))
    after = tf.convert_to_tensor(operation(clip, tf.constant(0.9))).numpy()
    assert len(np.unique(after[after != 128])) <= 1


@pytest.fixture
def counting(monkeypatch):
    """Fourteen operations that only add a number to a clip, 0 to 13."""

    def adds(number):
        return lambda clip, signed: clip + tf.cast(number, tf.uint8)

    monkeypatch.setattr(randaugment, "OPERATIONS", [adds(n) for n in range(14)])
    return lambda transform, n: int(transform(np.zeros((1, 1, 1, 3), np.uint8), (8, n))[0, 0, 0, 0])


def test_rand_augment_chooses_all_operations_about_equally_often(counting):
    choices = [counting(transforms.rand_augment(1), n) for n in range(200)]
    counts = np.bincount(choices, minlength=14)
    assert len(counts) == 14 and counts.min() > 3 and counts.max() < 35


def test_rand_augment_does_as_many_operations_as_it_is_told(counting):
    sums = [counting(transforms.rand_augment(4), n) for n in range(100)]
    # The mean of four choices among 0..13
    assert abs(np.mean(sums) - 4 * 6.5) < 3


def test_rand_augment_chooses_anew_for_each_operation(counting):
    # Twice the same would always be even.
    assert any(counting(transforms.rand_augment(2), n) % 2 for n in range(20))


@pytest.mark.parametrize("magnitude, strength", [(0, 0.0), (7, 0.7), (10, 1.0)])
def test_rand_augment_passes_strength_in_both_directions(monkeypatch, magnitude, strength):
    seen = set()

    def spy(clip, signed):
        seen.add(round(float(signed), 6))
        return clip

    monkeypatch.setattr(randaugment, "OPERATIONS", [spy])
    for n in range(20):
        transforms.rand_augment(1, magnitude)(noise_clip(), (2, n))
    assert seen == {strength, -strength}


def test_rand_augment_knows_the_fourteen_published_operations():
    assert len(set(randaugment.OPERATIONS)) == 14


def test_rand_augment_rounds_floats():
    clip = noise_clip(dtype="float32") + np.float32(0.3)
    augmented = [transforms.rand_augment()(clip, (3, n)) for n in range(6)]
    of_bytes = [transforms.rand_augment()(noise_clip(), (3, n)) for n in range(6)]
    assert augmented[0].dtype == tf.float32
    np.testing.assert_array_equal(np.array(augmented), np.array(of_bytes).astype("float32"))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_ops": 0}, "`num_ops` must be at least 1. Received: num_ops=0"),
        ({"magnitude": 11}, r"`magnitude` must lie in 0..10. Received: magnitude=11"),
        ({"magnitude": -1}, r"`magnitude` must lie in 0..10. Received: magnitude=-1"),
    ],
)
def test_rand_augment_refuses_what_does_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        transforms.rand_augment(**options)


def erased_boxes(count=40, height=40, width=50, **options):
    """The rectangles that were covered in `count` clips: top, left, height, width."""
    clip = np.full((2, height, width, 3), 300.0, np.float32)
    erase = transforms.random_erasing(1.0, **options)
    boxes = []
    for n in range(count):
        covered = (erase(clip, (6, n)).numpy() < 300).any(-1)
        assert (covered[0] == covered[1]).all()
        rows, columns = np.flatnonzero(covered[0].any(1)), np.flatnonzero(covered[0].any(0))
        assert covered[0].sum() == len(rows) * len(columns), "no rectangle"
        boxes.append((rows[0], columns[0], len(rows), len(columns)))
    return np.array(boxes)


def test_erased_areas_reach_both_ends():
    boxes = erased_boxes(area=(0.1, 0.3), aspect=(0.8, 1.25))
    shares = boxes[:, 2] * boxes[:, 3] / (40 * 50)
    assert 0.09 < shares.min() < 0.12 and 0.28 < shares.max() < 0.31


def test_erased_aspects_reach_both_ends():
    boxes = erased_boxes(height=80, width=80, area=(0.1, 0.1), aspect=(0.5, 2.0))
    aspects = boxes[:, 2] / boxes[:, 3]
    assert 0.45 < aspects.min() < 0.6 and 1.7 < aspects.max() < 2.2
    # Upright as often as lying.
    assert 0.3 < np.mean(aspects > 1) < 0.7


def test_erased_places_reach_both_ends():
    boxes = erased_boxes(80, 12, 14, area=(0.5, 0.5), aspect=(1.0, 1.0))
    height, width = boxes[0, 2:]
    assert set(boxes[:, 0]) == set(range(12 - height + 1))
    assert set(boxes[:, 1]) == set(range(14 - width + 1))


def test_erased_rectangles_that_do_not_fit_are_cut_to_the_frame():
    boxes = erased_boxes(5, area=(0.3, 0.3), aspect=(50.0, 50.0))
    assert set(boxes[:, 2]) == {40}


def test_a_whole_frame_can_be_erased():
    boxes = erased_boxes(3, 10, 10, area=(1.0, 1.0), aspect=(1.0, 1.0))
    np.testing.assert_array_equal(boxes, [[0, 0, 10, 10]] * 3)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_erasing_meets_the_share_of_clips_that_it_is_told(probability):
    erase = transforms.random_erasing(probability)
    clip = noise_clip(1, dtype="float32") + 0.5
    touched = [not np.array_equal(erase(clip, (5, n)), clip) for n in range(80)]
    assert abs(np.mean(touched) - probability) < 0.15


def test_erasing_leaves_the_rest_as_it_was():
    clip = noise_clip()
    erased = transforms.random_erasing(1.0, area=(0.2, 0.2))(clip, (1, 1)).numpy()
    assert 0.75 < (erased == clip).all(-1).mean() < 0.85


def test_noise_covers_the_whole_range():
    clip = np.full((1, 60, 60, 3), 300.0, np.float32)
    erased = transforms.random_erasing(1.0, area=(0.3, 0.3))(clip, (1, 2)).numpy()
    noise = erased[erased < 300]
    assert noise.min() < 3 and noise.max() > 252 and abs(noise.mean() - 127.5) < 5
    assert (noise == noise.round()).all()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_mean_is_that_of_each_channel(dtype):
    clip = still_clip(dtype=dtype) // 2 + np.array([0, 40, 90], dtype)
    erased = transforms.random_erasing(1.0, fill="mean")(clip, (1, 2)).numpy()
    (filled,) = np.unique(erased[(erased != clip).any(-1)], axis=0)
    np.testing.assert_array_equal(filled, clip.mean((0, 1, 2), dtype=float).round())


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_erasing_keeps_what_is_known_of_the_shape(probability):
    erase = transforms.random_erasing(probability)
    assert of_unknown_size(noise_clip()).map(erase).element_spec.shape[0] == 3


@pytest.mark.parametrize(
    "options, message",
    [
        ({"probability": 1.5}, r"`probability` must lie in 0..1. Received: probability=1.5"),
        ({"area": (0.4, 0.2)}, "`area` must be two shares .* smaller first. Received: area="),
        ({"area": (0.0, 0.2)}, "`area` must be two shares .* Received: area="),
        ({"area": (0.1, 1.2)}, "`area` must be two shares .* Received: area="),
        ({"aspect": (2.0, 1.0)}, "`aspect` must be two ratios .* smaller first. Received: aspect="),
        ({"fill": "black"}, '`fill` must be "noise" or "mean". Received: fill=\'black\''),
    ],
)
def test_erasing_refuses_what_does_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        transforms.random_erasing(**options)

"""RandAugment chooses and counts; random erasing covers rectangles of the right kind."""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal import transforms
from keras_nonlocal.transforms import augmentations, byte_operations
from tests.transforms.pixels import noise_clip, of_unknown_size, still_clip


@pytest.fixture
def counting(monkeypatch):
    """Fourteen operations that only add a number to a clip, 0 to 13."""

    def adds(number):
        return lambda clip, strength, sign: clip + tf.cast(number, tf.uint8)

    monkeypatch.setattr(augmentations, "OPERATIONS", [adds(n) for n in range(14)])
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
def test_rand_augment_passes_strength_and_both_signs_on(monkeypatch, magnitude, strength):
    seen = set()

    def spy(clip, strength, sign):
        seen.add((strength, float(sign)))
        return clip

    monkeypatch.setattr(augmentations, "OPERATIONS", [spy])
    for n in range(20):
        transforms.rand_augment(1, magnitude)(noise_clip(), (2, n))
    assert seen == {(strength, -1.0), (strength, 1.0)}


def test_rand_augment_knows_the_fourteen_published_operations():
    assert len(set(byte_operations.OPERATIONS)) == 14


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

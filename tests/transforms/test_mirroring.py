"""Clips in a mirror, and labels that name a side."""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal import preprocessing, transforms
from tests.transforms.pixels import still_clip

PAIRS_OF_SOMETHING = [
    ("Pulling [something] from left to right", "Pulling something from right to left"),
    ("Pushing something from left to right", "Pushing something from right to left"),
    (
        "Turning the camera left while filming something",
        "Turning the camera right while filming something",
    ),
]
# Of Something-Something v2, where a part of a word looks like a side, or a side is none.
OTHERS_OF_SOMETHING = [
    "Laying something on the table on its side, not upright",
    "Moving something and something closer to each other",
    "Moving something across a surface until it falls down",
    "Plugging something into something but pulling it right out as you remove your hand",
    "Putting something upright on the table",
    "Tilting something with something on it slightly so it doesn't fall down",
    "Turning the camera upwards while filming something",
]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_random_flip_mirrors_clip_and_label_together(dtype):
    clip, flip = still_clip(dtype=dtype), transforms.random_flip([1, 0, 2])
    seen = set()
    for n in range(20):
        flipped, label = flip(clip, 0, (0, n))
        seen.add(int(label))
        np.testing.assert_array_equal(flipped, clip[:, :, ::-1] if int(label) else clip)
    assert seen == {0, 1}


@pytest.mark.parametrize("label", [5, [0.0, 1.0]], ids=["number", "several"])
def test_random_flip_without_a_table_keeps_labels(label):
    _, kept = transforms.random_flip(probability=1.0)(still_clip(), tf.constant(label), (0, 0))
    np.testing.assert_array_equal(kept, label)


@pytest.mark.parametrize("probability, share", [(0.0, 0.0), (0.3, 0.3), (1.0, 1.0)])
def test_random_flip_mirrors_the_share_it_is_told(probability, share):
    flip = transforms.random_flip([1, 0], probability)
    mirrored = [int(flip(still_clip(1, 2, 2), 0, (3, n))[1]) for n in range(120)]
    assert abs(np.mean(mirrored) - share) < 0.12


def test_random_flip_never_mirrors_a_class_of_minus_one():
    flip = transforms.random_flip([-1, 1], probability=1.0)
    clip, label = flip(still_clip(), 0, (0, 0))
    np.testing.assert_array_equal(clip, still_clip())
    assert int(label) == 0


def test_random_flip_swaps_several_labels():
    flip = transforms.random_flip([1, 0, 2, -1], probability=1.0)
    clip, label = flip(still_clip(), tf.constant([1.0, 0.0, 1.0, 0.0]), (0, 0))
    np.testing.assert_array_equal(clip, still_clip()[:, :, ::-1])
    np.testing.assert_array_equal(label, [0.0, 1.0, 1.0, 0.0])


def test_random_flip_never_mirrors_several_labels_with_one_of_minus_one():
    flip = transforms.random_flip([1, 0, 2, -1], probability=1.0)
    clip, label = flip(still_clip(), tf.constant([1.0, 0.0, 1.0, 1.0]), (0, 0))
    np.testing.assert_array_equal(clip, still_clip())
    np.testing.assert_array_equal(label, [1.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize("label", [1, [0.0, 1.0]], ids=["number", "several"])
def test_random_flip_in_a_map_gives_what_eager_gives(label):
    flip = transforms.random_flip([1, 0])
    dataset = tf.data.Dataset.from_tensors((still_clip(), tf.constant(label)))
    for n in range(4):
        clip, after = next(iter(dataset.map(lambda clip, label, n=n: flip(clip, label, (0, n)))))
        expected_clip, expected = flip(still_clip(), tf.constant(label), (0, n))
        np.testing.assert_array_equal(clip, expected_clip)
        np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize("table", [[1, 1], [1, 2, 0], [2, 1], [-2, 1]])
def test_random_flip_takes_pairs_only(table):
    with pytest.raises(ValueError, match="`labels_after_flip` must .* in pairs. Received: "):
        transforms.random_flip(table)


def test_random_flip_takes_a_table_as_long_as_the_labels():
    with pytest.raises(ValueError, match=r"each class of the labels \(3\). Received: 2 entries"):
        transforms.random_flip([1, 0])(still_clip(), tf.zeros(3), (0, 0))


def test_mirror_labels_swap_sides_by_name():
    classes = ("left turn", "pan_left", "pan_right", "right turn", "still")
    assert transforms.mirror_labels(classes) == [3, 2, 1, 0, 4]


@pytest.mark.parametrize(
    "one, other",
    [
        ("Swiping Left", "Swiping Right"),
        ("panLeft", "panRight"),
        ("PanLEFT2", "PanRIGHT2"),
        ("step-left-to-right", "step-right-to-left"),
        ("Turning Hand Clockwise", "Turning Hand Counterclockwise"),
        ("stir clockwise", "stir anticlockwise"),
        ("stir_clockwise", "stir counter-clockwise"),
        ("turnClockwise", "turnCounterClockwise"),
        *PAIRS_OF_SOMETHING,
    ],
)
def test_mirror_labels_find_pairs(one, other):
    assert transforms.mirror_labels(["still", one, other]) == [0, 2, 1]


def test_mirror_labels_leave_alone_what_only_looks_like_a_side():
    assert transforms.mirror_labels(["bright", "copyright", "cleft", "upright", "lefty"]) == [
        *range(5)
    ]


def test_mirror_labels_mark_a_side_without_its_mirror_image():
    assert transforms.mirror_labels(["pan_left", "still", "stir clockwise"]) == [-1, 1, -1]


def test_mirror_labels_mark_a_side_with_two_mirror_images():
    assert transforms.mirror_labels(["pan_left", "pan right", "panRight"]) == [-1, -1, -1]


def test_mirror_labels_swap_the_pairs_of_something_something_alone():
    classes = [name for pair in PAIRS_OF_SOMETHING for name in pair] + OTHERS_OF_SOMETHING
    assert transforms.mirror_labels(classes) == [1, 0, 3, 2, 5, 4, *range(6, len(classes))]


def test_no_class_of_kinetics_names_a_side():
    assert transforms.mirror_labels(preprocessing.kinetics400_classes()) == list(range(400))


def test_what_mirror_labels_give_random_flip_takes():
    classes = ["pan_left", "pan_right", "zoom_in", "turn clockwise"]
    flip = transforms.random_flip(transforms.mirror_labels(classes), probability=1.0)
    assert [int(flip(still_clip(), number, (0, 0))[1]) for number in range(4)] == [1, 0, 2, 3]

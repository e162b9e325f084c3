"""Crops against slices; mirrored clips and the labels of classes that name a side."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal import preprocessing, transforms
from tests.transforms.pixels import noise_clip, still_clip

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


every_crop = pytest.mark.parametrize("crop", ["center_crop", "random_crop", "three_crops"])


@every_crop
@pytest.mark.parametrize(
    "size", [(9, 12), [9, 12], np.array([9, 12])], ids=["tuple", "list", "array"]
)
def test_crops_take_height_and_width(crop, size):
    clip = noise_clip()
    cropped = getattr(transforms, crop)(size)(clip, (0, 1)).numpy()
    assert cropped.shape[-4:] == (3, 9, 12, 3)
    center = cropped if crop != "three_crops" else cropped[1]
    if crop != "random_crop":
        np.testing.assert_array_equal(center, clip[:, 7:16, 10:22])


@every_crop
def test_crops_take_integers_of_numpy(crop):
    cropped = getattr(transforms, crop)(np.int64(10))(noise_clip(), (0, 1))
    np.testing.assert_array_equal(cropped, getattr(transforms, crop)(10)(noise_clip(), (0, 1)))


@every_crop
@pytest.mark.parametrize(
    "size", [0, -1, 10.0, "10", None, True, (10,), (10, 0), (1, 2, 3)], ids=repr
)
def test_crops_refuse_other_sizes(crop, size):
    with pytest.raises(ValueError, match="`size` must be a positive number of pixels, or a pair"):
        getattr(transforms, crop)(size)


@every_crop
@pytest.mark.parametrize("size", [25, (10, 33)], ids=["height", "width"])
def test_a_crop_larger_than_the_frame_is_refused(crop, size):
    message = r"`size` must not exceed the frames. Received: \d+ x \d+ pixels. Lower it, or raise"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        getattr(transforms, crop)(size)(still_clip(), (0, 0))


def test_short_sides_are_in_proportion_to_the_crop():
    assert [transforms.short_sides_of(crop) for crop in (224, 112, (56, 112))] == [
        (256, 320),
        (128, 160),
        (128, 160),
    ]
    with pytest.raises(ValueError, match="`crop` must be a positive number"):
        transforms.short_sides_of(0)


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


@pytest.mark.parametrize(
    "classes, table",
    [
        (["left the room", "entered the room"], [-1, 1]),
        (["hand_L", "hand_R", "foot"], [-1, -1, 2]),
        (["size L", "size M"], [0, 1]),
    ],
    ids=["verb", "letters", "one letter"],
)
def test_mirror_labels_warn_of_names_that_are_not_certain(classes, table, caplog):
    assert transforms.mirror_labels(classes) == table
    never = [repr(name) for name, after in zip(classes, table, strict=True) if after == -1]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == bool(never)
    if never:
        assert f"{', '.join(never)}. To change this, pass `flip` the class" in warnings[0]


def test_mirror_labels_log_the_pairs(caplog):
    caplog.set_level(logging.INFO, "keras_nonlocal")
    transforms.mirror_labels(["pan_left", "pan_right", "zoom_in"])
    transforms.mirror_labels(["zoom_in"])
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "Mirrored clips exchange the labels of: 'pan_left' and 'pan_right'."),
    ]

"""Every transform, eagerly and in `Dataset.map`, with the same draw for all frames."""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.data import transforms

RANDOM = {
    "random_short_side": transforms.random_short_side(20, 40),
    "random_crop": transforms.random_crop(10),
    "random_color": transforms.random_color(),
}
FIXED = {
    "resize_short_side": transforms.resize_short_side(20),
    "center_crop": transforms.center_crop(10),
    "three_crops": transforms.three_crops(10),
    "normalize": transforms.normalize(),
}


def still_clip(frames=4, height=24, width=32):
    """A clip whose frames are all alike, and no two of whose pixels are."""
    frame = np.arange(height * width * 3, dtype=np.float32).reshape(height, width, 3)
    return np.stack([frame / frame.max() * 200] * frames)


@pytest.mark.parametrize("transform", [*RANDOM.values(), *FIXED.values()], ids=[*RANDOM, *FIXED])
def test_frames_that_are_alike_stay_alike(transform):
    frames = np.moveaxis(transform(still_clip(), (1, 2)).numpy(), -4, 0)
    np.testing.assert_array_equal(frames, np.broadcast_to(frames[:1], frames.shape))


@pytest.mark.parametrize("transform", [*RANDOM.values(), *FIXED.values()], ids=[*RANDOM, *FIXED])
def test_dataset_map_gives_what_eager_gives(transform):
    dataset = tf.data.Dataset.from_tensors(still_clip()).map(lambda clip: transform(clip, (3, 4)))
    np.testing.assert_allclose(
        next(iter(dataset)).numpy(), transform(still_clip(), (3, 4)).numpy(), rtol=1e-6, atol=1e-4
    )


@pytest.mark.parametrize("transform", RANDOM.values(), ids=RANDOM)
def test_a_seed_fixes_the_draw(transform):
    np.testing.assert_array_equal(transform(still_clip(), (5, 6)), transform(still_clip(), (5, 6)))


@pytest.mark.parametrize("transform", RANDOM.values(), ids=RANDOM)
@pytest.mark.parametrize("seeded", [True, False])
def test_draws_differ(transform, seeded):
    clips = [transform(still_clip(), (7, n) if seeded else None).numpy() for n in range(8)]
    assert any(not np.array_equal(clips[0], clip) for clip in clips[1:])


def test_resize_short_side_keeps_the_aspect():
    assert transforms.resize_short_side(12)(still_clip()).shape == (4, 12, 16, 3)


def test_resize_short_side_works_on_upright_clips():
    clip = still_clip(height=32, width=24)
    assert transforms.resize_short_side(48)(clip).shape == (4, 64, 48, 3)


def test_random_short_side_reaches_both_ends():
    transform = transforms.random_short_side(20, 22)
    sides = {min(transform(still_clip(), (0, n)).shape[1:3]) for n in range(40)}
    assert sides == {20, 21, 22}


def test_random_crop_reaches_every_corner():
    clip = still_clip(height=11, width=12)
    crops = {transforms.random_crop(10)(clip, (0, n)).numpy()[0, 0, 0, 0] for n in range(80)}
    assert crops == {clip[0, top, left, 0] for top in range(2) for left in range(3)}


def test_center_crop_is_central():
    clip = still_clip()
    np.testing.assert_array_equal(transforms.center_crop(10)(clip), clip[:, 7:17, 11:21])


@pytest.mark.parametrize("upright", [False, True], ids=["lying", "upright"])
def test_three_crops_lie_along_the_longer_side(upright):
    clip = still_clip(width=33)  # an odd room, so that the halves of it differ
    if upright:
        clip = clip.transpose(0, 2, 1, 3)
    expected = [clip[:, 7:17, left : left + 10] for left in (0, 11, 23)]
    if upright:
        expected = [clip[:, top : top + 10, 7:17] for top in (0, 11, 23)]
    np.testing.assert_array_equal(transforms.three_crops(10)(clip), expected)


def test_random_flip_mirrors_clip_and_label_together():
    clip, flip = still_clip(), transforms.random_flip([1, 0, 2])
    seen = set()
    for n in range(20):
        flipped, label = flip(clip, tf.constant(0), (0, n))
        seen.add(int(label))
        np.testing.assert_array_equal(flipped, clip[:, :, ::-1] if int(label) else clip)
    assert seen == {0, 1}


def test_random_flip_without_a_table_keeps_labels():
    _, label = transforms.random_flip(probability=1.0)(still_clip(), tf.constant(5), (0, 0))
    assert int(label) == 5


def test_mirror_labels_swap_sides_by_name():
    classes = ("left turn", "pan_left", "pan_right", "right turn", "still")
    assert transforms.mirror_labels(classes) == [3, 2, 1, 0, 4]


def test_mirror_labels_need_both_sides():
    with pytest.raises(ValueError, match="Received: 'pan_left' without 'pan_right'"):
        transforms.mirror_labels(["pan_left", "still"])


@pytest.mark.parametrize(
    "source, expected",
    [
        ("video-nonlocal-net", [1.0, 1.0, 1.0]),
        # (172.125 - mean) / deviation of each colour
        ("mmaction2", [0.829695, 0.977670, 1.195556]),
        ("gluoncv", [0.829695, 0.977670, 1.195556]),
    ],
)
def test_normalize_agrees_with_the_source(source, expected):
    clip = np.full((1, 2, 2, 3), 172.125, np.float32)
    np.testing.assert_allclose(transforms.normalize(source)(clip)[0, 0, 0], expected, rtol=1e-5)


def test_normalize_takes_bytes():
    assert transforms.normalize()(np.full((1, 1, 1, 3), 255, np.uint8)).dtype == tf.float32


def test_normalize_refuses_unknown_sources():
    with pytest.raises(ValueError, match="`source` must be one of .*Received: source='slowfast'"):
        transforms.normalize("slowfast")


def test_random_color_stays_in_range():
    clip = transforms.random_color(1.0, 1.0, 1.0)(still_clip(), (0, 1)).numpy()
    assert clip.min() >= 0 and clip.max() <= 255


def test_compose_gives_each_transform_a_seed_of_its_own():
    draws = []

    def spy(clip, seed=None):
        draws.append(tuple(np.asarray(seed)))
        return clip

    transforms.compose(spy, spy)(still_clip(), (1, 2))
    assert draws[0] != draws[1]


def test_compose_works_in_order():
    prepare = transforms.compose(transforms.resize_short_side(12), transforms.center_crop(12))
    assert prepare(still_clip()).shape == (4, 12, 12, 3)


@pytest.mark.parametrize("crop", [transforms.center_crop, transforms.random_crop])
def test_a_crop_larger_than_the_frame_is_refused(crop):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`crop` must not exceed"):
        crop(25)(still_clip(), (0, 0))


@pytest.mark.parametrize("factory", ["resize_short_side", "random_crop", "center_crop"])
def test_sizes_must_be_positive(factory):
    with pytest.raises(ValueError, match="`size` must be a positive number of pixels.*size=0"):
        getattr(transforms, factory)(0)


def test_jitter_takes_the_smaller_size_first():
    with pytest.raises(ValueError, match=r"`maximum` must not be below `minimum` \(320\)"):
        transforms.random_short_side(320, 256)

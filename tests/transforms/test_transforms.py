"""Every transform, eagerly and in `Dataset.map`, with the same draw for all frames."""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal import transforms
from tests.transforms.pixels import noise_clip, of_unknown_size, still_clip

RANDOM = {
    "random_crop": transforms.random_crop(10),
    "random_color": transforms.random_color(hue=0.1),
    "random_flip": lambda clip, seed=None: transforms.random_flip()(clip, 0, seed)[0],
    "rand_augment": transforms.rand_augment(1),
    "random_erasing_noise": transforms.random_erasing(0.9),
    "random_erasing_mean": transforms.random_erasing(0.9, fill="mean"),
}
FIXED = {
    "center_crop": transforms.center_crop(10),
    "three_crops": transforms.three_crops(10),
}
ALL = RANDOM | FIXED
# What gives squares of 10 pixels.
CROPPED = {"random_crop", "center_crop", "three_crops"}

every_transform = pytest.mark.parametrize("name", ALL)
every_random_transform = pytest.mark.parametrize("transform", RANDOM.values(), ids=RANDOM)
bytes_and_floats = pytest.mark.parametrize("dtype", ["uint8", "float32"])


@every_transform
@bytes_and_floats
def test_frames_that_are_alike_stay_alike(name, dtype):
    for number in range(4):
        frames = np.moveaxis(ALL[name](still_clip(dtype=dtype), (number, 2)).numpy(), -4, 0)
        np.testing.assert_array_equal(frames, np.broadcast_to(frames[:1], frames.shape))


@every_transform
@bytes_and_floats
def test_dataset_map_gives_what_eager_gives(name, dtype):
    clip = noise_clip(dtype=dtype)
    mapped = next(iter(of_unknown_size(clip).map(lambda clip: ALL[name](clip, (3, 4)))))
    np.testing.assert_allclose(mapped, ALL[name](clip, (3, 4)), rtol=1e-5, atol=1e-4)


@every_transform
def test_dataset_map_keeps_what_is_known_of_the_shape(name):
    spec = of_unknown_size(noise_clip()).map(ALL[name]).element_spec
    size = (10, 10) if name in CROPPED else (None, None)
    assert spec.shape.as_list()[-4:] == [3, *size, 3]


@pytest.mark.parametrize("name", sorted(ALL.keys() - CROPPED))
def test_dataset_map_keeps_a_known_shape(name):
    dataset = tf.data.Dataset.from_tensors(noise_clip()).map(ALL[name])
    assert dataset.element_spec.shape.as_list() == [3, 24, 32, 3]


@every_transform
def test_how_many_are_in_preparation_changes_nothing(name):
    seeds = tf.data.Dataset.range(6).map(lambda number: tf.stack([number, 9]))
    dataset = tf.data.Dataset.zip(of_unknown_size(noise_clip(), 6), seeds)
    alone = dataset.map(ALL[name])
    together = dataset.map(ALL[name], num_parallel_calls=4)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@every_random_transform
def test_a_seed_fixes_the_draw(transform):
    np.testing.assert_array_equal(transform(noise_clip(), (5, 6)), transform(noise_clip(), (5, 6)))


@every_random_transform
@pytest.mark.parametrize("seeded", [True, False])
def test_draws_differ(transform, seeded):
    clips = [transform(noise_clip(), (7, n) if seeded else None).numpy() for n in range(8)]
    assert any(not np.array_equal(clips[0], clip) for clip in clips[1:])


@every_random_transform
def test_a_map_without_seeds_draws_for_each_clip(transform):
    clips = [clip.numpy() for clip in of_unknown_size(noise_clip(), 8).map(transform)]
    assert any(not np.array_equal(clips[0], clip) for clip in clips[1:])


@every_transform
@bytes_and_floats
def test_the_type_of_pixels_stays(name, dtype):
    assert ALL[name](noise_clip(dtype=dtype)).dtype == dtype


def test_compose_gives_each_transform_a_seed_of_its_own():
    draws = []

    def spy(clip, seed=None):
        draws.append(tuple(np.asarray(seed)))
        return clip

    transforms.compose(spy, spy)(still_clip(), (1, 2))
    assert draws[0] != draws[1]


def test_compose_works_in_order():
    prepare = transforms.compose(transforms.center_crop((20, 12)), transforms.center_crop(12))
    assert prepare(still_clip()).shape == (4, 12, 12, 3)


def test_every_public_name_is_there():
    assert all(callable(getattr(transforms, name)) for name in transforms.__all__)

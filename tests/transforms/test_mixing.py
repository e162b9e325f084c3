"""Mixed clips and labels agree with each other, and weights with their distribution."""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal import transforms

MIXES = {
    "mixup": transforms.mixup(0.8, 5),
    "cutmix": transforms.cutmix(1.0, 5),
    "mixup_or_cutmix": transforms.mixup_or_cutmix(5),
}
every_mix = pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
LABELS = np.array([0, 3, 1, 4], np.int32)
# Which clip each is mixed with.
OTHERS = [3, 0, 1, 2]


def batch(size=4, frames=3, height=12, width=14, dtype="float32"):
    pixels = np.random.default_rng(5).integers(0, 256, (size, frames, height, width, 3))
    return pixels.astype(dtype)


def plain_batch(size=4, height=12, width=14):
    """Clips of one value each: 0, 1, 2, ..."""
    clips = np.zeros((size, 2, height, width, 3), np.float32)
    return clips + np.arange(size, dtype=np.float32)[:, None, None, None, None]


def one_hot(labels, classes=5):
    return np.eye(classes, dtype=np.float32)[labels]


@pytest.mark.parametrize("seed", [(0, n) for n in range(4)])
def test_mixup_mixes_clips_as_it_mixes_labels(seed):
    clips = batch()
    mixed, labels = MIXES["mixup"](clips, LABELS, seed)
    weights = labels.numpy()[range(4), LABELS]
    np.testing.assert_allclose(
        labels,
        weights[:, None] * one_hot(LABELS) + (1 - weights[:, None]) * one_hot(LABELS[OTHERS]),
    )
    weights = weights[:, None, None, None, None]
    np.testing.assert_allclose(mixed, weights * clips + (1 - weights) * clips[OTHERS], atol=1e-3)


@pytest.mark.parametrize("seed", [(0, n) for n in range(6)])
def test_cutmix_weighs_labels_by_the_pixels_that_stay(seed):
    clips = plain_batch()
    cut, labels = MIXES["cutmix"](clips, LABELS, seed)
    kept = (cut.numpy() == clips).mean((1, 2, 3, 4))
    np.testing.assert_allclose(labels.numpy()[range(4), LABELS], kept, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(labels.numpy()[range(4), LABELS[OTHERS]], 1 - kept, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_cutmix_takes_the_same_box_out_of_all_frames_of_the_other_clip(dtype):
    clips = batch(dtype=dtype)
    for n in range(6):
        cut, _ = MIXES["cutmix"](clips, LABELS, (1, n))
        own, other = (cut.numpy() == clips).all(-1), (cut.numpy() == clips[OTHERS]).all(-1)
        assert (own | other).all()
        for clip in ~own:
            assert (clip == clip[0]).all()
            rows, columns = clip[0].any(1), clip[0].any(0)
            # Rows and columns that belong together, and nothing but them.
            np.testing.assert_array_equal(clip[0], rows[:, None] & columns)
            assert all(
                np.abs(np.diff(np.pad(side.astype(int), 1))).sum() <= 2 for side in (rows, columns)
            )


def test_cutmix_boxes_reach_all_edges_and_are_cut_off_there():
    clips, touched, shares = plain_batch(32, 16, 16), np.zeros((16, 16), bool), []
    for n in range(8):
        cut, labels = transforms.cutmix(1.0, 32)(clips, np.arange(32), (2, n))
        touched |= (cut.numpy() != clips)[:, 0, ..., 0].any(0)
        shares.extend(np.max(labels, axis=1))
    assert touched.all()
    # Of Beta(1, 1), had no box been cut off, half would lie below 0.5; the greater share is given.
    assert np.mean(shares) > 0.7


def test_cutmix_boxes_have_the_aspect_of_the_frame():
    clips = plain_batch(32, 30, 60)
    cut, _ = transforms.cutmix(1.0, 32)(clips, np.arange(32), (3, 3))
    changed = (cut.numpy() != clips)[:, 0, ..., 0]
    heights, widths = changed.any(2).sum(1), changed.any(1).sum(1)
    edges = np.zeros((30, 60), bool)
    edges[[0, -1]] = edges[:, [0, -1]] = True
    inside = ~(changed & edges).any((1, 2))
    assert inside.sum() > 3 and heights[inside].max() > 5
    assert (np.abs(2 * heights - widths)[inside] <= 1).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_weights_have_the_moments_of_beta(alpha):
    size = 4000
    _, labels = transforms.mixup(alpha, 2)(
        np.zeros((size, 1, 1, 1, 1)), np.arange(size) % 2, (4, 4)
    )
    weights = labels.numpy()[range(size), np.arange(size) % 2]
    assert 0 <= weights.min() < 0.1 and 0.9 < weights.max() <= 1
    assert abs(weights.mean() - 0.5) < 0.03
    # Beta(a, a) has this variance.
    assert abs(weights.var() / (1 / (4 * (2 * alpha + 1))) - 1) < 0.1


def test_tiny_alphas_keep_clips_apart():
    clips = plain_batch(200, 1, 1)
    _, labels = transforms.mixup(0.01, 200)(clips, np.arange(200), (0, 1))
    weights = np.diag(labels.numpy())
    assert 0.3 < np.mean(weights > 0.99) < 0.7
    # Not one in a hundred lies here, unless numbers too small for their type make it a half.
    assert np.mean((weights > 0.4) & (weights < 0.6)) < 0.05


@every_mix
def test_labels_stay_shares(mix):
    for n in range(4):
        _, labels = mix(batch(), LABELS, (5, n))
        assert labels.dtype == tf.float32
        np.testing.assert_allclose(np.sum(labels, axis=1), 1, rtol=1e-6)


@every_mix
@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_several_labels_are_mixed_as_one_is(mix, dtype):
    _, expected = mix(batch(), LABELS, (6, 1))
    _, labels = mix(batch(), one_hot(LABELS).astype(dtype), (6, 1))
    np.testing.assert_array_equal(labels, expected)


@every_mix
@pytest.mark.parametrize("batch_known", [True, False])
def test_dataset_map_gives_what_eager_gives(mix, batch_known):
    dataset = tf.data.Dataset.from_tensor_slices((batch(), LABELS))
    dataset = dataset.batch(4, drop_remainder=batch_known)
    for n in range(2):
        mapped = dataset.map(lambda clips, labels, n=n: mix(clips, labels, (7, n)))
        size = 4 if batch_known else None
        assert mapped.element_spec[0].shape.as_list() == [size, 3, 12, 14, 3]
        assert mapped.element_spec[1].shape.as_list() == [size, 5]
        for one, other in zip(next(iter(mapped)), mix(batch(), LABELS, (7, n)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


@every_mix
def test_how_many_are_in_preparation_changes_nothing(mix):
    dataset = tf.data.Dataset.range(6).map(lambda n: (batch(), LABELS, tf.stack([n, 1])))
    alone, together = dataset.map(mix), dataset.map(mix, num_parallel_calls=4)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@every_mix
@pytest.mark.parametrize("seeded", [True, False])
def test_draws_differ(mix, seeded):
    mixed = [mix(batch(), LABELS, (8, n) if seeded else None)[1].numpy() for n in range(6)]
    assert any(not np.array_equal(mixed[0], other) for other in mixed[1:])


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_mixup_or_cutmix_applies_mixup_to_its_share(share):
    mix = transforms.mixup_or_cutmix(4, mixup_share=share)
    clips = plain_batch()
    mixed = [
        not np.isin(mix(clips, np.arange(4), (9, n))[0].numpy(), np.arange(4)).all()
        for n in range(40)
    ]
    assert abs(np.mean(mixed) - share) < 0.2


@every_mix
def test_labels_beyond_the_classes_are_refused(mix):
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="`classes` must exceed every label. Received: classes=5",
    ):
        mix(batch(), np.array([0, 1, 2, 5], np.int32), (0, 0))


@every_mix
def test_labels_of_another_number_of_classes_are_refused(mix):
    with pytest.raises(ValueError, match=r"shape \(batch, 5\). Received: shape \(4, 6\)"):
        mix(batch(), np.zeros((4, 6), np.float32), (0, 0))


@pytest.mark.parametrize(
    "factory, name",
    [
        (lambda: transforms.mixup(0, 5), "alpha"),
        (lambda: transforms.cutmix(0, 5), "alpha"),
        (lambda: transforms.mixup_or_cutmix(5, mixup_alpha=0), "mixup_alpha"),
        (lambda: transforms.mixup_or_cutmix(5, cutmix_alpha=0), "cutmix_alpha"),
    ],
    ids=["mixup", "cutmix", "mixup_or_cutmix, mixup", "mixup_or_cutmix, cutmix"],
)
def test_alphas_must_not_be_too_small(factory, name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 0.01. Received: {name}=0"):
        factory()

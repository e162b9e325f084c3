"""An epoch can be had again, from any step on, and in parts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_nonlocal.data.epochs import Epochs

from keras_nonlocal.data import VideoList, clip_dataset

VIDEOS = 11


def noise(path, indices):
    """Frames that tell their video and their number."""
    generator = np.random.default_rng(int(path))
    return generator.integers(0, 255, (40, 24, 28, 3), np.uint8)[indices]


def dataset_of(count=VIDEOS, **options):
    videos = VideoList(range(count), np.arange(count) % 3, "abc")
    options = {"batch_size": 2, "seed": 5, "color": 0.2, "short_side": (20, 24), **options}
    return clip_dataset(
        videos, "4x2", crop=16, training=True, decoder=noise, probe=lambda path: 40, **options
    )


def batches_of(dataset):
    return [(clips.numpy(), labels.numpy()) for clips, labels in dataset]


def assert_equal(actual, expected):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)


def test_passes_are_the_epochs_from_the_first_on():
    dataset = dataset_of()
    for number in range(2):
        assert_equal(batches_of(dataset), batches_of(dataset.epoch(number)))


def test_epochs_differ():
    dataset = dataset_of()
    first, second = (batches_of(dataset.epoch(number)) for number in range(2))
    assert not np.array_equal(first[0][0], second[0][0])


def test_an_epoch_does_not_depend_on_the_seed_of_tensorflow():
    keras.utils.set_random_seed(1)
    expected = batches_of(dataset_of(clips_per_video=2).epoch(3))
    keras.utils.set_random_seed(2)
    assert_equal(batches_of(dataset_of(clips_per_video=2).epoch(3)), expected)


def mixed(clips, labels, seed):
    return clips + tf.random.stateless_uniform([], seed), labels


@pytest.mark.parametrize(
    "options",
    [{}, {"mix": mixed}, {"clips_per_video": 3}, {"clips_per_video": 4, "batch_size": 8}],
    ids=["clip", "mix", "clips", "many-clips"],
)
def test_an_epoch_goes_on_from_any_step(options):
    dataset = dataset_of(**options)
    whole = batches_of(dataset.epoch(2))
    for step in (1, 2, 3, 4):
        rest = dataset.epoch(2, step)
        assert rest.cardinality() == len(whole) - step == dataset.cardinality() - step
        assert_equal(batches_of(rest), whole[step:])


def test_processes_see_between_them_what_one_sees():
    count = 2
    whole = batches_of(dataset_of(batch_size=4).epoch(1))
    options = {"batch_size": 4 // count}
    shares = [
        batches_of(dataset_of(**options, shard=(index, count)).epoch(1)) for index in range(count)
    ]
    together = [
        [np.concatenate(parts) for parts in zip(*batches, strict=True)]
        for batches in zip(*shares, strict=True)
    ]
    assert_equal(together, whole)


def test_the_clips_of_a_video_lie_apart():
    batches = batches_of(dataset_of(clips_per_video=3))
    order, _, _ = Epochs(VIDEOS, clips=3, batch_size=2, seed=5).plan(0)
    assert sorted(order) == list(range(VIDEOS))
    pairs = (order[:10] % 3).reshape(5, 2)
    # Four batches of videos take turns; what is left over takes its own, and fills one batch.
    last = [order[10] % 3] * 2
    expected = [*np.tile(pairs[:4], (3, 1)), pairs[4], last, pairs[4], pairs[4]]
    assert len(batches) == VIDEOS * 3 // 2
    np.testing.assert_array_equal([labels for _, labels in batches], expected)


def test_an_epoch_goes_on_after_many_turns():
    dataset = dataset_of(clips_per_video=3)
    whole = batches_of(dataset.epoch(2))
    for step in (5, 12, 13, 15):
        assert_equal(batches_of(dataset.epoch(2, step)), whole[step:])


def test_processes_see_the_same_turns_as_one():
    count = 4
    # Of videos that fill no batch no process has what one would have.
    options = {"count": 24, "clips_per_video": 2}
    whole = batches_of(dataset_of(batch_size=4, **options).epoch(1))
    shares = [
        batches_of(dataset_of(batch_size=4 // count, **options, shard=(index, count)).epoch(1))
        for index in range(count)
    ]
    together = [
        [np.concatenate(parts) for parts in zip(*batches, strict=True)]
        for batches in zip(*shares, strict=True)
    ]
    assert_equal(together, whole)


@pytest.mark.parametrize("clips", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_process_makes_equally_many_steps(clips, count):
    for index in range(count):
        plan = Epochs(VIDEOS, clips, batch_size=2, seed=3, index=index, count=count)
        numbers, seeds, before = plan.plan(0)
        assert len(numbers) == VIDEOS // count and before == 0
        assert seeds.shape == (len(numbers), 1 + clips, 2)
        assert plan.steps == len(numbers) * clips // 2


def test_no_two_draws_share_a_seed():
    _, seeds, _ = Epochs(50, clips=3, batch_size=2, seed=3).plan(0)
    _, more, _ = Epochs(50, clips=3, batch_size=2, seed=3).plan(1)
    pairs = np.concatenate([seeds, more]).reshape(-1, 2)
    assert len(np.unique(pairs, axis=0)) == len(pairs)


@pytest.mark.parametrize(
    "options, chosen, message",
    [
        ({}, (-1, 0), "`number` must be that of an epoch.* Received: number=-1"),
        ({}, (0, 5), r"`step` must lie in \[0, 5\), .* Received: step=5"),
        ({}, (0, -1), r"`step` must lie in \[0, 5\), .* Received: step=-1"),
        ({"on_error": "skip"}, (0, 1), "`step` must be 0 with on_error='skip'.*--write-list"),
    ],
)
def test_places_that_are_none_are_refused(options, chosen, message):
    with pytest.raises(ValueError, match=message):
        dataset_of(**options).epoch(*chosen)


def test_broken_videos_are_left_out_of_a_whole_epoch(tmp_path):
    def decode(path, indices):
        if path == "3":
            raise OSError("gone")
        return noise(path, indices)

    videos = VideoList(range(VIDEOS), np.arange(VIDEOS) % 3, "abc")
    dataset = clip_dataset(
        videos,
        "4x2",
        crop=16,
        training=True,
        batch_size=2,
        decoder=decode,
        probe=lambda path: 40,
        on_error="skip",
        max_broken=0.5,
        seed=1,
    )
    assert len(batches_of(dataset.epoch(0))) == 5
    assert list(dataset.failures.names) == ["3"]

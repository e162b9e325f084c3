"""Which videos an epoch reads, in which order and with which seeds."""

import numpy as np
import pytest

from keras_nonlocal.data.order import EvaluationOrder, TrainingOrder


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("clips", [1, 2, 5])
def test_every_process_makes_equally_many_steps(clips, count):
    seen = []
    for index in range(count):
        order = TrainingOrder(11, 2, seed=3, clips=clips, shard=(index, count))
        indices, seeds, skip = order.epoch(0)
        assert len(indices) == 11 // count and skip == 0
        assert seeds.shape == (len(indices), 2)
        assert order.num_samples == len(indices) * clips
        seen += indices.tolist()
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("clips", [1, 3])
def test_a_step_begins_where_the_batches_before_end(clips):
    order = TrainingOrder(50, 4, seed=3, clips=clips)
    whole, seeds, _ = order.epoch(7)
    for step in range(50 * clips // 4):
        indices, own, skip = order.epoch(7, step)
        first = 50 - len(indices)
        assert first * clips + skip == 4 * step
        np.testing.assert_array_equal(indices, whole[first:])
        np.testing.assert_array_equal(own, seeds[first:])


def test_shares_are_parts_of_the_batches_of_one():
    whole = TrainingOrder(24, 4, seed=1).epoch(2)
    shares = [TrainingOrder(24, 2, seed=1, shard=(index, 2)).epoch(2) for index in range(2)]
    for part in range(2):
        together = np.stack([share[part].reshape(6, 2, -1) for share in shares], axis=1)
        np.testing.assert_array_equal(together.reshape(whole[part].shape), whole[part])


def test_no_two_draws_share_a_seed():
    order = TrainingOrder(50, 2, seed=3)
    seeds = np.concatenate([order.epoch(number)[1] for number in range(2)])
    assert len(np.unique(seeds, axis=0)) == 100


def test_balanced_classes_come_equally_often():
    classes = np.repeat([0, 1, 3], [2, 7, 31])
    order = TrainingOrder(40, 4, seed=3, classes=classes)
    indices, seeds, _ = order.epoch(0)
    drawn = classes[indices]
    # Each round of three has each class once, in a drawn order.
    np.testing.assert_array_equal(np.sort(drawn[:39].reshape(13, 3), axis=1), [[0, 1, 3]] * 13)
    assert len({tuple(each) for each in drawn[:39].reshape(13, 3)}) > 2
    # Each of its videos comes equally often, and a large class never shows one twice.
    assert np.bincount(indices[drawn == 0], minlength=2).min() >= 6
    assert sorted(np.bincount(indices[drawn == 1])[2:]) in ([1, 2, 2, 2, 2, 2, 2], [2] * 7)
    assert len(set(indices[drawn == 3])) == np.sum(drawn == 3)
    assert len(np.unique(seeds, axis=0)) == 40
    assert not np.array_equal(order.epoch(1)[0], indices)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shares_of_an_evaluation_are_padded(count):
    shares = [EvaluationOrder(9, 2, (index, count)).epoch(0)[0] for index in range(count)]
    assert len({len(share) for share in shares}) == 1
    together = np.concatenate(shares)
    assert sorted(together[together < 9]) == list(range(9))
    assert EvaluationOrder(9, 2, (0, count)).num_samples == len(shares[0])
    np.testing.assert_array_equal(EvaluationOrder(9, 2).epoch(0, 3)[0], [6, 7, 8])

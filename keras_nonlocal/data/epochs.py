"""Which videos an epoch of training visits, in which order and with which draws.

All of it follows from the seed and the number of the epoch alone: an epoch can be had again, or
from any step on, and several processes draw between them what one would draw.
"""

import itertools
import threading

import numpy as np
import tensorflow as tf

# So many batches of videos give a clip each, then their next ones, where a visit takes several.
BATCHES_TAKING_TURNS = 4


class Epochs:
    """The visits of each epoch, for one process of several.

    A global batch holds clips of as many videos as it has room for, and process p the p-th
    contiguous part of each. Where a visit takes several clips, batch after batch of
    `BATCHES_TAKING_TURNS` holds one clip of each of its videos, then the next ones of the same.

    Args:
        num_videos: videos in the list.
        clips: clips of each visit.
        batch_size: clips in a batch of this process.
        seed: integer that fixes everything.
        index, count: this process is number `index` of `count`.
    """

    def __init__(self, num_videos, clips, batch_size, seed, index=0, count=1):
        self._num_videos = num_videos
        self._clips = clips
        self._batch_size = batch_size
        self._seed = seed
        self._index = index
        self._count = count

    @property
    def steps(self):
        """Batches in an epoch, of every process alike."""
        return self._num_videos // self._count * self._clips // self._batch_size

    def plan(self, epoch, step=0):
        """Lists the visits of an epoch, from the one on in which a step begins.

        Args:
            epoch: number of the epoch, from 0.
            step: batches of it that are already done.

        Returns:
            The numbers of the videos, `(visits,)`; seeds, `(visits, 1 + clips, 2)`, the first of
            each visit for reading and one for each clip; and how many of the clips that they give
            come before the step.
        """
        generator = np.random.default_rng((self._seed, epoch))
        order = generator.permutation(self._num_videos)
        # By video, so that they do not depend on who visits it.
        seeds = generator.integers(2**62, size=(self._num_videos, 1 + self._clips, 2))
        together = self._batch_size * self._count
        whole = self._num_videos // together * together
        part = slice(self._index * self._batch_size, (self._index + 1) * self._batch_size)
        rest = (self._num_videos - whole) // self._count
        mine = np.concatenate(
            [
                order[:whole].reshape(-1, together)[:, part].reshape(-1),
                order[whole + self._index * rest :][:rest],
            ]
        )
        # So many visits take turns, and are done after so many batches as each has clips.
        turns = BATCHES_TAKING_TURNS if self._clips > 1 else 1
        done, within = divmod(step, turns * self._clips)
        first = done * turns * self._batch_size
        return mine[first:], seeds[mine[first:]], within * self._batch_size

    def visits(self, epoch, step=0):
        """Gives the plan of one epoch as a dataset, and the clips to leave out of what it gives.

        Args:
            epoch: see `plan`.
            step: see `plan`.

        Returns:
            A `tf.data.Dataset` of a video's number and its seeds, and an integer.
        """
        numbers, seeds, before = self.plan(epoch, step)
        return tf.data.Dataset.from_tensor_slices((numbers, seeds)), before

    def all_visits(self):
        """Gives the plan as a dataset, of another epoch each time it is gone through.

        Returns:
            A `tf.data.Dataset` of a video's number and its seeds.
        """
        numbers, lock = itertools.count(), threading.Lock()

        def plan():
            with lock:
                epoch = next(numbers)
            return self.plan(epoch)[:2]

        def slices(_):
            numbers, seeds = tf.numpy_function(plan, [], [tf.int64, tf.int64])
            numbers.set_shape((None,))
            seeds.set_shape((None, 1 + self._clips, 2))
            return tf.data.Dataset.from_tensor_slices((numbers, seeds))

        return tf.data.Dataset.range(1).flat_map(slices)

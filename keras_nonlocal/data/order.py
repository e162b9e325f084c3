"""Which samples an epoch reads, in which order and with which seeds.

All of it follows from the seed and the number of the epoch, so that an epoch can start at any step,
and several processes draw between them what one would draw. NumPy only.
"""

import numpy as np

# With several clips per video, this many batches of videos show their clips in turns.
BATCHES_IN_TURNS = 4


class TrainingOrder:
    """Shuffled videos, for one process of several.

    A global batch holds clips of as many videos as it has room for, and process p reads the p-th
    contiguous part of each. With several clips per video, `group` videos are read together, and
    give their first clips, then their second ones, so that the clips of a video lie apart.

    Args:
        num_videos: int, videos in the list.
        batch_size: int, clips per batch of this process.
        seed: int that fixes everything.
        clips: int, clips per video.
        classes: int array `(videos,)`: draws classes evenly; `None` reads each video once.
        shard: `(index, count)` of this process.
    """

    def __init__(self, num_videos, batch_size, seed, clips=1, classes=None, shard=(0, 1)):
        self.num_videos = num_videos
        self.batch_size = batch_size
        self.seed = seed
        self.clips = clips
        self.classes = classes
        self.shard = shard
        self.group = BATCHES_IN_TURNS * batch_size if clips > 1 else 1

    @property
    def num_samples(self):
        """Clips per epoch, the same in every process."""
        return self.num_videos // self.shard[1] * self.clips

    def epoch(self, number, step=0):
        """Returns what an epoch reads from a step on.

        Args:
            number: int, the epoch, from 0.
            step: int, batches of it that are done.

        Returns:
            Indices of videos `(n,)`; their seeds `(n, 2)`; and how many of the clips that these
            videos give are to be skipped.
        """
        generator = np.random.default_rng((self.seed, number))
        order = self._draw(generator)
        # By position, so that they do not depend on which process reads it.
        seeds = generator.integers(2**62, size=(self.num_videos, 2))
        index, count = self.shard
        together = self.batch_size * count
        whole = self.num_videos // together * together
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        rest = (self.num_videos - whole) // count
        positions = np.concatenate(
            [
                np.arange(whole).reshape(-1, together)[:, part].reshape(-1),
                np.arange(whole + index * rest, whole + (index + 1) * rest),
            ]
        )
        groups, skip = divmod(step * self.batch_size, self.group * self.clips)
        positions = positions[groups * self.group :]
        return order[positions], seeds[positions], skip

    def _draw(self, generator):
        if self.classes is None:
            return generator.permutation(self.num_videos)
        names = np.unique(self.classes)
        rounds = -(-self.num_videos // len(names))
        members = [np.flatnonzero(self.classes == name) for name in names]
        # Each class goes through its videos again and again, and each round has every class once.
        columns = [
            np.concatenate([generator.permutation(m) for _ in range(-(-rounds // len(m)))])[:rounds]
            for m in members
        ]
        return generator.permuted(np.stack(columns, 1), axis=1).reshape(-1)[: self.num_videos]


class EvaluationOrder:
    """Videos in the order of the list; shares of several processes are padded to equal sizes.

    Args:
        num_videos, batch_size: as in `TrainingOrder`.
        shard: `(index, count)` of this process, or `None`.
    """

    def __init__(self, num_videos, batch_size, shard=None):
        self.num_videos = num_videos
        self.batch_size = batch_size
        self.shard = shard or (0, 1)

    @property
    def num_samples(self):
        """Videos that each process reads, padding included."""
        return -(-self.num_videos // self.shard[1])

    def epoch(self, number, step=0):
        """Returns what is read from a step on: as `TrainingOrder.epoch`, every epoch alike.

        Padding has indices from `num_videos` on.
        """
        index, count = self.shard
        indices = np.arange(index, self.num_samples * count, count)[step * self.batch_size :]
        return indices, np.stack([np.zeros_like(indices), indices], 1), 0

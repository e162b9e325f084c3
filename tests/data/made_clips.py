"""Clips of videos that are made up as they are read."""

import numpy as np

from keras_nonlocal.data import VideoList, training_clips

VIDEOS = 11


def noise(path, indices, short_side):
    """The frames of a video of noise, other ones for each path."""
    generator = np.random.default_rng(int(path))
    return generator.integers(0, 256, (40, 24, 28, 3), np.uint8)[indices]


MADE = {"decoder": noise, "probe": lambda path: 40}


def videos_of(count=VIDEOS, classes=3):
    """A list of made videos, whose classes take turns."""
    return VideoList(range(count), np.arange(count) % classes, "abcdefgh"[:classes])


def loader_of(count=VIDEOS, **options):
    """A loader of clips to train on."""
    options = {"batch_size": 2, "seed": 5, "scale": (20, 24), **MADE, **options}
    return training_clips(videos_of(count), "4x2", 16, **options)


def batches_of(dataset):
    return [tuple(part.numpy() for part in batch) for batch in dataset]


def assert_equal(actual, expected):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)

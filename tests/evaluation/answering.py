"""Videos and networks of the evaluation room's tests, which decode nothing and are quick."""

import keras
import numpy as np
import tensorflow as tf

from keras_nonlocal.data import VideoList

SHAPE = (2, 4, 4, 3)
CLASSES = ("jump", "run", "sit", "walk", "wave")


def linear(activation="softmax", seed=1):
    """A model whose answers differ from clip to clip."""
    kernel = keras.initializers.RandomNormal(seed=seed)
    dense = keras.layers.Dense(len(CLASSES), activation, kernel_initializer=kernel)
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), dense])


def listed(count=11, seed=0):
    labels = np.random.default_rng(seed).integers(0, len(CLASSES), count)
    return VideoList(tuple(f"{n}.mp4" for n in range(count)), labels, CLASSES)


def clips_of(path, views=6):
    """The views of a video: the same ones each time, other ones for each."""
    seed = int(path.removesuffix(".mp4"))
    return np.random.default_rng(seed).normal(size=(views, *SHAPE)).astype("float32")


class Views:
    """A loader that leaves out unreadable videos, as `data.ClipLoader`, and notes what was read."""

    def __init__(self, videos, batch_size=2, broken=(), read=None, stop_at=None, views=6):
        self.videos, self.batch_size, self.broken = videos, batch_size, broken
        self.read, self.stop_at = [] if read is None else read, stop_at
        self.views, self.errors = views, {}
        self.element_spec = (tf.TensorSpec((None, views, *SHAPE)), tf.TensorSpec((None,), tf.int64))

    def dataset(self):
        return self

    def __iter__(self):
        clips, labels = [], []
        for path, label in zip(self.videos.paths, self.videos.labels, strict=True):
            if path == self.stop_at:
                raise KeyboardInterrupt
            self.read.append(path)
            if path in self.broken:
                self.errors[path] = f"The video {path!r} cannot be read: too short"
                continue
            clips.append(clips_of(path, self.views))
            labels.append(label)
            if len(clips) == self.batch_size:
                yield np.stack(clips), np.array(labels)
                clips, labels = [], []
        if clips:
            yield np.stack(clips), np.array(labels)


def batches(clips, labels):
    return tf.data.Dataset.from_tensor_slices((clips, labels)).batch(3)

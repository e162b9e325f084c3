"""One visit to a video: which frames of it, at which size, with which label."""

import numpy as np
import tensorflow as tf

from keras_nonlocal.data.custom_decoder import CustomVideo
from keras_nonlocal.data.ending import waited_for
from keras_nonlocal.video.open import open_video


class Visits:
    """Reads the clips of one video after another, for the stage of `clip_dataset` that decodes.

    Args:
        videos: a `VideoList`.
        sampler: says which frames make the clips.
        short_sides: smallest and greatest size in pixels to which frames are resized.
        labels_of: "video" or "clip".
        decoder: callable in the place of the decoders that ship, or `None`.
        probe: callable that goes with it, or `None`.
        failures: a `Failures` to tell of videos that cannot be read; `None` lets them raise.
    """

    def __init__(self, videos, sampler, short_sides, labels_of, decoder, probe, failures):
        self._videos = videos
        self._sampler = sampler
        self._short_sides = short_sides
        self._labels_of = labels_of
        self._decoder = decoder
        self._probe = probe
        self._failures = failures

    def read(self, number, seeds):
        """Reads the clips of a video, as an operation of TensorFlow.

        Args:
            number: of the video in the list, scalar int64 tensor.
            seeds: `(seeds, 2)` integers, a tensor: the first for this, the others go on.

        Returns:
            Frames, uint8 `(clips, frames, height, width, 3)`; the label of each clip; the other
            seeds; and whether the video could be read, without which the rest means nothing.
        """
        frames, labels, readable = tf.numpy_function(
            self._read, [number, seeds[0]], [tf.uint8, self._videos.labels.dtype, tf.bool]
        )
        frames.set_shape((self._sampler.clips, self._sampler.frames, None, None, 3))
        labels.set_shape((self._sampler.clips, *self._videos.labels.shape[1:]))
        readable.set_shape(())
        return frames, labels, seeds[1:], readable

    def _read(self, number, seed):
        with waited_for():
            return self._read_clips(number, seed)

    def _read_clips(self, number, seed):
        labels = np.stack([self._videos.labels[number]] * self._sampler.clips)
        try:
            video = self._open(number)
            indices, short_side = self._choose(video, np.random.default_rng(seed))
            if self._labels_of == "clip":
                labels = np.stack([self._label_clip(number, clip, video) for clip in indices])
            frames = video.decode(indices.reshape(-1), short_side)
        except (OSError, ValueError) as error:
            if self._failures is None:
                raise
            self._failures.add(self._videos.paths[number], error)
            nothing = np.zeros((self._sampler.clips, self._sampler.frames, 1, 1, 3), np.uint8)
            return nothing, labels, np.False_
        return frames.reshape(*indices.shape, *frames.shape[1:]), labels, np.True_

    def _open(self, number):
        path = self._videos.paths[number]
        if self._decoder is not None:
            return CustomVideo(path, self._decoder, self._probe)
        expected = self._videos.num_frames
        return open_video(path, 0 if expected is None else int(expected[number]), self._videos.fps)

    def _choose(self, video, generator):
        """Draws which frames, `(clips, frames)`, and the size to which they are resized."""
        low, high = self._short_sides
        info = video.info
        indices = self._sampler(info.frames, info.fps, generator, video.times)
        return indices, int(generator.integers(low, high + 1))

    def _label_clip(self, number, indices, video):
        """The classes of the events that go on between the clip's first and last frame."""
        info = video.info
        if video.times is not None:
            # A frame is shown until the next one is.
            times = np.append(video.times, info.duration)
        elif info.fps:
            times = np.arange(info.frames + 1) / info.fps
        else:
            raise ValueError(
                'labels_of="clip" needs the frames per second of '
                f"{self._videos.paths[number]!r}, which does not say. "
                "Give folders of frames their rate by `VideoList(fps=...)`."
            )
        first, last = times[indices.min()], times[indices.max() + 1]
        label = np.zeros_like(self._videos.labels[number])
        for event, start, end in self._videos.events[number]:
            label[event] = max(label[event], start < last and end > first)
        return label

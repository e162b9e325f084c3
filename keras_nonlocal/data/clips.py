"""Which frames of a video make a clip: `ClipSpec` and its index arithmetic."""

import dataclasses
import re

import numpy as np


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """A clip of `frames` frames, each `stride` frames after the one before.

    The length and the pace of its clips belong to a network as much as its layers do, so the two
    numbers travel together. Frame numbers run past the end of a short video back to its start, as
    the authors' reader lets them: a clip always has `frames` frames.

    Args:
        frames: number of frames in the clip, at least 1.
        stride: distance between neighbouring frames of the clip, in frames of the video.

    Raises:
        ValueError: if either is not a positive integer.

    Example:

    >>> spec = ClipSpec.parse("8x8")
    >>> spec.span
    57
    >>> spec.indices(start=3, num_frames=20)
    array([ 3, 11, 19,  7, 15,  3, 11, 19])

    Reference:
        [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), section 4.1, Training:
        clips of 32 frames, made by dropping every other of 64 consecutive ones.
    """

    frames: int
    stride: int = 1

    def __post_init__(self):
        for name in ("frames", "stride"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}. "
                    "A clip of 8 frames, every second one, is `ClipSpec(8, 2)`."
                )

    @classmethod
    def parse(cls, text):
        """Reads a clip written as the published recipes write it, frames x stride.

        Args:
            text: a string such as `"8x8"` or `"32x2"`; a `ClipSpec` is returned as it is.

        Returns:
            A `ClipSpec`.

        Raises:
            ValueError: if the text has another form.

        Example:

        >>> ClipSpec.parse("32x2")
        ClipSpec(frames=32, stride=2)
        """
        if isinstance(text, cls):
            return text
        match = re.fullmatch(r"(\d+)x(\d+)", text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(
                "A clip must be written as frames x stride. "
                f'Received: {text!r}. Write for example "8x8", or give a `ClipSpec`.'
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self):
        return f"{self.frames}x{self.stride}"

    @property
    def span(self):
        """Frames of the video from the clip's first to its last, both counted."""
        return (self.frames - 1) * self.stride + 1

    def indices(self, start, num_frames):
        """Frame numbers of the clip that begins at `start`, wrapped round in a short video.

        Args:
            start: frame number of the first frame.
            num_frames: frames in the video.

        Returns:
            Integer array of shape `(frames,)`, each in `[0, num_frames)`.
        """
        _check_num_frames(num_frames)
        return (start + np.arange(self.frames) * self.stride) % num_frames

    def random_start(self, num_frames, generator):
        """Draws where a training clip begins, among the places where it fits.

        Args:
            num_frames: frames in the video.
            generator: a `numpy.random.Generator`.

        Returns:
            An integer; 0 for a video shorter than the clip.
        """
        _check_num_frames(num_frames)
        return int(generator.integers(max(num_frames - self.span, 0) + 1))

    def even_starts(self, num_frames, num_clips, wrap=True):
        """Spreads the beginnings of `num_clips` clips evenly over a video, for testing.

        Args:
            num_frames: frames in the video.
            num_clips: clips to take from it.
            wrap: `True` divides the whole video, as the authors do, so that the last clips may
                run over its end to its start. `False` keeps every clip inside the video, the
                first at its start and the last at its end (a single one in the middle): for
                classes that a cut in the middle of a clip would hide.

        Returns:
            Integer array of shape `(num_clips,)`.

        Example:

        >>> ClipSpec(8, 8).even_starts(105, 10)
        array([ 0, 10, 21, 31, 42, 52, 63, 73, 84, 94])
        >>> ClipSpec(8, 8).even_starts(105, 3, wrap=False)
        array([ 0, 24, 48])

        Reference:
            [video-nonlocal-net](https://github.com/facebookresearch/video-nonlocal-net): clip j
            of 10 starts at int(num_frames / 10 * j).
        """
        _check_num_frames(num_frames)
        if num_clips < 1:
            raise ValueError(
                f"`num_clips` must be at least 1. Received: num_clips={num_clips}. "
                "Ask for 1 clip for a quick test, 10 for the published protocol."
            )
        clips = np.arange(num_clips)
        if wrap:
            return num_frames * clips // num_clips
        last = max(num_frames - self.span, 0)
        if num_clips == 1:
            return np.array([last // 2])
        return last * clips // (num_clips - 1)


def _check_num_frames(num_frames):
    if num_frames < 1:
        raise ValueError(
            f"`num_frames` must be at least 1. Received: num_frames={num_frames}. "
            "Leave out videos without frames; `probe_video(path).frames` counts them."
        )

"""`ClipSpec`: the length and the pace of clips."""

import dataclasses
import re

import numpy as np


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """A clip of `frames` frames, each `stride` frames after the one before.

    A network is trained for one length and pace of clips, so the two numbers belong together.
    Samplers choose where in a video clips start: see `RandomClipSampler` and
    `UniformClipSampler`.

    Args:
        frames: frames per clip, at least 1.
        stride: distance between neighboring frames of the clip, in frames of the video.
        target_fps: frames per second in which `stride` is counted. A video of another rate is
            sampled more densely or more sparsely, so that all clips last equally long. `None`
            counts the video's own frames.

    Raises:
        ValueError: if one of them is not positive, or the first two are no integers.

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
    target_fps: float | None = None

    def __post_init__(self):
        for name in ("frames", "stride"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}. "
                    "A clip of 8 frames, every second one, is `ClipSpec(8, 2)`."
                )
        if self.target_fps is not None and not 0 < self.target_fps < float("inf"):
            raise ValueError(
                "`target_fps` must be a positive number of frames per second. "
                f"Received: target_fps={self.target_fps!r}. PySlowFast uses 30; `None` counts "
                "the video's own frames."
            )

    @classmethod
    def parse(cls, text):
        """Parses a clip written as frames x stride, as in the published recipes.

        Args:
            text: a string such as `"8x8"` or `"32x2"`, followed by `"@30"` for a `target_fps`; a
                `ClipSpec` is returned as it is.

        Returns:
            A `ClipSpec`.

        Raises:
            ValueError: if the text has another form.

        Example:

        >>> ClipSpec.parse("32x2")
        ClipSpec(frames=32, stride=2, target_fps=None)
        """
        if isinstance(text, cls):
            return text
        form = r"(\d+)x(\d+)(?:@(\d+(?:\.\d+)?))?"
        match = re.fullmatch(form, text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(
                "A clip must be written as frames x stride. "
                f'Received: {text!r}. Write for example "8x8", or pass a `ClipSpec`.'
            )
        return cls(int(match[1]), int(match[2]), match[3] and float(match[3]))

    def __str__(self):
        pace = f"@{self.target_fps:g}" if self.target_fps else ""
        return f"{self.frames}x{self.stride}{pace}"

    @property
    def span(self):
        """Frames from the clip's first to its last, both counted."""
        return (self.frames - 1) * self.stride + 1

    def indices(self, start, num_frames):
        """Returns the frame indices of the clip at `start`; a short video loops.

        Args:
            start: index of the first frame.
            num_frames: frames in the video.

        Returns:
            Integer array of shape `(frames,)`, each in `[0, num_frames)`.
        """
        check_num_frames(num_frames)
        return (start + np.arange(self.frames) * self.stride) % num_frames

    def frames_at(self, fps):
        """Returns how many frames of a video the clip covers, with the stride after its last frame.

        Args:
            fps: the video's frames per second. Only a `target_fps` needs it.

        Returns:
            A float: `frames * stride`, in proportion to the rates, but at least 1.

        Raises:
            ValueError: if the rate is needed and not known.
        """
        if self.target_fps is None:
            return float(self.frames * self.stride)
        if not fps:
            raise ValueError(
                f"A clip with a `target_fps` ({self}) needs the video's frames per second. "
                "Received: a video of unknown rate. Pass `VideoList(fps=...)` for folders of "
                "frames, or leave `target_fps` out."
            )
        return max(self.stride * self.frames / self.target_fps * fps, 1.0)


def check_num_frames(num_frames):
    """Raises a `ValueError` if a video has no frames."""
    if num_frames < 1:
        raise ValueError(
            f"`num_frames` must be at least 1. Received: num_frames={num_frames}. "
            "Leave out videos without frames; `probe_video(path).frames` counts them."
        )

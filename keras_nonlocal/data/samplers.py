"""Where in a video its clips begin: at random for training, evenly spread for testing.

A sampler is any callable from `(num_frames, fps, generator, times)` to frame numbers of shape
`(clips, frames)`, with these two sizes as attributes; `training_clips` takes one in place of a
`ClipSpec`.
"""

import dataclasses

import numpy as np

from keras_nonlocal.data.clips import ClipSpec, check_num_frames

CONVENTIONS = ("video-nonlocal-net", "mmaction2", "pyslowfast")


@dataclasses.dataclass(frozen=True)
class RandomClips:
    """Clips that begin at random places among those where they fit, for training.

    Args:
        clip: a `ClipSpec`, or a string such as `"8x8"`.
        clips: how many to draw from a video.
        past_end: what a clip that is longer than its video shows after the video's last frame:
            `"wrap"`, the video from its start again, as the authors' reader does, or `"clamp"`,
            the last frame. With a `target_fps` it is always the last frame, as in PySlowFast.

    Raises:
        ValueError: if an argument is none of these.

    Example:

    >>> RandomClips("4x2")(num_frames=9, generator=np.random.default_rng(0))
    array([[2, 4, 6, 8]])
    """

    clip: ClipSpec
    clips: int = 1
    past_end: str = "wrap"

    def __post_init__(self):
        _settle(self, self.past_end)

    @property
    def frames(self):
        """Frames in a clip."""
        return self.clip.frames

    def __call__(self, num_frames, fps=0.0, generator=None, times=None):
        """Draws the clips of one visit to a video.

        Args:
            num_frames: frames in the video.
            fps: its mean frames per second; needed by a `target_fps` alone.
            generator: a `numpy.random.Generator`; `None` makes a new one.
            times: seconds at which each frame is shown, from 0, where the rate varies; with a
                `target_fps` frames are then found by them. `None`: a constant rate.

        Returns:
            int64 array of shape `(clips, frames)`.
        """
        check_num_frames(num_frames)
        generator = np.random.default_rng() if generator is None else generator
        if self.clip.target_fps is None:
            room = max(num_frames - self.clip.span, 0)
            starts = generator.integers(room + 1, size=self.clips)
            return _step(self.clip, starts, num_frames, self.past_end)
        room = max(num_frames - _span_in_time(self.clip, fps), 0)
        starts = generator.uniform(0, room, self.clips)
        return _step_in_time(self.clip, starts, num_frames, fps, times)


@dataclasses.dataclass(frozen=True)
class EvenClips:
    """Clips evenly spread over a video, the same ones each time, for testing.

    Args:
        clip: a `ClipSpec`, or a string such as `"8x8"`.
        clips: how many to take from a video; published accuracies are those of 10.
        convention: whose arithmetic of starts, for a video of n frames, clips that span s frames,
            and clip j of k:

            - `"video-nonlocal-net"`: int(n / k * j). The last clips may run over the end.
            - `"mmaction2"`: round((n - s) / (k - 1) * j), the first at the start and the last at
              the end; (n - s) // 2 for a single one. Every clip stays inside. Clips of one frame
              lie in the middles of k equal parts.
            - `"pyslowfast"`: (n - s') * j / k, with s' = frames * stride * fps / target_fps,
              and `frames` places from there to s' - 1 later, rounded down. Without a
              `target_fps`, the video's own rate is taken.
        past_end: see `RandomClips`; PySlowFast's clips always repeat the last frame.

    Raises:
        ValueError: if an argument is none of these.

    Example:

    >>> EvenClips("8x8", clips=10)(num_frames=105)[:, 0]
    array([ 0, 10, 21, 31, 42, 52, 63, 73, 84, 94])
    >>> EvenClips("8x8", clips=3, convention="mmaction2")(num_frames=105)[:, 0]
    array([ 0, 24, 48])

    Reference:
        [video-nonlocal-net](https://github.com/facebookresearch/video-nonlocal-net),
        [MMAction2](https://github.com/open-mmlab/mmaction2) `SampleFrames` in test mode,
        [PySlowFast](https://github.com/facebookresearch/SlowFast) `datasets/decoder.py`.
    """

    clip: ClipSpec
    clips: int = 1
    convention: str = "video-nonlocal-net"
    past_end: str = "wrap"

    def __post_init__(self):
        _settle(self, self.past_end)
        if self.convention not in CONVENTIONS:
            raise ValueError(
                f"`convention` must be one of {', '.join(map(repr, CONVENTIONS))}. "
                f"Received: convention={self.convention!r}. Take that of the network's source."
            )
        if self.clip.target_fps is not None and self.convention != "pyslowfast":
            raise ValueError(
                f"`target_fps` goes with convention='pyslowfast'. Received: clip={self.clip}, "
                f"convention={self.convention!r}. Leave one of them out."
            )

    @property
    def frames(self):
        """Frames in a clip."""
        return self.clip.frames

    def __call__(self, num_frames, fps=0.0, generator=None, times=None):
        """Gives the clips of a video.

        Args:
            num_frames: frames in the video.
            fps: its mean frames per second; needed by a `target_fps` alone.
            generator: not used; nothing is drawn.
            times: see `RandomClips`.

        Returns:
            int64 array of shape `(clips, frames)`.
        """
        check_num_frames(num_frames)
        numbers = np.arange(self.clips)
        if self.convention == "pyslowfast":
            room = max(num_frames - _span_in_time(self.clip, fps), 0)
            starts = room * numbers / self.clips
            return _step_in_time(self.clip, starts, num_frames, fps, times)
        if self.convention == "mmaction2" and self.frames == 1:
            starts = (2 * numbers + 1) * num_frames // (2 * self.clips)
        elif self.convention == "video-nonlocal-net":
            starts = num_frames * numbers // self.clips
        else:
            room = max(num_frames - self.clip.span, 0)
            # NumPy rounds halves to even, and so does MMAction2.
            starts = (
                np.round(numbers * (room / (self.clips - 1))) if self.clips > 1 else [room // 2]
            )
        return _step(self.clip, np.asarray(starts, np.int64), num_frames, self.past_end)


@dataclasses.dataclass(frozen=True)
class Segments:
    """One frame out of each of `frames` equal parts of the video, so that a clip spans all of it.

    Args:
        frames: frames in a clip, and parts of the video.
        clips: how many clips to draw; 1 without `random`, which gives the same one each time.
        random: whether to draw the frame of each part, for training, or to take its middle.

    Raises:
        ValueError: if an argument is none of these.

    Example:

    >>> Segments(4)(num_frames=10)
    array([[1, 3, 6, 8]])

    Reference:
        [Temporal Segment Networks](https://arxiv.org/abs/1608.00859), section 3.1.
    """

    frames: int
    clips: int = 1
    random: bool = False

    def __post_init__(self):
        ClipSpec(self.frames)
        _check_clips(self.clips)
        if self.clips > 1 and not self.random:
            raise ValueError(
                "`clips` must be 1 for the middles of the segments, which are the same each time. "
                f"Received: clips={self.clips}. Set `random=True`, or leave it out."
            )

    def __call__(self, num_frames, fps=0.0, generator=None, times=None):
        """Gives the clips of one visit to a video; one shorter than `frames` repeats frames.

        Args:
            num_frames: frames in the video.
            fps: not used.
            generator: a `numpy.random.Generator`, with `random`; `None` makes a new one.
            times: not used.

        Returns:
            int64 array of shape `(clips, frames)`.
        """
        check_num_frames(num_frames)
        parts = np.arange(self.frames)
        if not self.random:
            # The middle of part i, ((i + 1/2) n / frames), without the rounding of floats.
            return ((2 * parts + 1) * num_frames // (2 * self.frames))[None]
        generator = np.random.default_rng() if generator is None else generator
        first = num_frames * parts // self.frames
        after = np.maximum(num_frames * (parts + 1) // self.frames, first + 1)
        return generator.integers(first, after, size=(self.clips, self.frames))


def _step(clip, starts, num_frames, past_end):
    indices = starts[:, None] + np.arange(clip.frames) * clip.stride
    return indices % num_frames if past_end == "wrap" else np.minimum(indices, num_frames - 1)


def _span_in_time(clip, fps):
    """Frames of a video of this rate that the clip lasts, a fraction."""
    if clip.target_fps is None:
        return float(clip.frames * clip.stride)
    if not fps:
        raise ValueError(
            f"A clip with a `target_fps` ({clip}) needs the video's frames per second. Received: "
            "a video that does not say. Give a folder of frames its rate by `VideoList(fps=...)`, "
            "or leave `target_fps` out."
        )
    return clip.frames * clip.stride * fps / clip.target_fps


def _step_in_time(clip, starts, num_frames, fps, times):
    last = starts + _span_in_time(clip, fps) - 1
    places = np.linspace(starts, last, clip.frames, axis=1)
    if times is not None and clip.target_fps is not None:
        # The frame on show at that time; half a tick of a millionth forgives rounding.
        places = np.searchsorted(times, places / fps + 5e-7, side="right") - 1
    return np.clip(places, 0, num_frames - 1).astype(np.int64)


def _settle(sampler, past_end):
    # The one way to set a field of a frozen dataclass.
    object.__setattr__(sampler, "clip", ClipSpec.parse(sampler.clip))
    _check_clips(sampler.clips)
    if past_end not in ("wrap", "clamp"):
        raise ValueError(
            "`past_end` must be 'wrap' (the video from its start again) or 'clamp' (its last "
            f"frame). Received: past_end={past_end!r}. The authors wrap."
        )


def _check_clips(clips):
    if isinstance(clips, bool) or not isinstance(clips, (int, np.integer)) or clips < 1:
        raise ValueError(
            f"`clips` must be a positive integer. Received: clips={clips!r}. "
            "Ask for 1 clip for a quick test, 10 for the published protocol."
        )

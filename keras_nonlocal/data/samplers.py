"""Samplers: which frames of a video make a clip.

A sampler is a callable from `(num_frames, fps, generator, times)` to frame indices of shape
`(clips, frames)`, with these two sizes as attributes. Loaders take one in place of a `ClipSpec`.
"""

import dataclasses

import numpy as np

from keras_nonlocal.data.clips import ClipSpec, check_num_frames

SOURCES = ("video-nonlocal-net", "mmaction2", "pyslowfast", "tf-models-official")


@dataclasses.dataclass(frozen=True)
class _ClipSampler:
    clip: ClipSpec
    clips: int = 1
    source: str | None = None
    out_of_bound: str = "loop"

    def __post_init__(self):
        clip = ClipSpec.parse(self.clip)
        # The one way to set a field of a frozen dataclass.
        object.__setattr__(self, "clip", clip)
        _check_clips(self.clips)
        if self.source is None:
            source = "video-nonlocal-net" if clip.target_fps is None else "pyslowfast"
            object.__setattr__(self, "source", source)
        if self.source not in SOURCES:
            raise ValueError(
                f"`source` must be one of {', '.join(map(repr, SOURCES))}. "
                f"Received: source={self.source!r}. Use that of the model's weights."
            )
        if clip.target_fps is not None and self.source != "pyslowfast":
            raise ValueError(
                f"`target_fps` needs source='pyslowfast'. Received: clip={clip}, "
                f"source={self.source!r}. Leave one of them out."
            )
        if self.out_of_bound not in ("loop", "repeat_last"):
            raise ValueError(
                "`out_of_bound` must be 'loop' or 'repeat_last'. "
                f"Received: out_of_bound={self.out_of_bound!r}. The authors loop."
            )

    @property
    def frames(self):
        """Frames per clip."""
        return self.clip.frames

    def __call__(self, num_frames, fps=0.0, generator=None, times=None):
        """Returns the frames of the clips of one video.

        Args:
            num_frames: frames in the video.
            fps: its mean frames per second. Only a clip with a `target_fps` needs it.
            generator: a `numpy.random.Generator` for the random starts. `None`: a new one.
            times: seconds at which each frame is shown, from 0, where the rate varies. A clip with
                a `target_fps` finds its frames by them. `None`: a constant rate.

        Returns:
            int64 array of shape `(clips, frames)`.
        """
        check_num_frames(num_frames)
        if self.source == "pyslowfast":
            span = self.clip.frames_at(fps)
            starts = self._starts(num_frames, max(num_frames - span, 0), generator)
            places = _linspace(starts, starts + span - 1, self.frames)
            if times is not None and self.clip.target_fps is not None:
                # The frame shown at that time; half a microsecond allows for rounding.
                places = np.searchsorted(times, places / fps + 5e-7, side="right") - 1
            return np.clip(places, 0, num_frames - 1).astype(np.int64)
        starts = self._starts(num_frames, None, generator)
        indices = np.asarray(starts, np.int64)[:, None] + np.arange(self.frames) * self.clip.stride
        if self.out_of_bound == "loop":
            return indices % num_frames
        inside = np.where(indices < num_frames, indices, 0)
        return np.maximum.accumulate(inside, axis=1)


class RandomClipSampler(_ClipSampler):
    """Clips with random starts, for training.

    Args:
        clip: a `ClipSpec`, or a string such as `"8x8"`.
        clips: clips per video.
        source: the implementation whose starts are drawn, from a video of n frames:

            - `"video-nonlocal-net"` (default): 0 to n - frames * stride.
            - `"mmaction2"`: the same for a single clip. Several clips are drawn from equal parts
              of that range.
            - `"pyslowfast"` (default with a `target_fps`): as the first, fractions included, and
              frames are placed as `UniformClipSampler` places them.
            - `"tf-models-official"`: 0 to n - ((frames - 1) * stride + 1), all that fit.

            A video that is shorter starts at 0.
        out_of_bound: what a clip shows after the video's last frame. `"loop"`: the video from its
            start, as the authors do. `"repeat_last"`: the clip's last frame inside the video, as
            MMAction2's option of this name. Clips of `"pyslowfast"` repeat the video's last frame.

    Raises:
        ValueError: if an argument is none of these.

    Example:

    >>> RandomClipSampler("4x2")(num_frames=11, generator=np.random.default_rng(0))
    array([[3, 5, 7, 9]])

    Reference:
        [video-nonlocal-net](https://github.com/facebookresearch/video-nonlocal-net)
        `customized_video_io.cc`,
        [MMAction2](https://github.com/open-mmlab/mmaction2) `SampleFrames`,
        [PySlowFast](https://github.com/facebookresearch/SlowFast) `datasets/decoder.py`,
        [TensorFlow Models](https://github.com/tensorflow/models) `vision/dataloaders`.
    """

    def _starts(self, num_frames, room, generator):
        generator = np.random.default_rng() if generator is None else generator
        if room is not None:
            return generator.uniform(0, room, self.clips)
        clip, clips = self.clip, self.clips
        span = clip.span if self.source == "tf-models-official" else clip.frames * clip.stride
        starts = max(num_frames - span, 0) + 1
        if self.source != "mmaction2" or clips == 1 or num_frames < span:
            return generator.integers(starts, size=clips)
        if starts >= clips:
            part = starts // clips
            return np.arange(clips) * part + generator.integers(part, size=clips)
        if num_frames > max(clips, span):
            return np.sort(generator.integers(starts, size=clips))
        return np.round(np.arange(clips) * (starts / clips))


class UniformClipSampler(_ClipSampler):
    """Clips evenly spread over a video, for testing.

    Args:
        clip: a `ClipSpec`, or a string such as `"8x8"`.
        clips: clips per video. Published accuracies are those of 10.
        source: the implementation whose starts are used. For a video of n frames, clips that span
            s = (frames - 1) * stride + 1 frames, and clip j of k:

            - `"video-nonlocal-net"` (default): int(n / k * j). The last clips may pass the end.
            - `"mmaction2"`: round((n - s) / (k - 1) * j), from the start to the end;
              (n - s) // 2 for a single one. Clips of one frame are the middles of k equal parts.
            - `"pyslowfast"` (default with a `target_fps`): (n - s') * j / k, with s' = frames *
              stride / target_fps * fps, and `frames` places from there to s' - 1 later, rounded
              down. Without a `target_fps`, the video's own rate is used.
            - `"tf-models-official"`: int((n - s") / (k - 1) * j) with s" = frames * stride;
              (n - s") // 2 for a single one.
        out_of_bound: see `RandomClipSampler`.

    Raises:
        ValueError: if an argument is none of these.

    Example:

    >>> UniformClipSampler("8x8", clips=10)(num_frames=105)[:, 0]
    array([ 0, 10, 21, 31, 42, 52, 63, 73, 84, 94])
    >>> UniformClipSampler("8x8", clips=3, source="mmaction2")(num_frames=105)[:, 0]
    array([ 0, 24, 48])

    Reference:
        See `RandomClipSampler`.
    """

    def _starts(self, num_frames, room, generator):
        index, clips = np.arange(self.clips), self.clips
        if room is not None:
            return room * index / clips
        if self.source == "video-nonlocal-net":
            return num_frames * index // clips
        if self.source == "mmaction2" and self.frames == 1:
            return (2 * index + 1) * num_frames // (2 * clips)
        theirs = self.source == "mmaction2"
        room = max(num_frames - (self.clip.span if theirs else self.frames * self.clip.stride), 0)
        if clips == 1:
            return [room // 2]
        if theirs:
            # NumPy rounds halves to even, and so does MMAction2.
            return np.round(index * (room / (clips - 1)))
        return room * index // (clips - 1)


@dataclasses.dataclass(frozen=True)
class TSNSampler:
    """One frame from each of `frames` equal parts of the video, so that a clip spans all of it.

    Args:
        frames: frames per clip, and parts of the video.
        clips: clips per video; 1 without `random`.
        random: whether to draw the frame of each part, for training, or to use its middle.

    Raises:
        ValueError: if an argument is none of these.

    Example:

    >>> TSNSampler(4)(num_frames=10)
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
                "`clips` must be 1 for the middles of the parts, which do not vary. "
                f"Received: clips={self.clips}. Set `random=True`, or leave it out."
            )

    def __call__(self, num_frames, fps=0.0, generator=None, times=None):
        """Returns the frames of the clips of one video; a short video repeats frames.

        Args:
            num_frames: frames in the video.
            fps: not used.
            generator: a `numpy.random.Generator`, with `random`. `None`: a new one.
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
        end = np.maximum(num_frames * (parts + 1) // self.frames, first + 1)
        return generator.integers(first, end, size=(self.clips, self.frames))


def _linspace(starts, ends, steps):
    """`torch.linspace` of float32, to the bit: from both ends to the middle, rounded once."""
    starts, ends = np.float32(starts)[:, None], np.float32(ends)[:, None]
    if steps == 1:
        return starts
    step = np.float64((ends - starts) / np.float32(steps - 1))
    index = np.arange(steps)
    places = np.where(index < steps // 2, starts + step * index, ends - step * (steps - 1 - index))
    return places.astype(np.float32)


def _check_clips(clips):
    if isinstance(clips, bool) or not isinstance(clips, (int, np.integer)) or clips < 1:
        raise ValueError(
            f"`clips` must be a positive integer. Received: clips={clips!r}. "
            "Use 1 for a quick test, 10 for the published protocol."
        )

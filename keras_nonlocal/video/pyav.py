"""Video files to frames, exactly: each frame is the one that decoding the whole file would give."""

import contextlib
import itertools
import math
import os

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from keras_nonlocal.video.containers import broken_video, open_stream
from keras_nonlocal.video.index import index_video, rate_varies
from keras_nonlocal.video.info import VideoInfo, check_indices, check_range, check_short_side


class VideoFile:
    """A video file, of which chosen frames are decoded, or all of them in turn.

    Frame `i` is the frame that decoding the whole file would give as its i-th. Decoding begins at
    the key frame before it and goes by time stamps, so that B-frames and variable frame rates
    change nothing. A rotation noted in the file (a phone held upright) is applied; pixels are
    taken to be square; of several video streams the first counts.

    A damaged frame is an error, and so are the frames that refer to it: a decoder would paint it
    over, and a network would learn the paint. What reads as other valid pixels, as a single
    flipped bit may, no decoder can tell. Matroska files have checksums, which are checked; mp4,
    AVI and WebM files have none.

    Making one opens nothing, and what its methods open they close. Several threads may call them;
    a call works in one thread, and lets go of Python's lock while it decodes.

    Args:
        path: path of the file.

    Example:

    ```python
    video = VideoFile("video.mp4")
    video.info.frames  # 300
    video.decode([0, 8, 16], short_side=128).shape  # (3, 128, 170, 3) of a 340x256 video
    ```
    """

    def __init__(self, path):
        self.path = os.fsdecode(path)

    @property
    def info(self):
        """The `VideoInfo`, which is remembered for as long as the file stays as it is.

        Raises:
            FileNotFoundError: if there is no such file.
            PermissionError: if this user must not read it.
            ValueError: if it is no video, holds no video stream, is truncated or damaged.
        """
        index = index_video(self.path)
        height, width, aspect = index.height, index.width, index.pixel_aspect
        if index.quarter_turns % 2:
            height, width, aspect = width, height, 1 / aspect
        return VideoInfo(
            index.frames, index.fps, height, width, index.codec, index.duration, aspect
        )

    @property
    def times(self):
        """Seconds at which each frame is shown, from 0 on, float64; `None` at a constant rate.

        `None` too where a file has no time stamps to go by, such as AVI.
        """
        index = index_video(self.path)
        if not rate_varies(index.times):
            return None
        return (index.times - index.times[0]) * index.tick

    def decode(self, indices, short_side=None):
        """Decodes chosen frames, and no more of the file than they need.

        Args:
            indices: frame numbers, in any order, repeats allowed; each frame is decoded once.
            short_side: height or width in pixels, whichever is smaller, to which the frames are
                resized while they are converted to RGB (bilinear); `None` keeps their size. Where
                that changes within a file, all are resized to the size of its first frame.

        Returns:
            A `uint8` array of shape `(len(indices), height, width, 3)`, RGB.

        Raises:
            FileNotFoundError: if there is no such file.
            PermissionError: if this user must not read it.
            IndexError: if an index lies outside the video.
            ValueError: if `indices` or `short_side` is unusable, or if the file is no video, holds
                no video stream, is truncated, or damaged where these frames need it.
        """
        indices = check_indices(indices, short_side)
        index = index_video(self.path)
        check_range(indices, index.frames, self.path)
        wanted, places = np.unique(indices, return_inverse=True)
        convert, frames = _Converter(index, short_side), None
        with contextlib.closing(_read(self.path, index, wanted.tolist())) as decoded:
            for place, frame in enumerate(decoded):
                picture = convert(frame)
                if frames is None:
                    frames = empty_pictures((len(wanted), *picture.shape))
                frames[place] = picture
        # Most clips want each frame once and in order; spare them a copy.
        return frames if np.array_equal(wanted, indices) else frames[places]

    def iterate(self, short_side=None):
        """Decodes all frames in their order, one in memory at a time.

        Args:
            short_side: as `decode` takes it; the frames are the same.

        Yields:
            A `uint8` array of shape `(height, width, 3)` for each frame.

        Raises:
            ValueError: and the other errors of `decode`; that of damage when it is reached.
        """
        check_short_side(short_side)
        index = index_video(self.path)
        convert = _Converter(index, short_side)
        with contextlib.closing(_read(self.path, index, range(index.frames))) as decoded:
            for frame in decoded:
                yield convert(frame).copy()


def resize_frames(frames, short_side):
    """Resizes frames as decoding does (bilinear), so that pixels do not tell where they came from.

    Args:
        frames: `uint8` array of shape `(frames, height, width, 3)`.
        short_side: height or width in pixels, whichever is smaller; `None` keeps the size.

    Returns:
        A `uint8` array; `frames` itself where the size fits.
    """
    height, width = resized_shape(*frames.shape[1:3], short_side)
    if (height, width) == frames.shape[1:3]:
        return frames
    resized = empty_pictures((len(frames), height, width, 3))
    reformatter = VideoReformatter()
    for picture, frame in zip(resized, frames, strict=True):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture[:] = to_rgb(reformatter, frame, height, width)
    return resized


def empty_pictures(shape):
    """Makes a uint8 array that TensorFlow takes over as it lies, at a multiple of 64 bytes.

    It copies whatever lies elsewhere, which takes as long as decoding a frame or two.
    """
    size = math.prod(shape)
    memory = np.empty(size + 63, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].reshape(shape)


def _read(path, index, wanted):
    """Yields the `wanted` frames (ascending numbers), skipping from key frame to key frame."""
    with open_stream(path, strict=not index.is_cut) as video:
        frames, upcoming = None, 0  # `upcoming` is the number of the frame that `frames` has next
        for number in wanted:
            key = int(index.keys[np.searchsorted(index.keys, number, side="right") - 1])
            if frames is None or key > upcoming:
                frames, upcoming = _read_from(video, index, key), key
            yield next(itertools.islice(frames, number - upcoming, None))
            upcoming = number + 1


def _read_from(video, index, key):
    """Yields the frames from key frame number `key` on."""
    upcoming = key
    try:
        for frame in _read_gapless(video, index, key):
            yield frame
            upcoming += 1
    except ValueError:
        # Not every key frame stands alone: h264 may drop references that only lie before it, or
        # refresh the picture piece by piece. The beginning of the file does stand alone.
        if key == 0:
            raise
        yield from itertools.islice(_read_gapless(video, index, 0), upcoming, None)


def _read_gapless(video, index, key):
    """Yields the frames from number `key` on, and raises where one is damaged or missing."""
    number = key
    for frame in video.decode(None if index.times is None else int(index.times[key])):
        if index.times is not None and frame.pts != index.times[number]:
            break
        yield frame
        number += 1
    raise broken_video(video.path, f"it is damaged, frame {number} is missing")


class _Converter:
    """Makes RGB pictures of frames, all of one size and upright.

    The pictures are views of memory that belongs to them."""

    def __init__(self, index, short_side):
        self._size = resized_shape(index.height, index.width, short_side)
        self._turns = index.quarter_turns
        self._reformatter = VideoReformatter()

    def __call__(self, frame):
        picture = to_rgb(self._reformatter, frame, *self._size)
        return np.rot90(picture, self._turns) if self._turns else picture


def resized_shape(height, width, short_side):
    """The height and width that a frame has after resizing to a short side, `None` for none."""
    scale = 1 if short_side is None else short_side / min(height, width)
    return round(height * scale), round(width * scale)


def to_rgb(reformatter, frame, height, width):
    """Resizes a frame and converts it to RGB in one go; a view of what was made."""
    # Without `threads` swscale would start one a core for every frame.
    frame = reformatter.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", threads=1)
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
    return rows[:, : 3 * width].reshape(height, width, 3)

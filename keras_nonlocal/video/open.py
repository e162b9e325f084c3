"""Opens whatever holds the frames of a video: a video file, a folder of pictures, or a record."""

import contextlib
import dataclasses
import functools
import itertools
import os
import re

import numpy as np

from keras_nonlocal.video.index import NO_STAMP, index_video
from keras_nonlocal.video.info import VideoInfo, check_indices, check_range, check_short_side
from keras_nonlocal.video.pyav import (
    Converter,
    damaged_video,
    empty_pictures,
    open_stream,
    source_name,
)


def open_video(path, num_frames=0, fps=None, strict=True):
    """Returns the reader of a video. Nothing is read before it is used.

    Args:
        path: path or fsspec URL (`"gs://..."`, `"https://..."`) of a video file, a binary file
            object that holds one, path of a folder of pictures, or the address of a record,
            `"FILE@OFFSET"`.
        num_frames: number of frames to use of a folder; 0 uses all.
        fps: frames per second of a folder; `None`: unknown.
        strict: whether a damaged video file is an error. `False` decodes it as FFmpeg does, which
            conceals damage and leaves frames out. Folders and records are always strict.

    Returns:
        A `VideoFile`, a `FrameFolder` or a `Record`, which have in common the properties
        `info` and `times` (seconds at which frames are shown where their rate varies, or
        `None`), and the methods `decode(indices, short_side=None)` and `iterate(short_side=None)`.
    """
    if hasattr(path, "read"):
        return VideoFile(path, strict)
    path = os.fsdecode(path)
    if os.path.isdir(path):
        from keras_nonlocal.video.images import FrameFolder

        return FrameFolder(path, num_frames, fps)
    # A file may well have such a name itself.
    if re.search(r"@\d+$", path) and not os.path.exists(path):
        from keras_nonlocal.video.records import Record

        return Record(path)
    return VideoFile(path, strict)


def probe_video(path, strict=True):
    """Returns the number of frames of a video, their rate, their size, and more.

    Frames are counted, not taken from the header, which many files leave empty. Where a packet need
    not be a frame, as in AVI files, the file is decoded once. What was found is kept on disk for as
    long as the file stays as it is.

    Args:
        path: as `open_video` takes it.
        strict: likewise.

    Returns:
        A `VideoInfo`.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        PermissionError: if it cannot be read.
        ValueError: if it is no video, holds no video stream, is truncated or damaged.
    """
    return open_video(path, strict=strict).info


def decode_frames(path, indices, short_side=None, strict=True):
    """Decodes chosen frames of a video, and no more of it than they need.

    Frame `i` is the frame that decoding the whole file would give as its i-th: decoding begins at
    the key frame before it and goes by time stamps, so that B-frames and variable frame rates
    change nothing. The rotation and mirroring that a file notes (a phone held upright) are applied.
    A call works in one thread, and PyAV releases Python's lock: for more speed, call it from
    several.

    Args:
        path: as `open_video` takes it.
        indices: frame numbers, in any order, repeats allowed.
        short_side: height or width in pixels, whichever is smaller, to which the frames are
            resized while they are converted to RGB (bilinear); `None` keeps their size.
        strict: as `open_video` takes it.

    Returns:
        A `uint8` array of shape `(len(indices), height, width, 3)`, RGB.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        PermissionError: if it cannot be read.
        IndexError: if an index lies outside the video.
        ValueError: if `indices` or `short_side` is unusable, or if the video cannot be read: it is
            no video, holds no video stream, is truncated, or damaged where these frames need it.

    Example:

    ```python
    decode_frames("video.mp4", [0, 8, 16], short_side=128).shape  # (3, 128, 170, 3) of a 340x256
    ```
    """
    return open_video(path, strict=strict).decode(indices, short_side)


class VideoFile:
    """A video file, of which chosen frames are decoded, or all of them in turn.

    Frames are those of decoding the whole file with FFmpeg. The rotation and mirroring that a file
    notes are applied. Pixels that are not square are not stretched. Of several video streams the
    first counts.

    If `strict`, a damaged frame is an error, and so are the frames that refer to it. What reads as
    other valid pixels, as a single flipped bit may, no decoder can tell. Matroska files have
    checksums, which are checked; mp4, AVI and WebM files have none.

    The file is opened by each call and closed at its end. Several threads may share a `VideoFile`,
    unless it is one of a file object.

    Args:
        path: path or fsspec URL of the file, or a binary file object.
        strict: whether damage is an error. FFmpeg conceals it otherwise.

    Example:

    ```python
    video = VideoFile("video.mp4")
    video.info.frames  # 300
    video.decode([0, 8, 16], short_side=128).shape  # (3, 128, 170, 3) of a 340x256 video
    ```
    """

    def __init__(self, path, strict=True):
        self._source = path if hasattr(path, "read") else os.fsdecode(path)
        self._strict = strict

    @property
    def path(self):
        """The path of the file, or what its file object is called."""
        return source_name(self._source)

    @functools.cached_property
    def _index(self):
        return index_video(self._source, self._strict)

    @property
    def info(self):
        """The `VideoInfo`; errors are those of `probe_video`."""
        index = self._index
        height, width, aspect = index.height, index.width, index.pixel_aspect
        if index.orientation[0]:
            height, width, aspect = width, height, 1 / aspect
        return VideoInfo(
            index.frames, index.fps, height, width, index.codec, index.duration, aspect
        )

    @property
    def times(self):
        """Seconds at which each frame is shown, from 0 on, float64; `None` at a constant rate.

        `None` too where a file has no time stamps to go by, such as AVI.
        """
        index = self._index
        if not index.rate_varies:
            return None
        return (index.stamps - index.stamps[0]) * index.time_base

    def decode(self, indices, short_side=None):
        """Decodes chosen frames; arguments, result and errors are those of `decode_frames`.

        Where the size changes within a file, all frames are resized to that of the first.
        """
        indices = check_indices(indices, short_side)
        wanted, places = np.unique(indices, return_inverse=True)
        try:
            frames = self._decode(wanted, short_side)
        except ValueError:
            if not self._count_frames():
                raise
            frames = self._decode(wanted, short_side)
        # Most clips want each frame once and in order; spare them a copy.
        return frames if np.array_equal(wanted, indices) else frames[places]

    def _decode(self, wanted, short_side):
        check_range(wanted, self._index.frames, self.path)
        convert, frames = self._converter(short_side), None
        with contextlib.closing(self._read(self._index, wanted.tolist())) as decoded:
            for place, frame in enumerate(decoded):
                picture = convert(frame)
                if frames is None:
                    frames = empty_pictures((len(wanted), *picture.shape))
                frames[place] = picture
        return frames

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
        index, number = self._index, 0
        try:
            for number, frame in self._pictures(0, short_side):
                yield frame
                number += 1
        except ValueError:
            same = self._count_frames() and np.array_equal(
                self._index.stamps[:number], index.stamps[:number]
            )
            if not same:
                raise
            for _, frame in self._pictures(number, short_side):
                yield frame

    def _pictures(self, start, short_side):
        convert = self._converter(short_side)
        numbers = range(start, self._index.frames)
        with contextlib.closing(self._read(self._index, numbers)) as decoded:
            for number, frame in zip(numbers, decoded, strict=True):
                yield number, convert(frame).copy()

    def _converter(self, short_side):
        index = self._index
        return Converter(index.height, index.width, index.orientation, short_side)

    def _count_frames(self):
        """Decodes a file of which packets were counted; returns whether it was one.

        Raises:
            ValueError: if it is damaged.
        """
        if not self._index.by_packets:
            return False
        self._index = index_video(self._source, self._strict, by_packets=False)
        return True

    def _read(self, index, wanted):
        """Yields the `wanted` frames (ascending numbers), skipping from key frame to key frame."""
        done = 0
        try:
            with open_stream(self._source, self._strict, index.is_cut, index.decoder) as video:
                frames, upcoming = None, 0  # the number of the frame that `frames` has next
                for number in wanted:
                    key = int(index.keys[np.searchsorted(index.keys, number, side="right") - 1])
                    if frames is None or key > upcoming:
                        frames, upcoming = self._read_from(video, index, key), key
                    yield next(itertools.islice(frames, number - upcoming, None))
                    upcoming = number + 1
                    done += 1
        except ValueError:
            # Not every key frame stands alone: h264 may drop references that only lie before it,
            # or refresh the picture piece by piece. The beginning of the file does stand alone.
            if len(index.keys) == 1:
                raise
            index = dataclasses.replace(index, keys=index.keys[:1])
            yield from self._read(index, wanted[done:])

    def _read_from(self, video, index, key):
        """Yields the frames from number `key` on, and raises where one is damaged or missing."""
        is_early = None
        if key:
            # A file that was just opened needs no seeking to its beginning.
            video.container.seek(int(index.stamps[key]), stream=video.stream)
            video.decoder.flush_buffers()
            is_early = functools.partial(_is_early, index, key)
        number = key
        for frame in video.decode(video.packets(), self._strict, index.is_cut, is_early):
            if number == key > 0 and not (frame.key_frame or index.decoder):
                break
            stamp = NO_STAMP if frame.pts is None else frame.pts
            if number >= index.frames or index.stamps[number] != stamp:
                break
            yield frame
            number += 1
        raise damaged_video(video.name, number)


def _is_early(index, key, given):
    """Whether a packet or frame comes before a key frame. Unknown frames may."""
    return given.pts is None or index.number(given.pts) < key

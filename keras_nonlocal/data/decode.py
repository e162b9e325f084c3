"""Video files to frames, exactly. The only file of the package that knows a decoder (PyAV)."""

import contextlib
import dataclasses
import functools
import os

import av
import numpy as np
from av.video.reformatter import VideoReformatter


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What `probe_video` tells about a file.

    Args:
        frames: number of frames.
        fps: mean frames per second; 0 where the file does not say.
        height: height of a frame in pixels, as shown (rotation applied).
        width: width of a frame in pixels, as shown.
        codec: name of the codec, such as `"h264"`.
    """

    frames: int
    fps: float
    height: int
    width: int
    codec: str


def probe_video(path):
    """Tells how many frames a video has, its rate and its size, and decodes one frame at most.

    The frames are counted by their packets, not taken from the header, which many files leave
    empty. Only AVI files, which store no presentation times, are decoded once to be counted.
    The answer is kept for as long as the file stays as it is.

    Args:
        path: path of the file.

    Returns:
        A `VideoInfo`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no video, holds no video stream, or is truncated.
    """
    return _index(path).info


def decode_frames(path, indices, short_side=None):
    """Decodes chosen frames of a video, and no more of it than they need.

    Frame `i` is the frame that decoding the whole file would give as its i-th: decoding begins
    at the key frame before it and goes by time stamps, so that B-frames and variable frame rates
    change nothing. A rotation noted in the file (a phone held upright) is applied. A call works
    in one thread, and PyAV lets go of Python's lock: for more speed, call it from several.

    Args:
        path: path of the file.
        indices: frame numbers, in any order, repeats allowed.
        short_side: height or width in pixels, whichever is smaller, to which the frames are
            resized while they are converted to RGB (bilinear); `None` keeps their size.

    Returns:
        A `uint8` array of shape `(len(indices), height, width, 3)`, RGB.

    Raises:
        FileNotFoundError: if there is no such file.
        IndexError: if an index lies outside the video.
        ValueError: if `indices` or `short_side` is unusable, or if the file is no video, holds no
            video stream, or is truncated.

    Example:

    ```python
    decode_frames("video.mp4", [0, 8, 16], short_side=128).shape  # (3, 128, 170, 3) of a 340x256
    ```
    """
    indices = np.asarray(indices, dtype=np.int64).reshape(-1)
    if not indices.size:
        raise ValueError(
            "`indices` must name at least one frame. Received: an empty sequence. "
            "Give frame numbers such as [0, 8, 16]."
        )
    if short_side is not None and short_side < 1:
        raise ValueError(
            f"`short_side` must be a positive number of pixels. Received: short_side={short_side}. "
            "Give `None` to keep the frames' size."
        )
    index = _index(path)
    outside = indices[(indices < 0) | (indices >= index.info.frames)]
    if outside.size:
        raise IndexError(
            f"`indices` must lie in [0, {index.info.frames}), the frames of {os.fspath(path)!r}. "
            f"Received: {outside[0]}. `ClipSpec.indices` wraps them round."
        )
    wanted, places = np.unique(indices, return_inverse=True)
    with _open(path) as (container, stream):
        pick = _pick_by_count if index.times is None else _pick_by_time
        frames = list(pick(path, container, stream, index, wanted.tolist()))
    return _to_rgb(frames, short_side)[places]


@dataclasses.dataclass(frozen=True)
class _Index:
    """Where a file's frames are: `times[i]` is the time stamp of frame i, `keys` the ascending
    numbers of the frames at which decoding can begin. `times` is None where the file has no time
    stamps to go by, and can only be decoded from its beginning."""

    info: VideoInfo
    times: np.ndarray | None
    keys: np.ndarray


def _index(path):
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no video file {os.fspath(path)!r}. Give the path of an existing file."
        ) from None
    return _make_index(os.fspath(path), status.st_mtime_ns, status.st_size)


# Making an index costs a fifth of decoding a clip, and a training visits a file once an epoch.
# 4096 of them for ten-second videos are 10 MB.
@functools.lru_cache(maxsize=4096)
def _make_index(path, _modified, _size):
    with _open(path) as (container, stream):
        # The empty packet at the end only flushes the decoder.
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
        _check_complete(path, container, stream, packets)
        # Packets marked for discard lie outside the part that an edit list leaves visible.
        packets = [packet for packet in packets if packet.size and not packet.is_discard]
        times = np.array(sorted(packet.pts for packet in packets if packet.pts is not None))
        keys = np.array(sorted(packet.pts for packet in packets if packet.is_keyframe), dtype=float)
        # AVI stores no presentation times, and those that are guessed for it come out unordered.
        timed = "avi" not in container.format.name and len(set(times)) == len(packets) > 0
        timed = timed and keys.size and keys[0] == times[0]
        rate = float(stream.average_rate or 0)
        codec = stream.codec_context.name
    with _open(path) as (container, stream):
        decoder = container.decode(stream)
        first = next(decoder, None)
        if first is None:
            raise _broken(path, "it holds no frame")
        frames = len(times) if timed else 1 + sum(1 for _ in decoder)
        height, width = first.height, first.width
        if first.rotation % 180:
            height, width = width, height
    info = VideoInfo(frames, rate, height, width, codec)
    if not timed:
        return _Index(info, None, np.array([0]))
    return _Index(info, times, np.searchsorted(times, keys))


def _check_complete(path, container, stream, packets):
    """Raises if the header promises more than is there, or the reading broke off in a frame."""
    whole = [packet.dts for packet in packets if not packet.is_corrupt]
    there = len(whole)
    if "avi" in container.format.name and there > 1:
        # What AVI's header counts are ticks of its clock, which a frame may have several of.
        there = whole[-1] + int(np.diff(whole).max())
    if there < stream.frames or len(whole) < len(packets):
        share = there / max(stream.frames, len(packets))
        raise _broken(path, f"it is truncated, {share:.0%} of what its header promises is there")


@contextlib.contextmanager
def _open(path):
    """Opens a file and its first video stream; what PyAV raises meanwhile names the file."""
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.video:
                raise _broken(path, "it holds no video stream")
            stream = container.streams.video[0]
            # tf.data decodes several files at a time; threads inside each would only compete.
            stream.codec_context.thread_count = 1
            yield container, stream
    except av.FFmpegError as error:
        raise _broken(path, error.strerror) from error


def _broken(path, reason):
    return ValueError(
        f"The video file {os.fspath(path)!r} cannot be read: {reason}. "
        "Leave it out, or copy it anew from where it came."
    )


def _pick_by_count(path, container, stream, index, wanted):
    """Yields the `wanted` frames (ascending numbers) of a file that must be read from its start."""
    remaining = iter(wanted)
    number = next(remaining)
    for position, frame in enumerate(container.decode(stream)):
        if position == number:
            yield frame
            number = next(remaining, None)
            if number is None:
                return
    raise _broken(path, f"frame {number} cannot be decoded")


def _pick_by_time(path, container, stream, index, wanted):
    """Yields the `wanted` frames (ascending numbers), skipping from key frame to key frame."""
    decoder, position = container.decode(stream), -1
    for number in wanted:
        key = index.keys[np.searchsorted(index.keys, number, side="right") - 1]
        if key > position + 1:
            container.seek(int(index.times[key]), stream=stream)
            decoder = container.decode(stream)
        time = index.times[number]
        # Frames that an open group of pictures shows before its key frame may come first.
        frame = next((frame for frame in decoder if frame.pts is None or frame.pts >= time), None)
        if frame is None or frame.pts != time:
            raise _broken(path, f"frame {number} cannot be decoded")
        position = number
        yield frame


def _to_rgb(frames, short_side):
    """Stacks decoded frames as RGB at one size, turned upright."""
    height, width = frames[0].height, frames[0].width
    if short_side is not None:
        scale = short_side / min(height, width)
        height, width = round(height * scale), round(width * scale)
    reformat = VideoReformatter().reformat
    arrays = [
        reformat(frame, width, height, "rgb24", interpolation="BILINEAR").to_ndarray()
        for frame in frames
    ]
    quarter_turns = frames[0].rotation // 90
    return np.ascontiguousarray(np.rot90(np.stack(arrays), quarter_turns, axes=(1, 2)))

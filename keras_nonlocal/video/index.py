"""Where the frames of a video file are, and whether all of them are there."""

import dataclasses
import functools
import os
import re
import stat
import typing

import numpy as np

from keras_nonlocal.video import matroska
from keras_nonlocal.video.containers import broken_video, missing_video, open_stream


@dataclasses.dataclass(frozen=True, eq=False)
class VideoIndex:
    """What is known of a file after one pass through it.

    Args:
        frames: number of frames.
        fps: mean frames per second; 0 where the file does not say.
        height: of a frame in pixels, as stored, before it is turned.
        width: of a frame in pixels, likewise.
        quarter_turns: how often a frame must be turned counterclockwise to stand upright.
        codec: name of the codec.
        duration: seconds from the first frame to the end of the last; 0: not known.
        tick: seconds that one unit of a time stamp takes.
        times: `times[i]` is the time stamp of frame i; `None` where there are none to go by, and
            the file can only be decoded from its beginning.
        keys: ascending numbers of the frames at which decoding can begin.
        is_cut: whether what follows the first key frame may refer to frames before it, which were
            cut off.
        pixel_aspect: width of a stored pixel divided by its height.
    """

    frames: int
    fps: float
    height: int
    width: int
    quarter_turns: int
    codec: str
    duration: float
    tick: float
    times: np.ndarray | None
    keys: np.ndarray
    is_cut: bool
    pixel_aspect: float


def index_video(path):
    """Indexes a file by its packets, which takes a few milliseconds, and remembers the answer.

    Frames are counted, not taken from the header, which many files leave empty. AVI, transport
    streams and whatever else has no time stamps, or seeks by guessing, is decoded once.

    Args:
        path: path of the file, a string.

    Returns:
        A `VideoIndex`, kept for as long as the file stays as it is.

    Raises:
        FileNotFoundError: if there is no such file.
        PermissionError: if this user must not read it.
        ValueError: if it is no video, holds no video stream, is truncated or damaged.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise missing_video(path) from None
    if not stat.S_ISREG(status.st_mode):
        # Opening a pipe would wait until someone writes to it.
        raise broken_video(path, "it is not a regular file")
    return _make_index(path, status.st_mtime_ns, status.st_size)


def rate_varies(times):
    """Whether frames are shown for different times, by their stamps.

    Args:
        times: ascending integers, or `None`.
    """
    # Stamps are rounded to ticks, which lets steps differ by one.
    return times is not None and len(times) > 2 and bool(np.ptp(np.diff(times)) > 1)


# A training visits a file once an epoch. The index of a ten-second video takes 3 KB.
@functools.lru_cache(maxsize=2**14)
def _make_index(path, _modified, _size):
    # Damage to the frames is told when they are read; only what cannot be wound back, and is
    # decoded to be counted, is opened anew.
    with open_stream(path, strict=False, native=True) as video:
        formats = set(video.container.format.name.split(","))
        packets, is_cut = _list_packets(path, video, formats)
        packets = [packet for packet in packets if packet.size]
        codec = video.stream.codec_context.codec.canonical_name
        aspect = float(video.stream.sample_aspect_ratio or 1)
        tick, fps = float(video.stream.time_base), float(video.stream.average_rate or 0)
        times, keys = _order([p for p in packets if codec != "vp8" or _is_shown(p)])
        # AVI stores no times of showing, and what is guessed comes out unordered. In all others
        # but these two, seeking is guesswork.
        if not formats & {"mov", "matroska"}:
            times, keys = None, np.array([0])
        if times is not None:
            first, frames = next(video.decode(int(times[0])), None), len(times)
    if times is None:
        with open_stream(path, strict=not is_cut, native=True) as video:
            decoded = video.decode()
            first = next(decoded, None)
            frames = 1 + sum(1 for _ in decoded)
    if first is None:
        raise broken_video(path, "it holds no frame")
    # Whoever writes the matrix that rotates a film writes quarter turns.
    turns = round(first.rotation / 90) % 4
    duration = _duration(packets, times) * tick
    if duration and ("avi" in formats or rate_varies(times)):
        # The header of an AVI file says the rate of its clock, which a frame may have several ticks
        # of; those of others, what the rate was meant to be.
        fps = frames / duration
    size = (first.height, first.width)
    return VideoIndex(frames, fps, *size, turns, codec, duration, tick, times, keys, is_cut, aspect)


class _Packet(typing.NamedTuple):
    """What is kept of a packet: the packets themselves would be the whole file in memory."""

    pts: int | None
    dts: int | None
    pos: int
    size: int
    duration: int
    is_keyframe: bool
    is_discard: bool
    first_byte: int


def _list_packets(path, video, formats):
    """Reads a file to its end; gives the packets of the stream, and whether it was cut out of
    another; raises if some are amiss."""
    stream, num_packets, num_corrupt, packets, is_cut = video.stream, 0, 0, [], None
    # FFmpeg reads an mp4 by this list; that of an AVI file is there to compare.
    listed = [entry.size for entry in stream.index_entries] if "avi" in formats else []
    for packet in video.container.demux():
        # The packets at the end that have neither content nor time only flush decoders.
        if not packet.size and packet.dts is None:
            continue
        num_packets += 1
        if packet.stream_index == stream.index:
            num_corrupt += packet.is_corrupt
            place = -1 if packet.pos is None else packet.pos
            kind = (bool(packet.is_keyframe), bool(packet.is_discard))
            first_byte = memoryview(packet)[0] if packet.size else 0
            duration = packet.duration or 0
            if is_cut is None and packet.is_keyframe:
                is_cut = stream.codec_context.name == "h264" and not _stands_alone(packet, stream)
            packets.append(
                _Packet(packet.pts, packet.dts, place, packet.size, duration, *kind, first_byte)
            )
    if "matroska" in formats and (damage := matroska.find_damage(path, num_packets)):
        raise broken_video(path, damage)
    _check_complete(path, stream.frames, packets, num_corrupt, "avi" in formats)
    if listed:
        _check_listed(path, listed, packets)
    return packets, bool(is_cut)


def _check_complete(path, promised, packets, num_corrupt, is_avi):
    """Raises if the header promises more than is there, or the reading broke off in a frame."""
    there = len(packets) - num_corrupt
    if is_avi and len(packets) > 1 and not num_corrupt:
        # What AVI's header counts are ticks of its clock, which a frame may have several of.
        stamps = [packet.dts for packet in packets if packet.dts is not None]
        there = stamps[-1] + int(np.diff(stamps).max())
    if there < promised or num_corrupt:
        share = 100 * there // max(promised, len(packets))
        raise broken_video(path, f"it is truncated, {share}% of what its header promises is there")


def _check_listed(path, listed, packets):
    """Raises if the frames of an AVI file are others than its list says, or overlap."""
    places, sizes = np.array([(packet.pos, packet.size) for packet in packets]).T
    # Frames of no bytes, which repeat the one before, need no place in the list.
    fits = [size for size in listed if size] == sizes[sizes > 0].tolist()
    if not fits or (places[:-1] + sizes[:-1] > places[1:]).any():
        raise broken_video(path, "it is damaged, its list of frames does not fit its frames")


def _stands_alone(packet, stream):
    """Whether a key frame of h264 says that nothing after it refers to anything before it (IDR)."""
    content, settings = bytes(packet), stream.codec_context.extradata or b""
    if settings[:1] != b"\x01":
        return re.search(rb"\x00\x00\x01[\x25\x45\x65]", content) is not None
    at, width = 0, (int.from_bytes(settings[4:5], "big") & 3) + 1
    while at + width < len(content):
        if content[at + width] & 31 == 5:
            return True
        at += width + int.from_bytes(content[at : at + width], "big")
    return False


def _is_shown(packet):
    """Whether a packet of VP8 gives a frame, not only something for others to refer to."""
    return bool(packet.first_byte & 0x10)


def _order(packets):
    """Time stamps of the frames and numbers of the key frames, in the order of showing."""
    # Packets marked for discard lie outside the part that an edit list leaves visible. Decoding
    # may have to begin there.
    times = sorted(p.pts for p in packets if not p.is_discard and p.pts is not None)
    keys = sorted(p.pts for p in packets if p.is_keyframe and p.pts is not None)
    visible = sum(not packet.is_discard for packet in packets)
    if not keys or len(set(times)) < visible or not visible:
        return None, np.array([0])
    # Frames shown before the first key frame refer to what was cut off: no decoder gives them.
    times = np.array(times[np.searchsorted(times, keys[0]) :])
    return times, np.unique(np.searchsorted(times, keys))


def _duration(packets, times):
    """Ticks from the first frame to the end of the last, which lasts as long as it says itself, or
    as most of the others."""
    stamps = times
    if times is None:
        stamps = np.array(sorted(packet.dts for packet in packets if packet.dts is not None))
    if not len(stamps):
        return 0
    last = 0
    if times is not None:
        last = next(packet.duration for packet in packets if packet.pts == times[-1])
    if not last:
        last = int(np.median(np.diff(stamps))) if len(stamps) > 1 else packets[-1].duration
    return int(stamps[-1] - stamps[0]) + last

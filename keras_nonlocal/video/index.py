"""Which frames a video file has and where decoding can begin, found once and kept on disk."""

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import secrets
import stat
import threading
import time
import typing
import zlib

import av
import numpy as np

from keras_nonlocal.video import matroska
from keras_nonlocal.video.pyav import (
    broken_video,
    frame_orientation,
    missing_video,
    open_stream,
    source_name,
)

# Bytes that indexes may occupy in memory, and in the folder on disk.
_MEMORY_LIMIT = 2**26
_DISK_LIMIT = 2**30
_VERSION = 1
# In these, a packet is a frame by the rules of the format, unless fields are coded one by one.
_FRAME_PACKETS = {"h264", "hevc", "vp9", "av1"}
_PROGRESSIVE = 1  # The greatest `field_order` of frames that are no two fields; 0: unknown.
# FFmpeg's own decoder of VP9 takes most damage for pixels. This one, as fast and with the same
# frames, asks whether a frame used up its bytes. Not every build has it, nor has it more than 8
# bits everywhere.
_STRICTER_DECODERS = {("vp9", "yuv420p"): "libvpx-vp9"}
NO_STAMP = np.iinfo(np.int64).min
# Counts of AVI headers that were never finished.
_UNFINISHED = 2**30


@dataclasses.dataclass(frozen=True, eq=False)
class VideoIndex:
    """What one pass through a file finds.

    Args:
        frames: number of frames.
        fps: mean frames per second; 0: unknown.
        height: of a stored frame in pixels.
        width: of a stored frame in pixels.
        orientation: how a stored frame is turned upright, as `Converter` takes it.
        pixel_aspect: width of a stored pixel divided by its height.
        codec: name of the codec.
        decoder: name of the decoder, if it is not FFmpeg's default.
        duration: seconds from the first frame to the end of the last; 0: unknown.
        time_base: seconds per unit of a time stamp.
        timed: whether the stamps are ascending times of presentation.
        is_cut: whether the first frames may refer to others that were cut off, so that the decoder
            must conceal errors.
        by_packets: whether packets were counted, and no frames.
        stamps: time stamps of the frames in their order, int64.
        keys: numbers of the frames at which decoding can begin, ascending, int64.
    """

    frames: int
    fps: float
    height: int
    width: int
    orientation: tuple
    pixel_aspect: float
    codec: str
    decoder: str
    duration: float
    time_base: float
    timed: bool
    is_cut: bool
    by_packets: bool
    stamps: np.ndarray
    keys: np.ndarray

    @property
    def rate_varies(self):
        """Whether frames are shown for different times. Stamps are rounded, by one at most."""
        return self.timed and self.frames > 2 and bool(np.ptp(np.diff(self.stamps)) > 1)

    def number(self, stamp):
        """Returns the number of the frame with a time stamp; -1 if there is no such frame."""
        places = np.flatnonzero(self.stamps == stamp)
        return int(places[0]) if places.size else -1


class IndexCache:
    """Indexes of files in memory and in a folder, both bounded in bytes, of many processes.

    The folder is `$KERAS_NONLOCAL_VIDEO_INDEX`, or else `video_index/keras_nonlocal` in Keras' home
    folder. Each index is a file that appears whole, and one that is damaged counts as missing.
    """

    def __init__(self):
        self._memory, self._bytes = collections.OrderedDict(), 0
        self._lock = threading.Lock()

    def get(self, key):
        """Returns the index with a key, a string of hex digits, or `None`."""
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        try:
            with open(self._path(key), "rb") as file:
                index = _unpack(file.read())
        except (OSError, zlib.error, ValueError, KeyError, TypeError):
            return None
        self._keep(key, index)
        return index

    def put(self, key, index):
        """Keeps an index, on disk if the folder can be written."""
        self._keep(key, index)
        path = self._path(key)
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            temporary = f"{path}.{secrets.token_hex(4)}.part"
            try:
                with open(temporary, "xb") as file:
                    file.write(_pack(index))
                os.replace(temporary, path)
            except OSError:
                os.remove(temporary)
                raise
            # One write in 16 looks after its subfolder, one of 256.
            if key[2] == "0":
                _remove_oldest(os.path.dirname(path), _DISK_LIMIT // 256)

    def _keep(self, key, index):
        with self._lock:
            if key in self._memory:
                self._bytes -= _size(self._memory[key])
            self._memory[key] = index
            self._bytes += _size(index)
            while self._bytes > _MEMORY_LIMIT:
                self._bytes -= _size(self._memory.popitem(last=False)[1])

    def _path(self, key):
        folder = os.environ.get("KERAS_NONLOCAL_VIDEO_INDEX")
        if not folder:
            user = os.path.expanduser("~")
            home = os.path.join(user if os.access(user, os.W_OK) else "/tmp", ".keras")
            home = os.path.expanduser(os.environ.get("KERAS_HOME") or home)
            folder = os.path.join(home, "video_index", "keras_nonlocal")
        return os.path.join(folder, key[:2], key[2:])


def _size(index):
    return index.stamps.nbytes + index.keys.nbytes + 1000


def _pack(index):
    fields = {field.name: getattr(index, field.name) for field in dataclasses.fields(index)}
    arrays = [np.diff(fields.pop(name), prepend=0).tobytes() for name in ("stamps", "keys")]
    return zlib.compress(json.dumps(fields).encode() + b"\n" + b"".join(arrays), 1)


def _unpack(content):
    fields, _, arrays = zlib.decompress(content).partition(b"\n")
    fields = json.loads(fields)
    numbers = np.frombuffer(arrays, np.int64)
    stamps, keys = np.cumsum(numbers[: fields["frames"]]), np.cumsum(numbers[fields["frames"] :])
    if not len(keys):
        raise ValueError("It holds no key frame.")
    return VideoIndex(**fields, stamps=stamps, keys=keys)


def _remove_oldest(folder, limit):
    """Deletes the files of a folder that were written first, until the others fit a limit."""
    files = []
    for entry in os.scandir(folder):
        status = entry.stat()
        files.append((status.st_mtime_ns, status.st_size, entry.path))
    size, now = sum(size for _, size, _ in files), time.time_ns()
    for written, size_of_file, path in sorted(files):
        # Those of processes that were killed while they wrote.
        abandoned = path.endswith(".part") and now - written > 3600 * 10**9
        if size > limit or abandoned:
            os.remove(path)
            size -= size_of_file


_CACHE = IndexCache()


def index_video(source, strict=True, by_packets=True):
    """Returns the `VideoIndex` of a file, from the cache if the file is as it was.

    Where a packet is a frame for certain, packets are counted, which takes some milliseconds.
    Otherwise the file is decoded once.

    Args:
        source: path, fsspec URL, or binary file object; of the latter nothing is kept.
        strict: whether damage is an error. FFmpeg conceals it otherwise.
        by_packets: `False` decodes the file, and replaces an index that counted packets.
    """
    state = _file_state(source)
    if state is None:
        return _build_index(source, strict, by_packets)
    words = (_VERSION, av.__version__, strict, *state)
    key = hashlib.sha256(repr(words).encode(errors="surrogateescape")).hexdigest()
    index = _CACHE.get(key)
    if index is None or (index.by_packets and not by_packets):
        index = _build_index(source, strict, by_packets)
        _CACHE.put(key, index)
    return index


def _file_state(source):
    """Returns what changes with a file; `None` for file objects."""
    if hasattr(source, "read"):
        return None
    if "://" in source:
        import fsspec

        try:
            files, path = fsspec.core.url_to_fs(source)
            return source, sorted((key, repr(value)) for key, value in files.info(path).items())
        except FileNotFoundError:
            raise missing_video(source) from None
        except Exception as error:
            raise OSError(f"The video file {source!r} cannot be read: {error!r}.") from error
    try:
        status = os.stat(source)
    except (FileNotFoundError, NotADirectoryError):
        raise missing_video(source) from None
    except ValueError as error:  # a null byte
        raise broken_video(source, f"its path has an {error}") from None
    if not stat.S_ISREG(status.st_mode):
        # Opening a pipe would wait until someone writes to it.
        raise broken_video(source, "it is not a regular file")
    return os.path.abspath(source), status.st_size, status.st_mtime_ns


class _Packet(typing.NamedTuple):
    """What is kept of a packet: the packets themselves would be the whole file in memory."""

    stamp: int | None
    dts: int | None
    pos: int | None
    size: int
    duration: int
    is_key: bool
    is_discard: bool


class _Scan:
    """One pass through a file: its packets, its frames, and what its header says.

    Args:
        source: as `index_video` takes it.
        strict: likewise.
        first_only: whether to decode the first frame alone where packets may be frames. Damage to
            it is found later.
        is_cut: as the `VideoIndex` has it.
    """

    def __init__(self, source, strict, first_only=False, is_cut=False):
        self.packets, self.frames, self.first, self.last = [], [], None, 0
        self._begins_anew = None
        with open_stream(source, strict, is_cut) as video:
            stream = video.stream
            formats = video.container.format.name
            self.is_avi, self.is_mov = "avi" in formats, "mov" in formats
            self.is_matroska = "matroska" in formats
            self.codec = stream.codec_context.codec.canonical_name
            self.time_base = float(stream.time_base)
            self.pixel_aspect = float(stream.sample_aspect_ratio or 1)
            self.rates = [float(r) for r in (stream.average_rate, stream.guessed_rate) if r]
            # FFmpeg completes a list that a file lacks while it reads.
            entries = stream.index_entries if self.is_avi else []
            self._listed = [(entry.pos + 8, entry.timestamp, entry.size) for entry in entries]
            packets = self._noted(video.packets())
            decoded = video.decode(packets, strict, is_cut)
            known = self.codec in _FRAME_PACKETS and (self.is_mov or self.is_matroska)
            self.first_only = first_only and known
            damage = None
            try:
                for frame in decoded:
                    self.first = self.first or frame
                    self.last = frame.duration or 0
                    self.frames.append((frame.pts, bool(frame.key_frame)))
                    if self.first_only:
                        break
            except ValueError as error:
                damage = error
            for _ in packets:
                pass
            self._height = stream.codec_context.coded_height
            fields = stream.codec_context.field_order > _PROGRESSIVE
            self.has_fields = fields or bool(self.first and self.first.interlaced_frame)
            if strict:
                self._check_complete(video)  # It says more than the decoder.
            if damage and not self.first_only:
                raise damage

    def _noted(self, packets):
        for packet in packets:
            if packet.size and packet.is_keyframe and self._begins_anew is None:
                self._begins_anew = self.codec != "h264" or _stands_alone(packet)
            if packet.size or packet.dts is not None:
                kind = (bool(packet.is_keyframe), bool(packet.is_discard))
                numbers = (packet.pts, packet.dts, packet.pos, packet.size, packet.duration or 0)
                self.packets.append(_Packet(*numbers, *kind))
            yield packet

    @property
    def can_seek(self):
        """Whether seeking is exact. In other formats than these it is guesswork."""
        if self.is_avi:
            return self._listed == [(p.pos, p.dts, p.size) for p in self.packets]
        return self.is_mov or self.is_matroska

    @property
    def may_be_cut(self):
        """Whether frames at the beginning may refer to others that are not in the file."""
        key = next((packet for packet in self.packets if packet.is_key), None)
        stamps = [packet.stamp for packet in self.packets if packet.stamp is not None]
        is_early = bool(stamps) and key is not None and min(stamps) < (key.stamp or 0)
        return is_early or key not in self.packets[:1] or not self._begins_anew

    @property
    def packets_are_frames(self):
        """Whether each packet is a frame for certain."""
        if any(p.is_discard or not p.size or p.stamp is None for p in self.packets):
            return False
        steps = np.diff(sorted(packet.stamp for packet in self.packets))
        # Fields halve the steps of frames, and need a height of whole pairs of macroblocks.
        mixes_fields = self.codec == "h264" and self._height % 32 == 0
        return (
            self.first_only
            and not (self.first is None or self.has_fields or self.may_be_cut)
            and bool((steps > steps.max(initial=0) * 2 / 3 * mixes_fields).all())
        )

    def _check_complete(self, video):
        """Raises if a part of the file is missing that its structure promises."""
        damage = None
        if self.is_mov:
            with video.content() as file:
                size = file.seek(0, os.SEEK_END)
            ends = [entry.pos + entry.size for entry in video.stream.index_entries]
            if ends and max(ends) > size:
                damage = _truncated(sum(end <= size for end in ends), len(ends))
        elif self.is_avi:
            damage = self._compare_list(video.stream.frames)
        elif self.is_matroska:
            # FFmpeg, where it loses its place, reads on at the next cluster without a word.
            with video.content() as file:
                damage = matroska.find_damage(file, {packet.pos for packet in self.packets})
        if damage:
            raise broken_video(video.name, damage)

    def _compare_list(self, promised):
        """Returns what an AVI file lacks of what its header and its list say, or `None`."""
        # The list is not there if the recording was cut short.
        there = [packet.size for packet in self.packets if packet.size]
        listed = [size for _, _, size in self._listed if size]
        places = [(packet.pos, packet.pos + packet.size) for packet in self.packets if packet.size]
        overlap = any(one[1] > other[0] for one, other in itertools.pairwise(places))
        # The header counts ticks of its clock, which a frame may have several of.
        stamps = [packet.dts for packet in self.packets if packet.dts is not None]
        ticks = stamps[-1] + int(np.diff(stamps).max()) if len(stamps) > 1 else promised
        if ticks < promised < _UNFINISHED:
            return _truncated(ticks, promised)
        too_many = len(listed) < len(there) and 0 < promised < ticks
        if overlap or listed != there[: len(listed)] or too_many:
            return "it is damaged, its list of frames does not fit its frames"
        return None


def _stands_alone(packet):
    """Whether a key frame of h264 is one to which all frames after it are confined (IDR).

    Of others, FFmpeg reports what refers to frames before them as damage.
    """
    content = bytes(packet)
    units = av.bitstream.BitStreamFilterContext("filter_units=pass_types=5", packet.stream)
    copy = av.Packet(content)
    copy.time_base = packet.time_base
    return bool(units.filter(copy))


def _truncated(there, promised):
    return f"it is truncated, {100 * there // promised}% of its frames are there"


def _build_index(source, strict, by_packets):
    is_cut = False
    try:
        scan = _Scan(source, strict, first_only=strict and by_packets)
        by_packets = scan.packets_are_frames
        if scan.first_only and not by_packets:
            scan = _Scan(source, strict)
    except ValueError:
        if not strict:
            raise
        scan, is_cut = _Scan(source, strict, is_cut=True), True
        if not scan.may_be_cut:
            raise
    if by_packets:
        frames = sorted((packet.stamp, packet.is_key) for packet in scan.packets)
        last = max(scan.packets).duration
    else:
        last = 0 if scan.has_fields or scan.is_avi else scan.last
        keys = {packet.stamp for packet in scan.packets if packet.is_key}
        frames = [(stamp, is_key and stamp in keys) for stamp, is_key in scan.frames]
    if not frames:
        raise broken_video(source_name(source), "it holds no frame")
    stamps = np.array([NO_STAMP if stamp is None else stamp for stamp, _ in frames])
    keys = np.flatnonzero([is_key for _, is_key in frames])
    if not scan.can_seek or len(np.unique(stamps)) < len(stamps):
        keys = keys[:0]
    # The places of frames in an AVI file, where frames are shown in another order.
    times = np.sort(stamps) if scan.is_avi else stamps
    timed = bool(stamps.min() > NO_STAMP and (np.diff(times) > 0).all())
    ticks = _duration(times, last) if timed else 0
    decoder = _STRICTER_DECODERS.get((scan.codec, scan.first.format.name)) if strict else None
    return VideoIndex(
        frames=len(frames),
        fps=_choose_rate(len(frames), ticks * scan.time_base, scan),
        height=scan.first.height,
        width=scan.first.width,
        orientation=frame_orientation(scan.first),
        pixel_aspect=scan.pixel_aspect,
        codec=scan.codec,
        decoder=decoder if decoder in av.codecs_available else "",
        duration=ticks * scan.time_base,
        time_base=scan.time_base,
        timed=timed and not scan.is_avi,
        is_cut=is_cut,
        by_packets=by_packets,
        stamps=stamps,
        keys=np.union1d(keys, 0),
    )


def _duration(times, last):
    """Returns the ticks from the first frame to the end of the last. It lasts as long as it says
    itself, or as most of the others."""
    if not last:
        last = int(np.median(np.diff(times))) if len(times) > 1 else 0
    return int(times[-1] - times[0]) + last


def _choose_rate(frames, duration, scan):
    """Returns the mean rate by the stamps; as the header says it if the stamps agree."""
    if not duration:
        return scan.rates[0] if scan.rates else 0.0
    # Stamps are rounded to ticks.
    exact = (rate for rate in scan.rates if abs(frames / rate - duration) <= scan.time_base)
    return next(exact, frames / duration)

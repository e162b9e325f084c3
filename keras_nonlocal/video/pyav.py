"""Opens video files by PyAV, decodes their packets, and makes RGB pictures of frames."""

import contextlib
import dataclasses
import math
import os

import av
import numpy as np
from av.video.reformatter import VideoReformatter

# Decoders conceal damage, with gray or with pieces of the frame before. `explode` makes errors of
# most such cases. `aggressive` would find some more, but refuses what old mpeg4 encoders wrote.
_CHECKS = "crccheck+bitstream+buffer"
# Demuxers that take a picture for a video of one frame, and any text for a video of letters.
_NO_VIDEOS = ("image2", "_pipe", "tty")
# From PyAV 19 on, metadata that is no valid text never raises.
_METADATA = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


@contextlib.contextmanager
def open_stream(source, strict=True, is_cut=False, decoder=""):
    """Opens a file and its first video stream that moves (cover art does not), and closes it.

    Args:
        source: path, fsspec URL, or binary file object.
        strict: whether the decoder reports damage; FFmpeg conceals it otherwise.
        is_cut: whether the decoder reports only the worst.
        decoder: name of a decoder other than FFmpeg's default.

    Returns:
        A context manager of a `VideoStream`. Every exception inside it names the file.
    """
    name = source_name(source)
    try:
        with (
            _open_source(source) as opened,
            _open_container(opened, name) as container,
        ):
            if any(form in container.format.name for form in _NO_VIDEOS):
                raise broken_video(name, f"it is no video but {container.format.long_name}")
            still = av.stream.Disposition.attached_pic
            streams = [s for s in container.streams.video if not s.disposition & still]
            if not streams:
                raise broken_video(name, "it holds no video stream")
            if streams[0].codec_context is None:
                raise broken_video(name, "no decoder is known for its video stream")
            for stream in container.streams:
                if stream is not streams[0]:
                    stream.discard = av.stream.Discard.all
            context = streams[0].codec_context
            if decoder:
                context = av.CodecContext.create(decoder, "r")
                context.extradata = streams[0].codec_context.extradata
            # Several files are decoded at a time; threads inside each would only compete.
            context.thread_count = 1
            if strict:
                context.options = {"err_detect": _CHECKS if is_cut else _CHECKS + "+explode"}
            yield VideoStream(name, opened, container, streams[0], context)
    except Exception as error:
        # A damaged file makes libav ask for more memory than there is; Python's own is another.
        if isinstance(error, MemoryError) and not isinstance(error, av.FFmpegError):
            raise
        # libav's own errors name the file, too, but may be of any kind.
        if repr(name) in str(error) and not isinstance(error, av.FFmpegError):
            raise
        if isinstance(error, FileNotFoundError):
            raise missing_video(name) from None
        # libav reports failed seeks and decoders as missing permission, too.
        if isinstance(error, PermissionError) and not os.access(name, os.R_OK):
            raise PermissionError(f"Permission denied: {name!r}.") from error
        if isinstance(error, OSError) and not isinstance(error, av.FFmpegError):
            raise OSError(f"The video file {name!r} cannot be read: {error}.") from error
        raise broken_video(name, getattr(error, "strerror", None) or repr(error)) from error


def source_name(source):
    """Returns the path, the URL, or what a file object is called, for messages."""
    if hasattr(source, "read"):
        return str(getattr(source, "name", source))
    return source


@contextlib.contextmanager
def _open_source(source):
    """Yields what PyAV opens."""
    if hasattr(source, "read"):
        source.seek(0)
        yield source
    elif "://" in source:
        import fsspec

        with fsspec.open(source, "rb") as file:
            yield file
    else:
        yield f"file:{source}"  # The prefix lets names hold colons.


def _open_container(opened, name):
    try:
        return av.open(opened, **_METADATA)
    except av.FFmpegError as error:
        if reason := _explain_no_video(opened):
            raise broken_video(name, reason) from error
        raise


def _explain_no_video(opened):
    """Returns what a file is that FFmpeg cannot open, if its first bytes show it."""
    with contextlib.suppress(OSError):
        if isinstance(opened, str):
            with open(opened.removeprefix("file:"), "rb") as file:
                head = file.read(60)
        else:
            opened.seek(0)
            head = opened.read(60)
        text = head.decode(errors="ignore")
        if not head:
            return "it is empty"
        if head.startswith(b"version https://git-lfs"):
            return "it is a Git LFS pointer, which `git lfs pull` replaces"
        if len(text) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text):
            return f"it is text that begins {text[:40]!r}"
    return None


@dataclasses.dataclass
class VideoStream:
    """The video stream of an open file, with the decoder that reads it."""

    name: str
    opened: object
    container: av.container.InputContainer
    stream: av.video.stream.VideoStream
    decoder: av.CodecContext

    def content(self):
        """Returns a context manager of the file's content, a binary file."""
        if isinstance(self.opened, str):
            return open(self.opened.removeprefix("file:"), "rb")
        return contextlib.nullcontext(self.opened)

    def packets(self):
        """Yields the packets of the stream, and at the end one that flushes the decoder.

        A frame has the time stamp of its packet. Packets of AVI files have no times of
        presentation. Their times of decoding, which are places in the file, take their part.
        """
        by_place = self.container.format.name == "avi"
        for packet in self.container.demux(self.stream):
            if by_place:
                packet.pts = packet.dts
            yield packet

    def decode(self, packets, strict=True, is_cut=False, is_early=None):
        """Yields the frames of packets.

        Args:
            packets: packets, such as those of `packets()`.
            strict: whether damage is an error; FFmpeg conceals it otherwise.
            is_cut: whether damage before the first frame is expected.
            is_early: callable from a packet, or from a frame, to whether it comes before the first
                frame that is wanted. Such frames are not yielded, and their damage is expected.

        Raises:
            ValueError: at damage.
        """
        given, key_seen = 0, False
        for packet in packets:
            if not packet.size and packet.dts is not None:
                continue  # Decoders take it for the end.
            key_seen = key_seen or packet.is_keyframe
            try:
                frames = self.decoder.decode(packet)
            except av.FFmpegError as error:
                expected = is_early(packet) if is_early else is_cut or not key_seen
                if not strict or (expected and not given):
                    continue
                raise damaged_video(self.name) from error
            for frame in frames:
                if not given and is_early and is_early(frame):
                    continue
                if strict and frame.is_corrupt:
                    raise damaged_video(self.name)
                given += 1
                yield frame


def broken_video(name, reason):
    """Returns the error for a video that cannot be read."""
    return ValueError(
        f"The video file {name!r} cannot be read: {reason}. "
        "Leave it out, or copy it anew from where it came."
    )


def damaged_video(name, frame=None):
    """Returns the error for a video of which a frame is damaged or missing."""
    what = "" if frame is None else f", frame {frame} is missing"
    return ValueError(
        f"The video file {name!r} cannot be read: it is damaged{what}. Leave it out, copy it anew, "
        "or pass strict=False to decode what FFmpeg conceals."
    )


def missing_video(name):
    """Returns the error for a video that does not exist."""
    return FileNotFoundError(f"There is no video file {name!r}. Give the path of an existing file.")


class Converter:
    """Makes upright RGB pictures of frames, all of one size.

    Args:
        height: of a stored frame in pixels.
        width: of a stored frame in pixels.
        orientation: what is done to a stored frame, in this order: whether it is transposed,
            mirrored top to bottom, and mirrored left to right.
        short_side: pixels to resize to; `None` keeps the size.

    Returns:
        On calls, a view of memory that the picture owns.
    """

    def __init__(self, height, width, orientation, short_side):
        self._size = fit_size(height, width, short_side)
        self._transpose, *mirrored = orientation
        self._steps = tuple(slice(None, None, -1 if mirror else 1) for mirror in mirrored)
        self._reformatter = VideoReformatter()

    def __call__(self, frame):
        picture = to_rgb(self._reformatter, frame, *self._size)
        return (picture.transpose(1, 0, 2) if self._transpose else picture)[self._steps]


def frame_orientation(frame):
    """Returns how a frame is turned upright, as `Converter` takes it.

    A display matrix maps places of the stored picture to places on the screen. One that is no
    multiple of a quarter turn counts as the nearest one.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    transpose = abs(b) + abs(c) > abs(a) + abs(d)
    return (True, b < 0, c < 0) if transpose else (False, d < 0, a < 0)


def resize_frames(frames, short_side):
    """Resizes frames as decoding does (bilinear), so that pixels do not tell where they came from.

    Args:
        frames: `uint8` array of shape `(frames, height, width, 3)`.
        short_side: height or width in pixels, whichever is smaller; `None` keeps the size.

    Returns:
        A `uint8` array; `frames` itself where the size fits.
    """
    height, width = fit_size(*frames.shape[1:3], short_side)
    if (height, width) == frames.shape[1:3]:
        return frames
    resized = empty_pictures((len(frames), height, width, 3))
    reformatter = VideoReformatter()
    for picture, frame in zip(resized, frames, strict=True):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture[:] = to_rgb(reformatter, frame, height, width)
    return resized


def empty_pictures(shape):
    """Returns a uint8 array at a multiple of 64 bytes, which TensorFlow takes without a copy."""
    size = math.prod(shape)
    memory = np.empty(size + 63, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].reshape(shape)


def fit_size(height, width, short_side):
    """Returns the height and width after resizing to a short side; `None` keeps them.

    The longer side is rounded down, as in the authors' code, PySlowFast and TensorFlow's models.
    """
    short = min(height, width)
    short_side = short if short_side is None else short_side
    return height * short_side // short, width * short_side // short


def to_rgb(reformatter, frame, height, width):
    """Resizes a frame and converts it to RGB in one go; returns a view of what was made."""
    # Without `threads` swscale would start one a core for every frame.
    frame = reformatter.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", threads=1)
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
    return rows[:, : 3 * width].reshape(height, width, 3)

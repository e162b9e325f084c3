"""Videos whose frames are pictures: folders of them, and the base class of records.

FFmpeg decodes every picture and resizes it while converting it to RGB, as it does for video files,
so pixels do not depend on where the frames are stored.
"""

import functools
import os
import re

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from keras_nonlocal.video.info import VideoInfo, check_indices, check_range, check_short_side
from keras_nonlocal.video.pyav import empty_pictures, fit_size, to_rgb

# Formats by their first bytes, and FFmpeg's names of their decoders.
_FORMATS = {
    b"\xff\xd8": ("jpeg", "mjpeg"),
    b"\x89PNG": ("png", "png"),
    b"GIF8": ("gif", "gif"),
    b"BM": ("bmp", "bmp"),
}
_SUFFIXES = (".jpg", ".jpeg", ".png")
# What the files of frames are called, before their index, where there are pictures of other kinds.
_FRAME_NAMES = ("", "frame", "image", "img")


class Pictures:
    """Base class of videos whose frames are pictures.

    A subclass has `path`, `_count` (the number of frames), `_read(indices)`, which yields the bytes
    of pictures, `_name(index)`, which names one in errors, and `_broken(reason)`, the error.
    """

    times = None  # Pictures have no times of their own: their rate is constant.

    def decode(self, indices, short_side=None):
        """Decodes chosen frames.

        Args:
            indices: frame indices, in any order, repeats allowed; each frame is read once.
            short_side: pixels of the short side to which the frames are resized (bilinear);
                `None` keeps their size.

        Returns:
            A `uint8` array of shape `(len(indices), height, width, 3)`, RGB.

        Raises:
            FileNotFoundError: if there is no such file or folder, or a picture vanished.
            IndexError: if an index is outside the video.
            ValueError: if `indices` or `short_side` is unusable, or pictures are missing, broken,
                or of several sizes.
        """
        indices = check_indices(indices, short_side)
        check_range(indices, self._count, self.path)
        wanted, places = np.unique(indices, return_inverse=True)
        frames = None
        for place, picture in enumerate(self._decode(wanted.tolist(), short_side)):
            if frames is None:
                frames = empty_pictures((len(wanted), *picture.shape))
            frames[place] = picture
        # Most clips want each frame once and in order; spare them a copy.
        return frames if np.array_equal(wanted, indices) else frames[places]

    def iterate(self, short_side=None):
        """Decodes all frames in their order, one in memory at a time.

        Args:
            short_side: as for `decode`; the frames are the same.

        Yields:
            A `uint8` array of shape `(height, width, 3)` for each frame.

        Raises:
            ValueError: and the other errors of `decode`; those of a picture when it is reached.
        """
        check_short_side(short_side)
        for picture in self._decode(range(self._count), short_side):
            yield picture.copy()

    def _decode(self, indices, short_side):
        decoders, reformatter, size = {}, VideoReformatter(), None
        for index, picture in zip(indices, self._read(indices), strict=True):
            try:
                frame = _decode_picture(picture, decoders)
            except ValueError as error:
                raise self._broken(f"{self._name(index)} is no whole picture ({error})") from None
            size = size or (frame.height, frame.width)
            if size != (frame.height, frame.width):
                raise self._broken(
                    f"{self._name(index)} is {frame.width}x{frame.height}, "
                    f"others are {size[1]}x{size[0]}"
                )
            yield to_rgb(reformatter, frame, *fit_size(*size, short_side))

    def _probe(self, fps):
        """Returns the `VideoInfo` by the first picture."""
        (picture,) = self._read([0])
        (pixels,) = self._decode([0], None)
        codec, _ = _format_of(picture)
        duration = self._count / fps if fps else 0.0
        return VideoInfo(self._count, fps, *pixels.shape[:2], codec, duration)


class FrameFolder(Pictures):
    """A video that is a folder of JPEG or PNG files.

    Frames are in the natural order of their names, `img_2.jpg` before `img_10.jpg`; hidden files
    and those of other kinds are skipped. An orientation in EXIF data is not applied.

    A truncated picture is an error. Damage inside a JPEG file, which has no checksum, may show as
    wrong pixels.

    Args:
        path: path of the folder.
        num_frames: how many frames to use, the first ones; 0 uses all.
        fps: frames per second; `None` if unknown.

    Example:

    ```python
    video = FrameFolder("20bn-jester-v1/34870", fps=12)
    video.info.frames  # 37
    video.decode([0, 8, 16], short_side=112).shape  # (3, 112, 197, 3) of pictures of 176x100
    ```
    """

    def __init__(self, path, num_frames=0, fps=None):
        self.path = os.fsdecode(path)
        self._num_frames = num_frames
        self._fps = float(fps or 0)

    @functools.cached_property
    def info(self):
        """The `VideoInfo`, for which one picture is read; `codec` is its format.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if it holds no pictures, or fewer than it should.
        """
        return self._probe(self._fps)

    @property
    def _count(self):
        return len(self._names)

    @functools.cached_property
    def _names(self):
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"There is no folder of frames {self.path!r}. Pass the path of an existing folder."
            ) from None
        names = [n for n in names if n.lower().endswith(_SUFFIXES) and not n.startswith(".")]
        if not names:
            raise self._broken(f"it holds no {', '.join(_SUFFIXES)} file")
        names = sorted(self._choose_kind(names), key=_natural_key)
        if len(names) < self._num_frames:
            raise self._broken(f"it holds {len(names)} of {self._num_frames} frames")
        return names[: self._num_frames or None]

    def _choose_kind(self, names):
        """Leaves out optical flow, which some tools write beside the frames as pictures."""
        kinds = {}
        for name in names:
            kinds.setdefault(re.sub(r"\d+$", "", os.path.splitext(name)[0]), []).append(name)
        if len(kinds) == 1:
            return names
        frames = [kind for kind in kinds if kind.rstrip("_-").lower() in _FRAME_NAMES]
        if len(frames) != 1:
            shown = ", ".join(f"{kind}..." for kind in sorted(kinds)[:4])
            raise self._broken(f"it holds pictures of several kinds, {shown}")
        return kinds[frames[0]]

    def _read(self, indices):
        for index in indices:
            with open(os.path.join(self.path, self._names[index]), "rb") as file:
                yield file.read()

    def _name(self, index):
        return repr(self._names[index])

    def _broken(self, reason):
        return ValueError(
            f"The folder of frames {self.path!r} cannot be read: {reason}. "
            "Leave it out, or copy it again from its source."
        )


def _format_of(picture):
    found = (names for start, names in _FORMATS.items() if picture.startswith(start))
    return next(found, (None, None))


def _decode_picture(picture, decoders):
    """Returns the frame of a picture; `decoders` is a dictionary of those that are kept."""
    codec, name = _format_of(picture)
    if codec is None:
        raise ValueError("it begins like no JPEG, PNG, GIF or BMP file")
    # FFmpeg conceals that the last bytes are missing: an end must follow the start of the scan.
    if (codec == "jpeg" and picture.rfind(b"\xff\xd9") < picture.rfind(b"\xff\xda")) or (
        codec == "gif" and not picture.endswith(b";")
    ):
        raise ValueError("it is truncated")
    decoder = decoders.get(name)
    if decoder is None:
        decoder = av.CodecContext.create(name, "r")
        decoder.thread_count = 1
        decoder.options = {"err_detect": "crccheck+explode"}
    if codec == "jpeg":  # The decoder of PNG mixes pictures that it decodes one after another.
        decoders[name] = decoder
    try:
        (frame,) = decoder.decode(av.Packet(picture))
    except av.FFmpegError as error:
        raise ValueError(error.strerror) from None
    return frame


def _natural_key(name):
    """Sorts numbers in names as numbers, and names that are then alike as text."""
    parts = re.split(r"(\d+)", name)
    parts[1::2] = map(int, parts[1::2])
    return parts, name

"""Folders of pictures, one a frame: what many data sets make of their videos beforehand."""

import functools
import os
import re

import numpy as np
import tensorflow as tf

from keras_nonlocal.video.info import VideoInfo, check_indices, check_range, check_short_side
from keras_nonlocal.video.pyav import empty_pictures, resize_frames

_SUFFIXES = (".jpg", ".jpeg", ".png")
# What the files of frames are called, before their number, where there are pictures of other kinds.
_FRAME_NAMES = ("", "frame", "image", "img")


class FrameFolder:
    """A video that is a folder of JPEG or PNG files, used like `VideoFile`.

    Frames are in the natural order of their names, `img_2.jpg` before `img_10.jpg`; hidden files
    and those of other kinds are passed over. A picture counts as it is stored: an orientation in
    its EXIF data, which tools that take videos apart do not write, is not applied.

    A truncated picture is an error. Damage inside a JPEG file, which has no checksum, may show as
    wrong pixels.

    Args:
        path: path of the folder.
        num_frames: how many frames to use, the first ones, as lists of such data sets say; 0 uses
            all that are there.
        fps: frames per second, which pictures do not tell; `None`: not known.

    Example:

    ```python
    video = FrameFolder("20bn-jester-v1/34870", fps=12)
    video.info.frames  # 37
    video.decode([0, 8, 16], short_side=112).shape  # (3, 112, 197, 3) of pictures of 176x100
    ```
    """

    # Pictures have no times of their own: their rate is constant, as far as is known.
    times = None

    def __init__(self, path, num_frames=0, fps=None):
        self.path = os.fsdecode(path)
        self._num_frames = num_frames
        self._fps = fps

    @functools.cached_property
    def info(self):
        """The `VideoInfo`, for which one picture is read; `codec` is its format.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if it holds no pictures, or fewer than it should.
        """
        height, width = self._read(0).shape[:2]
        frames, fps = len(self._names), float(self._fps or 0)
        codec = "png" if self._names[0].lower().endswith(".png") else "jpeg"
        return VideoInfo(frames, fps, height, width, codec, frames / fps if fps else 0.0)

    def decode(self, indices, short_side=None):
        """Reads chosen frames.

        Args:
            indices: frame numbers, in any order, repeats allowed; each frame is read once.
            short_side: height or width in pixels, whichever is smaller, to which the frames are
                resized as `resize_frames` does; `None` keeps their size.

        Returns:
            A `uint8` array of shape `(len(indices), height, width, 3)`, RGB.

        Raises:
            FileNotFoundError: if there is no such folder, or a picture vanished.
            IndexError: if an index lies outside the video.
            ValueError: if `indices` or `short_side` is unusable, or the folder holds no pictures,
                fewer than it should, broken ones, or pictures of several sizes.
        """
        indices = check_indices(indices, short_side)
        check_range(indices, len(self._names), self.path)
        wanted, places = np.unique(indices, return_inverse=True)
        frames = None
        for place, number in enumerate(wanted.tolist()):
            frame = self._read(number)
            if frames is None:
                frames = empty_pictures((len(wanted), *frame.shape))
            self._check_size(frame, number, frames.shape[1:])
            frames[place] = frame
        frames = resize_frames(frames, short_side)
        # Most clips want each frame once and in order; spare them a copy.
        return frames if np.array_equal(wanted, indices) else frames[places]

    def iterate(self, short_side=None):
        """Reads all frames in their order, one in memory at a time.

        Args:
            short_side: as `decode` takes it; the frames are the same.

        Yields:
            A `uint8` array of shape `(height, width, 3)` for each frame.

        Raises:
            ValueError: and the other errors of `decode`; those of a picture when it is reached.
        """
        check_short_side(short_side)
        shape = None
        for number in range(len(self._names)):
            frame = self._read(number)
            shape = shape or frame.shape
            self._check_size(frame, number, shape)
            yield resize_frames(frame[None], short_side)[0]

    @functools.cached_property
    def _names(self):
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"There is no folder of frames {self.path!r}. Give the path of an existing folder."
            ) from None
        names = [n for n in names if n.lower().endswith(_SUFFIXES) and not n.startswith(".")]
        if not names:
            raise self._broken(f"it holds no {', '.join(_SUFFIXES)} file")
        names = self._choose_kind(names)
        names.sort(key=_natural_key)
        if len(names) < self._num_frames:
            raise self._broken(f"it holds {len(names)} of {self._num_frames} frames")
        return names[: self._num_frames or None]

    def _choose_kind(self, names):
        """Leaves out optical flow, which some tools put beside the frames as pictures."""
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

    def _read(self, number):
        path = os.path.join(self.path, self._names[number])
        with open(path, "rb") as file:
            content = file.read()
        try:
            return tf.io.decode_image(content, channels=3, expand_animations=False).numpy()
        except tf.errors.InvalidArgumentError as error:
            reason = error.message.splitlines()[0]
            raise self._broken(f"{self._names[number]!r} is no whole picture ({reason})") from None

    def _check_size(self, frame, number, shape):
        if frame.shape != shape:
            raise self._broken(
                f"{self._names[number]!r} is {frame.shape[1]}x{frame.shape[0]}, "
                f"others are {shape[1]}x{shape[0]}"
            )

    def _broken(self, reason):
        return ValueError(
            f"The folder of frames {self.path!r} cannot be read: {reason}. "
            "Leave it out, or copy it anew from where it came."
        )


def _natural_key(name):
    """Sorts numbers in names as numbers; names that then are alike, as they are written."""
    parts = re.split(r"(\d+)", name)
    parts[1::2] = map(int, parts[1::2])
    return parts, name

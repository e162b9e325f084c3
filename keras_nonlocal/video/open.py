"""Opens whatever holds the frames of a video: a video file, a folder of pictures, or a record."""

import os
import re

from keras_nonlocal.video.frame_folders import FrameFolder
from keras_nonlocal.video.pyav import VideoFile
from keras_nonlocal.video.records import Record


def open_video(path, num_frames=0, fps=None):
    """Finds out what a path is, and gives what reads it.

    Nothing is read yet: a path that cannot be read shows at the first question.

    Args:
        path: path of a video file or of a folder of pictures, or the address of a record,
            `"FILE@OFFSET"`.
        num_frames: of a folder, how many frames to use; 0 uses all.
        fps: of a folder, frames per second; `None`: not known.

    Returns:
        A `VideoFile`, a `FrameFolder` or a `Record`, which have in common the properties
        `info` and `times` (seconds at which frames are shown where their rate varies, or
        `None`), and the methods `decode(indices, short_side=None)` and `iterate(short_side=None)`.
    """
    path = os.fsdecode(path)
    if os.path.isdir(path):
        return FrameFolder(path, num_frames, fps)
    # A file may well have such a name itself.
    if re.search(r"@\d+$", path) and not os.path.exists(path):
        return Record(path)
    return VideoFile(path)


def probe_video(path):
    """Tells how many frames a video has, their rate and their size, and decodes one at most.

    Frames are counted, not taken from the header, which many files leave empty. Only AVI files and
    others that store no times of showing are decoded once to be counted. The answer is kept for as
    long as the file stays as it is.

    Args:
        path: path of a video file or of a folder of pictures, or the address of a record.

    Returns:
        A `VideoInfo`.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        PermissionError: if this user must not read it.
        ValueError: if it is no video, holds no video stream, is truncated or damaged.
    """
    return open_video(path).info


def decode_frames(path, indices, short_side=None):
    """Decodes chosen frames of a video, and no more of it than they need.

    Frame `i` is the frame that decoding the whole file would give as its i-th: decoding begins at
    the key frame before it and goes by time stamps, so that B-frames and variable frame rates
    change nothing. A rotation noted in the file (a phone held upright) is applied. Damaged frames
    are errors and never painted over. A call works in one thread, and PyAV lets go of Python's
    lock: for more speed, call it from several.

    Args:
        path: path of a video file or of a folder of pictures, or the address of a record.
        indices: frame numbers, in any order, repeats allowed.
        short_side: height or width in pixels, whichever is smaller, to which the frames are
            resized while they are converted to RGB (bilinear); `None` keeps their size.

    Returns:
        A `uint8` array of shape `(len(indices), height, width, 3)`, RGB.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        PermissionError: if this user must not read it.
        IndexError: if an index lies outside the video.
        ValueError: if `indices` or `short_side` is unusable, or if the video cannot be read: it is
            no video, holds no video stream, is truncated, or damaged where these frames need it.

    Example:

    ```python
    decode_frames("video.mp4", [0, 8, 16], short_side=128).shape  # (3, 128, 170, 3) of a 340x256
    ```
    """
    return open_video(path).decode(indices, short_side)

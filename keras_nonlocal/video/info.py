"""What is known of a video, and the checks of what is asked of one."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """Properties of a video.

    Args:
        frames: number of frames.
        fps: mean frames per second; 0 if unknown.
        height: height of a frame in pixels, after rotation.
        width: width of a frame in pixels, after rotation.
        codec: name of the codec, such as `"h264"`.
        duration: seconds from the start of the first frame to the end of the last; 0 if unknown.
        pixel_aspect: width of a pixel divided by its height, after rotation. Frames are not
            stretched: a player shows them `pixel_aspect` times as wide.
    """

    frames: int
    fps: float
    height: int
    width: int
    codec: str
    duration: float
    pixel_aspect: float = 1.0


def check_indices(indices, short_side):
    """Returns `indices` as an int64 array; raises if it is empty or `short_side` is unusable."""
    indices = np.asarray(indices, dtype=np.int64).reshape(-1)
    if not indices.size:
        raise ValueError(
            "`indices` must name at least one frame. Received: an empty sequence. "
            "Give frame numbers such as [0, 8, 16]."
        )
    check_short_side(short_side)
    return indices


def check_short_side(short_side):
    """Raises unless `short_side` is `None` or a positive number."""
    if short_side is not None and short_side < 1:
        raise ValueError(
            f"`short_side` must be a positive number of pixels. Received: short_side={short_side}. "
            "Give `None` to keep the frames' size."
        )


def check_range(indices, num_frames, path):
    """Raises if an index lies outside a video of `num_frames` frames."""
    outside = indices[(indices < 0) | (indices >= num_frames)]
    if outside.size:
        raise IndexError(
            f"`indices` must lie in [0, {num_frames}), the frames of {path!r}. "
            f"Received: {outside[0]}. `ClipSpec.indices` wraps them round."
        )

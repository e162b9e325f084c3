"""A decoder of the user's own, in the place of the ones that ship."""

import numpy as np

from keras_nonlocal.video.info import VideoInfo
from keras_nonlocal.video.open import probe_video
from keras_nonlocal.video.pyav import resize_frames


class CustomVideo:
    """A video that functions of the user's open; it is used like `VideoFile`.

    Args:
        path: whatever the functions understand.
        decoder: callable from path and frame numbers (int64 array) to frames, uint8
            `(len(indices), height, width, 3)`.
        probe: callable from path to the number of frames or a `VideoInfo`; `None` asks the
            decoders that ship.
    """

    # No rate is known to vary.
    times = None

    def __init__(self, path, decoder, probe=None):
        self.path = path
        self._decoder = decoder
        self._probe = probe_video if probe is None else probe

    @property
    def info(self):
        """What is known of the video, a `VideoInfo`; of a bare number of frames, no more."""
        info = self._call(self._probe)
        if isinstance(info, VideoInfo):
            return info
        if not isinstance(info, (int, np.integer)):
            raise ValueError(
                "`probe` must give the number of frames, or a `VideoInfo`. "
                f"Received: {info!r} for {self.path!r}."
            )
        return VideoInfo(int(info), fps=0.0, height=0, width=0, codec="", duration=0.0)

    def decode(self, indices, short_side=None):
        """Decodes chosen frames.

        Args:
            indices: frame numbers, in any order, repeats allowed.
            short_side: pixels to which the decoder's frames are resized; `None` keeps their size.

        Returns:
            uint8 array of shape `(len(indices), height, width, 3)`.

        Raises:
            ValueError: if the decoder fails, or gives anything else.
        """
        frames = np.asarray(self._call(self._decoder, np.asarray(indices)))
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[::3] != (len(indices), 3):
            raise ValueError(
                f"`decoder` must give uint8 frames of shape ({len(indices)}, height, width, 3) for "
                f"{len(indices)} indices. Received: {frames.dtype} of shape {frames.shape} for "
                f"{self.path!r}. Frames are RGB, channels last."
            )
        return resize_frames(frames, short_side)

    def _call(self, function, *arguments):
        try:
            return function(self.path, *arguments)
        # Whatever a decoder raises: a broken video is a broken video, in any library's words.
        except Exception as error:
            raise ValueError(f"The video {self.path!r} cannot be read: {error}") from error

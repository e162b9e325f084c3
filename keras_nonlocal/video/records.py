"""A video kept as a record of a TFRecord file: `Record` reads it."""

import functools
import os

import numpy as np
import tensorflow as tf

from keras_nonlocal.video import frame_index, framing, jpeg_pictures, sequence_examples
from keras_nonlocal.video.info import VideoInfo, check_indices, check_range
from keras_nonlocal.video.pyav import empty_pictures, fit_size, resize_frames

_JPEG = b"\xff\xd8"


class Record:
    """A video that is a record of a TFRecord file, each of its frames a JPEG or PNG picture.

    Reading one does not need the frames before it, which makes clips out of records several times
    as fast as out of mp4 files, and the files several times as large.

    Args:
        path: the address of the record, `"videos-00003-of-00010.tfrecord@OFFSET"`, as
            `read_records` gives it.

    Raises:
        FileNotFoundError: if there is no such file; when the record is read, as the other errors.
        ValueError: if no whole, undamaged record with frames begins at the offset.
    """

    # Records say how many frames a second they hold, and no more.
    times = None

    def __init__(self, path):
        self.path = os.fspath(path)

    @functools.cached_property
    def info(self):
        """A `VideoInfo`; `codec` is the format of the pictures."""
        context, index = self._opening
        if index is not None:
            fps, (height, width), codec = (
                sequence_examples.rate_of(context),
                sequence_examples.size_of(context),
                "jpeg",
            )
        else:
            (picture,) = self._read_pictures([0])
            height, width = self._decode_picture(0, picture).shape[:2]
            fps = sequence_examples.fps_of(self._example)
            codec = "png" if picture.startswith(b"\x89PNG") else "jpeg"
        frames = self._num_frames
        return VideoInfo(frames, fps, height, width, codec, frames / fps if fps else 0.0)

    def decode(self, indices, short_side=None):
        """Decodes chosen frames, as `decode_frames` does."""
        indices = check_indices(indices, short_side)
        check_range(indices, self._num_frames, self.path)
        wanted, places = np.unique(indices, return_inverse=True)
        frames = self._decode_pictures(wanted, self._read_pictures(wanted), short_side)
        # Most clips want each frame once and in order; spare them a copy.
        return frames if np.array_equal(wanted, indices) else frames[places]

    def iterate(self, short_side=None):
        """Yields all frames in their order, each `uint8` of shape `(height, width, 3)`."""
        check_indices([0], short_side)
        for number, feature in enumerate(sequence_examples.frames_of(self._example)):
            yield self._decode_pictures([number], [_picture(feature)], short_side)[0]

    # What is asked of one object reads the record once: its beginning if that tells where each
    # frame is, and these, or else all of it.
    @functools.cached_property
    def _opening(self):
        context, end, head = sequence_examples.read_context(*_split_address(self.path))
        return context, None if context is None else frame_index.find_frames(context, head, end)

    @functools.cached_property
    def _example(self):
        return sequence_examples.parse_example(*_split_address(self.path))

    @property
    def _num_frames(self):
        _, index = self._opening
        return len(sequence_examples.frames_of(self._example) if index is None else index)

    def _read_pictures(self, numbers):
        _, index = self._opening
        pictures = index and index.read(*_split_address(self.path), numbers)
        if pictures is None:
            # Or the index is wrong, or a frame: the checksum of the whole record decides.
            frames = sequence_examples.frames_of(self._example)
            pictures = [_picture(frames[int(number)]) for number in numbers]
        return pictures

    def _decode_pictures(self, numbers, pictures, short_side):
        height, width = self.info.height, self.info.width
        fits = fit_size(height, width, short_side) == (height, width)
        if not fits and all(picture.startswith(_JPEG) for picture in pictures):
            try:
                return jpeg_pictures.decode_resized(pictures, short_side)
            except ValueError as error:
                raise self._broken(f"one of its frames is {error}") from None
        # As TensorFlow decodes them, and so whoever else reads the records.
        frames = None
        for place, picture in enumerate(pictures):
            frame = self._decode_picture(numbers[place], picture)
            if frames is None:
                frames = empty_pictures((len(numbers), *frame.shape))
            if frame.shape != frames.shape[1:]:
                raise self._broken("its frames are not all of one size")
            frames[place] = frame
        return resize_frames(frames, short_side)

    def _decode_picture(self, number, picture):
        try:
            return tf.io.decode_image(picture, channels=3, expand_animations=False).numpy()
        except tf.errors.InvalidArgumentError as error:
            reason = error.message.splitlines()[0]
            raise self._broken(f"frame {number} is no whole picture ({reason})") from None

    def _broken(self, reason):
        return framing.damaged(*_split_address(self.path), reason)


def _picture(feature):
    return feature.bytes_list.value[0] if feature.bytes_list.value else b""


def _split_address(address):
    path, _, offset = address.rpartition("@")
    if not path or not offset.isdecimal():
        raise ValueError(
            "A record must be addressed as FILE@OFFSET. "
            f"Received: {address!r}. `read_records` gives addresses."
        )
    return path, int(offset)

"""Where each frame of a record lies, noted in the record itself.

A clip needs a tenth of a video's frames, and a disk has better things to do than to read the rest.
The records of this package say in their context how many bytes each frame has, from which follows
where it is, and its checksum, as the record's own can only be told from all of it. Others pass
over these two features.
"""

import dataclasses

import google_crc32c
import numpy as np

from keras_nonlocal.video import framing

SIZES = "image/encoded/bytes"
CHECKSUMS = "image/encoded/crc32c"
# What stands between the context and the first frame, but for three lengths.
_FRAMES_KEY = b"\x0a\x0dimage/encoded"


@dataclasses.dataclass(frozen=True, eq=False)
class FrameIndex:
    """Where the frames of a record are.

    Args:
        starts: of each frame the first byte, from the record's first.
        sizes: of each frame the number of bytes.
        checksums: of each frame the CRC-32C.
    """

    starts: np.ndarray
    sizes: np.ndarray
    checksums: np.ndarray

    def __len__(self):
        return len(self.sizes)

    def read(self, path, offset, numbers):
        """Reads chosen frames.

        Args:
            path: of the TFRecord file.
            offset: of the record.
            numbers: of the frames.

        Returns:
            A list of bytes; `None` if they are not what the index says.
        """
        parts = [(int(self.starts[n]), int(self.sizes[n])) for n in numbers]
        pictures = framing.read_parts(path, offset, parts)
        for number, picture in zip(numbers, pictures, strict=True):
            if google_crc32c.value(picture) != self.checksums[number]:
                return None
        return pictures


def note_frames(context, pictures):
    """Puts the index of frames into the context of their example.

    Args:
        context: a `tf.train.Features`.
        pictures: the frames, bytes each.
    """
    context.feature[SIZES].int64_list.value.extend(map(len, pictures))
    context.feature[CHECKSUMS].int64_list.value.extend(map(google_crc32c.value, pictures))


def find_frames(context, head, end):
    """Finds the index of the frames of a record.

    Args:
        context: the record's context, a `tf.train.Features`.
        head: the record's first bytes.
        end: how many of these the context takes.

    Returns:
        A `FrameIndex`, or `None` if there is none, or it is not of these frames, as the record
        was written anew by something that does not know of it.
    """
    if SIZES not in context.feature or CHECKSUMS not in context.feature:
        return None
    sizes = np.array(context.feature[SIZES].int64_list.value, np.int64)
    checksums = np.array(context.feature[CHECKSUMS].int64_list.value, np.int64)
    # Around each frame are three messages, each a tag and a length.
    whole = sizes
    for _ in range(3):
        whole = whole + 1 + _length_of_varints(whole)
    # feature_lists, its first entry, that entry's key, and its value: the frames.
    position, length = end, 0
    for opening in (b"\x12", b"\x0a", _FRAMES_KEY + b"\x12"):
        if not head.startswith(opening, position):
            return None
        length, position = read_varint(head, position + len(opening))
    if length != whole.sum() or len(sizes) != len(checksums) or not len(sizes):
        return None
    return FrameIndex(position + np.cumsum(whole) - sizes, sizes, checksums)


def read_varint(data, position):
    """Reads a number as Protocol Buffers write it: seven bits a byte, lowest first.

    Returns:
        The number, and the position behind it; beyond the end of the data if that breaks off.
    """
    number, shift = 0, 0
    while position < len(data):
        byte = data[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position
    return number, len(data) + 1


def _length_of_varints(numbers):
    return 1 + sum((numbers >= 1 << bits).astype(np.int64) for bits in (7, 14, 21, 28))

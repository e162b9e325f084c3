"""Videos in TFRecord files: frames of a record, its labels, how it is written, and the index.

A record is a `tf.train.SequenceExample` in the layout of tf-models-official's video classification
(`image/encoded`, `clip/label/index`) and, for all that this does not name, of MediaSequence.

Beside a file that `keras-nonlocal prepare` wrote is its index, `FILE.idx`: the offset of each
frame, so that only those of a clip are read, without TensorFlow. Records without are parsed whole.

Reference:
    [tf-models-official](https://github.com/tensorflow/models), official/vision/dataloaders/
    video_input.py; [MediaSequence](https://github.com/google-ai-edge/mediapipe),
    mediapipe/util/sequence/media_sequence.py.
"""

import functools
import io
import os
import struct

import google_crc32c
import numpy as np

from keras_nonlocal.video import tfrecord
from keras_nonlocal.video.images import Pictures
from keras_nonlocal.video.info import VideoInfo

INDEX_SUFFIX = ".idx"
FRAMES = "image/encoded"
LABELS = "clip/label/index"
# Names of labels: ours and tf-models-official's, MediaSequence's.
NAMES = ("clip/label/text", "clip/label/string")
# First bytes of a record that hold its labels, unless there is audio or the like before them.
_HEAD = 1 << 16
# A message of Protocol Buffers holds less than 2 GiB; leave room for all but the frames.
_LARGEST = 2_000_000_000
_MICROSECONDS = 1_000_000
# An index is a magic word, a checksum of the rest, the number of records, a row per record, and a
# row per frame, of all records in their order. NumPy's own formats take ten times as long to read.
_MAGIC = b"KNLINDX1"
_CHECKSUM = struct.Struct("<I")
_COUNT = struct.Struct("<Q")
_RECORD = np.dtype(
    [("offset", "<i8"), ("frames", "<i8"), ("fps", "<f8"), ("height", "<i4"), ("width", "<i4")]
)
_FRAME = np.dtype([("offset", "<i8"), ("size", "<i4"), ("crc32c", "<u4")])


class Record(Pictures):
    """A video that is a record of a TFRecord file, each of its frames a JPEG or PNG picture.

    Args:
        path: address of the record, `"videos-00003-of-00010.tfrecord@OFFSET"`, as `read_records`
            gives it; the file may be an fsspec URL.

    Raises:
        FileNotFoundError: if there is no such file; when the record is read, as the other errors.
        ValueError: if no whole, undamaged record with frames begins at the offset.
    """

    def __init__(self, path):
        self.path = os.fspath(path)

    @functools.cached_property
    def info(self):
        """The `VideoInfo`; `codec` is the format of the pictures."""
        if self._index is None:
            return self._probe(_rate_of(self._example))
        _, frames, fps, height, width = self._index[0].tolist()
        return VideoInfo(frames, fps, height, width, "jpeg", frames / fps if fps else 0.0)

    # What is asked of one object reads the index or the record once.
    @functools.cached_property
    def _index(self):
        """The record's row and those of its frames; `None` without an index."""
        return _read_index(*_split_address(self.path))

    @functools.cached_property
    def _example(self):
        return _parse_example(*_split_address(self.path))

    @property
    def _count(self):
        return len(_frames_of(self._example) if self._index is None else self._index[1])

    def _read(self, indices):
        if self._index is None:
            frames = _frames_of(self._example)
            for index in indices:
                yield b"".join(frames[index].bytes_list.value[:1])
            return
        path, _ = _split_address(self.path)
        rows = self._index[1][list(indices)].tolist()
        pictures = tfrecord.read_ranges(path, [row[:2] for row in rows])
        for index, picture, (_, size, checksum) in zip(indices, pictures, rows, strict=True):
            if len(picture) < size:
                raise self._broken(f"the file ends within {self._name(index)}")
            if google_crc32c.value(picture) != checksum:
                raise self._broken(
                    f"{self._name(index)} does not match its checksum in {path + INDEX_SUFFIX!r}",
                    "Copy both files again from their source. If another program wrote the "
                    "records anew, delete the index.",
                )
            yield picture

    def _name(self, index):
        return f"frame {index}"

    def _broken(self, reason, *hint):
        return tfrecord.damaged(*_split_address(self.path), reason, *hint)


def make_example(frames, labels, class_names, path, fps=0.0, events=(), quality=90):
    """Builds the record of a video.

    Args:
        frames: iterable of `uint8` arrays of shape `(height, width, 3)`, RGB, all of one size. One
            at a time is held, besides the JPEG files of all.
        labels: class indices of the video, one or several.
        class_names: names of all classes.
        path: what the record calls its video, a relative path.
        fps: frames per second; 0 if unknown. The time stamps of the frames are evenly spaced.
        events: triples of a class index, a start and an end in seconds.
        quality: of the JPEG files, 1 to 100.

    Returns:
        A `tf.train.SequenceExample`.

    Raises:
        ValueError: if there are no frames, or more than fit into a record (2 GB).

    Example:

    >>> frames = np.zeros((2, 16, 16, 3), np.uint8)
    >>> example = make_example(frames, [1], ["jump", "run"], "run/1.mp4", fps=25)
    >>> example.context.feature["clip/label/text"].bytes_list.value
    [b'run']
    """
    import tensorflow as tf

    example = tf.train.SequenceExample()
    lists = example.feature_lists.feature_list
    pictures, size = [], 0
    for index, frame in enumerate(frames):
        height, width = frame.shape[:2]
        pictures.append(tf.io.encode_jpeg(frame, quality=quality).numpy())
        size += len(pictures[-1])
        if size > _LARGEST:
            raise ValueError(
                f"The video {path!r} does not fit into a record: its first {index} frames fill "
                f"{_LARGEST / 1e9:.0f} GB. Cut it, or store fewer or smaller frames."
            )
        if fps:
            time = round(index / fps * _MICROSECONDS)
            lists["image/timestamp"].feature.add().int64_list.value.append(time)
    if not pictures:
        raise ValueError(f"The video {path!r} holds no frames. Leave it out.")
    for picture in pictures:
        lists[FRAMES].feature.add().bytes_list.value.append(picture)
    features = {
        "clip/data_path": path,
        "clip/media_id": os.path.splitext(os.path.basename(path))[0],
        LABELS: list(labels),
        NAMES[0]: [class_names[label] for label in labels],
        "image/channels": 3,
        "image/colorspace": "RGB",
        "image/encoded/bytes": [len(picture) for picture in pictures],
        "image/encoded/crc32c": [google_crc32c.value(picture) for picture in pictures],
        "image/format": "JPEG",
        "image/height": height,
        "image/width": width,
        **({"image/frame_rate": float(fps)} if fps else {}),
    }
    if events:
        indices, starts, ends = zip(*events, strict=True)
        features |= {
            "segment/label/index": list(indices),
            "segment/label/string": [class_names[index] for index in indices],
            "segment/start/timestamp": [round(start * _MICROSECONDS) for start in starts],
            "segment/end/timestamp": [round(end * _MICROSECONDS) for end in ends],
        }
    for name, values in features.items():
        _put(example.context.feature[name], values if isinstance(values, list) else [values])
    return example


def write_record(file, example):
    """Writes a record to the end of a file; equal examples have equal bytes.

    Args:
        file: binary file; `tell()` must be the size of what was written.
        example: a `tf.train.SequenceExample` of `make_example`.

    Returns:
        What `encode_index` needs of the record, a tuple; its second element has a row per frame.
    """
    offset, data = file.tell(), example.SerializeToString(deterministic=True)
    header, *rest = tfrecord.frame_record(data)
    for part in (header, *rest):
        file.write(part)
    rows, end = [], 0
    for feature in _frames_of(example):
        (picture,) = feature.bytes_list.value
        # Wherever it is found, these are its bytes, and frames are in their order.
        start = data.index(picture, end)
        end = start + len(picture)
        position = offset + len(header) + start
        rows.append((position, len(picture), google_crc32c.value(picture)))
    context = example.context
    height, width, fps = (
        next(iter(_values_of(context, f"image/{name}")), 0)
        for name in ("height", "width", "frame_rate")
    )
    return (offset, len(rows), fps, height, width), rows


def encode_index(written):
    """Returns the bytes of the index of a file, by what `write_record` returned for each record.

    They go into a file of the same name with `INDEX_SUFFIX` appended.
    """
    rows = _COUNT.pack(len(written))
    rows += np.array([record for record, _ in written], _RECORD).tobytes()
    rows += np.array([row for _, frames in written for row in frames], _FRAME).tobytes()
    return _MAGIC + _CHECKSUM.pack(google_crc32c.value(rows)) + rows


def scan_labels(path):
    """Reads the labels of all records of a TFRecord file, and not their frames.

    Args:
        path: path or URL of the file.

    Yields:
        Of each record: its offset; class indices, empty if there are names alone; names of the
        classes, empty if there are indices alone; events, triples of a class index, a start and an
        end in seconds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated or of another kind, or a record has no labels.
    """
    for offset, length, file in tfrecord.scan_records(path):
        context = _parse_head(file.read(min(length, _HEAD)))
        if context is None:
            context = _parse_example(path, offset).context
        yield offset, *_labels_of(path, offset, context)


def _labels_of(path, offset, context):
    indices = tuple(map(int, _values_of(context, LABELS)))
    texts = next((values for name in NAMES if (values := _values_of(context, name))), ())
    names = tuple(text.decode("utf-8", "replace") for text in texts if isinstance(text, bytes))
    if LABELS not in context.feature and not names:
        reason = f"it has no labels, {LABELS!r} or {NAMES[0]!r}"
        raise tfrecord.damaged(path, offset, reason, "Pass records of video classification.")
    if any(index < 0 for index in indices):
        reason = f"{LABELS!r} holds {min(indices)}, which is no class"
        raise tfrecord.damaged(path, offset, reason, "Leave out records without a class.")
    # One text for several labels is a sentence, not their names.
    if indices and len(names) != len(indices):
        names = ()
    events = [_values_of(context, "segment/label/index")]
    for name in ("start", "end"):
        times = _values_of(context, f"segment/{name}/timestamp")
        events.append([time / _MICROSECONDS for time in times])
    same = len(set(map(len, events))) == 1
    return indices, names, tuple(zip(*events, strict=True)) if same else ()


def _parse_head(head):
    """Returns the context of a record, which is first in what most programs write, or `None`."""
    import tensorflow as tf
    from google.protobuf import proto
    from google.protobuf.message import DecodeError

    if head.startswith(b"\x0a"):  # The tag of the context.
        try:
            return proto.parse_length_prefixed(tf.train.Features, io.BytesIO(head[1:]))
        except (DecodeError, ValueError):
            pass  # It is longer than the head, or damaged, which the whole record shows.
    return None


def _parse_example(path, offset):
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        example = tf.train.SequenceExample.FromString(tfrecord.read_record(path, offset))
    except DecodeError:
        raise tfrecord.damaged(path, offset, "it is no tf.train.SequenceExample") from None
    if not _frames_of(example):
        reason = f"it holds no frames, the feature list {FRAMES!r}"
        raise tfrecord.damaged(path, offset, reason, "Pass records of video classification.")
    return example


def _read_index(path, offset):
    """Returns the rows of a record and of its frames in the index; `None` if there is no index."""
    system, name = tfrecord.file_system(path + INDEX_SUFFIX)
    try:
        content = system.cat_file(name)
    except FileNotFoundError:
        return None
    start, rows = content[: len(_MAGIC) + _CHECKSUM.size], content[len(_MAGIC) + _CHECKSUM.size :]
    whole = start == _MAGIC + _CHECKSUM.pack(google_crc32c.value(rows))
    count = _COUNT.unpack_from(rows)[0] if whole else 0
    records = np.frombuffer(rows[_COUNT.size :], _RECORD, count)
    (places,) = np.nonzero(records["offset"] == offset)
    if not len(places):
        raise tfrecord.damaged(
            path,
            offset,
            f"its index {path + INDEX_SUFFIX!r} is damaged or of another file",
            "Copy both files again from their source. Without the index, the record is parsed.",
        )
    (place,) = places.tolist()
    frames = np.frombuffer(rows, _FRAME, offset=_COUNT.size + count * _RECORD.itemsize)
    end = int(records["frames"][: place + 1].sum())
    return records[place], frames[end - int(records["frames"][place]) : end]


def _rate_of(example):
    """Returns the frames per second of a record, also by its time stamps, or 0."""
    if rate := next(iter(_values_of(example.context, "image/frame_rate")), 0):
        return float(rate)
    stamps = example.feature_lists.feature_list["image/timestamp"].feature
    times = [feature.int64_list.value[0] for feature in stamps if feature.int64_list.value]
    if len(times) < 2 or times[-1] <= times[0]:
        return 0.0
    return (len(times) - 1) * _MICROSECONDS / (times[-1] - times[0])


def _frames_of(example):
    return example.feature_lists.feature_list[FRAMES].feature


def _values_of(context, name):
    """Returns the values of a feature of any type; none if there is no such feature."""
    # A look-up by name would add the feature to the message.
    if name not in context.feature:
        return ()
    feature = context.feature[name]
    kind = feature.WhichOneof("kind")
    return getattr(feature, kind).value if kind else ()


def _put(feature, values):
    if values and isinstance(values[0], str):
        # Names of files need not be text; their bytes are kept.
        feature.bytes_list.value.extend(text.encode("utf-8", "surrogateescape") for text in values)
    elif values and isinstance(values[0], float):
        feature.float_list.value.extend(values)
    else:
        feature.int64_list.value.extend(int(value) for value in values)


def _split_address(address):
    path, _, offset = address.rpartition("@")
    if not path or not offset.isdecimal():
        raise ValueError(
            "A record must be addressed as FILE@OFFSET. "
            f"Received: {address!r}. `read_records` gives addresses."
        )
    return path, int(offset)

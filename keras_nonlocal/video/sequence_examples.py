"""The layout of a video in a `tf.train.SequenceExample`: one place that knows the features' names.

It is the layout of tf-models-official's video classification (`image/encoded`, `clip/label/index`)
and, for all that this does not name, of MediaSequence.

Reference:
    [tf-models-official](https://github.com/tensorflow/models), official/vision/dataloaders/
    video_input.py; [MediaSequence](https://github.com/google-ai-edge/mediapipe),
    mediapipe/util/sequence/media_sequence.py.
"""

import os

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_nonlocal.video import frame_index, framing

FRAMES = "image/encoded"
LABELS = "clip/label/index"
# Names of labels: ours and tf-models-official's, MediaSequence's.
NAMES = ("clip/label/text", "clip/label/string")
# First bytes of a record that hold the context, but for one with audio or the like in it.
HEAD = 1 << 16
# A message of Protocol Buffers cannot be larger than 2 GiB; what is not frames is far smaller than
# what this leaves.
_LARGEST = 2_000_000_000
MICROSECONDS = 1_000_000


def make_example(frames, labels, classes, path, fps=0.0, events=(), quality=90):
    """Makes the record of a video.

    Args:
        frames: iterable of `uint8` arrays of shape `(height, width, 3)`, RGB, all of one size.
            Only one is held at a time, besides the JPEG files that are made of them.
        labels: class numbers of the video, one or several.
        classes: names of all classes.
        path: what the record calls its video, a relative path.
        fps: frames per second; 0 where it is unknown. The time stamps of the frames are evenly
            spaced by it, as the numbers of frames are for everything else here.
        events: triples of a class number, a start and an end in seconds.
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
    example = tf.train.SequenceExample()
    lists = example.feature_lists.feature_list
    times, pictures, size = lists["image/timestamp"].feature, [], 0
    for number, frame in enumerate(frames):
        height, width = frame.shape[:2]
        picture = tf.io.encode_jpeg(frame, quality=quality).numpy()
        size += len(picture)
        if size > _LARGEST:
            raise ValueError(
                f"The video {path!r} does not fit into a record: its first {number} frames fill "
                f"{_LARGEST / 1e9:.0f} GB. Cut it, or take fewer or smaller frames of it."
            )
        pictures.append(picture)
        if fps:
            times.add().int64_list.value.append(round(number / fps * MICROSECONDS))
    if not pictures:
        raise ValueError(f"The video {path!r} holds no frames. Leave it out.")
    for picture in pictures:
        lists[FRAMES].feature.add().bytes_list.value.append(picture)
    if not fps:
        del lists["image/timestamp"]
    frame_index.note_frames(example.context, pictures)

    features = {
        "clip/data_path": path,
        "clip/media_id": os.path.splitext(os.path.basename(path))[0],
        LABELS: list(labels),
        NAMES[0]: [classes[label] for label in labels],
        "image/channels": 3,
        "image/colorspace": "RGB",
        "image/format": "JPEG",
        "image/height": height,
        "image/width": width,
        **({"image/frame_rate": float(fps)} if fps else {}),
    }
    if events:
        numbers, starts, ends = zip(*events, strict=True)
        features |= {
            "segment/label/index": list(numbers),
            "segment/label/string": [classes[number] for number in numbers],
            "segment/start/timestamp": [round(start * MICROSECONDS) for start in starts],
            "segment/end/timestamp": [round(end * MICROSECONDS) for end in ends],
        }
    for name, values in features.items():
        _put(example.context.feature[name], values if isinstance(values, list) else [values])
    return example


def serialize(example):
    """Gives the bytes of an example; equal examples have equal bytes."""
    return example.SerializeToString(deterministic=True)


def parse_example(path, offset):
    """Reads the record at an offset of a TFRecord file.

    Args:
        path: of the file.
        offset: of the record's first byte.

    Returns:
        A `tf.train.SequenceExample` that holds frames.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the record cannot be read, or holds no frames.
    """
    try:
        example = tf.train.SequenceExample.FromString(framing.read_record(path, offset))
    except DecodeError:
        raise framing.damaged(path, offset, "it is no tf.train.SequenceExample") from None
    if not example.feature_lists.feature_list[FRAMES].feature:
        reason = f"it holds no frames, the feature list {FRAMES!r}"
        raise framing.damaged(path, offset, reason, "Give records of video classification.")
    return example


def frames_of(example):
    """Gives the encoded pictures of an example, as a sequence of features."""
    return example.feature_lists.feature_list[FRAMES].feature


def size_of(context):
    """Gives height and width of the frames as the context of an example says, or 0."""
    return tuple(
        int(next(iter(values_of(context, name)), 0)) for name in ("image/height", "image/width")
    )


def rate_of(context):
    """Gives the frames per second as the context of an example says, or 0."""
    return float(next(iter(values_of(context, "image/frame_rate")), 0))


def fps_of(example):
    """Gives the frames per second of an example, also by its time stamps, or 0."""
    if rate := rate_of(example.context):
        return rate
    stamps = example.feature_lists.feature_list["image/timestamp"].feature
    times = [feature.int64_list.value[0] for feature in stamps if feature.int64_list.value]
    if len(times) < 2 or times[-1] <= times[0]:
        return 0.0
    return (len(times) - 1) * MICROSECONDS / (times[-1] - times[0])


def read_context(path, offset):
    """Reads the context of a record, and not its frames.

    Args:
        path: of the TFRecord file.
        offset: of the record's first byte.

    Returns:
        A `tf.train.Features`, how many bytes it takes, and the record's first bytes, these and
        some more; `None` and 0 in place of the former if the context does not come first.
    """
    (head,) = framing.read_parts(path, offset, [(0, HEAD)])
    # Of a long video the sizes of the frames alone take more; behind them stand a few lengths.
    end = _find_end(head)
    if end > len(head):
        (head,) = framing.read_parts(path, offset, [(0, end + 100)])
    return *parse_context(head), head


def parse_context(head):
    """Parses the context of an example, of which the first bytes are there.

    Args:
        head: the first bytes.

    Returns:
        A `tf.train.Features` and how many bytes it takes; `None` and 0 if they do not hold it.
    """
    end = _find_end(head)
    if not 0 < end <= len(head):
        return None, 0
    try:
        return tf.train.Features.FromString(head[frame_index.read_varint(head, 1)[1] : end]), end
    except DecodeError:
        return None, 0


def _find_end(head):
    """Where the context ends with which an example begins that has its fields in their order: a
    tag, a length, its bytes. 0 if another field comes first."""
    if not head.startswith(b"\x0a"):
        return 0
    length, start = frame_index.read_varint(head, 1)
    return start + length


def values_of(context, name):
    """Gives the values of a feature of a context, of whichever kind; none if it has no such."""
    # Looking a name up would put it into the message.
    if name not in context.feature:
        return ()
    feature = context.feature[name]
    kind = feature.WhichOneof("kind")
    return getattr(feature, kind).value if kind else ()


def _put(feature, values):
    if values and isinstance(values[0], str):
        # Names of files need not be text; what they hold instead comes through as it was.
        feature.bytes_list.value.extend(text.encode("utf-8", "surrogateescape") for text in values)
    elif values and isinstance(values[0], float):
        feature.float_list.value.extend(values)
    else:
        feature.int64_list.value.extend(int(value) for value in values)

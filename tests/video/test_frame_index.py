"""The index of a record leads to each frame, whatever the sizes."""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.video import frame_index, framing, sequence_examples

# Around the sizes at which a length takes one byte more, also those of the messages around.
SIZES = {
    "small": [1, 5, 100],
    "one byte": [*range(112, 130)],
    "two bytes": [*range(16_368, 16_386)],
    "three bytes": [*range(2_097_132, 2_097_154, 3)],
    "mixed": [10, 20_000, 127, 3_000_000, 1],
    "empty": [0, 3, 0],
}


def store(path, sizes):
    generator = np.random.default_rng(0)
    pictures = [generator.bytes(size) for size in sizes]
    example = tf.train.SequenceExample()
    for picture in pictures:
        frames = example.feature_lists.feature_list["image/encoded"].feature
        frames.add().bytes_list.value.append(picture)
    frame_index.note_frames(example.context, pictures)
    path.write_bytes(b"".join(framing.frame_record(sequence_examples.serialize(example))))
    return pictures


def find(path):
    context, end, head = sequence_examples.read_context(path, 0)
    return frame_index.find_frames(context, head, end)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_each_frame_is_found(sizes, tmp_path):
    pictures = store(tmp_path / "a", sizes)
    index = find(tmp_path / "a")
    assert len(index) == len(sizes)
    assert index.read(tmp_path / "a", 0, range(len(sizes))) == pictures
    assert index.read(tmp_path / "a", 0, [2, 0]) == [pictures[2], pictures[0]]


def test_other_bytes_are_noticed(tmp_path):
    store(tmp_path / "a", [100, 200, 300])
    index = find(tmp_path / "a")
    data = bytearray((tmp_path / "a").read_bytes())
    data[-10] ^= 1
    (tmp_path / "a").write_bytes(data)
    assert index.read(tmp_path / "a", 0, [2]) is None
    assert index.read(tmp_path / "a", 0, [1]) is not None


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"\x05", (5, 1)), (b"\xac\x02\x07", (300, 2)), (b"\x80\x80\x01", (16384, 3))],
    ids=["one", "two", "three"],
)
def test_lengths_are_read(data, expected):
    assert frame_index.read_varint(data, 0) == expected


def test_a_length_that_breaks_off_ends_beyond_the_data():
    assert frame_index.read_varint(b"\xac", 0)[1] == 2

"""Videos as records: what is stored is read, in our layout and in that of others."""

import io
import pathlib
import sys
import weakref
from fractions import Fraction

import av
import fsspec
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from keras_nonlocal.video import records, tfrecord
from keras_nonlocal.video.images import FrameFolder
from keras_nonlocal.video.open import decode_frames, open_video, probe_video
from keras_nonlocal.video.pyav import fit_size
from keras_nonlocal.video.records import INDEX_SUFFIX, Record
from tests.made_videos import moving_bars

FRAMES = moving_bars(30, 48, 64)


def store(path, *examples, index=False):
    """Writes examples; returns their addresses."""
    with open(path, "wb") as file:
        written = [records.write_record(file, example) for example in examples]
    if index:
        pathlib.Path(f"{path}{INDEX_SUFFIX}").write_bytes(records.encode_index(written))
    return [f"{path}@{offset}" for (offset, *_), _ in written]


def store_bytes(path, *records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return [f"{path}@{offset}" for offset, _, _ in tfrecord.scan_records(path)]


def make(frames=FRAMES, labels=(1,), **options):
    return records.make_example(frames, labels, ["jump", "run"], "run/1.mp4", **options)


def foreign(pictures, label=1, **timestamps):
    """An example as tf-models-official's test utilities make it: pictures and a label, no more."""
    example = tf.train.SequenceExample()
    example.context.feature["clip/label/index"].int64_list.value[:] = [label]
    lists = example.feature_lists.feature_list
    for picture in pictures:
        lists["image/encoded"].feature.add().bytes_list.value[:] = [picture]
    for time in timestamps.get("times", ()):
        lists["image/timestamp"].feature.add().int64_list.value[:] = [time]
    return example


def encode(frame, kind, **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(frame).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module", params=[True, False], ids=["index", "no-index"])
def address(request, tmp_path_factory):
    """The second record of a file, of 25 frames per second."""
    path = tmp_path_factory.mktemp("records") / "a.tfrecord"
    return store(path, make(FRAMES[:1]), make(fps=25.0), index=request.param)[1]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """A file of three records, and its index."""
    path = tmp_path_factory.mktemp("indexed") / "a.tfrecord"
    store(path, make(FRAMES[:2]), make(FRAMES[5:], fps=25.0), make(FRAMES[3:6]), index=True)
    return path


def copied(path, folder):
    for name in (path.name, path.name + INDEX_SUFFIX):
        (folder / name).write_bytes(path.with_name(name).read_bytes())
    return folder / path.name


def addresses_of(path):
    return [f"{path}@{offset}" for offset, _, _ in tfrecord.scan_records(path)]


def test_frames_are_those_that_were_stored_but_for_the_compression(address):
    frames = decode_frames(address, range(30))
    assert frames.shape == FRAMES.shape
    # Any two of the frames differ by more than 3 on average.
    assert np.abs(frames.astype(float) - FRAMES).mean(axis=(1, 2, 3)).max() < 3


def test_frames_come_in_the_order_of_the_indices(address):
    whole = decode_frames(address, range(30))
    np.testing.assert_array_equal(decode_frames(address, [7, 3, 29, 3]), whole[[7, 3, 29, 3]])


def test_iterating_gives_the_frames_of_decoding(address):
    video = open_video(address)
    np.testing.assert_array_equal(
        np.stack(list(video.iterate(24))), video.decode(range(30), short_side=24)
    )


def decode_by_ffmpeg(content, height, width):
    """The reference: FFmpeg's demuxer of pictures, and its filters."""
    with av.open(io.BytesIO(content)) as container:
        (frame,) = container.decode(video=0)
    size = {"width": frame.width, "height": frame.height, "format": frame.format}
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(**size, time_base=Fraction(1, 25)),
        graph.add("scale", f"{width}:{height}:flags=bilinear"),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    ).configure()
    graph.push(frame)
    return graph.pull().to_ndarray()


@pytest.mark.parametrize("short_side", [None, 48, 17, 60], ids=["stored", "same", "less", "more"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}], ids=str)
def test_jpeg_pictures_have_ffmpegs_pixels_at_every_size(tmp_path, options, short_side):
    pictures = [encode(frame, "JPEG", **options) for frame in FRAMES[:3]]
    height, width = fit_size(48, 64, short_side)
    expected = np.stack([decode_by_ffmpeg(picture, height, width) for picture in pictures])
    for index, picture in enumerate(pictures):
        (tmp_path / f"{index}.jpg").write_bytes(picture)
    (record,) = store_bytes(tmp_path / "a", foreign(pictures).SerializeToString())
    for video in (FrameFolder(tmp_path), Record(record)):
        np.testing.assert_array_equal(video.decode([0, 1, 2], short_side), expected)
        np.testing.assert_array_equal(list(video.iterate(short_side)), expected)


@pytest.mark.parametrize("damage", ["cut", "none-at-all", "other-size"])
def test_a_damaged_picture_is_an_error_at_any_size(tmp_path, damage):
    good = encode(FRAMES[0], "JPEG")
    bad = {
        "cut": good[: len(good) // 2],
        "none-at-all": good[:2] + b"no picture",
        "other-size": encode(FRAMES[0][:40], "JPEG"),
    }[damage]
    (address,) = store_bytes(tmp_path / "a", foreign([good, bad, good]).SerializeToString())
    for short_side in (None, 24):
        with pytest.raises(ValueError, match="record at byte 0 of .* cannot be read"):
            decode_frames(address, [0, 1], short_side)


def test_the_facts_are_those_of_the_video(address):
    info = probe_video(address)
    assert (info.frames, info.fps, info.height, info.width) == (30, 25.0, 48, 64)
    assert (info.codec, info.duration) == ("jpeg", 1.2)


def test_a_record_of_others_is_read_once_for_all_questions(tmp_path, monkeypatch):
    pictures = [encode(FRAMES[0], "JPEG")] * 3
    (address,) = store_bytes(tmp_path / "a", foreign(pictures).SerializeToString())
    read, original = [], tfrecord.read_record
    monkeypatch.setattr(tfrecord, "read_record", lambda *a: read.append(a) or original(*a))
    video = Record(address)
    assert not read
    assert video.info.frames == 3
    video.decode([1])
    assert len(read) == 1


def test_with_an_index_frames_are_read_alone_and_without_tensorflow(indexed, monkeypatch):
    addresses = addresses_of(indexed)
    expected = [Record(address)._example for address in addresses]
    read, original = [], tfrecord.read_ranges
    monkeypatch.setattr(
        tfrecord, "read_ranges", lambda path, parts: read.extend(parts) or original(path, parts)
    )
    monkeypatch.setattr(tfrecord, "read_record", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for address, example in zip(addresses, expected, strict=True):
        frames = example.feature_lists.feature_list["image/encoded"].feature
        pictures = [frame.bytes_list.value[0] for frame in frames]
        video = Record(address)
        assert video.info.frames == len(pictures)
        assert list(video._read(range(len(pictures)))) == pictures
        read.clear()
        assert video.decode([1, 0, 1]).shape == (3, 48, 64, 3)
        assert [size for _, size in read] == [len(pictures[0]), len(pictures[1])]


def test_an_index_is_the_same_for_the_same_records(indexed, tmp_path):
    store(
        tmp_path / "b", *(Record(address)._example for address in addresses_of(indexed)), index=True
    )
    one, other = (pathlib.Path(f"{path}{INDEX_SUFFIX}") for path in (indexed, tmp_path / "b"))
    assert one.read_bytes() == other.read_bytes()


def test_records_at_urls_are_read_with_an_index_and_without(indexed):
    system = fsspec.filesystem("memory")
    system.pipe_file("/without/a.tfrecord", indexed.read_bytes())
    system.pipe_file("/with/a.tfrecord", indexed.read_bytes())
    index = indexed.with_name(indexed.name + INDEX_SUFFIX).read_bytes()
    system.pipe_file("/with/a.tfrecord" + INDEX_SUFFIX, index)
    expected = decode_frames(addresses_of(indexed)[1], [7, 3], short_side=24)
    for url in ("memory://with/a.tfrecord", "memory://without/a.tfrecord", f"file://{indexed}"):
        address = addresses_of(url)[1]
        assert (probe_video(address).frames, probe_video(address).fps) == (25, 25.0)
        np.testing.assert_array_equal(decode_frames(address, [7, 3], short_side=24), expected)


def test_a_damaged_frame_is_an_error_and_the_others_are_read(indexed, tmp_path):
    path = copied(indexed, tmp_path)
    address = addresses_of(path)[1]
    (picture,) = Record(address)._read([20])
    data = bytearray(path.read_bytes())
    data[data.index(picture) + len(picture) // 2] ^= 1
    path.write_bytes(data)
    assert Record(address).decode([19, 21]).shape == (2, 48, 64, 3)
    offset = address.split("@")[1]
    message = f"byte {offset} of '.*a.tfrecord' .*frame 20 does not match its checksum in '.*idx'"
    with pytest.raises(ValueError, match=message):
        Record(address).decode([20])
    pathlib.Path(f"{path}{INDEX_SUFFIX}").unlink()
    with pytest.raises(ValueError, match=f"byte {offset} of '.*a.tfrecord' .*match its checksum"):
        Record(address).decode([19])


def test_a_file_that_ends_early_is_an_error_and_frames_before_are_read(indexed, tmp_path):
    path = copied(indexed, tmp_path)
    address = addresses_of(path)[2]
    path.write_bytes(path.read_bytes()[:-200])
    assert Record(address).decode([0]).shape == (1, 48, 64, 3)
    with pytest.raises(ValueError, match="a.tfrecord' .*: the file ends within frame 2"):
        Record(address).decode([2])
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no file of records '.*a.tfrecord'"):
        Record(address).decode([0])


@pytest.mark.parametrize("damage", ["cut", "bytes", "other", "empty"])
def test_an_index_that_does_not_fit_is_an_error(indexed, tmp_path, damage):
    path = copied(indexed, tmp_path)
    index = pathlib.Path(f"{path}{INDEX_SUFFIX}")
    content = bytearray(index.read_bytes())
    content[100] ^= 1
    store(tmp_path / "other", make(FRAMES[:4]), index=True)
    other = pathlib.Path(f"{tmp_path / 'other'}{INDEX_SUFFIX}").read_bytes()
    index.write_bytes(
        {"cut": index.read_bytes()[:-30], "bytes": content, "other": other, "empty": b""}[damage]
    )
    with pytest.raises(ValueError, match="index '.*idx' is damaged or of another file.*again"):
        Record(addresses_of(path)[1]).decode([0])


def test_the_index_of_a_file_that_another_program_wrote_anew_is_named(indexed, tmp_path):
    path = copied(indexed, tmp_path)
    store(path, make(FRAMES[:3]))
    with pytest.raises(ValueError, match="frame 0 does not match its checksum.* delete the index"):
        Record(f"{path}@0").decode([0])


@pytest.mark.parametrize(("kind", "levels"), [("JPEG", 2), ("PNG", 0), ("BMP", 0), ("GIF", 0)])
def test_pictures_of_others_are_read(kind, levels, tmp_path):
    pictures = [encode(frame, kind) for frame in FRAMES[:4]]
    (address,) = store_bytes(tmp_path / "a", foreign(pictures).SerializeToString())
    expected = [PIL.Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    # Decoders of JPEG differ in the colors between stored ones.
    errors = np.abs(decode_frames(address, range(4)).astype(float) - np.stack(expected))
    assert errors.mean(axis=(1, 2, 3)).max() <= levels
    assert probe_video(address).codec == kind.lower()


def test_grey_pictures_become_rgb(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    (address,) = store_bytes(tmp_path / "a", foreign([encode(grey, "PNG")]).SerializeToString())
    np.testing.assert_array_equal(decode_frames(address, [0])[0], np.stack([grey] * 3, axis=-1))


def test_the_rate_of_others_is_that_of_their_time_stamps(tmp_path):
    pictures = [encode(FRAMES[0], "JPEG")] * 3
    example = foreign(pictures, times=[0, 40_000, 80_000])
    (address,) = store_bytes(tmp_path / "a", example.SerializeToString())
    assert probe_video(address).fps == 25


def test_a_rate_that_is_not_stored_is_unknown(tmp_path):
    example = foreign([encode(FRAMES[0], "JPEG")] * 3)
    (address,) = store_bytes(tmp_path / "a", example.SerializeToString())
    assert (probe_video(address).fps, probe_video(address).duration) == (0, 0)


BROKEN = {
    "another message": (b"\xff\xff no message", "is no tf.train.SequenceExample"),
    "no frames": (foreign([]).SerializeToString(), "holds no frames, .*'image/encoded'"),
    "a cut picture": (
        foreign([encode(FRAMES[0], "JPEG")[:700]]).SerializeToString(),
        "frame 0 is no whole picture",
    ),
    "no picture": (foreign([b"text"]).SerializeToString(), "frame 0 is no whole picture"),
    "two sizes": (
        foreign([encode(FRAMES[0], "PNG"), encode(FRAMES[0, :40], "PNG")]).SerializeToString(),
        "frame 1 is 64x40, others are 64x48",
    ),
}


@pytest.mark.parametrize(("data", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_named(data, message, tmp_path):
    addresses = store_bytes(tmp_path / "a", make(FRAMES[:1]).SerializeToString(), data)
    offset = addresses[1].split("@")[1]
    with pytest.raises(ValueError, match=f"record at byte {offset} of '.*a' .*{message}"):
        decode_frames(addresses[1], [0, 1] if "others are" in message else [0])


def test_frames_outside_are_an_error(address):
    with pytest.raises(IndexError, match=r"must lie in \[0, 30\).*Received: 30"):
        decode_frames(address, [0, 30])


@pytest.mark.parametrize("path", ["a.tfrecord", "a.tfrecord@", "@3", "a@b"])
def test_an_address_has_a_file_and_an_offset(path):
    with pytest.raises(ValueError, match="addressed as FILE@OFFSET"):
        Record(path).decode([0])


def test_examples_hold_the_layout_of_tf_models_official():
    context, sequences = tf.io.parse_single_sequence_example(
        make(FRAMES[:5], fps=25.0).SerializeToString(),
        {
            "clip/label/index": tf.io.VarLenFeature(tf.int64),
            "clip/label/text": tf.io.VarLenFeature(tf.string),
            "clip/data_path": tf.io.FixedLenFeature((), tf.string),
            "clip/media_id": tf.io.FixedLenFeature((), tf.string),
            "image/format": tf.io.FixedLenFeature((), tf.string),
            "image/colorspace": tf.io.FixedLenFeature((), tf.string),
            "image/channels": tf.io.FixedLenFeature((), tf.int64),
            "image/height": tf.io.FixedLenFeature((), tf.int64),
            "image/width": tf.io.FixedLenFeature((), tf.int64),
            "image/frame_rate": tf.io.FixedLenFeature((), tf.float32),
        },
        {
            "image/encoded": tf.io.FixedLenSequenceFeature((), tf.string),
            "image/timestamp": tf.io.FixedLenSequenceFeature((), tf.int64),
        },
    )
    told = {
        key: (tf.sparse.to_dense(value) if isinstance(value, tf.SparseTensor) else value).numpy()
        for key, value in context.items()
    }
    assert told.pop("clip/label/index").tolist() == [1]
    assert told.pop("clip/label/text").tolist() == [b"run"]
    assert told == {
        "clip/data_path": b"run/1.mp4",
        "clip/media_id": b"1",
        "image/format": b"JPEG",
        "image/colorspace": b"RGB",
        "image/channels": 3,
        "image/height": 48,
        "image/width": 64,
        "image/frame_rate": 25.0,
    }
    assert sequences["image/timestamp"].numpy().tolist() == [0, 40_000, 80_000, 120_000, 160_000]
    assert all(picture[:2] == b"\xff\xd8" for picture in sequences["image/encoded"].numpy())


def test_equal_examples_have_equal_bytes(tmp_path):
    example, backwards = make(fps=25.0), tf.train.SequenceExample()
    for name in reversed(list(example.context.feature)):
        backwards.context.feature[name].CopyFrom(example.context.feature[name])
    backwards.feature_lists.CopyFrom(example.feature_lists)
    store(tmp_path / "a", example)
    store(tmp_path / "b", backwards)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_higher_quality_is_closer_to_the_frames(tmp_path):
    low, high = (
        decode_frames(store(tmp_path / str(q), make(quality=q))[0], range(30)) for q in (30, 95)
    )
    errors = [np.abs(frames.astype(float) - FRAMES).mean() for frames in (low, high)]
    assert errors[1] < 0.7 * errors[0]


def test_frames_are_taken_one_at_a_time():
    class Frame(np.ndarray):
        """An array that can be watched."""

    alive = []

    def frames():
        for number in range(5):
            frame = FRAMES[number].copy().view(Frame)
            alive.append(weakref.ref(frame))
            yield frame
            del frame
            assert sum(each() is not None for each in alive[:-1]) == 0

    records.make_example(frames(), [0], ["any"], "a.mp4")
    assert len(alive) == 5


def test_a_video_without_frames_is_named():
    with pytest.raises(ValueError, match="'run/1.mp4' holds no frames"):
        make(FRAMES[:0])


def test_a_video_too_long_for_a_record_is_named(monkeypatch):
    monkeypatch.setattr(records, "_LARGEST", 5000)
    with pytest.raises(ValueError, match="'run/1.mp4' does not fit into a record"):
        make()

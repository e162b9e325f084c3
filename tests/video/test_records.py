"""Videos as records: what is stored is read, in our layout and in that of others."""

import io
import pathlib
import weakref

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from keras_nonlocal.data import evaluation_clips
from keras_nonlocal.lists.video_list import VideoList
from keras_nonlocal.video import framing, sequence_examples
from keras_nonlocal.video.open import decode_frames, open_video, probe_video
from keras_nonlocal.video.pyav import resize_frames
from keras_nonlocal.video.records import Record
from tests.made_videos import moving_bars

FRAMES = moving_bars(30, 48, 64)


def store(path, *made):
    """Writes examples; gives their addresses."""
    addresses, size = [], 0
    with open(path, "wb") as file:
        for example in made:
            addresses.append(f"{path}@{size}")
            size += sum(file.write(part) for part in framing.frame_record(example))
    return addresses


def make(frames=FRAMES, labels=(1,), **options):
    return sequence_examples.make_example(frames, labels, ["jump", "run"], "run/1.mp4", **options)


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


def encode(frame, kind):
    buffer = io.BytesIO()
    PIL.Image.fromarray(frame).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The second record of a file, of 25 frames a second."""
    path = tmp_path_factory.mktemp("records") / "a.tfrecord"
    first, second = make(FRAMES[:1]), make(fps=25.0)
    return store(path, sequence_examples.serialize(first), sequence_examples.serialize(second))[1]


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


def test_frames_are_resized_as_those_of_other_videos(address):
    frames = decode_frames(address, [4, 20], short_side=24)
    assert frames.shape == (2, 24, 32, 3)
    others = resize_frames(decode_frames(address, [4, 20]), 24)
    # Colours between pixels are filled in by another decoder; the other frame is far off.
    assert np.abs(frames.astype(float) - others).mean() < 4
    assert np.abs(frames[::-1].astype(float) - others).mean() > 12


@pytest.mark.parametrize("damage", ["cut", "none-at-all", "other-size"])
def test_a_damaged_picture_is_an_error_at_any_size(tmp_path, damage):
    good = encode(FRAMES[0], "JPEG")
    bad = {
        "cut": good[: len(good) // 2],
        "none-at-all": good[:2] + b"no picture",
        "other-size": encode(FRAMES[0][:40], "JPEG"),
    }[damage]
    (address,) = store(tmp_path / "a", foreign([good, bad, good]).SerializeToString())
    for short_side in (None, 24):
        with pytest.raises(ValueError, match="record at byte 0 of .* cannot be read"):
            decode_frames(address, [0, 1], short_side)


def test_the_facts_are_those_of_the_video(address):
    info = probe_video(address)
    assert (info.frames, info.fps, info.height, info.width) == (30, 25.0, 48, 64)
    assert (info.codec, info.duration) == ("jpeg", 1.2)


def test_a_record_of_others_is_read_once_for_all_questions(tmp_path, monkeypatch):
    pictures = [encode(FRAMES[0], "JPEG")] * 3
    (address,) = store(tmp_path / "a", foreign(pictures).SerializeToString())
    read = []
    original = framing.read_record
    monkeypatch.setattr(framing, "read_record", lambda *a: read.append(a) or original(*a))
    video = Record(address)
    assert not read
    assert video.info.frames == 3
    video.decode([1])
    assert len(read) == 1


def test_of_our_records_only_the_frames_of_the_clip_are_read(address, monkeypatch):
    read, original = [], framing.read_parts

    def read_parts(path, offset, parts):
        read.extend(size for _, size in parts if size != sequence_examples.HEAD)
        return original(path, offset, parts)

    monkeypatch.setattr(framing, "read_parts", read_parts)
    monkeypatch.setattr(framing, "read_record", None)
    video = Record(address)
    assert video.info.frames == 30
    assert read == []
    video.decode([3, 7, 3])
    assert len(read) == 2


def test_a_context_longer_than_the_first_bytes_is_read_on(address, monkeypatch):
    monkeypatch.setattr(sequence_examples, "HEAD", 100)
    monkeypatch.setattr(framing, "read_record", None)
    assert probe_video(address).frames == 30
    assert decode_frames(address, [29]).shape == (1, 48, 64, 3)


def test_a_damaged_frame_is_an_error_and_the_others_are_read(address, tmp_path):
    path, offset = address.split("@")
    data = bytearray(pathlib.Path(path).read_bytes())
    picture = sequence_examples.frames_of(sequence_examples.parse_example(path, int(offset)))[
        20
    ].bytes_list.value[0]
    data[data.index(picture, int(offset)) + len(picture) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    video = Record(f"{tmp_path / 'damaged'}@{offset}")
    assert video.decode([19, 21]).shape == (2, 48, 64, 3)
    with pytest.raises(ValueError, match=f"byte {offset} of '.*damaged' .* checksum"):
        video.decode([20])


def without_some_frames(example):
    del example.feature_lists.feature_list["image/encoded"].feature[3:6]


def with_other_frames(example):
    frames = example.feature_lists.feature_list["image/encoded"].feature
    pictures = [frame.bytes_list.value[0] for frame in frames]
    for frame, picture in zip(frames, reversed(pictures), strict=True):
        frame.bytes_list.value[:] = [picture]


def with_a_feature_before_the_frames(example):
    lists = example.feature_lists.feature_list
    lists["image/depth"].feature.add().int64_list.value[:] = [1]


def with_a_long_context(example):
    example.context.feature["WAVEFORM/feature/floats"].float_list.value[:] = [0.0] * 50_000


@pytest.mark.parametrize(
    "change",
    [
        without_some_frames,
        with_other_frames,
        with_a_feature_before_the_frames,
        with_a_long_context,
    ],
    ids=lambda change: change.__name__,
)
def test_records_that_others_have_changed_are_read_as_they_are(change, tmp_path):
    example = make()
    change(example)
    (address,) = store(tmp_path / "a", sequence_examples.serialize(example))
    pictures = [frame.bytes_list.value[0] for frame in sequence_examples.frames_of(example)]
    frames = [tf.io.decode_image(picture).numpy() for picture in pictures]
    assert probe_video(address).frames == len(frames)
    np.testing.assert_array_equal(decode_frames(address, range(len(frames))), np.stack(frames))


def test_clips_of_a_record_are_fed_to_networks(address):
    videos = VideoList([address], [1], ["jump", "run"])
    ((clips, labels),) = evaluation_clips(videos, "4x4", size=32, batch_size=1).dataset()
    assert clips.shape == (1, 4, 32, 32, 3)
    assert labels.numpy().tolist() == [1]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pictures_of_others_are_read(kind, tmp_path):
    pictures = [encode(frame, kind) for frame in FRAMES[:4]]
    (address,) = store(tmp_path / "a", foreign(pictures).SerializeToString())
    expected = np.stack([np.asarray(PIL.Image.open(io.BytesIO(each))) for each in pictures])
    frames = decode_frames(address, range(4))
    # Decoders of JPEG may round in ways of their own.
    assert np.abs(frames.astype(float) - expected).mean() <= (0 if kind == "PNG" else 1)
    assert probe_video(address).codec == kind.lower()


def test_grey_pictures_become_rgb(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    (address,) = store(tmp_path / "a", foreign([encode(grey, "PNG")]).SerializeToString())
    np.testing.assert_array_equal(decode_frames(address, [0])[0], np.stack([grey] * 3, axis=-1))


def test_the_rate_of_others_is_that_of_their_time_stamps(tmp_path):
    pictures = [encode(FRAMES[0], "JPEG")] * 3
    example = foreign(pictures, times=[0, 40_000, 80_000])
    (address,) = store(tmp_path / "a", example.SerializeToString())
    assert probe_video(address).fps == 25


def test_a_rate_that_is_not_stored_is_unknown(tmp_path):
    example = foreign([encode(FRAMES[0], "JPEG")] * 3)
    (address,) = store(tmp_path / "a", example.SerializeToString())
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
        "frames are not all of one size",
    ),
}


@pytest.mark.parametrize(("data", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_named(data, message, tmp_path):
    addresses = store(tmp_path / "a", sequence_examples.serialize(make(FRAMES[:1])), data)
    offset = addresses[1].split("@")[1]
    with pytest.raises(ValueError, match=f"record at byte {offset} of '.*a' .*{message}"):
        decode_frames(addresses[1], [0, 1] if "one size" in message else [0])


def test_frames_outside_are_an_error(address):
    with pytest.raises(IndexError, match=r"must lie in \[0, 30\).*Received: 30"):
        decode_frames(address, [0, 30])


@pytest.mark.parametrize("path", ["a.tfrecord", "a.tfrecord@", "@3", "a@b"])
def test_an_address_has_a_file_and_an_offset(path):
    with pytest.raises(ValueError, match="addressed as FILE@OFFSET"):
        Record(path).decode([0])


def test_examples_hold_the_layout_of_tf_models_official():
    context, sequences = tf.io.parse_single_sequence_example(
        sequence_examples.serialize(make(FRAMES[:5], fps=25.0)),
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


def test_equal_examples_have_equal_bytes():
    example, backwards = make(fps=25.0), tf.train.SequenceExample()
    for name in reversed(list(example.context.feature)):
        backwards.context.feature[name].CopyFrom(example.context.feature[name])
    backwards.feature_lists.CopyFrom(example.feature_lists)
    assert sequence_examples.serialize(example) == sequence_examples.serialize(backwards)


def test_a_higher_quality_is_closer_to_the_frames(tmp_path):
    low, high = (
        decode_frames(
            store(tmp_path / str(q), sequence_examples.serialize(make(quality=q)))[0], range(30)
        )
        for q in (30, 95)
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

    sequence_examples.make_example(frames(), [0], ["any"], "a.mp4")
    assert len(alive) == 5


def test_a_video_without_frames_is_named():
    with pytest.raises(ValueError, match="'run/1.mp4' holds no frames"):
        make(FRAMES[:0])


def test_a_video_too_long_for_a_record_is_named(monkeypatch):
    monkeypatch.setattr(sequence_examples, "_LARGEST", 5000)
    with pytest.raises(ValueError, match="'run/1.mp4' does not fit into a record"):
        make()

"""Records of ours give tf-models-official the frames and labels that they give us, and back.

It decodes JPEG pictures by TensorFlow, we do by FFmpeg, which interpolates colors differently. Its
frames equal TensorFlow's to the bit, and ours are those but for some levels.
"""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from official.vision.configs import video_classification as configs
from official.vision.dataloaders import tfexample_utils, video_input
from official.vision.ops import preprocess_ops_3d
from official.vision.tasks import video_classification

from keras_nonlocal.data.record_lists import read_records
from keras_nonlocal.lists.video_list import VideoList
from keras_nonlocal.prepare.convert import make_plan, prepare_videos
from keras_nonlocal.video.open import open_video
from tests.made_videos import moving_bars, write

FRAMES, HEIGHT, WIDTH = 9, 32, 44
CLASSES = ("jump", "run", "sit")
LABELS = {
    "one-label": [2, 0, 1],
    "several-labels": [[1, 0, 1], [0, 1, 0], [1, 1, 1]],
}


@pytest.fixture(scope="module", params=LABELS.values(), ids=LABELS)
def prepared(request, tmp_path_factory):
    """A folder of two shards that were made of three mp4 files, and what we read of it."""
    root = tmp_path_factory.mktemp("prepared")
    paths = [str(root / f"{number}.mp4") for number in range(3)]
    for number, path in enumerate(paths):
        write(path, moving_bars(FRAMES + number, 64, 88)[number:])
    videos = VideoList(paths, request.param, CLASSES)
    prepare_videos(make_plan(videos, shards=2, short_side=HEIGHT), root / "records")
    return root / "records", read_records(root / "records")


def config(**changes):
    """Its configuration for whole frames and all of them, so that there is something to compare."""
    settings = configs.DataConfig(
        feature_shape=(FRAMES, HEIGHT, WIDTH, 3),
        min_image_size=HEIGHT,
        num_classes=len(CLASSES),
        is_training=False,
        # Crops of all of the picture, where it crops at random.
        aug_min_area_ratio=1.0,
        aug_min_aspect_ratio=1.0,
        aug_max_aspect_ratio=1.0,
    )
    return dataclasses.replace(settings, **changes)


def parse(record, settings):
    """Gives a record to its decoder and parser: pixels from 0 to 255, and labels."""
    tensors = video_input.Decoder().decode(record)
    features, label = video_input.Parser(settings).parse_fn(settings.is_training)(tensors)
    return to_pixels(features["image"]), label.numpy()


def to_pixels(image):
    # Of 8 bits divided by 255, multiplying and rounding gives every one back.
    return np.rint(np.asarray(image) * 255).astype(np.uint8)


def records_of(folder):
    return list(tf.data.TFRecordDataset(sorted(str(path) for path in folder.glob("*.tfrecord"))))


def decoded(example):
    """The frames of a serialized example, as TensorFlow decodes them."""
    features = tf.train.SequenceExample.FromString(example).feature_lists.feature_list
    pictures = [frame.bytes_list.value[0] for frame in features["image/encoded"].feature]
    return np.stack([tf.io.decode_image(picture, channels=3).numpy() for picture in pictures])


def frames_of(folder):
    """All frames of all records."""
    return [decoded(record.numpy()) for record in records_of(folder)]


def check_close(frames, expected, levels):
    """Each frame is that of TensorFlow but for its colors, and no other is closer."""
    errors = np.abs(frames.astype(float)[:, None] - expected).mean(axis=(2, 3, 4))
    np.testing.assert_array_equal(np.diag(errors), errors.min(axis=1))
    assert np.diag(errors).max() < levels


def one_hot(videos):
    return videos.labels if videos.multi_label else np.eye(len(CLASSES))[videos.labels]


def test_its_parser_reads_our_frames_and_labels(prepared):
    folder, videos = prepared
    read = [parse(record, config()) for record in records_of(folder)]
    np.testing.assert_array_equal([pixels for pixels, _ in read], frames_of(folder))
    for frames, path in zip(frames_of(folder), videos.paths, strict=True):
        check_close(open_video(path).decode(range(FRAMES)), frames, levels=5)
    np.testing.assert_array_equal([label for _, label in read], one_hot(videos))


def test_its_training_parser_reads_our_frames_and_labels(prepared):
    folder, videos = prepared
    settings = config(is_training=True)
    read = [parse(record, settings) for record in records_of(folder)]
    for (pixels, _), frames in zip(read, frames_of(folder), strict=True):
        # It mirrors half of the clips.
        assert any(np.array_equal(pixels, each) for each in (frames, frames[:, :, ::-1]))
    np.testing.assert_array_equal([label for _, label in read], one_hot(videos))


def test_its_clips_are_our_frames(prepared):
    folder, videos = prepared
    settings = config(feature_shape=(3, HEIGHT, WIDTH, 3), temporal_stride=2)
    pixels, _ = parse(records_of(folder)[0], settings)
    # Of 9 frames, the 6 in the middle begin at the second.
    np.testing.assert_array_equal(pixels, frames_of(folder)[0][[1, 3, 5]])


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_its_task_reads_our_folder(prepared, training):
    folder, videos = prepared
    settings = config(
        input_path=f"{folder}/*.tfrecord",
        global_batch_size=3,
        is_training=training,
        shuffle_buffer_size=3,
    )
    task = video_classification.VideoClassificationTask(
        configs.VideoClassificationTask(train_data=settings, validation_data=settings)
    )
    # In training it repeats the files, so that a batch may hold a video twice.
    batches = list(task.build_inputs(settings).take(4 if training else -1))
    read = {
        (to_pixels(image).tobytes(), tuple(label))
        for features, labels in batches
        for image, label in zip(features["image"], labels.numpy(), strict=True)
    }
    ours = list(zip(frames_of(folder), one_hot(videos), strict=True))
    plain = {(frames.tobytes(), tuple(label)) for frames, label in ours}
    mirrored = {(frames[:, :, ::-1].tobytes(), tuple(label)) for frames, label in ours}
    if training:
        assert {label for _, label in read} == {label for _, label in plain}
        assert read <= plain | mirrored
    else:
        assert len(batches) == 1
        assert read == plain


def test_we_read_what_its_utilities_write(tmp_path):
    path = str(tmp_path / "garden.tfrecord")
    written = [
        tfexample_utils.make_video_test_example((20, 26 + number, 3), (7, 4), label=label)
        for number, label in enumerate((4, 1))
    ]
    tfexample_utils.dump_to_tfrecord(path, written)
    videos = read_records(path)
    assert videos.labels.tolist() == [4, 1]
    assert videos.class_names == ("0", "1", "2", "3", "4")
    for address, example in zip(videos.paths, written, strict=True):
        features = video_input.Decoder().decode(example.SerializeToString())
        expected = preprocess_ops_3d.decode_image(features[video_input.IMAGE_KEY], 3)
        np.testing.assert_array_equal(decoded(example.SerializeToString()), expected)
        # Of noise, whose colors are lost in any JPEG, more cannot be asked.
        check_close(open_video(address).decode(range(len(expected))), expected.numpy(), levels=30)


def test_we_read_pictures_without_loss_and_several_labels(tmp_path):
    path, pictures = str(tmp_path / "garden.tfrecord"), moving_bars(3, 20, 26)
    example = tf.train.SequenceExample()
    for picture in pictures:
        encoded = tfexample_utils.encode_image(picture, "PNG")
        tfexample_utils.put_bytes_list_to_feature(example, encoded, repeat_num=1)
    tfexample_utils.put_int64_to_context(example, 2)
    example.context.feature[tfexample_utils.LABEL_KEY].int64_list.value.append(0)
    tfexample_utils.dump_to_tfrecord(path, [example])
    videos = read_records(path, class_names=CLASSES)
    assert videos.labels.tolist() == [[1, 0, 1]]
    video = open_video(videos.paths[0])
    assert video.info.codec == "png"
    np.testing.assert_array_equal(video.decode(range(3)), pictures)

"""A path tells what reads it."""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.video.frame_folders import FrameFolder
from keras_nonlocal.video.open import VideoFile, decode_frames, open_video, probe_video
from keras_nonlocal.video.records import Record
from tests.made_videos import moving_bars


@pytest.fixture
def folder_of_frames(tmp_path):
    for number, frame in enumerate(moving_bars(4, 24, 32)):
        (tmp_path / f"{number}.png").write_bytes(tf.io.encode_png(frame).numpy())
    return tmp_path


def test_file_folder_and_record_are_told_apart(video, folder_of_frames):
    assert isinstance(open_video(video), VideoFile)
    assert isinstance(open_video(folder_of_frames), FrameFolder)
    assert isinstance(open_video("videos-00000-of-00001.tfrecord@8123"), Record)


def test_file_whose_name_is_like_an_address_is_a_file(tmp_path, video):
    path = tmp_path / "me@2019"
    path.write_bytes(video.read_bytes())
    assert probe_video(path).frames == 50


def test_folder_takes_its_length_and_rate(folder_of_frames):
    info = open_video(folder_of_frames, num_frames=3, fps=12.0).info
    assert (info.frames, info.fps, info.duration) == (3, 12.0, 0.25)


def test_folders_are_probed_and_decoded_like_files(folder_of_frames):
    assert probe_video(folder_of_frames).frames == 4
    expected = moving_bars(4, 24, 32)[[2, 0, 2]]
    np.testing.assert_array_equal(decode_frames(folder_of_frames, [2, 0, 2]), expected)


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    video = open_video(tmp_path / "later.mp4")
    with pytest.raises(FileNotFoundError, match="no video file '.*later.mp4'"):
        _ = video.info

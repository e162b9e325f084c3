"""A folder of pictures is a video."""

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.video.images import FrameFolder
from keras_nonlocal.video.open import open_video
from keras_nonlocal.video.pyav import resize_frames
from tests.made_videos import moving_bars

FRAMES = moving_bars(12, 24, 32)


def save(path, frame):
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(frame).numpy())


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures whose names sort differently as text."""
    for number, frame in enumerate(FRAMES):
        save(tmp_path / f"img_{number}.png", frame)
    return tmp_path


@pytest.mark.parametrize(
    "indices", [[3], [11, 2, 2, 10], list(range(12))], ids=["one", "repeats", "all"]
)
def test_frames_are_in_the_natural_order_of_their_names(folder, indices):
    np.testing.assert_array_equal(FrameFolder(folder).decode(indices), FRAMES[indices])


def test_names_alike_but_for_zeros_keep_one_order(tmp_path):
    for name, frame in zip(["1.png", "01.png", "2.png"], FRAMES, strict=False):
        save(tmp_path / name, frame)
    np.testing.assert_array_equal(FrameFolder(tmp_path).decode([0, 1, 2]), FRAMES[[1, 0, 2]])


def test_info_is_that_of_one_picture(folder):
    for path in sorted(folder.iterdir())[1:]:
        path.write_bytes(b"")
    info = FrameFolder(folder, fps=24).info
    assert (info.frames, info.height, info.width, info.codec) == (12, 24, 32, "png")
    assert (info.fps, info.duration) == (24.0, 0.5)


def test_rate_and_duration_are_unknown_unless_given(folder):
    info = FrameFolder(folder).info
    assert (info.fps, info.duration) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.JPG"])
def test_jpeg_files_are_read(tmp_path, name):
    save(tmp_path / name, FRAMES[4])
    frame = FrameFolder(tmp_path).decode([0])[0]
    assert FrameFolder(tmp_path).info.codec == "jpeg"
    assert np.abs(frame.astype(float) - FRAMES[4]).mean() < 8


def test_gray_pictures_become_rgb(tmp_path):
    save(tmp_path / "a.png", FRAMES[0, :, :, :1])
    expected = np.repeat(FRAMES[:1, :, :, :1], 3, axis=3)
    np.testing.assert_array_equal(FrameFolder(tmp_path).decode([0]), expected)


def test_hidden_and_other_files_are_passed_over(folder):
    (folder / "._img_0.png").write_bytes(b"made by a file manager")
    (folder / "notes.txt").write_text("none of it")
    assert FrameFolder(folder).info.frames == 12


def test_iterating_gives_the_frames_of_decoding(folder):
    video = FrameFolder(folder)
    np.testing.assert_array_equal(list(video.iterate()), FRAMES)
    np.testing.assert_array_equal(list(video.iterate(12)), video.decode(range(12), 12))


def test_short_side_resizes_as_videos_are(folder):
    frames = FrameFolder(folder).decode([5, 1], short_side=12)
    np.testing.assert_array_equal(frames, resize_frames(FRAMES[[5, 1]], 12))


def test_only_the_frames_of_the_list_are_used(folder):
    video = FrameFolder(folder, num_frames=7)
    assert video.info.frames == 7
    assert len(list(video.iterate())) == 7
    with pytest.raises(IndexError, match=r"must lie in \[0, 7\).*Received: 7"):
        video.decode([7])


def test_fewer_frames_than_in_the_list_are_told(folder):
    with pytest.raises(ValueError, match="cannot be read: it holds 12 of 40 frames"):
        FrameFolder(folder, num_frames=40).decode([0])


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder of frames '.*nowhere'"):
        _ = FrameFolder(tmp_path / "nowhere").info


def test_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"'{tmp_path}' cannot be read: it holds no .jpg"):
        _ = FrameFolder(tmp_path).info


@pytest.mark.parametrize("read", ["decode", "iterate"])
def test_frames_of_several_sizes_are_refused(folder, read):
    save(folder / "img_7.png", FRAMES[7, :, :16])
    video = FrameFolder(folder)
    with pytest.raises(ValueError, match="'img_7.png' is 16x24, others are 32x24"):
        _ = video.decode([2, 7]) if read == "decode" else list(video.iterate())


@pytest.mark.parametrize("kept", [-2, -9, 2 / 3, 1 / 3])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_truncated_picture_is_named(tmp_path, name, kept):
    save(tmp_path / name, FRAMES[0])
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: kept if kept < 0 else int(len(content) * kept)])
    for short_side in (None, 12):
        with pytest.raises(ValueError, match=f"'{tmp_path}' cannot be read: '{name}' is no whole"):
            FrameFolder(tmp_path).decode([0], short_side)


def test_picture_that_vanished_is_named(folder):
    video = FrameFolder(folder)
    assert video.info.frames == 12
    (folder / "img_3.png").unlink()
    with pytest.raises(FileNotFoundError, match="img_3.png"):
        video.decode([3])


def test_no_index_is_refused(folder):
    with pytest.raises(ValueError, match="`indices` must name at least one frame"):
        FrameFolder(folder).decode([])


@pytest.mark.parametrize("read", ["decode", "iterate"])
def test_short_side_must_be_positive(folder, read):
    video = FrameFolder(folder)
    with pytest.raises(ValueError, match="`short_side` must be a positive number.*short_side=0"):
        _ = video.decode([0], 0) if read == "decode" else list(video.iterate(0))


def test_optical_flow_beside_the_frames_is_passed_over(tmp_path):
    for number in range(3):
        for kind, grey in (("img_", 200), ("flow_x_", 10), ("flow_y_", 20)):
            picture = np.full((16, 16, 3), grey, np.uint8)
            tf.io.write_file(str(tmp_path / f"{kind}{number}.png"), tf.io.encode_png(picture))
    for num_frames in (0, 2):
        frames = open_video(tmp_path, num_frames)
        assert frames.info.frames == (num_frames or 3)
        assert set(frames.decode([0, 1])[:, 0, 0, 0]) == {200}


def test_pictures_of_several_kinds_are_refused(tmp_path):
    for name in ("left_1.png", "right_1.png"):
        tf.io.write_file(str(tmp_path / name), tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(ValueError, match="pictures of several kinds, left_..., right_..."):
        open_video(tmp_path).decode([0])

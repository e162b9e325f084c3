"""Decoded frames equal those of decoding the whole file and indexing."""

import os

import av
import numpy as np
import pytest

from keras_nonlocal.data import decode_frames, probe_video

from .conftest import REAL_CLIPS, decode_whole, moving_bars, write

KINDS = {
    "h264-b-frames": ("a.mp4", "libx264", {"g": 12, "bf": 3}),
    "h264-one-key-frame": ("a.mp4", "libx264", {"g": 250}),
    "h264-all-key-frames": ("a.mkv", "libx264", {"g": 1}),
    "mpeg4-mp4": ("a.mp4", "mpeg4", {"g": 10, "bf": 2}),
    "mpeg4-avi": ("a.avi", "mpeg4", {"g": 10, "bf": 2}),
    "vp9": ("a.webm", "libvpx-vp9", {"g": 10, "deadline": "realtime", "cpu-used": 8}),
}
ORDERS = {
    "clip": [3, 11, 19, 27, 35],
    "backwards": [30, 20, 10, 0],
    "repeats": [5, 5, 34, 5],
    "first": [0],
    "last": [35],
    "all": list(range(36)),
}


@pytest.fixture(scope="module", params=KINDS, ids=KINDS)
def kind(request, tmp_path_factory):
    name, codec, options = KINDS[request.param]
    path = tmp_path_factory.mktemp("kinds") / name
    # An odd number of pixels in a row of chroma, so that widths of planes are padded.
    write(path, moving_bars(36, 46, 70), codec, **options)
    return path, decode_whole(path)


@pytest.mark.parametrize("indices", ORDERS.values(), ids=ORDERS)
def test_frames_equal_those_of_the_whole_file(kind, indices):
    path, whole = kind
    np.testing.assert_array_equal(decode_frames(path, indices), whole[indices])


def test_probe_counts_frames_and_reads_size(kind):
    path, whole = kind
    info = probe_video(path)
    assert (info.frames, info.height, info.width) == whole.shape[:3]


def test_probe_reads_rate_and_codec(video):
    info = probe_video(video)
    assert (info.fps, info.codec) == (25.0, "h264")


@pytest.mark.parametrize("frames", [1, 3])
def test_very_short_videos_are_read(tmp_path, frames):
    path = write(tmp_path / "short.mp4", moving_bars(frames, 48, 64))
    assert probe_video(path).frames == frames
    np.testing.assert_array_equal(decode_frames(path, range(frames)), decode_whole(path))


def test_variable_frame_rate_goes_by_frame_number(tmp_path):
    times = np.cumsum(np.random.default_rng(0).integers(1, 20, 36))
    path = write(tmp_path / "variable.mp4", moving_bars(36, 48, 64), times=times, g=9)
    np.testing.assert_array_equal(decode_frames(path, [4, 13, 31]), decode_whole(path)[[4, 13, 31]])


@pytest.mark.parametrize("path", REAL_CLIPS, ids=[path.name for path in REAL_CLIPS])
def test_frames_of_real_clips_equal_those_of_the_whole_file(path):
    whole = decode_whole(path)
    generator = np.random.default_rng(0)
    for _ in range(3):
        indices = generator.integers(len(whole), size=4)
        np.testing.assert_array_equal(decode_frames(path, indices), whole[indices])


@pytest.mark.parametrize("height, width, shape", [(48, 64, (24, 32)), (64, 48, (32, 24))])
def test_short_side_keeps_the_aspect(tmp_path, height, width, shape):
    path = write(tmp_path / "aspect.mp4", moving_bars(4, height, width))
    assert decode_frames(path, [1], short_side=24).shape == (1, *shape, 3)


def test_short_side_shows_the_same_picture(video):
    small = decode_frames(video, [20], short_side=24)[0].astype(float)
    halved = decode_frames(video, [20])[0].reshape(24, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(small - halved).mean() < 4


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_noted_in_the_file_is_applied(tmp_path, video, turns):
    # The matrix of an mp4's track header: (a, b, u, c, d, v, x, y, w), a b c d in 16.16.
    cos, sin = (0, 1) if turns == 1 else (-1, 0) if turns == 2 else (0, -1)

    def matrix(a, b, c, d):
        numbers = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
        return b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)

    content = video.read_bytes()
    upright = content.index(matrix(1, 0, 0, 1), content.index(b"tkhd"))
    path = tmp_path / "rotated.mp4"
    path.write_bytes(content[:upright] + matrix(cos, sin, -sin, cos) + content[upright + 36 :])
    # The matrix turns the picture clockwise, NumPy counterclockwise.
    expected = np.rot90(decode_frames(video, [7])[0], -turns)
    np.testing.assert_array_equal(decode_frames(path, [7])[0], expected)
    assert (probe_video(path).height, probe_video(path).width) == expected.shape[:2]


def test_a_file_that_changed_is_probed_anew(tmp_path):
    path = write(tmp_path / "a.mp4", moving_bars(5, 48, 64))
    assert probe_video(path).frames == 5
    write(path, moving_bars(9, 48, 64))
    assert probe_video(path).frames == 9


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no video file '.*nowhere.mp4'"):
        decode_frames(tmp_path / "nowhere.mp4", [0])


def test_file_that_is_no_video_is_named(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("this is no video")
    with pytest.raises(ValueError, match="'.*text.mp4' cannot be read: Invalid data"):
        probe_video(path)


def test_file_without_video_stream_is_named(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="'.*sound.mp4' cannot be read: it holds no video stream"):
        probe_video(path)


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_truncated_file_is_named_and_counted(tmp_path, suffix):
    whole = tmp_path / f"whole.{suffix}"
    # With its header in front, a truncated mp4 can still be opened.
    flags = {"movflags": "faststart"} if suffix == "mp4" else {}
    with av.open(str(whole), "w", options=flags) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = 48, 64
        for picture in moving_bars(30, 48, 64):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())
    path = tmp_path / f"truncated.{suffix}"
    path.write_bytes(whole.read_bytes()[: os.path.getsize(whole) * 9 // 10])
    with pytest.raises(ValueError, match=r"'.*truncated\.\w+' cannot .* truncated, \d+% of"):
        decode_frames(path, [0])


@pytest.mark.parametrize("index", [-1, 50])
def test_index_outside_the_video_is_refused(video, index):
    with pytest.raises(IndexError, match=rf"`indices` must lie in \[0, 50\).*Received: {index}"):
        decode_frames(video, [0, index])


def test_no_index_is_refused(video):
    with pytest.raises(ValueError, match="`indices` must name at least one frame"):
        decode_frames(video, [])


def test_short_side_must_be_positive(video):
    with pytest.raises(ValueError, match="`short_side` must be a positive number.*short_side=0"):
        decode_frames(video, [0], short_side=0)

"""Decoded frames equal those of decoding the whole file and indexing."""

import concurrent.futures
import fractions
import os
import re
import tracemalloc

import av
import numpy as np
import pytest

from keras_nonlocal.data import decode_frames, probe_video
from keras_nonlocal.video.open import VideoFile
from keras_nonlocal.video.pyav import fit_size, open_stream, resize_frames
from tests.made_videos import REAL_CLIPS, decode_whole, moving_bars, write

KINDS = {
    "h264-b-frames": ("a.mp4", "libx264", {"g": 12, "bf": 3}),
    "h264-one-key-frame": ("a.mp4", "libx264", {"g": 250}),
    "h264-all-key-frames": ("a.mkv", "libx264", {"g": 1}),
    "mpeg4-mp4": ("a.mp4", "mpeg4", {"g": 10, "bf": 2}),
    "mpeg4-avi": ("a.avi", "mpeg4", {"g": 10, "bf": 2}),
    "vp9": ("a.webm", "libvpx-vp9", {"g": 10, "deadline": "realtime", "cpu-used": 8}),
    "vp8": ("a.webm", "libvpx", {"g": 10, "deadline": "realtime", "cpu-used": 8}),
    # The first frames of such files come without a time of decoding.
    "h264-mkv": ("a.mkv", "libx264", {"g": 12, "bf": 3}),
    # Frames after a key frame drop references to frames before it.
    "h264-open-gop": ("a.mp4", "libx264", {"x264-params": "open-gop=1:keyint=12:scenecut=0"}),
    # Key frames of which the decoder gives nothing before the picture is whole.
    "h264-intra-refresh": ("a.mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=12"}),
    "h264-slices-without-cabac": ("a.mp4", "libx264", {"g": 12, "slices": 3, "coder": 0}),
    "h264-fragmented": ("a.mp4", "libx264", {"g": 12, "muxer": {"movflags": "frag_keyframe"}}),
    "h264-gray": ("a.mp4", "libx264", {"g": 12, "pix_fmt": "gray"}),
    "h264-10-bit-4:4:4": ("a.mp4", "libx264", {"g": 12, "pix_fmt": "yuv444p10le"}),
    "h264-transport-stream": ("a.ts", "libx264", {"g": 12, "bf": 3}),
    "h264-without-container": ("a.h264", "libx264", {"g": 12, "bf": 3}),
    "mpeg2-program-stream": ("a.mpg", "mpeg2video", {"g": 12, "bf": 2}),
    "mjpeg": ("a.avi", "mjpeg", {"pix_fmt": "yuvj420p"}),
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


def test_iterating_gives_every_frame_in_order(kind):
    path, whole = kind
    frames = list(VideoFile(path).iterate())
    np.testing.assert_array_equal(frames, whole)


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


@pytest.mark.parametrize("codec", ["libvpx-vp9", "ffv1", "mpeg4"])
def test_odd_sizes_are_kept(tmp_path, codec):
    path = write(tmp_path / "odd.mkv", moving_bars(6, 47, 71), codec)
    assert decode_frames(path, [0, 5]).shape == (2, 47, 71, 3)
    np.testing.assert_array_equal(decode_frames(path, range(6)), decode_whole(path))


def test_interlaced_frames_are_whole(tmp_path):
    options = {"g": 9, "bf": 2, "x264-params": "tff=1"}
    path = write(tmp_path / "fields.mp4", moving_bars(30, 64, 64), **options)
    whole = decode_whole(path)
    np.testing.assert_array_equal(decode_frames(path, [29, 2, 13]), whole[[29, 2, 13]])


@pytest.mark.parametrize("first", [-12, 400], ids=["negative", "late"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_count_from_the_first_one_shown(tmp_path, video, suffix, first):
    # In mp4, an edit list hides frames of negative time; decoding has to begin with them.
    path = tmp_path / f"shifted.{suffix}"
    remux(video, path, first=first, avoid_negative_ts="disabled")
    whole = decode_whole(path)
    assert probe_video(path).frames == len(whole)
    indices = np.arange(len(whole))[::7]
    np.testing.assert_array_equal(decode_frames(path, indices), whole[indices])


@pytest.mark.parametrize("skip_keys", [1, 2, 3])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_stream_cut_at_an_open_key_frame_is_read(tmp_path, suffix, skip_keys):
    # Frames shown before the key frame refer to what was cut off; no decoder gives them.
    options = {"x264-params": "open-gop=1:keyint=12:scenecut=0:bframes=3", "bf": 3}
    path = write(tmp_path / f"whole.{suffix}", moving_bars(48, 48, 64), **options)
    cut = tmp_path / f"cut.{suffix}"
    remux(path, cut, skip_keys=skip_keys)
    whole = decode_whole(cut, errors=[av.error.InvalidDataError])
    np.testing.assert_array_equal(decode_frames(cut, range(len(whole))), whole)


def test_stream_cut_between_key_frames_begins_at_the_next(tmp_path):
    path = write(tmp_path / "whole.ts", moving_bars(36, 48, 64), g=12, bf=2)
    content = path.read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(content[188 * (len(content) // 188 // 3) :])
    whole = decode_whole(cut)
    np.testing.assert_array_equal(decode_frames(cut, range(len(whole))), whole)


def test_frames_that_only_serve_others_do_not_count(tmp_path):
    path = write(tmp_path / "a.webm", moving_bars(6, 48, 64), "libvpx", deadline="realtime")
    with av.open(str(path)) as container:
        packet = bytes([*container.demux(video=0)][3])
    content = path.read_bytes()
    assert packet[0] & 0x10
    path.write_bytes(content.replace(packet, bytes([packet[0] & ~0x10]) + packet[1:]))
    whole = decode_whole(path)
    assert probe_video(path).frames == len(whole) == 5
    np.testing.assert_array_equal(decode_frames(path, range(5)), whole)


def test_frames_of_another_size_are_resized_to_that_of_the_first(tmp_path):
    low, high = (
        write(tmp_path / f"{height}.h264", moving_bars(8, height, 2 * height))
        for height in (32, 48)
    )
    path = tmp_path / "both.h264"
    path.write_bytes(low.read_bytes() + high.read_bytes())
    frames = decode_frames(path, [0, 12])
    assert frames.shape == (2, 32, 64, 3)
    np.testing.assert_array_equal(frames[1:], decode_frames(high, [4], short_side=32))


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


@pytest.mark.parametrize(
    "height, width, shape",
    [
        # 640 * 256 / 358 = 457.7; 352 * 256 / 288 = 312.9; 853 * 256 / 480 = 454.9.
        (358, 640, (256, 457)),
        (352, 288, (312, 256)),
        (480, 853, (256, 454)),
        (100, 100, (256, 256)),
    ],
)
def test_the_longer_side_is_rounded_down(height, width, shape):
    assert fit_size(height, width, 256) == shape
    assert fit_size(height, width, None) == (height, width)


def test_short_side_shows_the_same_picture(video):
    small = decode_frames(video, [20], short_side=24)[0].astype(float)
    halved = decode_frames(video, [20])[0].reshape(24, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(small - halved).mean() < 4


ORIENTATIONS = {  # a, b, c, d of the matrix: x' = a x + c y, y' = b x + d y
    "upright": ((1, 0, 0, 1), lambda picture: picture),
    "clockwise": ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
    "half-turn": ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
    "counterclockwise": ((0, -1, 1, 0), np.rot90),
    "left-to-right": ((-1, 0, 0, 1), np.fliplr),
    "top-to-bottom": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda picture: picture.transpose(1, 0, 2)),
    "transposed-crosswise": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
    "of-zeros": ((0, 0, 0, 0), lambda picture: picture),
}


@pytest.mark.parametrize("numbers, expected", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_the_matrix_of_the_file_is_applied(tmp_path, video, numbers, expected):
    def matrix(a, b, c, d):  # of an mp4's track header: (a, b, u, c, d, v, x, y, w)
        numbers = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
        return b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)

    content = video.read_bytes()
    upright = content.index(matrix(1, 0, 0, 1), content.index(b"tkhd"))
    path = tmp_path / "turned.mp4"
    path.write_bytes(content[:upright] + matrix(*numbers) + content[upright + 36 :])
    whole = [expected(picture) for picture in decode_whole(path)]
    np.testing.assert_array_equal(decode_frames(path, [7, 40]), [whole[7], whole[40]])
    assert (probe_video(path).height, probe_video(path).width) == whole[0].shape[:2]


@pytest.mark.parametrize("turns, expected", [(0, 16 / 11), (1, 11 / 16)])
def test_pixels_that_are_not_square_are_named_and_not_stretched(tmp_path, turns, expected):
    path = tmp_path / "a.mkv" if not turns else tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = fractions.Fraction(16, 11)
        if turns:
            stream.set_display_rotation(90)
        for picture in moving_bars(4, 48, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    info = probe_video(path)
    assert info.pixel_aspect == pytest.approx(expected)
    assert (info.height, info.width) == ((64, 48) if turns else (48, 64))


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_duration_ends_with_the_last_frame(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}", moving_bars(30, 48, 64), "mpeg4")
    assert probe_video(path).duration == pytest.approx(1.2)


def test_times_are_told_where_the_rate_varies(tmp_path):
    times = np.array([0, 4, 8, 30, 34, 50])
    path = write(tmp_path / "variable.mp4", moving_bars(6, 48, 64), times=times)
    np.testing.assert_allclose(VideoFile(path).times, times / 100)


def test_rate_of_an_avi_is_that_of_its_frames(tmp_path):
    # Written on a clock of 100 ticks a second, four of which a frame has.
    path = write(tmp_path / "a.avi", moving_bars(30, 48, 64), "mpeg4")
    assert probe_video(path).fps == pytest.approx(25)


@pytest.mark.parametrize("suffix", ["mp4", "webm", "avi"])
def test_no_times_are_told_at_a_constant_rate(tmp_path, suffix):
    codec = "libvpx-vp9" if suffix == "webm" else "mpeg4"
    path = write(tmp_path / f"a.{suffix}", moving_bars(9, 48, 64), codec)
    assert VideoFile(path).times is None


def test_iterating_resizes_as_decoding_does(video):
    frames = list(VideoFile(video).iterate(short_side=20))
    np.testing.assert_array_equal(frames, decode_frames(video, range(50), short_side=20))


def test_iterating_holds_one_frame(tmp_path):
    path = write(tmp_path / "a.mp4", moving_bars(20, 240, 320))
    video = VideoFile(path)
    tracemalloc.start()
    for frame in video.iterate():
        size = frame.nbytes
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * size


def test_threads_decode_at_once(video):
    whole = decode_whole(video)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for number, frames in zip(
            range(50),
            pool.map(lambda number: decode_frames(video, [number]), range(50)),
            strict=True,
        ):
            np.testing.assert_array_equal(frames[0], whole[number])


def test_resizing_leaves_frames_of_the_right_size_alone():
    frames = moving_bars(2, 24, 32)
    assert resize_frames(frames, 24) is frames
    assert resize_frames(frames, None) is frames


def test_resizing_is_that_of_decoding(tmp_path):
    path = write(tmp_path / "a.mkv", moving_bars(2, 48, 64), "ffv1", pix_fmt="bgr0")
    whole = decode_frames(path, [0, 1])
    resized = decode_frames(path, [0, 1], short_side=24)
    np.testing.assert_allclose(resize_frames(whole, 24).astype(int), resized, atol=2)


def test_a_file_that_changed_is_probed_anew(tmp_path):
    path = write(tmp_path / "a.mp4", moving_bars(5, 48, 64))
    assert probe_video(path).frames == 5
    write(path, moving_bars(9, 48, 64))
    assert probe_video(path).frames == 9


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no video file '.*nowhere.mp4'"):
        decode_frames(tmp_path / "nowhere.mp4", [0])


def test_file_that_vanished_since_it_was_probed_is_named(tmp_path):
    path = write(tmp_path / "a.mp4", moving_bars(5, 48, 64))
    video = VideoFile(path)
    assert video.info.frames == 5
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no video file '.*a.mp4'"):
        video.decode([0])


@pytest.mark.parametrize("readable", [False, True])
def test_only_a_file_that_cannot_be_read_lacks_permission(video, monkeypatch, readable):
    # libav calls failed seeks and decoders so, too.
    def refuse(*args, **kwargs):
        raise av.error.PermissionError(1, "Operation not permitted")

    video = VideoFile(video)
    assert video.info.frames == 50
    monkeypatch.setattr(av, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: readable)
    error, message = (ValueError, "Operation not permitted") if readable else (PermissionError, "")
    with pytest.raises(error, match=f"{message}.*'.*bars.mp4'|'.*bars.mp4'.*{message}"):
        video.decode([0])


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_named(tmp_path, kind):
    path = tmp_path / "a.mp4" if kind == "pipe" else os.devnull
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(ValueError, match=f"'{path}' cannot be read: it is not a regular file"):
        probe_video(path)


def test_link_to_itself_is_named(tmp_path):
    path = tmp_path / "a.mp4"
    path.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links.*a.mp4"):
        probe_video(path)


def test_name_with_a_colon_is_no_address(tmp_path, video, monkeypatch):
    (tmp_path / "12:30.mp4").write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert probe_video("12:30.mp4").frames == 50


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html>\n<title>Not found</title>", "it is text that begins '<!DOCTYPE html>"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer"),
        (b"this is no video", "it is text that begins 'this is no video'"),
        (bytes(range(128, 256)), "Invalid data"),
    ],
    ids=["empty", "html", "lfs", "text", "bytes"],
)
def test_file_that_is_no_video_is_named_and_explained(tmp_path, content, reason):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"'.*a.mp4' cannot be read: {reason}"):
        probe_video(path)


def test_path_with_a_null_byte_is_named():
    with pytest.raises(ValueError, match=r"'a\\x00b' cannot be read: .*null byte"):
        decode_frames("a\0b", [0])


def test_picture_is_no_video(tmp_path):
    path = write(tmp_path / "a.jpg", moving_bars(1, 48, 64), "mjpeg", pix_fmt="yuvj420p")
    path = path.rename(tmp_path / "picture.mp4")
    with pytest.raises(ValueError, match="'.*picture.mp4' cannot be read: it is no video"):
        probe_video(path)


def test_unknown_codec_is_named(tmp_path, video):
    path = tmp_path / "unknown.mp4"
    path.write_bytes(video.read_bytes().replace(b"avc1", b"xyz1"))
    with pytest.raises(ValueError, match="'.*unknown.mp4' cannot be read: no decoder is known"):
        probe_video(path)


def test_list_of_frames_that_does_not_fit_is_told(tmp_path):
    path = write(tmp_path / "a.avi", moving_bars(12, 48, 64), "mpeg4")
    content = bytearray(path.read_bytes())
    content[content.index(b"idx1") + 8 + 16 * 4 + 8] ^= 0x80
    path.write_bytes(content)
    with pytest.raises(ValueError, match="its list of frames does not fit its frames"):
        probe_video(path)


@pytest.mark.parametrize("cover", [False, True], ids=["plain", "with-cover-art"])
def test_file_without_video_stream_is_named(tmp_path, cover):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.height, picture.width, picture.pix_fmt = 16, 16, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame(16, 16, "yuvj420p")))
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


LENIENT = {
    "lost": ("a.mp4", "libx264", lambda content, start, end: bytes(end - start)),
    "cut": ("a.ts", "libx264", lambda content, start, end: b""),
    "gone": ("a.mkv", "libx264", lambda content, start, end: b""),
    "zeros": ("a.avi", "mpeg4", lambda content, start, end: bytes(end - start)),
}


@pytest.mark.parametrize("name, codec, damage", LENIENT.values(), ids=LENIENT)
def test_what_ffmpeg_conceals_is_decoded_where_that_is_wanted(tmp_path, name, codec, damage):
    path = write(tmp_path / name, moving_bars(40, 48, 64), codec, g=12)
    content = path.read_bytes()
    start = len(content) // 2
    path.write_bytes(content[:start] + damage(content, start, start + 700) + content[start + 700 :])
    with pytest.raises(ValueError, match="a[.].* cannot be read"):
        list(VideoFile(path).iterate())
    whole = decode_whole(path, errors=[av.error.InvalidDataError])
    video = VideoFile(path, strict=False)
    assert probe_video(path, strict=False).frames == len(whole) > 10
    np.testing.assert_array_equal(list(video.iterate()), whole)
    indices = [len(whole) - 1, 2]
    np.testing.assert_array_equal(decode_frames(path, indices, strict=False), whole[indices])


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


def test_lost_frame_is_missed_by_those_after_it(tmp_path, video):
    # Of nothing but zeros, which is a unit of no kind that a decoder knows.
    with av.open(str(video)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        key = [number for number, packet in enumerate(packets) if packet.is_keyframe][-1]
    content = bytearray(video.read_bytes())
    lost = packets[key + 1]
    content[lost.pos : lost.pos + lost.size] = bytes(lost.size)
    path = tmp_path / "lost.mp4"
    path.write_bytes(content)
    np.testing.assert_array_equal(decode_frames(path, [3]), decode_frames(video, [3]))
    with pytest.raises(ValueError, match="'.*lost.mp4' cannot be read: it is damaged"):
        decode_frames(path, [49])


def test_most_flipped_bits_are_found(tmp_path, video):
    # The others read as pixels; in frames as small as these they are many.
    content, whole, silent = video.read_bytes(), decode_whole(video), 0
    with av.open(str(video)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for number, packet in enumerate(packets):
        path = tmp_path / f"{number}.mp4"
        damaged = bytearray(content)
        damaged[packet.pos + packet.size * 7 // 10] ^= 0x10
        path.write_bytes(damaged)
        try:
            silent += not np.array_equal(decode_frames(path, range(50)), whole)
        except ValueError:
            continue
    assert silent < len(packets) / 2


def test_frame_that_is_called_a_key_frame_and_is_none_is_not_begun_with(tmp_path):
    path = write(tmp_path / "a.mp4", moving_bars(40, 48, 64), "mpeg4", g=12)
    content = path.read_bytes()
    table = content.index(b"stss") + 8
    key = int.from_bytes(content[table + 8 : table + 12], "big")
    assert key == 13
    path.write_bytes(content[: table + 8] + (16).to_bytes(4, "big") + content[table + 12 :])
    np.testing.assert_array_equal(decode_frames(path, [20]), decode_whole(path)[[20]])


def remux(source, path, first=0, skip_keys=0, **muxer):
    """Copies packets; `first` is the time of the first in hundredths of a second."""
    with av.open(str(source)) as given, av.open(str(path), "w", options=muxer) as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        shift, keys = None, -1
        for packet in given.demux(video=0):
            keys += packet.is_keyframe
            if not packet.size or keys < skip_keys:
                continue
            if shift is None:
                shift = int(fractions.Fraction(first, 100) / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
            made.mux(packet)


@pytest.mark.parametrize("rate", [30, 60, fractions.Fraction(24000, 1001), 1000])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "flv", "ts"])
def test_the_rate_is_that_of_the_stamps(tmp_path, suffix, rate):
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for picture in moving_bars(30, 48, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    if suffix == "mkv":  # As some programs write it: without the duration of a frame.
        content = path.read_bytes()
        assert content.count(b"\x23\xe3\x83") == 1
        path.write_bytes(content.replace(b"\x23\xe3\x83", b"\x23\xe3\x84"))
    # Stamps in milliseconds round the rate of thirty frames.
    assert probe_video(path).fps == pytest.approx(float(rate), rel=0.02)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_mean_rate_is_that_of_the_frames_that_are_there(tmp_path, suffix):
    # Twenty frames in 0.2 s and ten in 2 s: 30 in 2.2 s, whatever the header's rate of 25 says.
    times = np.concatenate([np.arange(20), 20 + 20 * np.arange(10)])
    path = write(tmp_path / f"variable.{suffix}", moving_bars(30, 48, 64), times=times)
    assert probe_video(path).fps == pytest.approx(30 / 2.2, rel=0.1)


def test_memory_that_a_damaged_file_asks_for_is_its_fault(video):
    """libav reports sizes that no machine has as missing memory; Python's own error stays."""
    with pytest.raises(ValueError, match=re.escape(repr(str(video)))):
        with open_stream(str(video), strict=True):
            raise av.error.MemoryError(12, "Cannot allocate memory")
    with pytest.raises(MemoryError):
        with open_stream(str(video), strict=True):
            raise MemoryError

"""A path tells what reads it."""

import contextlib
import http.server
import io
import pathlib
import subprocess
import sys
import threading

import fsspec
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal
from keras_nonlocal.video.images import FrameFolder
from keras_nonlocal.video.open import VideoFile, decode_frames, open_video, probe_video
from keras_nonlocal.video.records import Record
from tests.made_videos import decode_whole, moving_bars, write


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


def serve(content):
    """Serves the content on this machine; a context manager of a URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()

        def do_GET(self):
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            part = content[int(first) : int(last) + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.end_headers()
            self.wfile.write(part)

        def log_message(self, *arguments):
            pass

    @contextlib.contextmanager
    def serving():
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/a.mp4"
            server.shutdown()

    return serving()


@pytest.fixture(params=["memory", "http", "file", "object"])
def source(request, video):
    content = video.read_bytes()
    if request.param == "memory":
        fsspec.filesystem("memory").pipe_file("/videos/a.mp4", content)
        yield "memory://videos/a.mp4"
    elif request.param == "http":
        with serve(content) as url:
            yield url
    elif request.param == "file":
        yield f"file://{video}"
    else:
        yield io.BytesIO(content)


def test_urls_and_file_objects_are_decoded_like_files(source, video):
    expected = decode_frames(video, [49, 3, 30], short_side=24)
    np.testing.assert_array_equal(decode_frames(source, [49, 3, 30], short_side=24), expected)
    assert probe_video(source) == probe_video(video)
    np.testing.assert_array_equal(list(open_video(source).iterate()), decode_whole(video))


def test_what_is_behind_a_url_is_indexed_anew_when_it_changes(tmp_path):
    files = fsspec.filesystem("memory")
    for count in (5, 9):
        path = write(tmp_path / "a.mp4", moving_bars(count, 48, 64))
        files.pipe_file("/changing.mp4", path.read_bytes())
        assert probe_video("memory://changing.mp4").frames == count


@pytest.mark.parametrize(
    "source, content, message",
    [
        ("memory://nowhere.mp4", None, "There is no video file 'memory://nowhere.mp4'"),
        ("memory://empty.mp4", b"", "'memory://empty.mp4' cannot be read: it is empty"),
        ("memory://text.mp4", b"no video", "'memory://text.mp4' cannot be read: it is text"),
        ("nowhere://a.mp4", None, "'nowhere://a.mp4' cannot be read: .*Protocol not known"),
    ],
)
def test_errors_name_the_url(source, content, message):
    if content is not None:
        fsspec.filesystem("memory").pipe_file(source.removeprefix("memory:/"), content)
    with pytest.raises((OSError, ValueError), match=message):
        probe_video(source)


def test_errors_name_the_file_object():
    file = io.BytesIO(b"no video")
    with pytest.raises(ValueError, match=r"BytesIO object .* cannot be read: it is text"):
        probe_video(file)


@pytest.mark.parametrize("name, reason", [("a.ts", "End of file"), ("a.mp4", "Invalid data")])
def test_open_files_that_ffmpeg_refuses_raise_value_errors(tmp_path, name, reason):
    path = write(tmp_path / name, moving_bars(5, 48, 64))
    path.write_bytes(path.read_bytes()[: 9 * 188])
    with open(path, "rb") as file:
        for source in (path, file):
            with pytest.raises(ValueError, match=f"'{path}' cannot be read: {reason}"):
                probe_video(source)


def test_files_are_decoded_where_neither_tensorflow_nor_keras_can_be_imported(video):
    # The package itself imports Keras, which a bare one in its place does not.
    code = """
import sys, types
sys.modules.update({"keras": None, "tensorflow": None})
package = types.ModuleType("keras_nonlocal")
package.__path__ = [sys.argv[1]]
sys.modules["keras_nonlocal"] = package
from keras_nonlocal.video.open import decode_frames, probe_video
print(probe_video(sys.argv[2]).frames, decode_frames(sys.argv[2], [30]).sum())
"""
    package = pathlib.Path(keras_nonlocal.__file__).parent
    command = [sys.executable, "-c", code, str(package), str(video)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["50", str(decode_whole(video)[30].sum())]


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    video = open_video(tmp_path / "later.mp4")
    with pytest.raises(FileNotFoundError, match="no video file '.*later.mp4'"):
        _ = video.info

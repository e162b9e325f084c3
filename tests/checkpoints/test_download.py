"""Published files over a real server on this machine: what arrives, what does not, what stays."""

import concurrent.futures
import dataclasses
import errno
import functools
import hashlib
import http.server
import logging
import os
import pathlib
import socket
import subprocess
import sys
import threading
import types

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.checkpoints import registry
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.registry import Checkpoint
from keras_nonlocal.checkpoints.saving import save_checkpoint

ROOT = pathlib.Path(__file__).parents[2]
NAME = "tiny.test"
SIZES = {"depth": (1, 1, 1, 1), "width": 4, "input_shape": (8, 32, 32, 3), "classes": 5}


def fill(model, seed=7):
    """Gives every variable values of its own."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(np.abs(random.normal(size=variable.shape)) + 0.1)
    return model


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "tiny.pkl"
    save_checkpoint(fill(knl.I3D(source="pyslowfast", **SIZES)), path)
    return path.read_bytes()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home of Keras; nothing may reach the world beyond this machine."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    registry.warn_license.cache_clear()
    return tmp_path / "keras" / "models" / "keras_nonlocal"


@pytest.fixture
def server(home, monkeypatch):
    """Serves what `answers` holds by path, and keeps the paths that were asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            httpd.asked.append(self.path)
            status, body, length = httpd.answers.get(self.path, (404, b"no such file", None))
            httpd.before_answer()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.answers, httpd.asked, httpd.before_answer = {}, [], lambda: None
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}).start()
    monkeypatch.setenv("KERAS_NONLOCAL_MIRROR", f"http://127.0.0.1:{httpd.server_port}/mirror/")
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def record_of(digest):
    return Checkpoint(
        name=NAME,
        builder="I3D",
        arguments=types.MappingProxyType({**SIZES, "source": "pyslowfast"}),
        path="i3d/tiny.pkl",
        base_url="http://publisher.invalid/models/",
        checksum=("sha256", digest[:8]),
        source="pyslowfast",
        clip="8x8",
        crop=32,
        short_side=36,
        classes=5,
        class_names=("one", "two", "three", "four", "five"),
        license="Apache-2.0",
        top1=None,
        top5=None,
        test="",
    )


@pytest.fixture
def record(content, monkeypatch):
    checkpoint = record_of(hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(registry.CHECKPOINTS, NAME, checkpoint)
    return checkpoint


def serve(server, body, status=200, length=None):
    server.answers["/mirror/i3d/tiny.pkl"] = (status, body, length)


@functools.cache
def published_weights():
    return fill(knl.I3D(source="pyslowfast", **SIZES)).get_weights()


def is_loaded(model):
    return all(map(np.array_equal, model.get_weights(), published_weights()))


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


KEPT = ["tiny.pkl"]


def test_weights_are_fetched_and_kept(server, record, content, home):
    serve(server, content)
    assert is_loaded(knl.I3D(weights=NAME))
    assert files_below(home) == KEPT
    assert (home / "tiny.pkl").read_bytes() == content


def test_the_second_start_does_not_ask(server, record, content):
    serve(server, content)
    knl.I3D(weights=NAME)
    assert is_loaded(knl.I3D(weights=NAME))
    assert len(server.asked) == 1


def test_a_file_put_by_hand_is_used(server, record, content, home):
    home.mkdir(parents=True)
    (home / "tiny.pkl").write_bytes(content)
    assert is_loaded(knl.I3D(weights=NAME))
    assert server.asked == []


def test_without_a_mirror_the_publisher_is_asked(home, record, content, monkeypatch):
    asked = []

    def get_file(name, url, cache_dir, cache_subdir):
        asked.append(url)
        pathlib.Path(cache_dir, name).write_bytes(content)
        return pathlib.Path(cache_dir, name)

    monkeypatch.delenv("KERAS_NONLOCAL_MIRROR", raising=False)
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert is_loaded(knl.I3D(weights=NAME))
    assert asked == ["http://publisher.invalid/models/i3d/tiny.pkl"]


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["KERAS_HOME", "HOME"])
def test_the_folder_is_where_keras_keeps_its_models(tmp_path, variable):
    """Keras looks for its home when it is imported, so a process of its own asks it."""
    (tmp_path / "file").write_text("")
    program = f"""
import keras, pathlib
from keras_nonlocal.checkpoints import download
path = keras.utils.get_file("file", {(tmp_path / "file").as_uri()!r}, cache_subdir="models")
assert download.folder() == pathlib.Path(path).parent / "keras_nonlocal"
assert str(download.folder()).startswith({str(tmp_path)!r})
"""
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_HOME"}
    environment |= {variable: str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


@pytest.fixture
def closed_port(home, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("KERAS_NONLOCAL_MIRROR", f"http://127.0.0.1:{port}/mirror")


def check_failure(home, words, kept=()):
    with pytest.raises(CheckpointError, match=words) as caught:
        knl.I3D(weights=NAME)
    message = str(caught.value)
    assert "http://publisher.invalid/models/i3d/tiny.pkl" in message
    assert str(home / "tiny.pkl") in message
    assert files_below(home) == list(kept)


def test_no_network_is_told(closed_port, record, home):
    check_failure(home, "could not be downloaded from http://127.0.0.1.*refused.*by hand")


PAGE = b"\n<!DOCTYPE html><html>Sign in to the hotel's network</html>"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 404, "body": b"gone"}, "404"),
        ({"status": 503, "body": b"later"}, "503"),
        ({"body": b"half", "length": 4000}, "got only 4 out of 4000"),
        ({"body": b"something else"}, "Its sha256 begins with .{8}, where the publisher's begins"),
        ({"body": PAGE}, "It is a web page"),
        ({"body": b""}, "It is empty"),
    ],
    ids=["404", "503", "cut connection", "wrong checksum", "web page", "empty"],
)
def test_what_does_not_arrive_is_told_and_leaves_nothing(server, record, home, answer, words):
    serve(server, **answer)
    check_failure(home, f"could not be downloaded from http://127.*{words}.*Download http")


def test_a_full_disk_is_told_and_leaves_nothing(home, record, monkeypatch):
    def get_file(name, url, cache_dir, cache_subdir):
        pathlib.Path(cache_dir, name).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    check_failure(home, "could not be downloaded.*No space left on device")


def test_a_folder_that_cannot_be_made_is_told(server, record, content, home):
    serve(server, content)
    home.parents[1].write_text("a file where the home should be")
    with pytest.raises(CheckpointError, match="could not be downloaded.*put it at"):
        knl.I3D(weights=NAME)


def test_an_interrupted_download_leaves_nothing(home, record, monkeypatch):
    def get_file(name, url, cache_dir, cache_subdir):
        pathlib.Path(cache_dir, name).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    with pytest.raises(KeyboardInterrupt):
        knl.I3D(weights=NAME)
    assert files_below(home) == []


def test_a_file_that_does_not_fit_is_told_and_stays_for_a_look(server, record, home, monkeypatch):
    record = dataclasses.replace(record, checksum=None)
    monkeypatch.setitem(registry.CHECKPOINTS, NAME, record)
    serve(server, b"no archive")
    check_failure(
        home, "(?s)weights='tiny.test' cannot be loaded from.*corrupt, delete", kept=["tiny.pkl"]
    )


def test_a_wrong_file_put_by_hand_is_told_and_stays(server, record, home):
    home.mkdir(parents=True)
    (home / "tiny.pkl").write_bytes(b"an older release")
    check_failure(home, "is not the published file: Its sha256.*Delete it", kept=["tiny.pkl"])
    assert server.asked == []


def test_a_kept_file_that_was_damaged_is_told(server, record, content, home):
    serve(server, content)
    knl.I3D(weights=NAME)
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    (home / "tiny.pkl").write_bytes(changed)
    check_failure(home, "is not the published file: Its sha256.*Delete it", kept=KEPT)


def test_the_policy_of_the_moment_rounds_the_weights_of_its_models_alone(server, record, content):
    serve(server, content)
    keras.config.set_dtype_policy("bfloat16")
    assert keras.backend.standardize_dtype(knl.I3D(weights=NAME).weights[0].dtype) == "bfloat16"
    assert keras.config.dtype_policy().name == "bfloat16"
    keras.config.set_dtype_policy("float32")
    assert is_loaded(knl.I3D(weights=NAME))


def test_changes_of_the_network_keep_the_weights(server, record, content):
    serve(server, content)
    model = knl.I3D(weights=NAME, classes=3, input_shape=(8, 64, 64, 3))
    trained = knl.I3D(weights=NAME)
    assert model.output_shape == (None, 3)
    for layer in model.layers:
        if layer.name != "predictions":
            theirs = trained.get_layer(layer.name).get_weights()
            assert all(map(np.array_equal, layer.get_weights(), theirs))


def test_models_remember_their_record(server, record, content):
    serve(server, content)
    model = knl.I3D(weights=NAME)
    assert (model.source, model.clip) == ("pyslowfast", "8x8")
    assert model.decode_predictions(np.eye(5)[1:2], top=1) == [[("two", 1.0)]]
    assert knl.I3D(weights=NAME, classes=3).class_names is None


def test_a_license_that_forbids_commercial_use_is_told_once(
    server, record, content, caplog, monkeypatch
):
    serve(server, content)
    free, bound = record, dataclasses.replace(record, license="CC-BY-NC-4.0")
    for checkpoint, times in ((free, 0), (bound, 1), (bound, 0)):
        caplog.clear()
        monkeypatch.setitem(registry.CHECKPOINTS, NAME, checkpoint)
        with caplog.at_level(logging.WARNING, "keras_nonlocal"):
            knl.I3D(weights=NAME)
        assert caplog.text.count("CC-BY-NC-4.0, which forbids commercial use") == times


def test_threads_at_once_do_not_meet(server, record, content, home):
    """The server answers none before both have asked."""
    serve(server, content)
    server.before_answer = threading.Barrier(2, timeout=30).wait
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        models = list(pool.map(lambda _: knl.I3D(weights=NAME), range(2)))
    assert all(map(is_loaded, models))
    assert files_below(home) == KEPT


# What a user starts twice, from a shell and a notebook.
PROGRAM = """
import sys
import keras_nonlocal as knl
from keras_nonlocal.checkpoints import registry
from tests.checkpoints import test_download as tests
registry.CHECKPOINTS[tests.NAME] = tests.record_of(sys.argv[1])
assert tests.is_loaded(knl.I3D(weights=tests.NAME))
"""


@pytest.mark.slow
def test_processes_at_once_do_not_meet(server, record, content, home):
    serve(server, content)
    server.before_answer = threading.Barrier(2, timeout=120).wait
    command = [sys.executable, "-c", PROGRAM, hashlib.sha256(content).hexdigest()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert files_below(home) == KEPT

"""The clients of examples/serving, against servers that speak TF Serving's protocols.

The servers here stand in for TF Serving: gRPC and HTTP over real connections, its own messages
and JSON, and behind them the SavedModel with TensorFlow.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import pathlib
import re
import subprocess
import sys
import threading
import urllib.error

import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal
from keras_nonlocal import transforms
from keras_nonlocal.exporting.facts import facts_of
from keras_nonlocal.exporting.folding import fold
from keras_nonlocal.exporting.saved_model import write_saved_model
from tests import made_videos

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples" / "serving"
NAMES = ("rowing", "ça va", "sowing")


@pytest.fixture(scope="module")
def model():
    network = keras_nonlocal.C2D(
        depth=(1, 1, 1, 1),
        width=8,
        clip="8x2",
        class_names=NAMES,
        classes=len(NAMES),
        input_shape=(8, 32, 32, 3),
        include_preprocessing=True,
    )
    # Far enough from where training starts for the videos to differ, and for classes to as well.
    rng = np.random.default_rng(0)
    for variable in network.trainable_variables:
        if variable.path.endswith("kernel"):
            variable.assign(variable + 0.05 * rng.normal(size=variable.shape))
    return network


@pytest.fixture(scope="module")
def loaded(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "1"
    write_saved_model(fold(model), folder, facts_of(model, (8, 32, 32, 3)))
    return tf.saved_model.load(folder)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two videos of different sizes."""
    folder = tmp_path_factory.mktemp("videos")
    return [
        str(made_videos.write(folder / f"{width}.mp4", made_videos.moving_bars(20, 48, width)))
        for width in (64, 80)
    ]


def run_signature(loaded, name, inputs):
    signature = loaded.signatures[name]
    if set(inputs) != set(signature.structured_input_signature[1]):
        raise ValueError(f"input keys {sorted(inputs)} are not those of {name}")
    return signature(**{key: tf.constant(value) for key, value in inputs.items()})


def from_json(value):
    """What the REST protocol makes of JSON: an object of `b64` alone is bytes."""
    if isinstance(value, list):
        return [from_json(part) for part in value]
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    return value


def to_json(name, value):
    # Strings are text, but in outputs whose names end in `_bytes`.
    if value.dtype == tf.string and not name.endswith("_bytes"):
        return np.vectorize(bytes.decode)(value.numpy()).tolist()
    return value.numpy().tolist()


@contextlib.contextmanager
def rest_server(loaded):
    """Gives the URL of a server of the model "tiny", in the row format of TF Serving's REST."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = self.answer(body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def answer(self, body):
            if self.path != "/v1/models/tiny:predict":
                return 404, {"error": f"Servable not found for request: {self.path}"}
            rows = body["instances"]
            inputs = {key: [from_json(row[key]) for row in rows] for key in rows[0]}
            try:
                outputs = run_signature(
                    loaded, body.get("signature_name", "serving_default"), inputs
                )
            except (ValueError, tf.errors.OpError) as error:
                return 400, {"error": str(error)}
            columns = {name: to_json(name, value) for name, value in outputs.items()}
            return 200, {
                "predictions": [
                    dict(zip(columns, row, strict=True))
                    for row in zip(*columns.values(), strict=True)
                ]
            }

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def grpc_server(loaded):
    """Gives the address of a server of the model "tiny"."""
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            if request.model_spec.name != "tiny":
                context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            try:
                outputs = run_signature(loaded, request.model_spec.signature_name, inputs)
            except (ValueError, tf.errors.OpError) as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            response = predict_pb2.PredictResponse()
            for name, value in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return response

    # TF Serving takes requests of any size as well.
    options = [("grpc.max_receive_message_length", -1)]
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


@pytest.fixture(scope="module")
def rest(loaded):
    with rest_server(loaded) as url:
        yield url


@pytest.fixture(scope="module")
def address(loaded):
    with grpc_server(loaded) as address:
        yield address


@pytest.fixture
def client(monkeypatch):
    """Imports a client as its script does, with its neighbours at hand."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("frames", "rest_client", "grpc_client"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return __import__


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments, "--model", "tiny", "--stride", "2"],
        capture_output=True,
        text=True,
        check=False,
    )


def expected(model, clips):
    """The network's answers to clips whose short side, 48, is made 37 and cut to 32."""

    def prepare(clip):
        sides = 37, clip.shape[2] * 37 // 48
        resized = tf.round(tf.image.resize(clip.astype("float32"), sides, antialias=True))
        return transforms.center_crop(32)(resized)

    return model.predict_on_batch(np.stack([prepare(clip) for clip in clips]))


def assert_printed(printed, videos, probabilities, tolerance):
    """Names and numbers under each video, the highest first."""
    blocks = re.findall(r"^(\S+)\n((?:  .*\n)+)", printed, re.MULTILINE)
    assert [video for video, _ in blocks] == videos
    for (_, block), row in zip(blocks, probabilities, strict=True):
        lines = [line.split(maxsplit=1) for line in block.splitlines()]
        values = [float(value) for value, _ in lines]
        assert values == sorted(values, reverse=True) and len(values) == len(NAMES)
        found = [values[[name for _, name in lines].index(name)] for name in NAMES]
        np.testing.assert_allclose(found, row, rtol=0, atol=tolerance)


def test_frames_are_those_of_the_package(client, videos):
    clip = client("frames").read_clip(videos[0], frames=8, stride=2, start=3)
    reference = keras_nonlocal.data.decode_frames(videos[0], np.arange(3, 19, 2))
    np.testing.assert_array_equal(clip, reference)


def test_large_frames_shrink_and_short_videos_begin_anew(client, videos):
    read = client("frames").read_clip
    assert read(videos[1], short_side=24).shape == (8, 24, 40, 3)
    # 20 frames, of which the last is number 18 here.
    clip = read(videos[0], frames=4, stride=6, start=2)
    reference = keras_nonlocal.data.decode_frames(videos[0], [2, 8, 14, 2])
    np.testing.assert_array_equal(clip, reference)
    with pytest.raises(SystemExit, match="has no frame number 20. Lower --start"):
        read(videos[0], start=20)


def test_encoded_frames_are_nearly_the_frames(client, videos):
    frames = client("frames")
    picture = frames.read_clip(videos[0], frames=1)[0]
    decoded = tf.io.decode_jpeg(frames.encode_jpeg(picture), channels=3).numpy()
    assert decoded.shape == picture.shape
    # Colours of neighbouring pixels are shared, so that sharp edges suffer; the rest does not.
    difference = np.abs(decoded.astype(int) - picture)
    assert np.median(difference) <= 3 and difference.mean() < 6


def test_the_rest_client_names_what_videos_show(client, model, rest, videos):
    frames = client("frames")
    result = run("rest_client.py", *videos, "--url", rest)
    assert result.returncode == 0, result.stderr
    clips = [frames.read_clip(video, stride=2) for video in videos]
    sent = [
        np.stack([tf.io.decode_jpeg(frames.encode_jpeg(picture)) for picture in clip])
        for clip in clips
    ]
    # TensorFlow's two ways to decode differ by a level or two.
    assert_printed(result.stdout, videos, expected(model, sent), 0.02)


def test_the_rest_client_needs_no_tensorflow():
    code = "import sys; sys.modules.update(tensorflow=None, keras=None); import rest_client"
    subprocess.run([sys.executable, "-c", code], cwd=EXAMPLES, check=True)


def test_the_rest_client_says_what_the_server_says(client, rest):
    predict = client("rest_client").predict
    with pytest.raises(RuntimeError, match="Servable not found"):
        predict(rest, "huge", [[b""] * 8])
    with pytest.raises(RuntimeError, match="Invalid JPEG data"):
        predict(rest, "tiny", [[b"no picture"] * 8])
    with pytest.raises(urllib.error.URLError):
        predict("http://127.0.0.1:9", "tiny", [])


def test_a_video_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    for video in ("broken.mp4", "nothing.mp4"):
        result = run("rest_client.py", tmp_path / video, "--url", "http://127.0.0.1:9")
        assert (result.returncode, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert f"{video} cannot be read: " in line


def test_no_request_is_larger_than_the_server_takes(client):
    frames, text = client("frames"), (EXAMPLES / "batching.txt").read_text()
    assert f"max_batch_size {{ value: {frames.CLIPS_A_REQUEST} }}" in text
    clips = [np.full((1, 8, 8, 3), number, "uint8") for number in range(5)]
    requests = client("grpc_client").make_requests(clips, "jpeg")
    assert [len(inputs["frames"]) for _, inputs in requests] == [4, 1]
    assert [clip for some in frames.in_requests(clips) for clip in some] == clips


@pytest.mark.parametrize("send", ["jpeg", "pixels"])
def test_the_grpc_client_gets_the_networks_answers(send, client, model, address, videos):
    import grpc

    frames, grpc_client = client("frames"), client("grpc_client")
    clips = [frames.read_clip(video, stride=2) for video in videos]
    answers = []
    with grpc.insecure_channel(address) as channel:
        for signature, inputs in grpc_client.make_requests(clips, send):
            answers.append(grpc_client.predict(channel, "tiny", signature, inputs))
    assert [len(answer["probabilities"]) for answer in answers] == (
        [2] if send == "jpeg" else [1, 1]
    )
    found = np.concatenate([answer["probabilities"] for answer in answers])
    if send == "jpeg":
        decode = {"channels": 3, "dct_method": "INTEGER_ACCURATE"}
        clips = [
            np.stack([tf.io.decode_jpeg(frames.encode_jpeg(p), **decode) for p in clip])
            for clip in clips
        ]
    np.testing.assert_allclose(found, expected(model, clips), rtol=0, atol=1e-5)
    first = np.concatenate([answer["top_classes"] for answer in answers])[:, 0]
    assert [name.decode() for name in first] == [NAMES[label] for label in found.argmax(1)]


def test_the_grpc_client_prints_names_and_errors(
    client, model, address, videos, monkeypatch, capsys
):
    clips = [client("frames").read_clip(video, stride=2) for video in videos]
    words = f"grpc_client.py --model tiny --stride 2 --address {address} --send pixels".split()
    monkeypatch.setattr(sys, "argv", [*words, *videos])
    client("grpc_client").main()
    assert_printed(capsys.readouterr().out, videos, expected(model, clips), 1e-4)
    monkeypatch.setattr(sys, "argv", [*words, *videos, "--frames", "7"])
    # Each runtime has its own words around it.
    message = r"\[1,7,48,64,3\] is not compatible with expected shape \[\?,8,\?,\?,3\]"
    with pytest.raises(SystemExit, match=f"(?s)^{address} gave no answer: .*{message}"):
        client("grpc_client").main()

"""SavedModels answer wherever TensorFlow is, and tell what belongs to them."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.exporting.facts import Facts, facts_of
from keras_nonlocal.exporting.folding import fold
from keras_nonlocal.exporting.saved_model import load_saved_model, save_network, write_saved_model
from keras_nonlocal.exporting.serving import make_signatures
from keras_nonlocal.exporting.warm_up import write_warm_up
from keras_nonlocal.layers import Conv3D, NonLocal3D
from keras_nonlocal.preprocessing import preprocess_input

NAMES = ("rowing", "surfing", "ça va", "sowing", "reading")
FACTS = Facts(
    (4, 32, 32, 3),
    class_names=NAMES,
    source="mmaction2",
    clip="4x8",
    short_side=37,
    include_preprocessing=True,
)

# `None` in `sys.modules` makes an import fail.
SERVE = """
import sys
sys.modules.update(keras=None, tf_keras=None, keras_nonlocal=None)
import numpy as np
import tensorflow as tf

folder, sent, answers = sys.argv[1:]
loaded = tf.saved_model.load(folder)
found = {}
for name, value in np.load(sent).items():
    answer = loaded.signatures[name](tf.constant(value.tolist() if name == "jpeg" else value))
    found.update({f"{name} {key}": value.numpy() for key, value in answer.items()})
    if name != "network":
        same = loaded.classify(tf.constant(value.tolist() if name == "jpeg" else value))
        np.testing.assert_array_equal(same["top_indices"], answer["top_indices"])
found["serve"] = loaded.serve(np.load(sent)["network"]).numpy()
names = [name for name in found if name.endswith("top_classes")]
found.update({name: np.char.decode(found[name].astype(bytes), "utf-8") for name in names})
np.savez(answers, **found)
"""


@pytest.fixture(scope="module")
def served(video_network, tmp_path_factory):
    """A small network of pixels with a block, and the folder of its SavedModel."""
    layers = [
        Conv3D(6, 3, strides=(2, 4, 4), name="conv"),
        keras.layers.BatchNormalization(),
        NonLocal3D(name="block"),
        keras.layers.GlobalAveragePooling3D(),
        keras.layers.Dense(5, "softmax"),
    ]
    config = {"source": "mmaction2", "clip": "4x8", "classes": 5, "class_names": NAMES}
    model = video_network(layers, FACTS.input_shape, include_preprocessing=True, **config)
    assert facts_of(model, FACTS.input_shape) == FACTS
    folder = tmp_path_factory.mktemp("served") / "1"
    write_saved_model(fold(model), folder, FACTS)
    return model, folder


@pytest.fixture(scope="module")
def loaded(served):
    return tf.saved_model.load(served[1])


def answers(model, clips):
    return np.asarray(model(clips, training=False))


def pixels(*shape):
    return np.random.default_rng(3).integers(0, 256, shape).astype("uint8")


def as_in_tests(clips):
    """Of 48 x 64 pixels, 37 x 49, of which the middle."""
    flat = clips.reshape(-1, *clips.shape[2:]).astype("float32")
    resized = tf.image.resize(flat, (37, 49), antialias=True)
    resized = tf.round(resized) if clips.dtype == np.uint8 else resized
    cut = resized[:, 2:34, 8:40]
    return tf.reshape(cut, (*clips.shape[:2], 32, 32, 3)).numpy().astype(clips.dtype)


def encode(clips):
    """JPEG of all frames, and what they hold then."""
    frames = [[tf.io.encode_jpeg(frame, quality=95).numpy() for frame in clip] for clip in clips]
    decode = [[tf.io.decode_jpeg(f, dct_method="INTEGER_ACCURATE") for f in row] for row in frames]
    return frames, np.array(decode)


def test_every_signature_answers_without_keras_and_this_package(served, tmp_path):
    model, folder = served
    clips = pixels(2, 4, 48, 64, 3)
    frames, decoded = encode(clips)
    prepared = {
        "serving_default": as_in_tests(clips),
        "float_pixels": as_in_tests(clips.astype("float32")),
        "jpeg": as_in_tests(decoded),
    }
    prepared["network"] = prepared["serving_default"].astype("float32")
    sent = {"serving_default": clips, "float_pixels": clips.astype("float32"), "jpeg": frames}
    np.savez(
        tmp_path / "sent.npz", **{**sent, "network": prepared["network"], "jpeg": np.array(frames)}
    )
    subprocess.run(
        [sys.executable, "-c", SERVE, folder, tmp_path / "sent.npz", tmp_path / "answers.npz"],
        check=True,
    )
    found = np.load(tmp_path / "answers.npz")
    for name, clip in prepared.items():
        expected = answers(model, clip)
        np.testing.assert_allclose(found[f"{name} probabilities"], expected, rtol=0, atol=1e-5)
        if name == "network":
            continue
        order = np.argsort(-expected, axis=1, kind="stable")
        np.testing.assert_array_equal(found[f"{name} top_indices"], order)
        np.testing.assert_array_equal(found[f"{name} top_classes"], np.array(NAMES)[order])
        np.testing.assert_allclose(
            found[f"{name} top_probabilities"], np.sort(expected)[:, ::-1], rtol=0, atol=1e-5
        )
    np.testing.assert_allclose(found["serve"], found["network probabilities"], atol=1e-6)


def run_command(*arguments):
    """TensorFlow's own tool for SavedModels."""
    tool = pathlib.Path(sys.executable).with_name("saved_model_cli")
    result = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_saved_model_cli_shows_and_runs_it(served, tmp_path):
    model, folder = served
    shown = run_command("show", "--dir", folder, "--all")
    for name in ("serving_default", "float_pixels", "jpeg", "network"):
        assert f"signature_def['{name}']" in shown
    assert "shape: (-1, 4, -1, -1, 3)" in shown and "dtype: DT_STRING" in shown
    clips = pixels(2, 4, 32, 32, 3)
    np.save(tmp_path / "clips.npy", clips)
    run_command(
        *("run", "--dir", folder, "--tag_set", "serve", "--signature_def", "serving_default"),
        *("--inputs", f"clips={tmp_path / 'clips.npy'}", "--outdir", tmp_path),
    )
    expected = answers(model, clips)
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=1e-5)
    first = np.load(tmp_path / "top_classes.npy", allow_pickle=True)[:, 0]
    assert [name.decode() for name in first] == [NAMES[label] for label in expected.argmax(1)]


def test_a_wrong_number_of_frames_is_refused(loaded):
    signatures = loaded.signatures
    message = r"Shape of tensor clips \[1,7,48,32,3\] is not compatible .* \[\?,4,\?,\?,3\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures["serving_default"](tf.zeros((1, 7, 48, 32, 3), tf.uint8))
    message = r"Shape of tensor frames \[1,7\] is not compatible .* \[\?,4\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures["jpeg"](tf.constant(encode(pixels(1, 7, 8, 8, 3))[0]))


def test_facts_and_class_names_lie_beside_the_graph(served):
    extra = served[1] / "assets.extra"
    assert Facts.from_json((extra / "facts.json").read_text(encoding="utf-8")) == FACTS
    assert (extra / "classes.txt").read_text(encoding="utf-8").splitlines() == list(NAMES)


def requests_in(folder):
    """What TF Serving reads, by the protocol buffers of its own package."""
    from tensorflow_serving.apis import prediction_log_pb2

    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    # Nothing is left over: what the package itself writes of them is the same, byte for byte.
    assert [log.SerializeToString(deterministic=True) for log in logs] == records
    return [log.predict_log.request for log in logs]


def test_warm_up_requests_are_those_of_tf_serving_and_run(served, loaded):
    model, folder = served
    signatures = loaded.signatures
    requests = {request.model_spec.signature_name: request for request in requests_in(folder)}
    assert (
        set(requests) == set(signatures) == {"serving_default", "float_pixels", "jpeg", "network"}
    )
    for name, request in requests.items():
        assert request.model_spec.name == model.name
        sent = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        assert signatures[name](**sent)["probabilities"].shape == (1, 5)
    # As clients send it, so that what resizes is warm, too; in few bytes all the same.
    assert requests["serving_default"].inputs["clips"].ByteSize() < 100
    shape = requests["serving_default"].inputs["clips"].tensor_shape
    assert [axis.size for axis in shape.dim] == [1, 4, 37, 49, 3]
    for name in ("serving_default", "float_pixels", "network"):
        assert np.unique(tf.make_ndarray(requests[name].inputs["clips"])) == [128]


def test_unknown_sizes_stay_unknown_and_are_warmed_up(tmp_path):
    shape = (None, None, None, 3)
    inputs = keras.Input(shape)
    x = keras.layers.GlobalAveragePooling3D()(keras.layers.Conv3D(4, 3, activation="relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(x))
    facts = Facts(shape, source="video-nonlocal-net", class_names=NAMES)
    write_saved_model(fold(model), tmp_path / "1", facts, top=1)
    signatures = tf.saved_model.load(tmp_path / "1").signatures
    for clips in (pixels(2, 4, 32, 32, 3), pixels(1, 8, 64, 48, 3)):
        answer = signatures["serving_default"](tf.constant(clips))
        expected = answers(model, preprocess_input(clips))
        np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
        assert answer["top_classes"].shape == (len(clips), 1)
    assert len(requests_in(tmp_path / "1")) == 4


def warm_ups(model, facts, folder):
    """Records that are written for a model, without its SavedModel."""
    spec = tf.TensorSpec((None, *facts.input_shape), name="clips")
    serve = tf.function(lambda clips: model(clips), input_signature=[spec], autograph=False)
    signatures = make_signatures(serve, model.output_shape, facts, top=5)[1]
    assert len(signatures) >= 2
    write_warm_up(folder / "requests", signatures, "network", facts)
    return list(tf.data.TFRecordDataset(str(folder / "requests")))


def test_a_network_that_refuses_the_usual_sizes_has_no_warm_up(tmp_path):
    inputs = keras.Input((None, 3))
    # 64 x 3 numbers are no rows of 5.
    x = keras.layers.Reshape((-1, 5))(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))
    assert warm_ups(model, Facts((None, 3), output="scores"), tmp_path) == []


def test_a_network_that_refuses_the_usual_frames_has_no_warm_up_of_them(tmp_path):
    inputs = keras.Input((None, 32, 32, 3))
    # 8 frames are no groups of 16.
    x = keras.layers.Reshape((-1, 16, 32, 32, 3))(inputs)
    x = keras.ops.mean(x, axis=(1, 2, 3, 4))
    model = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(x))
    facts = Facts(inputs.shape[1:], source="video-nonlocal-net", short_side=37)
    assert warm_ups(model, facts, tmp_path) == []


def test_an_artefact_is_read_back(served):
    model, folder = served
    artefact = load_saved_model(folder)
    assert artefact.format == "saved_model"
    assert artefact.runtime == f"tensorflow {tf.__version__}"
    assert artefact.facts == FACTS
    clips = pixels(3, 4, 32, 32, 3)
    found = artefact.predict(clips)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, answers(model, clips), rtol=0, atol=1e-5)


def scaled(factor):
    inputs = keras.Input((2,))
    return keras.Model(inputs, keras.layers.Rescaling(factor)(inputs))


def test_of_versions_the_highest_is_read(tmp_path):
    for version in (9, 10):
        write_saved_model(scaled(version), tmp_path / str(version), Facts((2,), output="scores"))
    np.testing.assert_array_equal(load_saved_model(tmp_path).predict(np.ones((1, 2))), [[10, 10]])


def test_saved_models_of_others_are_read(tmp_path):
    scaled(3).export(tmp_path / "keras", verbose=False)
    module = tf.Module()
    module.scale = tf.Variable(4.0)
    function = tf.function(lambda x: {"y": x * module.scale})
    signature = function.get_concrete_function(tf.TensorSpec((None, 2), tf.float32, name="x"))
    tf.saved_model.save(module, tmp_path / "other", signatures={"predict": signature})
    for name, factor in (("keras", 3), ("other", 4)):
        artefact = load_saved_model(tmp_path / name)
        assert artefact.facts is None
        np.testing.assert_array_equal(artefact.predict(np.ones((1, 2))), [[factor, factor]])


def test_several_inputs_or_outputs_are_refused(tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec((None, 2), tf.float32)
    two = tf.function(lambda x, y: {"z": x + y}).get_concrete_function(spec, spec)
    tf.saved_model.save(module, tmp_path / "two", signatures=two)
    with pytest.raises(ValueError, match=r"one input and one output. Received: 2 inputs in"):
        load_saved_model(tmp_path / "two")
    split = tf.function(lambda x: {"a": x, "b": x}).get_concrete_function(spec)
    tf.saved_model.save(module, tmp_path / "split", signatures=split)
    with pytest.raises(ValueError, match=r"one input and one output. Received: 2 outputs in"):
        load_saved_model(tmp_path / "split").predict(np.ones((1, 2)))


def test_a_folder_without_a_saved_model_is_refused(tmp_path):
    (tmp_path / "1").mkdir()
    for path in (tmp_path, tmp_path / "1", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"`path` must be a SavedModel folder"):
            load_saved_model(path)


def test_a_network_is_saved_as_it_stands(tiny, tmp_path):
    network = fold(tiny, batch_size=1)
    save_network(network, tmp_path / "fixed")
    (signature,) = tf.saved_model.load(tmp_path / "fixed").signatures.values()
    (spec,) = signature.structured_input_signature[1].values()
    assert spec.shape == (1, 8, 8, 3)


def test_facts_name_the_normalization_that_other_readers_must_do(served):
    facts = json.loads((served[1] / "assets.extra" / "facts.json").read_text(encoding="utf-8"))
    assert facts["include_preprocessing"] is True and "normalization" not in facts
    facts = json.loads(dataclasses.replace(FACTS, include_preprocessing=False).to_json())
    assert facts["normalization"]["mean"] == [123.675, 116.28, 103.53]

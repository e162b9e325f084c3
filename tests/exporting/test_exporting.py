"""Exports load where they are meant to, answer as the model does, or are not written."""

import dataclasses
import errno
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal
from keras_nonlocal.exporting import artefacts, export, exporting
from keras_nonlocal.exporting.facts import Facts
from keras_nonlocal.exporting.report import read_report
from keras_nonlocal.layers import Conv3D
from keras_nonlocal.preprocessing import preprocess_input


def answers(model, clips):
    return np.asarray(model(clips, training=False))


def distort(monkeypatch, factor):
    """Has every export answer otherwise than it does."""
    load = exporting.load_artefact

    def load_distorted(path):
        artefact = load(path)
        return dataclasses.replace(artefact, predict=lambda x: artefact.predict(x) * factor)

    monkeypatch.setattr(exporting, "load_artefact", load_distorted)


def block_network(shape, dtype=None):
    """A small network of clips with a norm and a block."""
    x = inputs = keras.Input(shape)
    x = keras_nonlocal.layers.Conv3D(6, (1, 3, 3), strides=(1, 4, 4), dtype=dtype)(x)
    x = keras.layers.BatchNormalization(dtype=dtype)(x)
    x = keras_nonlocal.NonLocal3D(dtype=dtype)(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling3D(dtype="float32")(x))


def test_a_saved_model_keeps_unknown_sizes(randomise, tmp_path):
    network = randomise(block_network((None, None, None, 3)))
    loaded = tf.saved_model.load(export(network, tmp_path / "served"))
    for shape in ((2, 4, 12, 12, 3), (1, 2, 20, 8, 3)):
        clips = np.random.default_rng(2).normal(size=shape).astype("float32")
        np.testing.assert_allclose(loaded.serve(clips), answers(network, clips), atol=1e-5)


def test_unknown_sizes_are_fixed_for_tflite(randomise, tmp_path):
    network, shape = randomise(block_network((None, None, None, 3))), (2, 8, 8, 3)
    clips = np.random.default_rng(2).normal(size=(2, *shape)).astype("float32")
    path = export(network, tmp_path / "x.tflite", "tflite", input_shape=shape, clips=clips)
    found = artefacts.load_artefact(path).predict(clips)
    np.testing.assert_allclose(found, answers(network, clips), atol=1e-5)


def test_clips_come_as_a_dataset_of_batches_with_labels(tiny, tmp_path):
    images = np.random.default_rng(0).normal(size=(12, 8, 8, 3)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(12))).batch(2).repeat()
    path = export(tiny, tmp_path / "x.tflite", format="tflite", quantize="int8", clips=dataset)
    expected = answers(tiny, images)
    assert (
        np.abs(artefacts.load_artefact(path).predict(images) - expected).max()
        < 0.1 * np.abs(expected).max()
    )


def test_a_model_in_half_precision_exports_in_float32(randomise, tmp_path):
    model = randomise(block_network((4, 8, 8, 3), "mixed_bfloat16"))
    loaded = tf.saved_model.load(export(model, tmp_path / "served"))
    assert {variable.dtype for variable in loaded.weights} == {tf.float32}


@pytest.mark.parametrize("pixels", [True, False], ids=["uint8", "float32"])
def test_models_of_images_and_pixels_export(pixels, randomise, tmp_path):
    inputs = keras.Input((None, None, 3), dtype="uint8" if pixels else "float32")
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(inputs))
    model = randomise(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x)))
    loaded = tf.saved_model.load(export(model, tmp_path / "served"))
    images = np.ones((2, 20, 30, 3), inputs.dtype)
    np.testing.assert_allclose(loaded.serve(images), answers(model, images), atol=1e-6)


@pytest.mark.parametrize("wrong", [1.001, np.nan], ids=["off", "nan"])
def test_an_export_that_answers_otherwise_is_not_written(wrong, tiny, tmp_path, monkeypatch):
    distort(monkeypatch, wrong)
    with pytest.raises(RuntimeError, match=r"must answer as the model does.*`tolerance` is 0.0001"):
        export(tiny, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_int8_that_decides_otherwise_is_not_written(tmp_path, monkeypatch):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    dense = keras.layers.Dense(2, "softmax", kernel_initializer="zeros")
    model = keras.Model(inputs, dense(x))
    dense.bias.assign([0.1, -0.1])  # Probabilities of 0.55 and 0.45.
    images = np.random.default_rng(0).normal(size=(30, 8, 8, 3)).astype("float32")
    load, predicted = exporting.load_artefact, []

    def load_flipped(path):
        artefact = load(path)

        def predict(clips):
            predicted.append(clips)
            return artefact.predict(clips)[:, ::-1]

        return dataclasses.replace(artefact, predict=predict)

    write, calibrated = exporting.write_tflite, []
    monkeypatch.setattr(exporting, "load_artefact", load_flipped)
    monkeypatch.setattr(
        exporting, "write_tflite", lambda *given: calibrated.append(given[-1]) or write(*given)
    )
    with pytest.raises(RuntimeError, match=r"the model's top class.*agrees on 0 of 10 clips"):
        export(model, tmp_path / "x.tflite", format="tflite", quantize="int8", clips=images)
    assert list(tmp_path.iterdir()) == []
    # Compared on clips that set no ranges.
    seen = {image.tobytes() for image in calibrated[0]}
    assert len(seen) == 20 and not seen & {image.tobytes() for image in predicted[0]}


def test_a_model_that_gives_no_numbers_is_refused(tiny, tmp_path):
    tiny = keras.models.clone_model(tiny)
    tiny.weights[0].assign(tiny.weights[0] * np.inf)
    with pytest.raises(ValueError, match="`model` must give finite numbers.*answers to noise hold"):
        export(tiny, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_pixels_that_are_answered_otherwise_are_not_written(video_network, tmp_path, monkeypatch):
    pool = keras.layers.GlobalAveragePooling3D()
    config = {"source": "gluoncv", "clip": "4x2", "include_preprocessing": True}
    model = video_network([pool], (4, 8, 8, 3), **config)
    prepare = Facts.prepare
    # Calls on arrays are those of the comparison, others those of the signatures.
    monkeypatch.setattr(
        Facts,
        "prepare",
        lambda facts, x: prepare(facts, 255 - x if isinstance(x, np.ndarray) else x),
    )
    with pytest.raises(RuntimeError, match="must answer as the model does"):
        export(model, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_a_wider_tolerance_lets_a_difference_through(tiny, tmp_path, monkeypatch):
    distort(monkeypatch, 1.001)
    assert export(tiny, tmp_path / "served", tolerance=0.01).is_dir()


def test_a_taken_path_is_kept_unless_told(tiny, tmp_path):
    (tmp_path / "served").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(tiny, tmp_path / "served")
    assert (tmp_path / "served").read_text() == "mine"
    assert export(tiny, tmp_path / "served", overwrite=True).is_dir()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"format": "hdf5"}, r"`format` must be one of 'saved_model', 'tflite'.*'hdf5'"),
        ({"format": "tflite"}, r"`path` must end in '.tflite' for format='tflite'.*Rename"),
        (
            {"format": "tflite", "quantize": "int4"},
            r"`quantize` must be one of None, 'float16', 'dynamic', 'int8'.*'int4'",
        ),
        ({"quantize": "int8"}, r"`quantize` must be None but for format='tflite'.*'int8'"),
        (
            {"format": "tflite", "quantize": "int8", "path": "x.tflite"},
            r"`clips` must hold clips that are typical.*clips=None.*quantize='dynamic'",
        ),
        (
            {"clips": np.zeros((2, 8, 9, 3), "float32")},
            r"`clips` must be at least one clip.*\(2, 8, 9, 3\).*\(8, 8, 3\)",
        ),
        ({"clips": np.zeros((0, 8, 8, 3), "float32")}, r"`clips` must be at least one clip"),
        ({"clips": np.zeros((8, 8, 3), "float32")}, r"`clips` must be at least one clip"),
        ({"input_shape": (9, 9, 3)}, r"`input_shape` must fit the model's own"),
        (
            {"class_names": ["a"]},
            r"`class_names` must be a list of one name, a text of one line, for each of the 4",
        ),
        ({"source": "mine"}, r"`source` must be one of.*'mine'"),
        ({"source": "gluoncv"}, r"`source` must be None but for models of RGB clips"),
        ({"clips": np.full((2, 8, 8, 3), np.nan)}, r"`clips` must hold numbers alone.*NaN"),
    ],
    ids=["format", "suffix", "quantize", "quantised saved model", "no clips", "other size", "none"]
    + ["no batch", "input_shape", "names", "source", "source of images", "nan"],
)
def test_wrong_arguments_are_refused_before_anything_is_written(arguments, message, tiny, tmp_path):
    with pytest.raises(ValueError, match=message):
        path = tmp_path / "new" / arguments.pop("path", "x")
        export(tiny, path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_tflite_needs_every_size(tmp_path):
    with pytest.raises(ValueError, match=r"must give every size.*input_shape=\(8, 64, 64, 3\)"):
        export(block_network((8, None, None, 3)), tmp_path / "x.tflite", format="tflite")


def test_another_backend_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match=r"needs Keras on TensorFlow.*backend 'jax'"):
        export(tiny, tmp_path / "x")


def test_int8_needs_enough_clips(tiny, tmp_path):
    clips = np.zeros((9, 8, 8, 3), "float32")
    with pytest.raises(ValueError, match=r"at least 10 clips for quantize='int8'.*Received: 9"):
        export(tiny, tmp_path / "x.tflite", format="tflite", quantize="int8", clips=clips)
    assert list(tmp_path.iterdir()) == []


def test_the_report_tells_what_was_made(tiny, tmp_path):
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    path = export(tiny, tmp_path / "x.tflite", format="tflite", quantize="float16", clips=images)
    found = read_report(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.tflite", "x.tflite.report.json"]
    assert (found["format"], found["quantize"]) == ("tflite", "float16")
    assert found["bytes"] == path.stat().st_size
    assert found["milliseconds_a_clip"] > 0
    assert found["operations"]["CONV_2D"] == 1
    assert found["agreement"]["of"] == "the clips given"
    assert found["agreement"]["clips"] == 5
    assert 0 < found["agreement"]["relative_difference"] <= found["agreement"]["tolerance"] == 0.01
    assert found["agreement"]["same_top"] == 1.0
    assert "; top-1 agrees on 5 of 5 clips (the clips given)" in found["agreement"]["summary"]


def test_a_folder_holds_its_report(tiny, tmp_path):
    path = export(tiny, tmp_path / "served" / "1")
    assert read_report(path)["agreement"]["of"] == "noise"
    assert [each.name for each in (tmp_path / "served").iterdir()] == ["1"]


def test_a_full_disk_leaves_what_stood_there(tiny, tmp_path, monkeypatch):
    path = export(tiny, tmp_path / "x.tflite", format="tflite")
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    def write(model, path, *arguments):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "write_tflite", write)
    with pytest.raises(OSError, match=r"x.tflite' cannot be written: No space.*Make room"):
        export(tiny, path, format="tflite", overwrite=True)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


FILLED = """
import json, resource, signal
import keras_nonlocal as knl
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
model, said = knl.NLI3D(weights="camera_motion"), {}
for format, path in {paths}.items():
    try:
        knl.export(model, path, format=format)
    except OSError as error:
        said[format] = str(error)
print(json.dumps(said))
"""


@pytest.mark.slow
def test_a_full_disk_is_told_whoever_finds_it(tmp_path):
    paths = {"saved_model": "x", "tflite": "x.tflite", "onnx": "x.onnx", "openvino": "y"}
    code = FILLED.replace("{paths}", repr(paths))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said.keys() == paths.keys()
    for format, path in paths.items():
        assert f"'{path}' cannot be written: " in said[format]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "inside, takes",
    [(True, "RGB pixels from 0 to 255"), (False, "RGB clips, normalized as by mmaction2")],
    ids=["pixels", "normalized"],
)
def test_the_configuration_of_the_network_is_exported(inside, takes, video_network, tmp_path):
    layers = [keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(2, "softmax")]
    config = {"source": "mmaction2", "clip": "4x2", "classes": 2, "class_names": ["a", "b"]}
    model = video_network(layers, (4, 16, 16, 3), include_preprocessing=inside, **config)
    model.save(tmp_path / "x.keras")
    path = export(model, tmp_path / "x.tflite", "tflite")
    assert read_report(path)["takes"] == takes
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3)).astype("uint8")
    expected = answers(model, pixels if inside else preprocess_input(pixels, "mmaction2"))
    for file in (path, tmp_path / "x.keras"):
        network = artefacts.load_artefact(file)
        assert network.facts == Facts(
            (4, 16, 16, 3), "float32", "probabilities", ("a", "b"), "mmaction2", "4x2", 18, inside
        )
        found = network.predict(network.facts.prepare(pixels))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_networks_of_pixels_are_compared_on_pixels(video_network, tmp_path, monkeypatch):
    layers = [Conv3D(4, 3), keras.layers.GlobalAveragePooling3D()]
    model = video_network(layers, (4, 16, 16, 3), clip="4x2", include_preprocessing=True)
    compared, answers_of = [], exporting.agreement.answers_of
    monkeypatch.setattr(
        exporting.agreement,
        "answers_of",
        lambda model, clips: compared.append(clips) or answers_of(model, clips),
    )
    path = tmp_path / "x.tflite"
    export(model, path, format="tflite")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 16, 16, 3)).astype("uint8")
    export(model, path, format="tflite", clips=pixels, overwrite=True)
    noise, given = compared
    assert noise.min() == 0 and noise.max() == 255 and noise.std() > 30
    np.testing.assert_array_equal(given, pixels)
    with pytest.raises(ValueError, match="`clips` must be pixels from 0 to 255"):
        export(model, path, clips=pixels / 100 - 1.0, format="tflite", overwrite=True)


def test_pixels_are_refused_for_a_network_of_normalized_clips(video_network, tmp_path):
    layers = [Conv3D(4, 3), keras.layers.GlobalAveragePooling3D()]
    model = video_network(layers, (4, 16, 16, 3), clip="4x2", include_preprocessing=False)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 4, 16, 16, 3)).astype("uint8")
    message = "`clips` must be normalized for a network .*Received: clips of uint8"
    with pytest.raises(ValueError, match=message):
        export(model, tmp_path / "x.tflite", "tflite", "int8", clips=pixels)
    assert not (tmp_path / "x.tflite").exists()


def test_given_facts_are_exported(tmp_path):
    given = {"class_names": list("abcdef"), "source": "gluoncv", "clip": "4x4"}
    model = block_network((4, 16, 16, 3))
    facts = artefacts.load_artefact(export(model, tmp_path / "y.tflite", "tflite", **given)).facts
    assert facts.class_names == tuple("abcdef")
    assert (facts.source, facts.clip) == ("gluoncv", "4x4")


def test_a_model_that_remembers_nothing_is_exported_with_its_own_input(tmp_path):
    path = export(block_network((4, 8, 8, 3)), tmp_path / "x")
    facts = artefacts.load_artefact(path).facts
    assert (facts.source, facts.include_preprocessing) == (None, False)
    assert read_report(path)["takes"] == "what the model takes"


@pytest.fixture(scope="module")
def augmented(randomise):
    """A classifier as in Keras' guides, with its augmentation inside, beside and nested."""
    layers = keras.layers
    augmentation = keras.Sequential(
        [layers.RandomRotation(0.2), layers.RandomContrast(0.5), layers.RandomZoom(0.3)],
        name="data_augmentation",
    )
    return randomise(
        keras.Sequential(
            [
                keras.Input((12, 12, 3)),
                layers.RandomFlip(),
                augmentation,
                layers.RandomCrop(10, 10),
                layers.Conv2D(8, 3),
                keras_nonlocal.NonLocal2D(),
                layers.GlobalAveragePooling2D(),
                layers.Dense(3, "softmax"),
            ]
        )
    )


@pytest.mark.parametrize("format", exporting.FORMATS)
def test_models_with_augmentation_layers_export(format, augmented, tmp_path):
    path = tmp_path / {"tflite": "x.tflite", "onnx": "x.onnx"}.get(format, "x")
    images = np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype("float32")
    export(augmented, path, format=format, clips=images)
    found = artefacts.load_artefact(path).predict(images)
    np.testing.assert_allclose(found, augmented.predict(images, verbose=0), atol=1e-5)


@pytest.mark.parametrize("nested", [False, True], ids=["", "nested"])
def test_a_layer_called_in_training_mode_is_refused(nested, tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Dropout(0.5, name="always")(inputs, training=True)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    if nested:
        model = keras.Sequential([keras.Input((8, 8, 3)), model, keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"called with training=True.*'always' \(Dropout\)"):
        export(model, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []

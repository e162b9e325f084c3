"""TFLite files run in LiteRT, as they would on a device without TensorFlow."""

import importlib.metadata
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_nonlocal.exporting.facts import Facts
from keras_nonlocal.exporting.litert import load_tflite
from keras_nonlocal.exporting.tflite import convert, write_tflite

# `None` in `sys.modules` makes an import fail.
ALONE = """
import sys
sys.modules.update(tensorflow=None, keras=None, keras_nonlocal=None)
import zipfile
import numpy as np
from ai_edge_litert.interpreter import Interpreter

path, clips, answers = sys.argv[1:]
interpreter = Interpreter(path)
interpreter.allocate_tensors()
(source,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
interpreter.set_tensor(source["index"], np.load(clips))
interpreter.invoke()
np.save(answers, interpreter.get_tensor(answer["index"]))
print(zipfile.ZipFile(path).read("labels.txt").decode())
"""


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")


FACTS = Facts((8, 8, 3), class_names=("ab", "c", "d", "é"))


@pytest.fixture(scope="module")
def written(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("litert") / "x.tflite"
    write_tflite(tiny, path, FACTS)
    return path


def test_a_file_comes_back_with_its_facts_and_runtime(tiny, written, images):
    artefact = load_tflite(written)
    assert artefact.format == "tflite"
    assert artefact.facts == FACTS
    assert artefact.runtime == f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"
    found = artefact.predict(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tiny(images, training=False), atol=1e-6)
    assert artefact.predict(images[:0]).shape == (0, 4)


def test_a_file_runs_without_tensorflow_and_keras(tiny, written, images, tmp_path):
    np.save(tmp_path / "images.npy", images[:1])
    files = [written, *(tmp_path / name for name in ("images.npy", "answers.npy"))]
    ran = subprocess.run(
        [sys.executable, "-c", ALONE, *files], check=True, capture_output=True, encoding="utf-8"
    )
    assert ran.stdout.split() == list(FACTS.class_names)
    expected = tiny(images[:1], training=False)
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), expected, atol=1e-6)


def test_coverage_leaves_out_what_the_fast_path_lacks(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = keras.layers.Conv2D(4, 3)(keras.ops.cumsum(x, axis=1))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    write_tflite(model, tmp_path / "x.tflite", Facts((8, 8, 3)))
    artefact = load_tflite(tmp_path / "x.tflite")
    assert artefact.operations == {"CONV_2D": 2, "CUMSUM": 1, "MEAN": 1}
    assert artefact.coverage == (3, 4)


def test_files_of_others_have_no_facts(tmp_path):
    inputs = keras.Input(batch_shape=(1, 4))
    (tmp_path / "x.tflite").write_bytes(convert(keras.Model(inputs, inputs * 2.0)))
    artefact = load_tflite(tmp_path / "x.tflite")
    assert artefact.facts is None
    np.testing.assert_array_equal(artefact.predict(np.eye(4)), 2 * np.eye(4))


def test_a_file_of_several_outputs_is_refused(tmp_path):
    inputs = keras.Input(batch_shape=(1, 4))
    model = keras.Model(inputs, [inputs * 2.0, inputs + 1.0])
    (tmp_path / "x.tflite").write_bytes(convert(model))
    with pytest.raises(ValueError, match=r"`path` must lead to .*1 inputs and 2 outputs in.*x\."):
        load_tflite(tmp_path / "x.tflite")


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x.tflite").write_bytes(b"not a network")
    with pytest.raises(ValueError, match=r"`path` must be a TFLite file.*x\.tflite.*LiteRT says"):
        load_tflite(tmp_path / "x.tflite")
    with pytest.raises(FileNotFoundError, match=r"`path` must be a TFLite file.*missing"):
        load_tflite(tmp_path / "missing.tflite")


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match=r'pip install "keras_nonlocal\[litert\]"'):
        load_tflite(tmp_path / "x.tflite")

"""ONNX and OpenVINO answer as the model does, and tell what travels with them."""

import importlib.util
import json
import sys

import keras
import numpy as np
import pytest

import keras_nonlocal
from keras_nonlocal.exporting import export
from keras_nonlocal.exporting.artefacts import load_artefact
from keras_nonlocal.exporting.report import read_report

PATHS = {"onnx": "network.onnx", "openvino": "network"}
formats = pytest.mark.parametrize("format", PATHS)


def answers(model, clips):
    return np.asarray(model(clips, training=False))


def assert_answers(path, model, clips):
    expected = answers(model, clips)
    predict = load_artefact(path).predict
    for batch in (1, len(clips)):
        difference = np.abs(predict(clips[:batch]) - expected[:batch]).max()
        assert difference <= 1e-4 * np.abs(expected).max()


@formats
def test_a_network_of_pixels_answers_in_any_batch(format, nli3d, clips, tmp_path):
    path = export(nli3d, tmp_path / PATHS[format], format=format, clips=clips.astype("uint8"))
    assert_answers(path, nli3d, clips)
    facts = load_artefact(path).facts
    assert (facts.include_preprocessing, facts.source) == (True, "video-nonlocal-net")
    assert read_report(path)["takes"] == "RGB pixels from 0 to 255"


@pytest.mark.slow
@formats
def test_every_network_answers(format, networks, clips, tmp_path):
    for number, network in enumerate(networks.values()):
        path = tmp_path / str(number) / PATHS[format]
        assert_answers(export(network, path, format=format, clips=clips), network, clips)


@pytest.mark.slow
@formats
def test_concatenation_by_sorting_answers(format, build, tmp_path):
    # 8 * 16 * 16 keys, above the number from which they are sorted.
    shape = (8, 128, 128, 3)
    network = build("NLI3D concatenation", input_shape=shape, pool2=False)
    clips = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype("float32")
    path = export(network, tmp_path / PATHS[format], format=format, clips=clips)
    assert_answers(path, network, clips)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["pyslowfast", "pytorchvideo", "mmaction2", "torchvision"])
@formats
def test_every_source_answers(format, source, build, tmp_path):
    # MMAction2's network halves the frames three times.
    shape = (8, 32, 32, 3)
    network = build("NLI3D gaussian", source=source, input_shape=shape)
    clips = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype("float32")
    path = export(network, tmp_path / PATHS[format], format=format, clips=clips)
    assert_answers(path, network, clips)


@pytest.mark.slow
@formats
def test_a_video_network_with_sizes_left_open_answers(format, build, tmp_path):
    network = build("NLI3D embedded_gaussian", input_shape=(None, None, None, 3))
    predict = load_artefact(export(network, tmp_path / PATHS[format], format=format)).predict
    for sizes in ((4, 32, 48), (8, 64, 32)):
        clips = np.random.default_rng(0).integers(0, 256, (2, *sizes, 3)).astype("float32")
        difference = np.abs(predict(clips) - answers(network, clips)).max()
        assert difference <= 1e-4 * np.abs(answers(network, clips)).max()


@formats
def test_the_loop_of_unknown_sizes_answers(format, randomise, tmp_path):
    inputs = keras.Input((None, None, 4))
    block = keras_nonlocal.NonLocal2D(mode="gaussian", memory_budget=8 * 16 * 4)
    x = keras.layers.GlobalAveragePooling2D()(block(inputs))
    model = randomise(keras.Model(inputs, x))
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 4)).astype("float32")
    path = export(model, tmp_path / PATHS[format], format=format, clips=images)
    assert "Loop" in load_artefact(path).operations
    assert_answers(path, model, images)
    assert_answers(path, model, images[:, :5])


def test_the_version_of_onnx_is_stated(tiny, tmp_path):
    import onnx

    model = onnx.load(export(tiny, tmp_path / "x.onnx", format="onnx"))
    assert {each.domain: each.version for each in model.opset_import}[""] == 15


@formats
def test_what_is_known_travels(format, tiny, tmp_path):
    names = ["a", "b", "c", "d"]
    path = export(tiny, tmp_path / PATHS[format], format=format, class_names=names)
    artefact = load_artefact(path)
    assert artefact.facts.class_names == tuple(names)
    assert artefact.facts.input_shape == (8, 8, 3)
    assert artefact.format == format
    assert any("Conv" in name for name in artefact.operations)


def test_the_names_lie_where_others_look_for_them(tiny, tmp_path):
    import onnxruntime

    names = ["a", "b", "c", "d"]
    path = export(tiny, tmp_path / "x.onnx", format="onnx", class_names=names)
    session = onnxruntime.InferenceSession(path)
    assert json.loads(session.get_modelmeta().custom_metadata_map["names"]) == names
    assert [each.name for each in session.get_inputs()] == ["clips"]
    assert [each.name for each in session.get_outputs()] == ["scores"]
    folder = export(tiny, tmp_path / "x", format="openvino", class_names=names)
    assert (folder / "classes.txt").read_text().splitlines() == names


@pytest.mark.parametrize(
    "format, package", [("onnx", "tf2onnx"), ("onnx", "onnxruntime"), ("openvino", "openvino")]
)
def test_a_missing_package_is_named_with_its_extra(format, package, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'pip install "keras_nonlocal\[{format}\]"'):
        export(tiny, tmp_path / PATHS[format], format=format)
    assert list(tmp_path.iterdir()) == []


@formats
def test_a_file_that_is_none_is_refused(format, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"nothing of the kind")
    (tmp_path / "x.xml").write_bytes(b"nothing of the kind")
    name = {"onnx": "x.onnx", "openvino": "x.xml"}[format]
    with pytest.raises(ValueError, match=r"`path` must .*says: "):
        load_artefact(tmp_path / name)


@formats
def test_pixels_and_sizes_left_open_answer(format, randomise, tmp_path):
    inputs = keras.Input((None, None, 3), dtype="uint8")
    x = keras.layers.Conv2D(4, 3, name="conv")(keras.layers.Rescaling(1 / 255)(inputs))
    model = randomise(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x)))
    predict = load_artefact(export(model, tmp_path / PATHS[format], format=format)).predict
    for sizes in ((20, 30), (9, 11)):
        images = np.random.default_rng(0).integers(0, 256, (2, *sizes, 3), "uint8")
        difference = np.abs(predict(images) - answers(model, images)).max()
        assert difference <= 1e-4 * np.abs(answers(model, images)).max()


def test_a_file_of_others_knows_no_facts(tiny, tmp_path):
    import onnx

    path = export(tiny, tmp_path / "x.onnx", format="onnx")
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    folder = export(tiny, tmp_path / "x", format="openvino")
    (folder / "facts.json").unlink()
    assert load_artefact(path).facts is load_artefact(folder / "model.xml").facts is None


def test_an_export_is_reported_to_nobody(tiny, tmp_path):
    # Installed with OpenVINO, which imports it and reports to it unless that is prevented.
    assert importlib.util.find_spec("openvino_telemetry") is not None
    load_artefact(export(tiny, tmp_path / "x", format="openvino"))
    assert [name for name in sys.modules if name.startswith("openvino_telemetry")] == []

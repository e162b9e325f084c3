"""Converters and quantizers of others take blocks of known sizes, with the batch left open."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_nonlocal as knl
from keras_nonlocal.exporting.artefacts import load_artefact
from keras_nonlocal.exporting.openvino_file import _import_openvino
from keras_nonlocal.layers.non_local import MODES


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def model(randomise):
    """A convolutional network with a block of each mode inserted, which leaves the batch open."""
    x = inputs = keras.Input((8, 8, 3))
    for mode in MODES:
        x = keras.layers.Conv2D(6, 3, padding="same", name=mode)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    network = keras.Model(inputs, keras.layers.Dense(4, "softmax")(x))
    for mode in MODES:
        network = knl.insert_non_local(network, after=[mode], mode=mode)
    return randomise(network)


def assert_close(found, model, images):
    np.testing.assert_allclose(found, model(images, training=False), rtol=0, atol=1e-5)


def test_onnx_has_no_control_flow_and_runs_elsewhere(model, images, tmp_path):
    import onnxruntime
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = knl.export(model, tmp_path / "x.onnx", format="onnx", clips=images)
    assert not {"If", "Loop", "Scan"} & load_artefact(path).operations.keys()
    openvino = _import_openvino()
    compiled = openvino.compile_model(
        openvino.convert_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    quant_pre_process(str(path), str(tmp_path / "prepared.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "prepared.onnx")
    for batch in (images, images[:1]):
        assert_close(compiled(batch)[0], model, batch)
        assert_close(session.run(None, {"clips": batch})[0], model, batch)


@pytest.mark.parametrize("via", ["keras model", "saved model"])
def test_the_converter_of_tensorflow_takes_it(via, model, images, tmp_path):
    if via == "keras model":
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
    else:
        path = knl.export(model, tmp_path / "x", clips=images)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(path), signature_keys=["network"])
    interpreter = Interpreter(model_content=converter.convert())
    (source,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(source["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], images)
    interpreter.invoke()
    assert_close(interpreter.get_tensor(answer["index"]), model, images)


@pytest.fixture(scope="module", params=["gaussian", "embedded_gaussian"])
def large(request):
    """A block in half precision with theta and phi exact in it, whose logits overflow in it."""
    rng = np.random.default_rng(0)
    images = rng.integers(-10, 11, (2, 3, 3, 1024)).astype("float32")
    inputs = keras.Input(images.shape[1:])
    block = knl.NonLocal2D(
        mode=request.param, pool_size=None, norm=None, dtype="mixed_float16", name="block"
    )
    model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D(dtype="float32")(block(inputs)))
    for variable in model.weights:
        variable.assign(rng.choice([-0.5, 0.5], variable.shape))
    block.out.kernel.assign(block.out.kernel / 256)

    x = images.astype("float64").reshape(2, 9, 1024)
    theta, phi = x, x
    if request.param == "embedded_gaussian":
        theta, phi = (
            x @ np.float64(layer.kernel)[0, 0] + np.float64(layer.bias)
            for layer in (block.theta, block.phi)
        )
    assert np.abs(theta).max() < 1024 and (theta * 2 == np.round(theta * 2)).all()
    logits = theta @ phi.transpose(0, 2, 1)
    assert request.param == "gaussian" or np.abs(logits).max() > np.finfo("float16").max
    logits *= theta.shape[-1] ** -0.5
    weights = np.exp(logits - logits.max(2, keepdims=True))
    weights /= weights.sum(2, keepdims=True)
    y = weights @ (x @ np.float64(block.g.kernel)[0, 0] + np.float64(block.g.bias))
    y = y @ np.float64(block.out.kernel)[0, 0] + np.float64(block.out.bias)
    return model, images, (x + y).max(1)


def test_large_features_in_half_precision_export(large, tmp_path):
    model, images, expected = large
    path = knl.export(model, tmp_path / "x.tflite", format="tflite", clips=images)
    found = load_artefact(path).predict(images)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)

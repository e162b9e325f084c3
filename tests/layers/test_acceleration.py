import keras
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.layers.acceleration import xla_pays_off
from tests.subjects import example

TINY = {"depth": (1, 1, 1, 1), "width": 8, "classes": 5, "input_shape": (4, 48, 48, 3)}


def with_devices(monkeypatch, *kinds):
    devices = [tf.config.PhysicalDevice(f"/physical_device:{kind}:0", kind) for kind in kinds]
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind=None: [d for d in devices if kind in (None, d.device_type)],
    )


@pytest.mark.parametrize(
    ("kinds", "pays"), [(("CPU",), False), (("CPU", "GPU"), True), (("CPU", "TPU"), True)]
)
def test_xla_pays_off_with_an_accelerator(kinds, pays, monkeypatch):
    with_devices(monkeypatch, *kinds)
    assert xla_pays_off() is pays


def test_models_keep_xla_on_a_gpu(monkeypatch):
    with_devices(monkeypatch, "CPU", "GPU")
    model = knl.NLI3D(**TINY)
    model.compile("sgd", "mse")
    assert model.jit_compile


def test_models_that_were_never_compiled_predict_without_xla():
    model = knl.C2D(**TINY)
    model.predict(example((4, 48, 48, 3)), verbose=0)
    assert not model.jit_compile


def test_a_block_in_a_model_of_others_keeps_xla_off():
    inputs = keras.Input((8, 8, 6))
    model = keras.Model(inputs, knl.NonLocal2D()(inputs))
    model.compile("sgd", "mse")
    assert not model.jit_compile

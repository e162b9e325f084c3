"""Small networks whose every variable holds values of its own, as after training."""

import functools

import keras
import numpy as np
import pytest

import keras_nonlocal
from keras_nonlocal.models.config import ResNet3DConfig
from keras_nonlocal.models.video_resnet import VideoInput, VideoResNet

SHAPE = (4, 32, 32, 3)


def _randomise(model, seed=0):
    """Gives each variable distinct values of the size that training leaves."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        values = rng.normal(size=variable.shape)
        name = variable.path.rsplit("/", 1)[-1]
        if name == "kernel":
            values *= np.sqrt(1.5 / np.prod(variable.shape[:-1]))
        elif name == "moving_variance":
            values = np.exp(0.3 * values)
        elif name == "gamma":
            # Small where a shortcut runs past, so that deep sums keep their size.
            values = (0.3 if "_c_norm" in variable.path or "nonlocal" in variable.path else 0.9) + (
                0.1 * values
            )
        else:
            values *= 0.1
        variable.assign(values)
    return model


NETWORKS = {
    "C2D": lambda **kw: keras_nonlocal.C2D(depth=(1, 1, 1, 1), **kw),
    "I3D": lambda **kw: keras_nonlocal.I3D(depth=(1, 1, 1, 1), **kw),
    "I3D 3x3x3": lambda **kw: keras_nonlocal.I3D(depth=(1, 1, 1, 1), inflation="3x3x3", **kw),
    "NLC2D": lambda **kw: keras_nonlocal.NLC2D(depth=(1, 1, 1, 1), non_local=[(3, 0)], **kw),
    **{
        f"NLI3D {mode}": lambda mode=mode, **kw: keras_nonlocal.NLI3D(
            depth=(1, 1, 1, 1), non_local=[(3, 0)], mode=mode, **kw
        )
        for mode in ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
    },
    "NLI3D frozen": lambda **kw: keras_nonlocal.NLI3D(
        depth=(1, 1, 1, 1), non_local=[(3, 0)], frozen_norm=True, **kw
    ),
    "NLI3D 3x3x3": lambda **kw: keras_nonlocal.NLI3D(
        depth=(1, 1, 1, 1), non_local=[(3, 0)], inflation="3x3x3", **kw
    ),
}


def _build(name, **arguments):
    usual = {"width": 4, "classes": 5, "input_shape": SHAPE, "include_preprocessing": True}
    arguments = {**usual, **arguments}
    return _randomise(NETWORKS[name](**arguments))


# Built once each; tests that change a network build their own.
_network = functools.cache(_build)


def _video_network(layers, shape, **config):
    """A `VideoResNet` of other layers, which costs less than a real one."""
    inputs = keras.Input(shape)
    x = VideoInput(ResNet3DConfig(input_shape=shape, **config))(inputs)
    for layer in layers:
        x = layer(x)
    return _randomise(VideoResNet(inputs, x))


@pytest.fixture(scope="session")
def video_network():
    return _video_network


@pytest.fixture(scope="session")
def clips():
    """Clips of pixels, in the type of the networks' input."""
    return np.random.default_rng(1).integers(0, 256, (3, *SHAPE)).astype("float32")


@pytest.fixture(params=["C2D", "I3D 3x3x3", "NLC2D", "NLI3D frozen"], scope="session")
def network(request):
    return _network(request.param)


@pytest.fixture(scope="session")
def build():
    return _build


@pytest.fixture(scope="session")
def randomise():
    return _randomise


@pytest.fixture(scope="session")
def nli3d():
    return _network("NLI3D frozen")


@pytest.fixture(scope="session")
def networks():
    return {name: _network(name) for name in NETWORKS}


@pytest.fixture(scope="session")
def tiny():
    """A model that costs nothing, where any will do; no test may change it."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
    return _randomise(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x)))

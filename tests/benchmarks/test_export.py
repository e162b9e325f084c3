"""What benchmarks/export.py counts as the convolutions alone."""

import importlib
import sys

import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.exporting import fold


@pytest.fixture
def benchmark(monkeypatch):
    # As a script it finds its neighbours beside itself.
    monkeypatch.syspath_prepend("benchmarks")
    yield importlib.import_module("benchmarks.export")
    for name in ("networks", "machine"):
        sys.modules.pop(name, None)


def test_every_convolution_is_counted_at_its_size(benchmark):
    network = fold(knl.NLI3D(depth=(1, 1, 1, 1), width=8, input_shape=(4, 64, 64, 3)))
    calls = list(benchmark._convolutions_of(network, batch=2))
    kernels = [weight for weight in network.weights if len(weight.shape) == 5]
    assert len(calls) == len(kernels) > 20
    assert sum(kernel.size for _, kernel, _ in calls) == sum(
        int(tf.size(kernel.value)) for kernel in kernels
    )
    # The stem: 4 frames and 2 more at each end, 64 pixels and 3 more.
    shape, kernel, strides = calls[0]
    assert (shape, kernel.shape[:3], strides) == ((2, 8, 70, 70, 3), (5, 7, 7), (1, 2, 2))
    for shape, kernel, strides in calls:
        convolve = tf.nn.conv2d if len(shape) == 4 else tf.nn.conv3d
        assert convolve(tf.zeros(shape), kernel, [1, *strides, 1], "VALID").shape[0] > 0

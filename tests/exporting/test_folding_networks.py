"""Every network of the package folds and is lowered to the same answers, whatever its source."""

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.exporting import fold

SOURCES = (
    "video-nonlocal-net",
    "pyslowfast",
    "pytorchvideo",
    "mmaction2",
    "gluoncv",
    "torchvision",
)
BUILDERS = {"C2D": knl.C2D, "I3D": knl.I3D, "NLC2D": knl.NLC2D, "NLI3D": knl.NLI3D}
SMALL = {"depth": (1, 1, 1, 1), "width": 4, "classes": 5, "include_preprocessing": True}


def slow_but(fast, names):
    """Parameters of which only some run by default."""
    return [n if n in fast else pytest.param(n, marks=pytest.mark.slow) for n in names]


def assert_folds(model, shape, randomise, lower=(True,)):
    randomise(model)
    clips = np.random.default_rng(3).integers(0, 256, (2, *shape)).astype("float32")
    expected = np.asarray(model(clips, training=False))
    assert np.isfinite(expected).all() and expected.std() > 0
    for each in lower:
        found = np.asarray(fold(model, lower=each)(clips, training=False))
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("source", slow_but(["video-nonlocal-net", "mmaction2"], SOURCES))
@pytest.mark.parametrize("builder", slow_but(["NLI3D"], BUILDERS))
def test_every_source_folds(builder, source, randomise):
    shape = (8, 32, 32, 3)
    options = {"non_local": [(3, 0)]} if builder.startswith("NL") else {}
    model = BUILDERS[builder](source=source, input_shape=shape, **SMALL, **options)
    assert_folds(model, shape, randomise)


@pytest.mark.parametrize("clip", slow_but(["32x2"], ["4x16", "8x8", "32x2", "32x4", "128x1"]))
def test_every_clip_folds(clip, randomise):
    shape = (int(clip.split("x")[0]), 32, 32, 3)
    model = knl.NLI3D(clip=clip, input_shape=shape, non_local=[(3, 0)], **SMALL)
    assert_folds(model, shape, randomise)


@pytest.mark.parametrize(
    "options",
    [
        {"include_top": False, "pooling": "avg"},
        {"classifier_activation": None, "dropout": 0.5, "include_preprocessing": False},
    ],
    ids=["pooled", "logits of normalized clips"],
)
def test_every_form_folds(options, randomise):
    shape = (4, 32, 32, 3)
    model = knl.C2D(input_shape=shape, **SMALL | options)
    assert_folds(model, shape, randomise, lower=(False, True))


@pytest.mark.slow
def test_a_head_that_slides_over_larger_maps_folds(randomise):
    shape = (4, 256, 256, 3)
    model = knl.NLI3D(input_shape=shape, non_local=[(4, 0)], **SMALL)
    assert_folds(model, shape, randomise)


def image_network(inputs):
    """Convolutions of all kinds with norms behind, before and beside them."""
    x = keras.layers.Conv2D(8, 3, 2, padding="same", name="stem")(inputs)
    x = keras.layers.BatchNormalization(axis=3)(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.BatchNormalization(scale=False)(x)
    x = keras.layers.SeparableConv2D(8, 3, padding="same", name="separable")(x)
    x = keras.layers.BatchNormalization(center=False)(x)
    x = keras.layers.BatchNormalization()(x)
    shared = keras.layers.Conv2D(8, 1)
    x = keras.layers.Add()([shared(x), keras.layers.BatchNormalization()(shared(x))])
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.BatchNormalization()(keras.layers.Dense(8)(x))
    return keras.layers.Dense(3, activation="softmax")(x)


def test_a_network_of_ones_own_with_blocks_folds(randomise):
    inputs = keras.Input((16, 16, 3))
    model = knl.insert_non_local(
        keras.Model(inputs, image_network(inputs)), after=["stem", "separable"]
    )
    assert_folds(model, (16, 16, 3), randomise, lower=(False,))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, after", [("ResNet50", "conv4_block6_out"), ("MobileNetV2", "block_6_expand_relu")]
)
def test_a_network_of_keras_applications_folds(name, after, randomise):
    network = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=7)
    model = knl.insert_non_local(network, after=[after])
    assert_folds(model, (64, 64, 3), randomise, lower=(False,))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [50, 101])
def test_the_published_depths_fold(depth, randomise):
    shape = (8, 64, 64, 3)
    model = knl.NLI3D(depth=depth, width=16, input_shape=shape, include_preprocessing=True)
    assert_folds(model, shape, randomise)

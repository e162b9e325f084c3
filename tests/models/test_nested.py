"""A network inside another model: what this package does to networks reaches it."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.evaluation import resize_input
from keras_nonlocal.exporting.artefacts import load_artefact
from keras_nonlocal.exporting.facts import facts_of
from keras_nonlocal.training.recipes import FINE_TUNING
from keras_nonlocal.visualization import attention_maps
from tests.subjects import fill

SHAPE = (4, 32, 48, 3)


def features(shape=SHAPE):
    return knl.NLI3D(
        depth=(1, 1, 1, 1),
        width=4,
        non_local=1,
        clip="4x4",
        source="pyslowfast",
        input_shape=shape,
        include_top=False,
        pooling="avg",
        include_preprocessing=False,
    )


def classifier():
    return [keras.layers.Dropout(0.1), keras.layers.Dense(3, "softmax", name="classifier")]


def sequential(shape=SHAPE):
    return keras.Sequential([features(shape), *classifier()])


def functional(shape=SHAPE):
    inputs = x = keras.Input(shape)
    for layer in (features(shape), *classifier()):
        x = layer(x)
    return keras.Model(inputs, x)


def prepared(shape=SHAPE):
    """Two levels, and layers with statistics before the network."""
    normalization = keras.layers.Normalization(name="normalization")
    normalization.adapt(np.random.default_rng(3).normal(2, 3, (8, 4, 4, 4, 3)))
    inner = keras.Sequential([keras.Input(shape), keras.layers.Rescaling(0.5), features(shape)])
    return keras.Sequential([keras.Input(shape), normalization, inner, *classifier()])


MODELS = [sequential, functional, prepared]


def build(make, shape=SHAPE):
    model = make(shape)
    for layer in model._flatten_layers():
        if not isinstance(layer, (keras.Model, keras.layers.Normalization)) and layer.weights:
            fill(layer)
    return model


def clips(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(size=(2, *shape)).astype("float32")


def network_in(model):
    return next(e for e in model._flatten_layers() if isinstance(e, knl.VideoResNet))


@pytest.mark.parametrize("make", MODELS)
def test_another_size_is_that_of_a_model_built_so(make):
    model, large = build(make), build(make, (4, 64, 64, 3))
    network_in(model).get_layer("conv1_conv").trainable = False
    model.compile("sgd", "mse")
    resized = resize_input(model, 64, 64)
    x = clips((4, 64, 64, 3))
    np.testing.assert_allclose(resized(x), large(x), rtol=1e-5, atol=1e-7)
    network = network_in(resized)
    assert (
        resized.compiled
        and network is not network_in(model)
        and model.input_shape == (None, *SHAPE)
    )
    assert network.output_shape == network_in(model).output_shape
    assert not network.get_layer("conv1_conv").trainable
    assert (network.clip, network.source) == ("4x4", "pyslowfast")


@pytest.mark.parametrize("make", MODELS)
def test_attention_is_that_of_the_inner_network(make):
    model = build(make)
    model.compile("sgd", "mse")
    network, clip = network_in(model), clips()[0]
    own = clip
    if make is prepared:
        own = np.asarray(model.get_layer("normalization")(clip[None]))[0] * 0.5
    weights, query = attention_maps(model, clip, "res4_0_nonlocal")
    expected, expected_query = attention_maps(network, own, "res4_0_nonlocal")
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    assert query == expected_query and weights.std() > 1e-4
    with pytest.raises(ValueError, match="Received: 'none'. It has: res"):
        attention_maps(model, clip, "none")


def test_attention_needs_one_block_of_the_name():
    inputs = keras.Input(SHAPE)
    towers = [features(), features()]
    towers[0].name, towers[1].name = "slow", "fast"
    added = keras.layers.Add()([tower(inputs) for tower in towers])
    with pytest.raises(ValueError, match="the models 'slow', 'fast' inside .* Pass one of them"):
        attention_maps(keras.Model(inputs, added), clips()[0], "res4_0_nonlocal")
    twice = keras.layers.Add()([towers[0](inputs), towers[0](inputs)])
    with pytest.raises(ValueError, match="uses 'slow' 2 times. Pass 'slow' as `model`"):
        attention_maps(keras.Model(inputs, twice), clips()[0], "res4_0_nonlocal")


@pytest.mark.parametrize("make", MODELS)
def test_recipes_reach_the_inner_network(make):
    model = build(make)
    recipe = dataclasses.replace(
        FINE_TUNING, freeze_until=3, dropout=0.25, norms="frozen", layer_rate=0.5
    )
    recipe.prepare(model)
    recipe.compile(model, steps_per_epoch=2, batch_size=2)
    trained = " ".join(variable.path for variable in model.trainable_variables)
    stages = ("conv1", "res2", "res3", "res4", "res5", "classifier")
    assert [stage for stage in stages if stage in trained] == ["res4", "res5", "classifier"]
    norms = [e for e in model._flatten_layers() if isinstance(e, keras.layers.BatchNormalization)]
    assert all(norm.frozen for norm in norms) and len(norms) > 12
    dropouts = [e for e in model._flatten_layers() if isinstance(e, keras.layers.Dropout)]
    assert [dropout.rate for dropout in dropouts] == [0.25]
    assert model.optimizer.rate_factors == {"(^|/)res4_": 0.25, "(^|/)res5_": 0.5}


def test_precision_is_that_of_the_inner_layers(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    build(sequential).save(tmp_path / "nested.keras")
    keras.config.set_dtype_policy("float32")
    model = keras.saving.load_model(tmp_path / "nested.keras")
    recipe = dataclasses.replace(FINE_TUNING, precision="mixed_bfloat16")
    recipe.prepare(model)
    with pytest.raises(ValueError, match="'float32'. Received: .* with 'mixed_bfloat16'"):
        FINE_TUNING.prepare(model)


def test_dropout_inside_the_network_is_set():
    inputs = keras.Input(SHAPE)
    network = knl.C2D(depth=(1, 1, 1, 1), width=4, classes=3, input_shape=SHAPE)
    model = fill(keras.Model(inputs, network(inputs)))
    dataclasses.replace(FINE_TUNING, dropout=0.25).prepare(model)
    assert network.get_layer("dropout").rate == 0.25


@pytest.mark.parametrize("make", [sequential, prepared])
def test_exports_predict_the_same_and_know_the_clip(make, tmp_path):
    model = build(make)
    path = knl.export(model, tmp_path / "export", class_names=["a", "b", "c"])
    artefact = load_artefact(path)
    np.testing.assert_allclose(artefact.predict(clips()), model(clips()), rtol=1e-4)
    assert artefact.facts.clip == "4x4" and artefact.facts.output == "probabilities"
    # Layers before the network prepare pixels in another way.
    assert artefact.facts.source == (None if make is prepared else "pyslowfast")


def test_operations_before_the_network_prepare_clips_too():
    inputs = keras.Input(SHAPE)
    network = features()
    for first, source in ((inputs, "pyslowfast"), (inputs / 255.0, None)):
        facts = facts_of(keras.Model(inputs, network(first)), SHAPE)
        assert (facts.source, facts.clip) == (source, "4x4")

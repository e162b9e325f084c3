"""A network carries its configuration wherever Keras copies, saves or clones it."""

import copy
import dataclasses
import json
import pickle

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.implementations import IMPLEMENTATIONS
from keras_nonlocal.models.config import KINDS, ResNet3DConfig
from keras_nonlocal.models.video_resnet import VideoInput, build_network, change_config, config_of

SMALL = {"depth": (1, 1, 1, 1), "width": 4, "input_shape": (8, 32, 32, 3), "clip": "8x2"}
NAMES = ("jump", "run", "walk")


def build(**arguments):
    arguments = {"source": "mmaction2", "class_names": NAMES, **SMALL} | arguments
    return fill(knl.NLI3D(**arguments))


def fill(model):
    """Gives every variable distinct values, so that no two layers can be confused."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        low = 0.5 if variable.path.endswith(("variance", "gamma")) else -0.5
        variable.assign(random.uniform(low, low + 1, variable.shape))
    return model


def pixels(dtype="uint8"):
    return np.random.default_rng(1).integers(0, 256, (2, 8, 32, 32, 3)).astype(dtype)


@pytest.fixture(scope="module")
def model():
    return build()


def save_and_load(model, path):
    model.save(path / "model.keras")
    return keras.saving.load_model(path / "model.keras")


def clone(model, path):
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    return other


def from_config(model, path):
    other = knl.VideoResNet.from_config(json.loads(json.dumps(model.get_config())))
    other.set_weights(model.get_weights())
    return other


WAYS = {
    "file": save_and_load,
    "clone_model": clone,
    "copy": lambda model, path: copy.copy(model),
    "deepcopy": lambda model, path: copy.deepcopy(model),
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "from_config": from_config,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_copies_have_the_configuration_and_the_answers(way, model, tmp_path):
    other = way(model, tmp_path)
    assert type(other) is knl.VideoResNet
    assert other.config == model.config
    assert (other.source, other.clip, other.class_names) == ("mmaction2", "8x2", NAMES)
    np.testing.assert_array_equal(other(pixels()), model(pixels()))


def test_changed_layers_survive_a_file(tmp_path):
    model = build(mode="gaussian")
    model.get_layer("predictions").enable_lora(2)
    model.get_layer("res3_0_b_conv").enable_lora(2)
    model.get_layer("conv1_conv").trainable = False
    for variable in model.weights:
        if "lora" in variable.path:
            variable.assign(np.random.default_rng(2).normal(size=variable.shape))
    other = save_and_load(model, tmp_path)
    assert (type(other), other.config) == (knl.VideoResNet, model.config)
    assert not other.get_layer("conv1_conv").trainable
    x = pixels("float32") / 255
    np.testing.assert_array_equal(other(x), model(x))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_quantized_networks_survive_a_file(tmp_path):
    model = build()
    model.quantize("int8")
    other = save_and_load(model, tmp_path)
    assert other.get_layer("predictions").dtype_policy.name.startswith("int8")
    assert (type(other), other.config) == (knl.VideoResNet, model.config)
    x = pixels("float32") / 255
    np.testing.assert_array_equal(other(x), model(x))


def test_compiled_half_precision_is_loaded_under_another_policy(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(include_preprocessing=True)
        model.compile("sgd", "sparse_categorical_crossentropy")
    finally:
        keras.config.set_dtype_policy("float32")
    other = save_and_load(model, tmp_path)
    assert other.get_layer("conv1_conv").compute_dtype == "bfloat16"
    np.testing.assert_array_equal(other(pixels()), model(pixels()))
    assert other.config == model.config


def test_insertion_keeps_class_and_configuration(model):
    other = knl.insert_non_local(model, after=["res2_0_out"])
    assert (type(other), other.config) == (knl.VideoResNet, model.config)
    # The graph, not the configuration, holds the block.
    again = knl.VideoResNet.from_config(other.get_config())
    again.set_weights(other.get_weights())
    assert isinstance(again.get_layer("res2_0_out_nonlocal"), knl.NonLocal3D)
    for grown in (other, again):
        np.testing.assert_array_equal(grown(pixels()), model(pixels()))


def test_a_nested_network_keeps_its_configuration(tmp_path):
    features = build(include_top=False, pooling="avg", include_preprocessing=True)
    model = keras.Sequential([features, keras.layers.Dense(5)])
    model.build((None, *SMALL["input_shape"]))
    other = save_and_load(model, tmp_path)
    assert config_of(other) == config_of(features)
    np.testing.assert_array_equal(other(pixels()), model(pixels()))


def test_a_network_is_composed_with_other_layers(model):
    inputs = keras.Input(SMALL["input_shape"], dtype="uint8")
    other = keras.Model(inputs, model(inputs))
    np.testing.assert_array_equal(other(pixels()), model(pixels()))
    assert config_of(other) == config_of(model)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("source", IMPLEMENTATIONS)
def test_pixels_are_normalized_in_float32(source, policy):
    """The network's own normalization is that of NumPy, before anything is rounded."""
    config = ResNet3DConfig(source=source, include_preprocessing=True)
    layer = VideoInput(config.to_dict(), dtype=policy)
    record = IMPLEMENTATIONS[source]
    # Fractions, as of resized frames: integers up to 255 are numbers of bfloat16 too.
    for clip in (pixels(), pixels("float32") + np.float32(0.3)):
        # In single precision, as 255 - 123.68 is not a number of half precision.
        expected = (clip.astype("float32") - np.float32(record.mean)) / np.float32(record.std)
        expected = keras.ops.cast(expected, layer.compute_dtype)
        found = layer(clip)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(tf.cast(found, "float32"), tf.cast(expected, "float32"))


def test_preprocessing_inside_is_preprocessing_outside(model):
    outside = build(include_preprocessing=False)
    outside.set_weights(model.get_weights())
    expected = outside(knl.preprocess_input(pixels(), outside))
    for dtype in ("uint8", "float32"):
        np.testing.assert_allclose(model(pixels(dtype)), expected, rtol=1e-6)
    predicted = model.predict(pixels(), verbose=0)
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)


@pytest.mark.parametrize("on_tensor", [False, True], ids=["alone", "on a tensor"])
def test_files_of_weights_alone_tell_by_what_pixels_are_normalized(on_tensor, tmp_path):
    model = build(source="pyslowfast")
    change_config(model, normalization="mmaction2")
    model.save_weights(path := tmp_path / "a.weights.h5")
    tensor = {"input_tensor": keras.Input(SMALL["input_shape"])} if on_tensor else {}
    options = {"source": "pyslowfast", "class_names": NAMES, **SMALL}
    again = knl.NLI3D(weights=path, **options, **tensor)
    assert again.normalization == "mmaction2"
    np.testing.assert_array_equal(again(pixels()), model(pixels()))
    # Files of before have no such word.
    with h5py.File(path, "r+") as file:
        del file["layers/video_input/vars/normalization"]
    assert knl.NLI3D(weights=path, **options).normalization == "pyslowfast"


def test_names_can_be_set_and_are_saved(tmp_path):
    model = build(class_names=None, classes=2)
    assert model.class_names is None
    model.class_names = ["a", "b"]
    assert save_and_load(model, tmp_path).class_names == ("a", "b")
    assert model.decode_predictions(np.array([[0.25, 0.75]]), top=1) == [[("b", 0.75)]]
    assert knl.decode_predictions(np.array([[0.75, 0.25]]), 1, model) == [[("a", 0.75)]]
    with pytest.raises(ValueError, match="one string for each of the 2 classes"):
        model.class_names = ["a"]


def test_class_names_bring_the_number_of_classes():
    assert build().output_shape == (None, 3)
    with pytest.raises(ValueError, match="one string for each of the 4 classes. Received"):
        build(classes=4)


CONFIGS = {
    "C2D": {"pooling": "max", "include_top": False},
    "I3D": {"inflated": "late", "inflation": "3x3x3", "source": "gluoncv"},
    "NLC2D": {"non_local": [(3, 0)], "mode": "concatenation", "frozen_norm": True},
    "NLI3D": {"clip": "32x4", "input_shape": (None, None, None, 3), "class_names": NAMES},
}


@pytest.mark.parametrize(("kind", "arguments"), CONFIGS.items(), ids=CONFIGS)
def test_a_configuration_is_complete(kind, arguments):
    """JSON and back it is the same, and builds the same layers."""
    if "class_names" in arguments:
        arguments = {**arguments, "classes": 3}
    config = ResNet3DConfig(**{**SMALL, **KINDS[kind], **arguments})
    again = ResNet3DConfig(**json.loads(json.dumps(config.to_dict())))
    assert (again, again.kind) == (config, kind)
    ours, theirs = build_network(config), build_network(again)
    assert ours.to_json() == theirs.to_json()
    builder = {**SMALL, **arguments}
    assert getattr(knl, kind)(**builder, name=ours.name).to_json() == ours.to_json()


def test_fields_of_a_configuration_are_checked():
    config = ResNet3DConfig(**SMALL)
    for field, value in (("source", "mine"), ("normalization", "mine"), ("classes", 0)):
        with pytest.raises(ValueError, match=f"`{field}` must be"):
            dataclasses.replace(config, **{field: value})

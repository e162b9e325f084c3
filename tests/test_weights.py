import re

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.checkpoints import registry
from tests.subjects import example

# Those that ship; the others are fetched, and tested in tests/checkpoints.
CHECKPOINTS = {record.name: record for record in knl.list_weights() if record.url is None}
every_checkpoint = pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS)


def build(checkpoint, **arguments):
    return getattr(knl, checkpoint.builder)(weights=checkpoint.name, **arguments)


@every_checkpoint
def test_weights_fill_the_network_that_the_record_describes(checkpoint):
    model = build(checkpoint)
    assert model.output_shape == (None, len(checkpoint.class_names))
    assert model.input_shape[2] == checkpoint.crop
    fresh = getattr(knl, checkpoint.builder)(**checkpoint.arguments)
    trained = zip(model.trainable_weights, fresh.trainable_weights, strict=True)
    assert not any(np.array_equal(a, b) for a, b in trained)
    assert registry.locate(checkpoint).stat().st_size < 2e6


@every_checkpoint
def test_other_classes_start_a_new_classifier_alone(checkpoint):
    trained, model = build(checkpoint), build(checkpoint, classes=3)
    assert model.output_shape == (None, 3)
    for layer in model.layers:
        if layer.name != "predictions":
            theirs = trained.get_layer(layer.name).get_weights()
            assert all(map(np.array_equal, layer.get_weights(), theirs))


@every_checkpoint
def test_features_are_those_of_the_whole_network(checkpoint):
    trained = build(checkpoint, include_preprocessing=False)
    features = build(checkpoint, include_top=False, include_preprocessing=False)
    x = example(trained.input_shape[1:], batch=1)
    inside = keras.Model(trained.input, trained.get_layer("res5_0_out").output)
    np.testing.assert_array_equal(features(x), inside(x))


@every_checkpoint
def test_models_remember_their_record(checkpoint):
    model = build(checkpoint)
    assert (model.source, model.clip) == (checkpoint.source, checkpoint.clip)
    assert model.class_names == checkpoint.class_names
    features = build(checkpoint, include_top=False)
    assert (features.source, features.class_names) == (checkpoint.source, None)


def test_weights_of_another_builder_are_refused():
    with pytest.raises(ValueError, match="`weights='camera_motion'` are of a NLI3D"):
        knl.C2D(weights="camera_motion")


# Each value is other than that of the weights; most are the defaults without weights.
CONTRADICTIONS = {
    "depth": (50, (1, 1, 1, 1)),
    "width": (64, 16),
    "clip": ("8x8", "8x2"),
    "source": ("pyslowfast", "video-nonlocal-net"),
    "non_local": ([(3, 0)], ((3, 0), (4, 0))),
    "mode": ("dot_product", "embedded_gaussian"),
    "inflation": ("3x3x3", "3x1x1"),
    "inflated": ("late", ((2, 0), (3, 0), (4, 0))),
    "pool2": (False, True),
    "frozen_norm": (True, False),
}


@pytest.mark.parametrize(("argument", "values"), CONTRADICTIONS.items(), ids=CONTRADICTIONS)
def test_arguments_that_contradict_the_weights_are_refused(argument, values):
    given, known = values
    words = f"`{argument}` must be {known!r} with weights='camera_motion', .* Received: {argument}="
    with pytest.raises(ValueError, match=re.sub(r"([()])", r"\\\1", words)) as raised:
        knl.NLI3D(weights="camera_motion", **{argument: given})
    assert "Leave it out" in str(raised.value)
    transferable = argument in ("clip", "frozen_norm", "inflation", "inflated", "non_local")
    assert ("transfer_weights" in str(raised.value)) == transferable


def test_defaults_are_no_exception():
    """A value that a builder takes without weights is obeyed, or refused, with them."""
    assert knl.NLI3D(weights="camera_motion", classes=400).output_shape == (None, 400)
    assert knl.NLI3D(weights="camera_motion", dropout=0.5).get_layer("dropout").rate == 0.5
    assert knl.NLI3D(weights="camera_motion").get_layer("dropout").rate == 0.2
    with pytest.raises(ValueError, match="`input_shape` must have 3 channels with weights="):
        knl.NLI3D(weights="camera_motion", input_shape=(8, 64, 64, 1))


def test_equal_arguments_in_other_words_are_taken():
    model = knl.NLI3D(
        weights="camera_motion",
        depth=[1, np.int64(1), 1, 1],
        width=np.int32(16),
        non_local=[[4, 0], (3, 0)],
        inflated={(4, 0), (3, 0), (2, 0)},
        pool2=np.True_,
        classes=np.int64(9),
    )
    expected = build(CHECKPOINTS["camera_motion"])
    assert model.to_json() == expected.to_json()
    assert all(map(np.array_equal, model.get_weights(), expected.get_weights()))
    assert model.class_names == expected.class_names


def test_network_on_a_tensor_has_the_weights():
    inputs = keras.Input((8, 64, 64, 3), dtype="float32")
    scaled = keras.layers.Rescaling(2.0)(inputs)
    normalized = {"include_preprocessing": False}
    model = knl.NLI3D(weights="camera_motion", input_tensor=scaled, **normalized)
    trained = build(CHECKPOINTS["camera_motion"], **normalized)
    assert model.inputs[0] is inputs
    assert (model.clip, model.class_names) == (trained.clip, trained.class_names)
    x = example((8, 64, 64, 3), batch=1)
    np.testing.assert_array_equal(model(x), trained(2 * x))


def test_missing_file_says_where_it_should_lie(monkeypatch):
    monkeypatch.setattr(registry.pathlib.Path, "is_file", lambda path: False)
    with pytest.raises(FileNotFoundError, match="Install keras_nonlocal again"):
        knl.NLI3D(weights="camera_motion")


def test_other_names_start_a_new_classifier():
    trained = knl.NLI3D(weights="camera_motion")
    kernel = np.array(trained.get_layer("predictions").kernel)
    same = knl.NLI3D(weights="camera_motion", class_names=list(trained.class_names))
    np.testing.assert_array_equal(same.get_layer("predictions").kernel, kernel)
    other = knl.NLI3D(weights="camera_motion", class_names=list("abcdefghi"))
    assert other.class_names == tuple("abcdefghi")
    assert not np.array_equal(other.get_layer("predictions").kernel, kernel)
    np.testing.assert_array_equal(other.weights[0], trained.weights[0])

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.checkpoints import zoo
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
    assert zoo.locate(checkpoint).stat().st_size < 2e6


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
    trained = build(checkpoint)
    features = build(checkpoint, include_top=False)
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


@pytest.mark.parametrize(
    ("builder", "arguments", "words"),
    [
        (knl.C2D, {}, "`weights='camera_motion'` are of a NLI3D"),
        (knl.NLI3D, {"depth": 101}, r"`depth` is fixed by weights='camera_motion' to \(1, 1, 1, 1"),
        (knl.NLI3D, {"mode": "dot_product"}, "`mode` is fixed by weights='camera_motion'"),
    ],
)
def test_other_networks_than_the_checkpoints_are_refused(builder, arguments, words):
    with pytest.raises(ValueError, match=words):
        builder(weights="camera_motion", **arguments)


def test_missing_file_says_where_it_should_lie(monkeypatch):
    monkeypatch.setattr(zoo.pathlib.Path, "is_file", lambda path: False)
    with pytest.raises(FileNotFoundError, match="Install keras_nonlocal again"):
        knl.NLI3D(weights="camera_motion")

"""What is known of a model, and what travels with its export."""

import json

import keras
import numpy as np
import pytest

from keras_nonlocal.exporting.facts import Facts, facts_of
from keras_nonlocal.models.config import ResNet3DConfig
from keras_nonlocal.models.video_resnet import VideoInput


def classifier(activation, dtype="float32", **config):
    """A small model, with the configuration of a network if there is one."""
    x = inputs = keras.Input((4, 8, 8, 3), dtype=dtype)
    if config:
        x = VideoInput(ResNet3DConfig(**config))(x)
    x = keras.layers.GlobalAveragePooling3D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation=activation)(x))


@pytest.mark.parametrize(
    "activation, output",
    [
        ("softmax", "probabilities"),
        ("sigmoid", "probabilities"),
        (None, "scores"),
        ("relu", "scores"),
    ],
)
def test_probabilities_are_told_from_scores(activation, output):
    assert facts_of(classifier(activation), (4, 8, 8, 3)).output == output


def test_a_softmax_behind_logits_makes_probabilities():
    model = classifier(None)
    model = keras.Model(model.input, keras.layers.Softmax()(model.output))
    assert facts_of(model, (4, 8, 8, 3)).output == "probabilities"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_computes_in_half_precision_takes_float32(dtype):
    assert facts_of(classifier("softmax", dtype), (4, 8, 8, 3)).dtype == "float32"


def test_names_of_another_classifier_do_not_count():
    config = {"source": "gluoncv", "clip": "4x2", "classes": 2, "class_names": ["a", "b"]}
    model = classifier("softmax", **config)
    facts = facts_of(model, (4, 8, 8, 3))
    assert (facts.class_names, facts.source, facts.clip) == (None, "gluoncv", "4x2")


@pytest.mark.parametrize(
    "shape, short_side",
    [
        ((8, 224, 224, 3), 256),
        ((8, 64, 64, 3), 73),
        ((8, 64, 96, 3), None),
        ((8, None, None, 3), None),
    ],
)
def test_the_short_side_follows_from_a_square(shape, short_side):
    for inside in (False, True):
        model = classifier("softmax", source="gluoncv", include_preprocessing=inside)
        assert facts_of(model, shape).short_side == short_side


@pytest.mark.parametrize("inside", [False, True])
def test_facts_survive_the_way_through_a_file(inside):
    facts = Facts(
        (8, None, None, 3), "uint8", "scores", ("a", "ä"), "gluoncv", "8x8@30", 73, inside
    )
    assert Facts.from_json(facts.to_json()) == facts
    assert Facts.from_json(Facts((4,)).to_json()) == Facts((4,))
    # Only numbers of a normalization that a reader of the file must do.
    assert ("normalization" in json.loads(facts.to_json())) is not inside


def test_pixels_are_normalized_once():
    pixels = np.arange(12, dtype="uint8").reshape(1, 2, 2, 3)
    facts = Facts((1, 2, 2, 3), source="mmaction2")
    expected = (pixels - np.array([123.675, 116.28, 103.53])) / [58.395, 57.12, 57.375]
    np.testing.assert_allclose(facts.prepare(pixels), expected, atol=1e-6)
    facts = Facts((1, 2, 2, 3), source="mmaction2", include_preprocessing=True)
    np.testing.assert_array_equal(facts.prepare(pixels), pixels)


def test_a_softmax_inside_a_nested_model_makes_probabilities():
    model = keras.Sequential([keras.Input((4, 8, 8, 3)), classifier("softmax")])
    assert facts_of(model, (4, 8, 8, 3)).output == "probabilities"
    model = keras.Sequential([keras.Input((4, 8, 8, 3)), classifier(None)])
    assert facts_of(model, (4, 8, 8, 3)).output == "scores"


@pytest.mark.parametrize("clip, kept", [("4x2", "4x2"), ("8x8", None)])
def test_a_clip_of_other_frames_does_not_count(clip, kept):
    model = classifier("softmax", source="gluoncv", clip=clip)
    assert facts_of(model, (4, 8, 8, 3)).clip == kept
    assert facts_of(model, (None, 8, 8, 3)).clip == clip


@pytest.mark.parametrize("inside", [False, True])
def test_given_facts_replace_those_of_the_network_but_for_its_normalization(inside):
    model = classifier("softmax", source="gluoncv", clip="4x2", include_preprocessing=inside)
    facts = facts_of(model, (4, 8, 8, 3), clip="4x8@30", source="gluoncv")
    assert (facts.clip, facts.source, facts.include_preprocessing) == ("4x8@30", "gluoncv", inside)
    with pytest.raises(ValueError, match="`source` must be 'gluoncv', whose normalization the mod"):
        facts_of(model, (4, 8, 8, 3), source="mmaction2")


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_networks_that_take_pixels_need_no_source(dtype):
    config = {"source": "gluoncv", "clip": "4x2", "classes": 3, "class_names": ["a", "b", "c"]}
    model = classifier("softmax", dtype, **config, include_preprocessing=True)
    expected = Facts(
        (4, 8, 8, 3), dtype, "probabilities", ("a", "b", "c"), "gluoncv", "4x2", 9, True
    )
    assert facts_of(model, (4, 8, 8, 3)) == expected
    outer = keras.Input((4, 8, 8, 3), dtype=dtype)
    assert facts_of(keras.Model(outer, model(outer)), (4, 8, 8, 3)) == expected


def test_pixels_of_a_network_behind_other_layers_are_unknown():
    network = classifier("softmax", source="gluoncv", include_preprocessing=True)
    scale = keras.layers.Rescaling(255.0)
    model = keras.Sequential([keras.Input((4, 8, 8, 3)), scale, network])
    facts = facts_of(model, (4, 8, 8, 3))
    assert (facts.source, facts.include_preprocessing) == (None, False)
    with pytest.raises(ValueError, match="must be None for a model that normalizes .* behind"):
        facts_of(model, (4, 8, 8, 3), source="gluoncv")


def test_a_clip_of_other_frames_is_refused():
    with pytest.raises(ValueError, match=r"`clip` must have the 4 frames.*'8x8'.*clip='4x2'"):
        facts_of(classifier("softmax"), (4, 8, 8, 3), clip="8x8")


@pytest.mark.parametrize("clip", ["8by2", "8x", 8])
def test_what_is_no_clip_is_refused(clip):
    with pytest.raises(ValueError, match=r"`clip` must be frames x stride.*Pass for example"):
        facts_of(classifier("softmax"), (4, 8, 8, 3), clip=clip)


@pytest.mark.parametrize(
    "names", [3, "two.txt", dict.fromkeys("abcd"), ["a"], [0, 1, 2], ["a\nb", "c", "d"]]
)
def test_names_are_one_line_of_text_for_each_class(names):
    with pytest.raises(ValueError, match=r"`class_names` must be a list.*read_classes gives those"):
        facts_of(classifier("softmax"), (4, 8, 8, 3), class_names=names)

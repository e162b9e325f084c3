"""What is known of a model, and what travels of it."""

import keras
import pytest

import keras_nonlocal
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
    model = keras_nonlocal.C2D(depth=(1, 1, 1, 1), width=4, input_shape=(8, None, None, 3))
    assert facts_of(model, shape).short_side == short_side


def test_facts_survive_the_way_through_a_file():
    facts = Facts((8, None, None, 3), "uint8", "scores", ("a", "ä"), "gluoncv", "8x8@30", 73)
    assert Facts.from_json(facts.to_json()) == facts
    assert Facts.from_json(Facts((4,)).to_json()) == Facts((4,))


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


def test_given_facts_replace_those_of_the_network_but_for_its_normalization():
    model = classifier("softmax", source="gluoncv", clip="4x2")
    facts = facts_of(model, (4, 8, 8, 3), clip="4x8@30", source="gluoncv")
    assert (facts.clip, facts.source) == ("4x8@30", "gluoncv")
    with pytest.raises(ValueError, match="`source` must be 'gluoncv', by which the model was"):
        facts_of(model, (4, 8, 8, 3), source="mmaction2")


def test_networks_that_take_pixels_need_no_source():
    model = classifier("softmax", clip="4x2", include_preprocessing=True)
    assert facts_of(model, (4, 8, 8, 3)).source is None


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

"""Pixels to input and output to names, against Keras' own functions and published numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal import preprocessing
from keras_nonlocal.implementations import IMPLEMENTATIONS

SOURCES = sorted(IMPLEMENTATIONS)
every_source = pytest.mark.parametrize("source", SOURCES)


def clip_of(dtype="uint8", shape=(2, 4, 5, 3)):
    pixels = np.random.default_rng(3).integers(0, 256, shape)
    return (pixels + (0.25 if dtype == "float32" else 0)).astype(dtype)


# What the sources subtract from pixels of 0 to 255, and divide by.
NUMBERS = {
    "video-nonlocal-net": ([114.75] * 3, [57.375] * 3),
    "pyslowfast": ([114.75] * 3, [57.375] * 3),
    "pytorchvideo": ([114.75] * 3, [57.375] * 3),
    "mmaction2": ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    "gluoncv": ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    "torchvision": ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    "keras-applications": ([123.68, 116.779, 103.939], [1.0, 1.0, 1.0]),
}


@every_source
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64"])
def test_arrays_are_normalized_with_the_numbers_of_the_source(source, dtype):
    clip = clip_of(dtype, (3, 2, 2, 4, 5, 3))
    ours = preprocessing.preprocess_input(clip, source)
    assert isinstance(ours, np.ndarray) and ours.dtype == np.float32
    mean, std = NUMBERS[source]
    for channel in range(3):
        expected = (np.float64(clip[..., channel]) - mean[channel]) / std[channel]
        np.testing.assert_allclose(ours[..., channel], expected, rtol=1e-5, atol=1e-6)


@every_source
def test_tensors_are_normalised_as_arrays(source):
    clip = clip_of()
    ours = preprocessing.preprocess_input(tf.constant(clip), source)
    assert tf.is_tensor(ours) and ours.dtype == tf.float32
    np.testing.assert_array_equal(ours, preprocessing.preprocess_input(clip, source))


@pytest.mark.parametrize(
    ("source", "mode"), [("torchvision", "torch"), ("keras-applications", "caffe")]
)
def test_image_sources_agree_with_keras(source, mode):
    clip = clip_of("float32")
    expected = keras.applications.imagenet_utils.preprocess_input(clip.copy(), mode=mode)
    # Keras turns the channels around for "caffe"; here the network's kernel is turned around.
    expected = expected[..., ::-1] if mode == "caffe" else expected
    np.testing.assert_allclose(
        preprocessing.preprocess_input(clip, source), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (None, None, None, 3)], ids=["known", "unknown"])
def test_symbolic_clips_and_batches_are_taken(shape):
    inputs = keras.Input(shape, dtype="uint8")
    model = keras.Model(inputs, preprocessing.preprocess_input(inputs, "gluoncv"))
    batch = clip_of(shape=(3, 2, 4, 5, 3))
    record = IMPLEMENTATIONS["gluoncv"]
    expected = (batch.astype("float32") - np.float32(record.mean)) / np.float32(record.std)
    np.testing.assert_array_equal(model(batch), expected)
    np.testing.assert_array_equal(preprocessing.preprocess_input(batch, "gluoncv"), expected)


def test_the_clip_itself_stays_as_it_is():
    clip = clip_of("float32")
    before = clip.copy()
    preprocessing.preprocess_input(clip, "keras-applications")
    np.testing.assert_array_equal(clip, before)


def test_views_of_a_batch_are_normalized_as_clips():
    prepare = preprocessing.preprocess_input
    views = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 6, 3)).astype("uint8")
    for source in ("pyslowfast", "mmaction2"):
        expected = [[prepare(clip, source) for clip in video] for video in views]
        np.testing.assert_array_equal(prepare(views, source), expected)


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 3), (2, 3, 8, 8), (2, 8, 8, 1)], ids=str)
def test_clips_without_three_channels_last_are_refused(shape):
    with pytest.raises(ValueError, match=r"`clip` must be RGB of shape .* Received: shape \("):
        preprocessing.preprocess_input(np.zeros(shape, "uint8"))


def test_unknown_sources_are_refused():
    with pytest.raises(ValueError, match="`source` must be one of .*Received: source='slowfast'"):
        preprocessing.preprocess_input(clip_of(), "slowfast")


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_stands_for_what_it_takes(inside):
    tiny = {"depth": (1, 1, 1, 1), "width": 4, "input_shape": (8, 32, 32, 3)}
    model = knl.C2D(**tiny, source="gluoncv", include_preprocessing=inside)
    clip = clip_of()
    expected = clip if inside else preprocessing.preprocess_input(clip, "gluoncv")
    np.testing.assert_array_equal(preprocessing.preprocess_input(clip, model), expected)


def probabilities_of(classes, batch=2):
    return np.random.default_rng(1).dirichlet(np.ones(classes), batch).astype("float32")


def test_predictions_name_the_best_classes_in_order():
    probabilities = np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]])
    names = ["jump", "run", "walk"]
    (first, second) = preprocessing.decode_predictions(probabilities, 2, names)
    assert [name for name, _ in first] == ["run", "walk"]
    assert second == [("jump", 0.5), ("walk", pytest.approx(0.3))]
    assert all(isinstance(probability, float) for _, probability in first + second)


def test_four_hundred_classes_are_those_of_kinetics():
    probabilities = np.eye(400)[[2, 399]]
    for given in (probabilities, tf.constant(probabilities)):
        decoded = preprocessing.decode_predictions(given, top=1)
        assert decoded == [[("answering questions", 1.0)], [("zumba", 1.0)]]


def test_kinetics_has_400_distinct_classes_in_alphabetical_order():
    names = preprocessing.kinetics400_classes()
    assert len(set(names)) == 400
    assert [name.lower() for name in names] == sorted(name.lower() for name in names)


def test_equally_probable_classes_keep_their_order():
    probabilities = np.tile([[3 / 800, 1 / 800]], 200)
    (best,) = preprocessing.decode_predictions(probabilities, top=400)
    names = preprocessing.kinetics400_classes()
    assert [name for name, _ in best] == [*names[::2], *names[1::2]]


@pytest.mark.parametrize("top", [3, 99])
def test_no_more_classes_are_named_than_there_are(top):
    decoded = preprocessing.decode_predictions(probabilities_of(3), top, "abc".split() * 3)
    assert [len(row) for row in decoded] == [3, 3]


@pytest.mark.parametrize(
    ("values", "arguments", "words"),
    [
        (np.array([[2.0, -1.0, 0.0]]), {}, "values from -1 to 2.*Apply keras.ops.softmax"),
        (np.array([[0.9, 0.8, 0.7]]), {}, "sums from 2.4 .*independent labels"),
        (np.array([[np.nan, 0.5, 0.5]]), {}, "must be positive and sum to 1"),
        (np.array([0.5, 0.25, 0.25]), {}, r"shape \(batch, classes\). Received: shape \(3,\)"),
        (probabilities_of(3), {}, "`class_names` must be given for 3 classes"),
        (probabilities_of(3), {"class_names": ["a"]}, r"each of the 3 classes. Received: \['a'\]"),
        (probabilities_of(3), {"class_names": "abc"}, "Received: 'abc'"),
        (probabilities_of(3), {"class_names": list("abc"), "top": 0}, "`top` must be at least 1"),
    ],
    ids=["logits", "sigmoid", "nan", "one clip", "no names", "few names", "string", "top"],
)
def test_what_cannot_be_decoded_is_refused(values, arguments, words):
    with pytest.raises(ValueError, match=words):
        preprocessing.decode_predictions(values, **arguments)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "uint8"])
def test_rounded_probabilities_are_taken(dtype):
    """Phones give 256 steps, mixed precision eight bits."""
    probabilities = keras.ops.softmax(np.random.default_rng(0).normal(size=(4, 400)) * 3)
    if dtype == "uint8":
        probabilities = np.round(keras.ops.convert_to_numpy(probabilities) * 256) / 256
    else:
        probabilities = keras.ops.cast(probabilities, dtype)
    assert len(preprocessing.decode_predictions(probabilities)) == 4

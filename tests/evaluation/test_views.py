"""Multi-view testing agrees with plain loops."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.evaluation import evaluate_views, predict_views
from keras_nonlocal.evaluation.memory import fitting_views, free_memory, largest_output
from tests.evaluation.answering import SHAPE, batches, linear


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).normal(size=(7, 6, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def labels():
    return np.array([0, 1, 2, 3, 4, 0, 1])


def loop(model, clips):
    """Softmax of every view alone, and then the mean: the definition."""
    kernel, bias = (np.float64(weight) for weight in model.get_weights())
    answers = []
    for video in clips:
        views = []
        for view in video:
            exponentials = np.exp(view.reshape(-1) @ kernel + bias)
            views.append(exponentials / exponentials.sum())
        answers.append(sum(views) / len(views))
    return np.stack(answers)


@pytest.mark.parametrize("output", ["probabilities", "logits"])
def test_views_are_averaged_as_a_loop_does(clips, labels, output):
    model = linear("softmax" if output == "probabilities" else None)
    activation = None if output == "probabilities" else "softmax"
    probabilities, kept = predict_views(model, batches(clips, labels), activation)
    np.testing.assert_allclose(probabilities, loop(model, clips), atol=1e-6)
    np.testing.assert_array_equal(kept, labels)


@pytest.mark.parametrize("size", [1, 4, 6, 100])
def test_parts_of_the_views_give_what_all_at_once_give(clips, labels, size):
    model = linear()
    probabilities, _ = predict_views(model, batches(clips, labels), views_per_batch=size)
    np.testing.assert_allclose(probabilities, loop(model, clips), atol=1e-6)


def test_the_greatest_probability_can_stand_for_a_class(clips, labels):
    model = linear("sigmoid")
    probabilities, _ = predict_views(model, batches(clips, labels), over_views="max")
    views = np.stack([model.predict_on_batch(video) for video in clips])
    np.testing.assert_allclose(probabilities, views.max(axis=1), atol=1e-6)


class Narrow:
    """A model of a device that holds few views at a time."""

    def __init__(self, model, room, error):
        self.model, self.room, self.error = model, room, error
        self.layers, self.sizes = model.layers, []

    def predict_on_batch(self, views):
        self.sizes.append(len(views))
        if len(views) > self.room:
            raise self.error
        return self.model.predict_on_batch(views)


ERRORS = {
    "TensorFlow": tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
    "JAX": RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),
    "Python": MemoryError(),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_fewer_views_are_taken_when_the_device_has_no_memory(clips, labels, error):
    model = Narrow(linear(), 5, error)
    probabilities, _ = predict_views(model, batches(clips, labels), views_per_batch=100)
    np.testing.assert_allclose(probabilities, loop(model.model, clips), atol=1e-6)
    # 18 views, 9, and then 4 at a time in all that follows.
    assert model.sizes == [18, 9, 4, 4, 4, 4, 2, 4, 4, 4, 4, 2, 4, 2]


def test_a_view_that_never_fits_is_an_error(clips, labels):
    model = Narrow(linear(), 0, MemoryError())
    with pytest.raises(MemoryError, match=r"One view of shape \(2, 4, 4, 3\) does not fit"):
        predict_views(model, batches(clips, labels))


def test_other_errors_of_the_model_go_on(clips, labels):
    with pytest.raises(RuntimeError, match="broken"):
        predict_views(Narrow(linear(), 0, RuntimeError("broken")), batches(clips, labels))


def test_pixels_are_refused_where_clips_must_be_normalized():
    tiny = {"depth": (1, 1, 1, 1), "width": 4, "input_shape": (4, 32, 32, 3)}
    pixels = [(np.zeros((1, 4, 32, 32, 3), "uint8"), np.zeros(1))]
    with pytest.raises(ValueError, match="`dataset` must be normalized.* Received: clips of uint8"):
        predict_views(knl.C2D(**tiny, include_preprocessing=False), pixels)


def test_memory_is_estimated_by_the_largest_output():
    network = knl.C2D(depth=(1, 1, 1, 1), width=32, input_shape=(4, 32, 32, 3))
    sizes = [np.prod(layer.output.shape[1:]) for layer in network.layers]
    assert max(sizes) > 4 * 32 * 32 * 3
    assert largest_output(network, (4, 32, 32, 3)) == 4 * max(sizes)
    nested = keras.Sequential([network, keras.layers.Activation("relu")])
    assert largest_output(nested, (4, 32, 32, 3)) == 4 * max(sizes)


def test_open_sizes_are_estimated_by_the_clip():
    network = knl.C2D(depth=(1, 1, 1, 1), width=8, input_shape=(4, None, None, 3))
    assert largest_output(network, (4, 32, 32, 3)) == 10 * 4 * 4 * 32 * 32 * 3


@pytest.mark.parametrize("free, expected", [(10**12, 30), (16 * 400 * 3, 3), (0, 1)])
def test_views_fit_into_a_quarter_of_the_free_memory(monkeypatch, free, expected):
    module = "keras_nonlocal.evaluation.memory"
    monkeypatch.setattr(f"{module}.free_memory", lambda: free)
    monkeypatch.setattr(f"{module}.largest_output", lambda model, shape: 400)
    assert fitting_views(linear(), np.zeros((30, *SHAPE))) == expected


def test_free_memory_is_less_than_there_is():
    with open("/proc/meminfo") as file:
        total = 1024 * int(file.readline().split()[1])
    assert 0 < free_memory() <= total


def test_clips_without_views_count_as_one_view(clips, labels):
    model = linear("softmax")
    probabilities, _ = predict_views(model, batches(clips[:, 0], labels))
    np.testing.assert_allclose(probabilities, loop(model, clips[:, :1]), atol=1e-6)


def test_evaluate_views_gathers_what_was_said_and_true(clips, labels):
    model = linear("softmax")
    result = evaluate_views(model, batches(clips, labels))
    np.testing.assert_array_equal(result.predictions, loop(model, clips).argmax(1))
    np.testing.assert_array_equal(result.labels, labels)


def test_clips_of_another_rank_are_refused(clips, labels):
    dataset = tf.data.Dataset.from_tensor_slices((clips[:, 0], labels))
    with pytest.raises(ValueError, match=r"clips of shape \(2, 4, 4, 3\). Batch the dataset"):
        predict_views(linear("softmax"), dataset)


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="`dataset` must hold at least one batch"):
        predict_views(linear("softmax"), [])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"over_views": "sum"}, "`over_views` must be 'mean' or 'max'. Received: over_views='sum'"),
        ({"views_per_batch": 0}, "`views_per_batch` must be at least 1. Received: views_per_b.*=0"),
    ],
)
def test_other_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        predict_views(linear(), [], **options)


def test_each_video_is_opened_once_for_all_its_views():
    visits = collections.Counter()

    def decode(path, indices, short_side):
        visits[path] += 1
        return np.full((len(indices), 40, 56, 3), indices[:, None, None, None], np.uint8)

    videos = knl.data.VideoList(["a", "b", "c"], [0, 1, 0], ["jump", "run"])
    options = {"decoder": decode, "probe": lambda path: 100, "size": 32, "batch_size": 2}
    views = knl.data.evaluation_clips(videos, "4x2", num_clips=10, num_crops=3, **options)
    shapes = [clips.shape for clips, _ in views.dataset()]
    assert shapes == [(2, 30, 4, 32, 32, 3), (1, 30, 4, 32, 32, 3)]
    assert visits == {"a": 1, "b": 1, "c": 1}


def test_accuracy_within_fit_is_that_of_one_view():
    videos = knl.data.VideoList(list("abcdefg"), [0, 1, 0, 1, 1, 0, 1], ["jump", "run"])

    def decode(path, indices, short_side):
        random = np.random.default_rng(ord(path))
        return random.integers(0, 256, (len(indices), 40, 56, 3), np.uint8)

    options = {"decoder": decode, "probe": lambda path: 20, "size": 32, "batch_size": 3}
    views = knl.data.evaluation_clips(videos, "4x2", **options).dataset()
    layers = [keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(2, "softmax")]
    model = keras.Sequential([keras.Input((4, 32, 32, 3)), *layers])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(views, validation_data=views, epochs=2, verbose=0, shuffle=False)
    accuracy = evaluate_views(model, views).accuracy
    assert history.history["val_accuracy"][-1] == pytest.approx(accuracy, abs=1e-6)
    assert 0 < accuracy < 1

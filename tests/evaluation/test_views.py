"""Multi-view testing agrees with plain loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.evaluation import Evaluation, evaluate_views, predict_views

SHAPE = (2, 4, 4, 3)


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).normal(size=(7, 6, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def labels():
    return np.array([0, 1, 2, 3, 4, 0, 1])


def linear(activation):
    """A model whose answers differ from clip to clip."""
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(
                5, activation, kernel_initializer=keras.initializers.RandomNormal(seed=1)
            ),
        ]
    )


def batches(clips, labels):
    return tf.data.Dataset.from_tensor_slices((clips, labels)).batch(3)


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


def test_clips_without_views_count_as_one_view(clips, labels):
    model = linear("softmax")
    probabilities, _ = predict_views(model, batches(clips[:, 0], labels))
    np.testing.assert_allclose(probabilities, loop(model, clips[:, :1]), atol=1e-6)


def test_evaluate_views_gathers_what_was_said_and_true(clips, labels):
    model = linear("softmax")
    result = evaluate_views(model, batches(clips, labels))
    np.testing.assert_array_equal(result.predictions, loop(model, clips).argmax(1))
    np.testing.assert_array_equal(result.labels, labels)


@pytest.fixture
def result():
    """Right at once for videos 0 and 3, at the second guess for 1, at the third for 2."""
    probabilities = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
    return Evaluation(np.array(probabilities), np.array([0, 1, 2, 2]))


def test_accuracy_counts_first_guesses(result):
    assert result.accuracy == 0.5


@pytest.mark.parametrize("k, expected", [(1, 0.5), (2, 0.75), (3, 1.0)])
def test_top_accuracy_counts_k_guesses(result, k, expected):
    assert result.top_accuracy(k) == expected


def test_confusion_has_truth_in_rows_and_answers_in_columns(result):
    assert result.confusion.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize("k", [0, 4])
def test_top_accuracy_refuses_other_k(result, k):
    with pytest.raises(ValueError, match=rf"`k` must lie between 1 .* \(3\). Received: k={k}"):
        result.top_accuracy(k)


def test_clips_of_another_rank_are_refused(clips, labels):
    dataset = tf.data.Dataset.from_tensor_slices((clips[:, 0], labels))
    with pytest.raises(ValueError, match=r"clips of shape \(2, 4, 4, 3\). Batch the dataset"):
        predict_views(linear("softmax"), dataset)


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="`dataset` must hold at least one batch"):
        predict_views(linear("softmax"), [])

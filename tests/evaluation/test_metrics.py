"""Metrics are those of scikit-learn, with and without ties, and what they say of nothing."""

import numpy as np
import pytest
import sklearn.metrics

from keras_nonlocal.evaluation import Evaluation, metrics

SEEDS = range(4)


def scores_of(seed, tied, videos=60, classes=7):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, videos)
    scores = random.random((videos, classes))
    return labels, (np.round(3 * scores) / 3 if tied else scores)


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


def test_classes_weigh_alike_in_their_mean_accuracy(result):
    assert result.mean_class_accuracy == pytest.approx((1 + 0 + 0.5) / 3)


@pytest.mark.parametrize("k", [0, 4])
def test_top_accuracy_refuses_other_k(result, k):
    with pytest.raises(ValueError, match=rf"`k` must lie between 1 .* \(3\). Received: k={k}"):
        result.top_accuracy(k)


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("seed", SEEDS)
def test_top_k_accuracy_is_scikit_learns(seed, k):
    labels, scores = scores_of(seed, tied=False)
    expected = sklearn.metrics.top_k_accuracy_score(labels, scores, k=k, labels=range(7))
    assert metrics.top_k_accuracy(labels, scores, k) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("seed", SEEDS)
def test_ties_go_to_the_lower_number_where_scikit_learn_takes_the_higher(seed, k):
    labels, scores = scores_of(seed, tied=True)
    mirrored = sklearn.metrics.top_k_accuracy_score(
        6 - labels, scores[:, ::-1], k=k, labels=range(7)
    )
    assert metrics.top_k_accuracy(labels, scores, k) == pytest.approx(mirrored)


def test_a_network_without_an_opinion_is_right_about_the_first_classes_alone():
    assert metrics.top_k_accuracy(np.arange(10), np.ones((10, 10)), 3) == 0.3


@pytest.mark.parametrize("seed", SEEDS)
def test_confusion_is_scikit_learns(seed):
    labels, scores = scores_of(seed, tied=True)
    expected = sklearn.metrics.confusion_matrix(labels, scores.argmax(1), labels=range(7))
    np.testing.assert_array_equal(metrics.confusion_matrix(labels, scores.argmax(1), 7), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_of_classes_are_scikit_learns(seed):
    labels, scores = scores_of(seed, tied=True, videos=12)
    labels[labels == 3] = 2  # a class without videos
    predictions = np.minimum(scores.argmax(1), 5)  # one that is never predicted
    expected = sklearn.metrics.precision_recall_fscore_support(
        labels, predictions, labels=range(7), zero_division=np.nan
    )
    found = metrics.class_scores(labels, predictions, 7)
    for key, values in zip(("precision", "recall", "f1", "videos"), expected, strict=True):
        np.testing.assert_allclose(found[key], values, err_msg=key)
    balanced = np.nanmean(found["recall"])
    assert metrics.mean_class_accuracy(labels, predictions, 7) == pytest.approx(balanced)


@pytest.mark.parametrize("tied", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("seed", SEEDS)
def test_average_precision_is_scikit_learns(seed, tied):
    _, scores = scores_of(seed, tied)
    labels = np.random.default_rng(seed + 9).random(scores.shape) < 0.2
    labels[0] = True
    expected = sklearn.metrics.average_precision_score(labels, scores, average=None)
    np.testing.assert_allclose(metrics.average_precisions(labels, scores), expected)
    assert metrics.mean_average_precision(labels, scores) == pytest.approx(expected.mean())


def test_classes_that_no_video_shows_are_left_out_of_the_mean():
    _, scores = scores_of(0, tied=False)
    labels = np.random.default_rng(1).random(scores.shape) < 0.2
    labels[:, 4] = False
    shown = [0, 1, 2, 3, 5, 6]
    expected = sklearn.metrics.average_precision_score(labels[:, shown], scores[:, shown])
    assert np.isnan(metrics.average_precisions(labels, scores)[4])
    assert metrics.mean_average_precision(labels, scores) == pytest.approx(expected)


def charades_script(labels, scores):
    """What the script of Charades computes: those without actions have no scores there."""
    precisions = []
    scores = np.where(labels.any(axis=1, keepdims=True), scores, -np.inf)
    for label, score in zip(labels.T, scores.T, strict=True):
        hits = label[np.argsort(-score, kind="stable")]
        precisions.append(np.mean((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits]))
    return np.mean(precisions)


@pytest.mark.parametrize("seed", SEEDS)
def test_videos_of_no_class_may_stand_last_as_in_charades_script(seed):
    _, scores = scores_of(seed, tied=False)
    labels = np.random.default_rng(seed).random(scores.shape) < 0.2
    labels[:5] = False
    found = metrics.mean_average_precision(labels, scores, unlabelled_last=True)
    assert found == pytest.approx(charades_script(labels, scores))
    assert found > metrics.mean_average_precision(labels, scores)


FAULTS = {
    "other shapes": ([0, 1, 0], np.ones((2, 3)), r"shapes \(2, 3\) and \(3,\)"),
    "not a number": ([0, 1], [[0.5, 0.5], [np.nan, 1]], "Received: NaN in row 1"),
    "no class": ([0, 3], np.ones((2, 3)), r"in \[0, 3\), the classes. Received: .* 0 to 3"),
}


@pytest.mark.parametrize("labels, scores, message", FAULTS.values(), ids=FAULTS)
def test_what_does_not_go_together_is_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        metrics.top_k_accuracy(labels, scores, 1)


def test_labels_of_several_classes_are_zeros_and_ones():
    with pytest.raises(ValueError, match="must be zeros and ones"):
        metrics.average_precisions([[2, 0]], [[0.1, 0.2]])


CONFUSED = {
    "shapes": ([0, 1], [1], r"must be \(videos,\), .* shapes \(2,\) and \(1,\)"),
    "several": ([[1, 0], [0, 1]], [0, 1], "Of several classes a video there is"),
    "labels": ([0, 2], [0, 1], r"`labels` must lie in \[0, 2\). Received: numbers from 0 to 2"),
    "predictions": ([0, 1], [0, -2], r"`predictions` must lie in \[-1, 2\)"),
}


@pytest.mark.parametrize("labels, predictions, message", CONFUSED.values(), ids=CONFUSED)
def test_what_cannot_be_confused_is_refused(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        metrics.confusion_matrix(labels, predictions, 2)

"""What scores come to: the numbers of a test, its classes, and its mistakes."""

import numpy as np

from keras_nonlocal.evaluation import metrics

_UNREADABLE = ("leave_out", "count_as_wrong")


def summarize(scores, top=(1, 5), unreadable="leave_out"):
    """Gives the numbers of a test, and over how many videos they are.

    Args:
        scores: a `Scores`.
        top: the k of the top-k accuracies; one greater than the number of classes is left out.
        unreadable: what a video is that was not read. `"leave_out"`: it is in no number but
            `"unreadable"`. `"count_as_wrong"`: it was given no class, and of several classes a
            video it stands behind all others, as in Charades' script.

    Returns:
        A dictionary: `"videos"` in the list, `"unreadable"` ones, and `"counted"` ones, over which
        the others are; then `"top_1"`, `"top_5"` and `"mean_class_accuracy"`, or for several
        classes a video `"mean_average_precision"`, and the same with `"unlabelled_last"`, see
        `metrics.mean_average_precision`. From 0 to 1.

    Raises:
        ValueError: if an argument is none of what it can be, or no video counts.

    Example:

    >>> from keras_nonlocal.evaluation import Scores
    >>> scores = Scores(["a.mp4", "b.mp4"], [0, 1], ["jump", "run"], [[0.9, 0.1], [0.8, 0.2]])
    >>> summarize(scores)["top_1"]
    0.5
    """
    labels, probabilities = counted(scores, unreadable)
    numbers = {
        "videos": len(scores),
        "unreadable": len(scores.unreadable),
        "counted": len(labels),
    }
    if not len(labels):
        raise ValueError("`scores` must hold a video that counts. Received: none that was read.")
    if scores.multi_label:
        for key, last in (("", False), ("_unlabelled_last", True)):
            value = metrics.mean_average_precision(labels, probabilities, unlabelled_last=last)
            numbers[f"mean_average_precision{key}"] = value
        return numbers
    classes = len(scores.classes)
    ranks = metrics.label_ranks(labels, probabilities)
    # Where all scores are alike there is no order, and the label may seem to be the first.
    ranks[np.isneginf(probabilities[:, 0])] = classes
    if min(top, default=1) < 1:
        raise ValueError(f"`top` must hold numbers from 1. Received: top={top}.")
    numbers |= {f"top_{k}": float(np.mean(ranks < k)) for k in top if k <= classes}
    predictions = _predictions(probabilities)
    numbers["mean_class_accuracy"] = metrics.mean_class_accuracy(labels, predictions, classes)
    return numbers


def counted(scores, unreadable):
    """Gives the labels and the probabilities of the videos that count.

    Args:
        scores, unreadable: as in `summarize`.

    Returns:
        Two arrays; the probabilities of a video that was not read, if it counts, are minus
        infinity.
    """
    if unreadable not in _UNREADABLE:
        raise ValueError(
            f"`unreadable` must be one of {', '.join(map(repr, _UNREADABLE))}. "
            f"Received: unreadable={unreadable!r}."
        )
    if unreadable == "leave_out":
        return scores.labels[scores.readable], scores.probabilities[scores.readable]
    return scores.labels, np.where(scores.readable[:, None], scores.probabilities, -np.inf)


def class_table(scores, unreadable="leave_out"):
    """Gives the numbers of each class.

    Args:
        scores, unreadable: as in `summarize`.

    Returns:
        A dictionary of arrays `(classes,)`, those of `metrics.class_scores`, or `"videos"` and
        `"average_precision"` of several classes a video.
    """
    labels, probabilities = counted(scores, unreadable)
    if scores.multi_label:
        precisions = metrics.average_precisions(labels, probabilities)
        return {"videos": labels.sum(axis=0).astype(np.int64), "average_precision": precisions}
    return metrics.class_scores(labels, _predictions(probabilities), len(scores.classes))


def confused_pairs(confusion, most=20):
    """Gives the pairs of classes of which one was most often taken for the other.

    Args:
        confusion: `(classes, classes)` of `metrics.confusion_matrix`.
        most: how many to give.

    Returns:
        A list of tuples: right class, predicted class, number of videos; the most frequent first.
    """
    wrong = np.array(confusion)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, wrong.shape)
    pairs = zip(rows.tolist(), columns.tolist(), wrong[rows, columns].tolist(), strict=True)
    return [pair for pair in pairs if pair[2]]


def worst_mistakes(scores, most=20):
    """Gives the videos of which the network was surest, and wrong.

    Args:
        scores: a `Scores` of one class a video.
        most: how many to give.

    Returns:
        The numbers of the videos, the surest mistake first.
    """
    numbers = np.flatnonzero(scores.readable)
    predictions = _predictions(scores.probabilities[numbers])
    wrong = numbers[predictions != scores.labels[numbers]]
    surest = np.argsort(-scores.probabilities[wrong].max(axis=1), kind="stable")
    return wrong[surest][:most].tolist()


def _predictions(probabilities):
    """The likeliest classes, -1 for a video that was not read."""
    return np.where(np.isneginf(probabilities[:, 0]), -1, probabilities.argmax(axis=1))

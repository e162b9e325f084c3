"""How good predictions are, as numbers of arrays: one label a video, or several."""

import numpy as np


def label_ranks(labels, probabilities):
    """Counts the classes that stand before the right one of each video.

    Of classes with one probability the one with the lower number stands first, so that rank 0 is
    what `argmax` finds. (scikit-learn's `top_k_accuracy_score` puts the higher number first.)

    Args:
        labels: class numbers, `(videos,)`.
        probabilities: `(videos, classes)`; any scores will do.

    Returns:
        Integers `(videos,)`: 0 where the right class is the likeliest.

    Raises:
        ValueError: if the shapes do not go together, or a score is not a number.

    Example:

    >>> label_ranks([0, 1], [[0.7, 0.2, 0.1], [0.4, 0.2, 0.4]])
    array([0, 2])
    """
    labels, probabilities = _check(labels, probabilities, several=False)
    right = probabilities[np.arange(len(labels)), labels][:, None]
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    return ((probabilities > right) | ((probabilities == right) & before)).sum(axis=1)


def top_k_accuracy(labels, probabilities, k=5):
    """Gives the share of the videos whose right class is among the `k` likeliest.

    Args:
        labels, probabilities: as in `label_ranks`, which says what happens to ties.
        k: how many classes a video may be given.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: if `k` is not between 1 and the number of classes, or as `label_ranks`.
    """
    ranks = label_ranks(labels, probabilities)
    classes = np.shape(probabilities)[1]
    if not 1 <= k <= classes:
        raise ValueError(
            f"`k` must lie between 1 and the number of classes ({classes}). "
            f"Received: k={k}. Lower `k`."
        )
    return float(np.mean(ranks < k))


def confusion_matrix(labels, predictions, classes):
    """Counts how many videos of each class (rows) were given each class (columns).

    Args:
        labels: class numbers, `(videos,)`.
        predictions: class numbers, `(videos,)`; a video with -1 was given none, and is left out.
        classes: number of classes.

    Returns:
        Integers `(classes, classes)`.

    Raises:
        ValueError: if they are not one class a video each.

    Example:

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ValueError(
            "`labels` and `predictions` must be (videos,), one class a video. Received: shapes "
            f"{labels.shape} and {predictions.shape}. Of several classes a video there is "
            "`mean_average_precision`."
        )
    for name, numbers, least in (("labels", labels, 0), ("predictions", predictions, -1)):
        if numbers.size and not least <= numbers.min() <= numbers.max() < classes:
            raise ValueError(
                f"`{name}` must lie in [{least}, {classes}). "
                f"Received: numbers from {numbers.min()} to {numbers.max()}."
            )
    labels, predictions = labels.astype(np.int64), predictions.astype(np.int64)
    pairs = (labels * classes + predictions)[predictions >= 0]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_scores(labels, predictions, classes):
    """Tells how well each class was found.

    Args:
        labels, predictions, classes: as in `confusion_matrix`; a video that was given no class
            counts as one of its class that was not found.

    Returns:
        A dictionary of arrays `(classes,)`: `"videos"` of the class, how many were `"predicted"`
        to be of it, how many of these are `"right"`; `"recall"`, which is the accuracy over the
        videos of the class; `"precision"`; and their harmonic mean `"f1"`. A share of nothing,
        such as the recall of a class without videos, is NaN.

    Example:

    >>> class_scores([0, 0, 1], [0, 1, 1], classes=3)["recall"]
    array([0.5, 1. , nan])
    """
    confusion = confusion_matrix(labels, predictions, classes)
    videos = np.bincount(np.asarray(labels, np.int64), minlength=classes)
    predicted, right = confusion.sum(axis=0), np.diagonal(confusion)
    return {
        "videos": videos,
        "predicted": predicted,
        "right": right,
        "recall": _share(right, videos),
        "precision": _share(right, predicted),
        "f1": _share(2 * right, videos + predicted),
    }


def mean_class_accuracy(labels, predictions, classes):
    """Gives the mean of the classes' own accuracies, in which a rare class weighs as a common one.

    Args:
        labels, predictions, classes: as in `class_scores`.

    Returns:
        A number from 0 to 1, over the classes that have videos.
    """
    recall = class_scores(labels, predictions, classes)["recall"]
    return float(np.nanmean(recall)) if len(labels) else float("nan")


def average_precisions(labels, probabilities):
    """Gives the average precision of each class, where a video may show several.

    The precision at each video that shows the class, in the order of their scores, averaged.
    Videos with one score come in together, as in scikit-learn's `average_precision_score`, so that
    the order of the list changes nothing.

    Args:
        labels: zeros and ones, `(videos, classes)`.
        probabilities: `(videos, classes)`; any scores will do, minus infinity among them.

    Returns:
        Array `(classes,)`, NaN for a class that no video shows.

    Raises:
        ValueError: as `label_ranks`, or if the labels are not zeros and ones.

    Example:

    >>> average_precisions([[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.5, 0.2], [0.4, 0.3]])
    array([0.83333333,        nan])
    """
    labels, probabilities = _check(labels, probabilities, several=True)
    return np.array(
        [_average_precision(*columns) for columns in zip(labels.T, probabilities.T, strict=True)]
    )


def mean_average_precision(labels, probabilities, unlabelled_last=False):
    """Gives the mean of the average precisions of the classes, as Charades is scored by.

    Args:
        labels, probabilities: as in `average_precisions`.
        unlabelled_last: `True` puts the videos that show no class behind all others, whatever
            the network says of them. The script of Charades does so: it finds no scores for them.
            PySlowFast does not.

    Returns:
        A number from 0 to 1, over the classes that a video shows, as PySlowFast has it; NaN if
        there are none. (The script of Charades gives NaN if one class has no video, scikit-learn
        counts it as 0.)

    Raises:
        ValueError: as `average_precisions`.

    Reference:
        - `Charades_v1_classify.m` of [Charades](https://prior.allenai.org/projects/charades).
        - `get_map` in `slowfast/utils/meters.py` of
          [PySlowFast](https://github.com/facebookresearch/SlowFast).
    """
    if unlabelled_last:
        shown = np.asarray(labels).any(axis=1)
        probabilities = np.where(shown[:, None], probabilities, -np.inf)
    precisions = average_precisions(labels, probabilities)
    known = precisions[~np.isnan(precisions)]
    return float(known.mean()) if known.size else float("nan")


def _average_precision(labels, scores):
    positives = labels.sum()
    if not positives:
        return np.nan
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(labels[order])
    last_of_ties = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    found = found[last_of_ties]
    return np.sum(np.diff(found, prepend=0) * found / (last_of_ties + 1)) / positives


def _share(part, whole):
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _check(labels, probabilities, several):
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    shape = probabilities.shape if several else probabilities.shape[:1]
    if probabilities.ndim != 2 or labels.shape != shape:
        labels_are = "(videos, classes)" if several else "(videos,)"
        raise ValueError(
            f"`probabilities` must be (videos, classes) and `labels` {labels_are}. Received: "
            f"shapes {probabilities.shape} and {labels.shape}."
        )
    if np.isnan(probabilities).any():
        row = int(np.flatnonzero(np.isnan(probabilities).any(axis=1))[0])
        raise ValueError(
            f"`probabilities` must be numbers. Received: NaN in row {row}. Leave out the videos "
            "that were not read, and look at the clips of this one otherwise."
        )
    if several and not np.isin(labels, (0, 1)).all():
        raise ValueError("`labels` of several classes a video must be zeros and ones.")
    classes = probabilities.shape[1]
    if not several and labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"`labels` must lie in [0, {classes}), the classes. "
            f"Received: labels from {labels.min()} to {labels.max()}."
        )
    return labels.astype(np.int64), probabilities

"""The word of several networks about the same videos."""

import os

import numpy as np

from keras_nonlocal.evaluation.scores import Scores

_NAMES_TOLD = 3


def fuse_scores(parts, weights=None):
    """Gives the weighted mean of what several networks said about the same videos.

    Networks that see other things, such as short and long clips, err on other videos; together
    they are mostly better than the best of them.

    Args:
        parts: list of `Scores`. Their videos are matched by path, in whatever order they come; a
            relative path is one from the current folder.
        weights: a number for each, none of them negative; `None`: all alike. They are divided by
            their sum.

    Returns:
        A `Scores` in the order of the first. A video that one of them could not read is unreadable.

    Raises:
        ValueError: if videos, labels or classes differ, or the weights do not fit.

    Example:

    >>> one = Scores(["a.mp4", "b.mp4"], [0, 1], ["jump", "run"], [[0.9, 0.1], [0.8, 0.2]])
    >>> other = Scores(["b.mp4", "a.mp4"], [1, 0], ["jump", "run"], [[0.1, 0.9], [0.6, 0.4]])
    >>> fuse_scores([one, other], weights=[1, 3]).probabilities.round(3).tolist()
    [[0.675..., 0.32...], [0.27..., 0.72...]]
    """
    parts = list(parts)
    if not parts:
        raise ValueError("`parts` must hold at least one `Scores`. Received: none.")
    weights = _check_weights(weights, len(parts))
    first = parts[0]
    total = np.zeros(first.probabilities.shape, np.float64)
    unreadable = {}
    for number, (part, weight) in enumerate(zip(parts, weights, strict=True)):
        rows = _match(first, part, number)
        total += weight * part.probabilities[rows].astype(np.float64)
        for row, source in enumerate(rows.tolist()):
            if source in part.unreadable:
                unreadable.setdefault(row, part.unreadable[source])
    return Scores(
        first.paths,
        first.labels,
        first.classes,
        total.astype(np.float32),
        unreadable=unreadable,
        settings={
            "fused": [
                {"weight": float(weight), "settings": part.settings, "made_of": part.made_of}
                for part, weight in zip(parts, weights, strict=True)
            ]
        },
        versions=first.versions,
    )


def _check_weights(weights, count):
    given = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    if given.shape != (count,) or not (given >= 0).all() or not 0 < given.sum() < np.inf:
        raise ValueError(
            f"`weights` must be a number from 0 for each of the {count} parts, not all of them 0. "
            f"Received: weights={weights}."
        )
    return given / given.sum()


def _match(first, part, number):
    """The rows of a part in the order of the first."""
    if part.classes != first.classes:
        differing = [
            pair for pair in zip(first.classes, part.classes, strict=False) if pair[0] != pair[1]
        ]
        told = f", the first other name {differing[0][1]!r} for {differing[0][0]!r}"
        raise ValueError(
            f"`parts` must have the same classes in the same order. Received: "
            f"{len(first.classes)} classes, and {len(part.classes)} in part {number}"
            f"{told if differing else ''}. "
            "Evaluate all networks with one list of class names."
        )
    if part.paths == first.paths:
        rows = np.arange(len(first))
    else:
        rows = _match_paths(first, part, number)
    if part.labels.shape != first.labels.shape or not np.array_equal(
        part.labels[rows], first.labels
    ):
        raise ValueError(
            f"`parts` must agree on what the videos show. Received: other labels in part {number}. "
            "Evaluate all networks on one list."
        )
    return rows


def _match_paths(first, part, number):
    """Rows by the videos' whole paths: some lists have these, and others relative ones."""
    places = []
    for which, scores in (("the first part", first), (f"part {number}", part)):
        places.append({os.path.abspath(path): row for row, path in enumerate(scores.paths)})
        if len(places[-1]) < len(scores):
            twice = next(
                path
                for row, path in enumerate(scores.paths)
                if places[-1][os.path.abspath(path)] != row
            )
            raise ValueError(
                "`parts` in other orders must name each video once. "
                f"Received: {twice!r} several times in {which}."
            )
    ours, theirs = places
    missing = [first.paths[row] for path, row in ours.items() if path not in theirs]
    strange = [part.paths[row] for path, row in theirs.items() if path not in ours]
    if missing or strange:
        faults = [
            f"{len(paths)} {what}, such as {', '.join(map(repr, sorted(paths)[:_NAMES_TOLD]))}"
            for paths, what in ((missing, "are missing"), (strange, "are not in the first"))
            if paths
        ]
        raise ValueError(
            f"`parts` must be about the same videos, by path. Received: in part {number}, "
            f"{'; '.join(faults)}. Evaluate all networks on one list."
        )
    return np.array([theirs[path] for path in ours], np.int64)

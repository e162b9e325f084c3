"""From a list of videos to their scores, going on where an evaluation was killed."""

import contextlib
import dataclasses
import os

import keras
import numpy as np

from keras_nonlocal.evaluation.identity import (
    check_identity,
    hash_model,
    hash_videos,
    package_versions,
    shape_of_views,
)
from keras_nonlocal.evaluation.journal import folder_locked, opened_journal
from keras_nonlocal.evaluation.report import REPORTS
from keras_nonlocal.evaluation.scores import Scores, load_scores, save_scores
from keras_nonlocal.evaluation.views import VideoScorer
from keras_nonlocal.files import sync_folder

SCORES, JOURNAL = "scores.npz", "scores.journal"
_REASONS_TOLD = 5


def evaluate_videos(
    model,
    videos,
    make_views,
    folder=None,
    activation=None,
    over_views="mean",
    views_per_batch=None,
    settings=None,
    overwrite=False,
    advance=None,
):
    """Tests a network on a list of videos, and keeps what it says of each.

    Unlike `evaluate_views` it knows the videos by name: those that cannot be read are listed with
    the reason, and no video is ever left out without a word. With a `folder`, scores are kept as
    they come. The same call after a kill goes on with the videos that are missing, and ends with
    the scores of an uninterrupted run, on the CPU to the bit. Every call tries anew those that
    could not be read, which may have been mended. (Two runs that take different
    numbers of views at a time agree to rounding: give `views_per_batch` to have them equal.)

    Args:
        model: a `keras.Model` from clips to probabilities.
        videos: a `data.VideoList`.
        make_views: a function from a `VideoList` to its clips, a `data.ClipLoader` or a dataset,
            such as `data.evaluation_clips`. It is given what remains of the list, whose labels are
            the videos' numbers, and the whole list before, to learn the shape of its clips. With
            `on_error="skip"` the loader leaves out what cannot be read, and lists it in `errors`;
            with `max_error_rate=1.0` as well, no share of unreadable videos stops it.
        folder: where to keep the scores; made if it is not there. `scores.npz` appears in it at
            the end, see `load_scores`. `None` keeps nothing.
        activation, over_views, views_per_batch: as in `predict_views`.
        settings: dictionary for JSON of what `make_views` goes by, such as `{"clip": "8x8"}`. It
            is kept with the scores, and another one in the same folder is an error. Of the views
            the shape alone is known without it, and clips of another stride have the same.
        overwrite: `True` removes the scores that `folder` holds, and the report on them, once no
            other process evaluates into it.
        advance: a function without arguments that is called for each video that is done.

    Returns:
        A `Scores`.

    Raises:
        ValueError: if `folder` holds the scores of other videos, settings or weights, or a layer of
            the model does not give the configuration by which networks are told apart there; if
            the model gives something else than a probability for each class; if no video can be
            read.
        BlockingIOError: if another process evaluates into the folder.

    Example:

    ```python
    def make_views(videos):
        return data.evaluation_clips(
            videos, **settings, num_clips=10, num_crops=3, batch_size=1,
            on_error="skip", max_error_rate=1.0,  # the scores list the unreadable ones
        )

    settings = {"clip": "8x8", "size": 256}  # others in the same folder are refused
    scores = evaluation.evaluate_videos(
        model, videos, make_views, folder="test", settings=settings
    )
    print(scores.evaluation.accuracy, scores.unreadable)
    ```
    """
    if isinstance(videos, (str, os.PathLike)):
        raise ValueError(
            f"`videos` must be a `VideoList`. Received: the path {os.fspath(videos)!r}. "
            "`data.read_videos` makes one of it."
        )
    videos.check_labeled("evaluation")
    scorer = VideoScorer(model, activation, over_views, views_per_batch)
    _check_classes(getattr(model, "output_shape", None), videos)
    settings = {
        **(settings or {}),
        "views": shape_of_views(_dataset_of(make_views(_numbered(videos, range(len(videos)))))),
        "activation": activation if activation is None else str(activation),
        "over_views": over_views,
        "views_per_batch": views_per_batch,
    }
    made_of = {"videos": hash_videos(videos)}
    if folder is not None:
        made_of["model"] = hash_model(model)
    identity = {"settings": settings, "made_of": made_of}
    run = _Run(model, videos, make_views, scorer, identity, advance or (lambda: None))
    if folder is None:
        return run.finish(run.go(_Memory()))
    folder = os.path.abspath(folder)
    os.makedirs(folder, exist_ok=True)
    path, journal_path = os.path.join(folder, SCORES), os.path.join(folder, JOURNAL)
    with folder_locked(journal_path):
        if overwrite:
            _remove(folder, REPORTS if os.path.exists(path) else ())
            _remove(folder, (SCORES, JOURNAL))
        if os.path.exists(path):
            # Of a run that was killed between the two.
            _remove(folder, (JOURNAL,))
            scores = load_scores(path)
            check_identity(path, {"settings": scores.settings, "made_of": scores.made_of}, identity)
            known = run.go(_Memory(scores))
            if known.unreadable == scores.unreadable:
                return scores
            scores = run.finish(known)
            save_scores(path, scores)
        else:
            with opened_journal(journal_path, identity) as journal:
                scores = run.finish(run.go(journal))
            save_scores(path, scores)
            os.remove(journal_path)
    sync_folder(folder)
    return scores


def _remove(folder, names):
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, name))


def _check_classes(shape, videos):
    """Refuses a model whose outputs, if their shape is known, are not as many as the classes."""
    classes = len(videos.class_names)
    if shape is not None and shape[-1] not in (None, classes):
        raise ValueError(
            f"`model` must give a probability for each of the {classes} classes of `videos`. "
            f"Received: {shape[-1]} a clip. Give the list the classes that the network was "
            "trained with, and the numbers that they have there: in the command --classes FILE."
        )


class _Memory:
    """A journal that is not written, of the scores that there are."""

    def __init__(self, scores=None):
        self.views_per_batch = None
        self.scores, self.unreadable = {}, {}
        if scores is not None:
            self.unreadable.update(scores.unreadable)
            numbers = np.flatnonzero(scores.readable).tolist()
            self.scores.update((number, scores.probabilities[number]) for number in numbers)

    def add(self, numbers, scores, unreadable, views_per_batch):
        self.scores.update(zip(numbers, scores, strict=True))
        self.unreadable.update(unreadable)
        for number in numbers:
            self.unreadable.pop(number, None)


@dataclasses.dataclass(frozen=True)
class _Run:
    model: keras.Model
    videos: object
    make_views: object
    scorer: VideoScorer
    identity: dict
    advance: object

    def go(self, journal):
        """Goes through the videos without scores, be it that they could not be read before."""
        due = [number for number in range(len(self.videos)) if number not in journal.scores]
        # What the device had no memory for before it will have none for now.
        self.scorer.views_per_batch = journal.views_per_batch or self.scorer.views_per_batch
        for _ in range(len(self.videos) - len(due)):
            self.advance()
        if not due:
            return journal
        views = self.make_views(_numbered(self.videos, due))
        errors, done = getattr(views, "errors", {}), 0
        for clips, places in _dataset_of(views):
            places = self._check_places(np.asarray(places), done, len(due), len(clips))
            numbers = [due[place] for place in places]
            scores = self._check_scores(self.scorer.score(clips), numbers)
            following = places[-1] + 1
            left_out = set(due[done:following]) - set(numbers)
            reasons = self._reasons(errors, left_out)
            journal.add(numbers, scores, reasons, self.scorer.views_per_batch)
            for _ in range(following - done):
                self.advance()
            done = following
        reasons = self._reasons(errors, due[done:])
        if reasons:
            journal.add([], np.zeros((0, 0)), reasons, self.scorer.views_per_batch)
            for _ in reasons:
                self.advance()
        return journal

    def finish(self, journal):
        """Makes `Scores` of a journal that has all videos."""
        videos, unreadable = self.videos, journal.unreadable
        if not journal.scores:
            reasons = list(unreadable.values())
            more = f"; and {len(reasons) - _REASONS_TOLD} more" if reasons[_REASONS_TOLD:] else ""
            first = "; ".join(reason.rstrip(".") for reason in reasons[:_REASONS_TOLD])
            told = f"Received: {first}{more}." if reasons else ""
            raise ValueError(
                f"`videos` must hold a video that can be read. {told or 'Received: an empty list.'}"
            )
        probabilities = np.full((len(videos), len(videos.class_names)), np.nan, np.float32)
        for number, scores in journal.scores.items():
            probabilities[number] = scores
        return Scores(
            videos.paths,
            videos.labels,
            videos.class_names,
            probabilities,
            unreadable=dict(sorted(unreadable.items())),
            settings=self.identity["settings"],
            made_of=self.identity["made_of"],
            versions=package_versions(),
        )

    def _check_places(self, places, following, end, count):
        good = places.shape == (count,) and (np.diff(places) > 0).all()
        if not good or places[0] < following or places[-1] >= end:
            raise ValueError(
                "`make_views` must give the videos in the order of the list that it was given, "
                f"each once, with their labels. Received: {places.tolist()[:8]} where a number "
                f"from {following} was due. Neither shuffle nor shard the list."
            )
        return places.tolist()

    def _check_scores(self, scores, numbers):
        _check_classes(scores.shape, self.videos)
        # Rounding lets a mean of ones stand a little above.
        if not ((scores >= 0) & (scores <= 1 + 1e-5)).all():
            path = self.videos.paths[numbers[0]]
            raise ValueError(
                "`model` must give probabilities, from 0 to 1. Received: numbers from "
                f"{scores.min():.3g} to {scores.max():.3g} for {path!r} and those beside it. "
                'Give activation="softmax" ("sigmoid" for several classes a video) for a model of '
                "logits; look for NaN in the weights otherwise."
            )
        return scores.astype(np.float32)

    def _reasons(self, errors, left_out):
        """Why videos were left out, by their numbers."""
        paths = {number: self.videos.paths[number] for number in sorted(left_out)}
        unknown = [path for path in paths.values() if path not in errors]
        if unknown:
            raise ValueError(
                "`make_views` must return every video of its list, or say in `errors` of the "
                f"loader why not. Received: no word of {unknown[0]!r} and {len(unknown) - 1} more."
            )
        return {number: str(errors[path]) for number, path in paths.items()}


def _dataset_of(views):
    return views.dataset() if hasattr(views, "dataset") else views


def _numbered(videos, numbers):
    """Some videos of a list, with their places among them for labels."""
    rest = videos.select(np.array(numbers, np.int64))
    return dataclasses.replace(
        rest, labels=np.arange(len(rest)), class_names=len(rest), events=None
    )

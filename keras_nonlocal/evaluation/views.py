"""From the views of videos to one distribution a video."""

import logging

import keras
import numpy as np

from keras_nonlocal.evaluation.memory import fitting_views, is_out_of_memory
from keras_nonlocal.models.video_resnet import check_pixels

_LOG = logging.getLogger("keras_nonlocal")

# The mean is what the authors, PySlowFast and MMAction2 ("prob") take; the greatest is what
# PySlowFast takes where a video may show several classes, each for a part of its time.
_OVER_VIEWS = {"mean": np.mean, "max": np.max}


def predict_views(model, dataset, activation=None, over_views="mean", views_per_batch=None):
    """Predicts one distribution a video, the mean over its views.

    A network sees a few frames and a square of each. Published accuracies are those of the mean
    of its probabilities over many such views of a video, which is a point or several better than
    any one of them.

    Args:
        model: a `keras.Model` from clips to probabilities.
        dataset: batches of `(clips, labels)`, the clips with an axis of views,
            `(batch, views, frames, height, width, channels)`, or without,
            `(batch, frames, height, width, channels)`; `data.evaluation_clips` makes both.
        activation: what makes probabilities of the model's outputs, such as `"softmax"` for a
            model of logits; `None` for a model of probabilities.
        over_views: `"mean"`, or `"max"` for the greatest probability of each class.
        views_per_batch: how many views go through the model at a time. `None`: as many of a
            batch as memory allows, see `VideoScorer`.

    Returns:
        Two arrays: probabilities `(videos, classes)` and labels `(videos,)`.

    Raises:
        ValueError: if the clips have another rank, or the dataset is empty.

    Example:

    ```python
    views = data.evaluation_clips(videos, "8x8", num_clips=10, num_crops=3).dataset()
    probabilities, labels = evaluation.predict_views(model, views)
    ```

    Reference:
        [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), section 4.1, Inference:
        softmax scores averaged over 10 clips a video.
    """
    scorer = VideoScorer(model, activation, over_views, views_per_batch)
    probabilities, labels = [], []
    for clips, label in dataset:
        probabilities.append(scorer.score(clips))
        labels.append(np.asarray(label))
    if not probabilities:
        raise ValueError(
            "`dataset` must hold at least one batch. Received: an empty dataset. "
            "A dataset that can be gone through only once may be used up."
        )
    return np.concatenate(probabilities), np.concatenate(labels)


class VideoScorer:
    """Gives videos their probabilities out of their views, a part of the views at a time.

    How many views fit is estimated on the CPU, where a process that asks for too much is ended by
    the system without a word: a quarter of the memory that is free, by four times the largest
    output of a layer (`memory.fitting_views`). Other devices say when their memory is full. Then
    half as many views are taken, the batch is gone through again, and the smaller number stays.

    Args:
        model, activation, over_views, views_per_batch: as in `predict_views`.

    Raises:
        ValueError: if an argument is none of what it can be.
    """

    def __init__(self, model, activation=None, over_views="mean", views_per_batch=None):
        if over_views not in _OVER_VIEWS:
            raise ValueError(
                f"`over_views` must be 'mean' or 'max'. Received: over_views={over_views!r}."
            )
        if views_per_batch is not None and views_per_batch < 1:
            raise ValueError(
                "`views_per_batch` must be at least 1. "
                f"Received: views_per_batch={views_per_batch}. `None` takes as many as fit."
            )
        self.views_per_batch = views_per_batch
        self._model = model
        self._activation = keras.activations.get(activation)
        self._over_views = _OVER_VIEWS[over_views]

    def score(self, clips):
        """Gives a batch of videos their probabilities.

        Args:
            clips: `(batch, views, frames, height, width, channels)`, or without the views.

        Returns:
            Array `(batch, classes)`.

        Raises:
            ValueError: if the clips have another rank.
            MemoryError: if a single view does not fit.
        """
        clips = np.asarray(clips)
        if clips.ndim not in (5, 6):
            raise ValueError(
                "`dataset` must give clips of shape (batch, frames, height, width, channels), or "
                "with an axis of views after the batch. "
                f"Received: clips of shape {clips.shape}. Batch the dataset."
            )
        check_pixels("dataset", self._model, clips.dtype)
        views = clips.reshape(-1, *clips.shape[-4:])
        if self.views_per_batch is None:
            self.views_per_batch = fitting_views(self._model, views)
        scores = self._score_views(views)
        while scores is None:
            scores = self._score_views(views)
        return self._over_views(scores.reshape(len(clips), -1, scores.shape[-1]), axis=1)

    def _score_views(self, views):
        """Scores of all views; `None` if the device could not, which takes fewer from now on."""
        size = self.views_per_batch
        try:
            parts = [self._score_part(views[n : n + size]) for n in range(0, len(views), size)]
            return np.concatenate(parts)
        # Every backend has an error of its own for this; all others go on.
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise MemoryError(
                    f"One view of shape {views.shape[1:]} does not fit into the device's memory. "
                    "Take smaller crops or shorter clips, or another device."
                ) from error
        # No more than the batch that failed had, of which there may have been fewer.
        self.views_per_batch = max(min(size, len(views)) // 2, 1)
        _LOG.warning(
            "The device has no memory for %d views at a time; %d are taken from now on.",
            size,
            self.views_per_batch,
        )
        return None

    def _score_part(self, views):
        outputs = self._model.predict_on_batch(views)
        return keras.ops.convert_to_numpy(self._activation(keras.ops.convert_to_tensor(outputs)))

"""Multi-view testing: what a network says about whole videos, and how often it is right."""

import dataclasses

import keras
import numpy as np


def predict_views(model, dataset, activation=None):
    """Predicts one distribution a video, the mean over its views.

    A network sees a few frames and a square of each. Published accuracies are those of the mean
    of its probabilities over many such views of a video, which is a point or several better than
    any one of them.

    Args:
        model: a `keras.Model` from clips to probabilities.
        dataset: batches of `(clips, labels)`, the clips with an axis of views,
            `(batch, views, frames, height, width, channels)`, or without,
            `(batch, frames, height, width, channels)`; `data.clip_dataset` gives both.
        activation: what makes probabilities of the model's outputs, such as `"softmax"` for a
            model of logits; `None` for a model of probabilities.

    Returns:
        Two arrays: probabilities `(videos, classes)` and labels `(videos,)`.

    Raises:
        ValueError: if the clips have another rank, or the dataset is empty.

    Example:

    ```python
    views = data.clip_dataset(videos, "8x8", clips_per_video=10, crops_per_clip=3)
    probabilities, labels = evaluation.predict_views(model, views)
    ```

    Reference:
        [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), section 4.1, Inference:
        softmax scores averaged over 10 clips a video.
    """
    activation = keras.activations.get(activation)
    probabilities, labels = [], []
    for clips, label in dataset:
        clips = np.asarray(clips)
        if clips.ndim not in (5, 6):
            raise ValueError(
                "`dataset` must give clips of shape (batch, frames, height, width, channels), or "
                "with an axis of views after the batch. "
                f"Received: clips of shape {clips.shape}. Batch the dataset."
            )
        views = clips.reshape(-1, *clips.shape[-4:])
        outputs = model.predict_on_batch(views)
        scores = keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(outputs)))
        probabilities.append(scores.reshape(len(clips), -1, scores.shape[-1]).mean(axis=1))
        labels.append(np.asarray(label))
    if not probabilities:
        raise ValueError(
            "`dataset` must hold at least one batch. Received: an empty dataset. "
            "A dataset that can be gone through only once may be used up."
        )
    return np.concatenate(probabilities), np.concatenate(labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network said about videos, beside what they show.

    Args:
        probabilities: array `(videos, classes)`.
        labels: class numbers, `(videos,)`.

    Example:

    >>> result = Evaluation(np.array([[0.7, 0.3], [0.6, 0.4]]), np.array([0, 1]))
    >>> result.accuracy
    0.5
    >>> result.confusion.tolist()
    [[1, 0], [1, 0]]
    """

    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def predictions(self):
        """The likeliest class of each video, `(videos,)`."""
        return self.probabilities.argmax(axis=-1)

    @property
    def accuracy(self):
        """Share of the videos whose likeliest class is right (top-1), from 0 to 1."""
        return float(np.mean(self.predictions == self.labels))

    def top_accuracy(self, k=5):
        """Share of the videos whose right class is among the `k` likeliest.

        Args:
            k: how many classes a video may be given.

        Returns:
            A number from 0 to 1.

        Raises:
            ValueError: if `k` is not between 1 and the number of classes.
        """
        classes = self.probabilities.shape[-1]
        if not 1 <= k <= classes:
            raise ValueError(
                f"`k` must lie between 1 and the number of classes ({classes}). "
                f"Received: k={k}. Lower `k`."
            )
        probabilities = self.probabilities.astype(np.float32)
        hits = keras.metrics.sparse_top_k_categorical_accuracy(self.labels, probabilities, k)
        return float(np.mean(keras.ops.convert_to_numpy(hits)))

    @property
    def confusion(self):
        """How many videos of each class (rows) were given each class (columns)."""
        classes = self.probabilities.shape[-1]
        pairs = self.labels.astype(np.int64) * classes + self.predictions
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def evaluate_views(model, dataset, activation=None):
    """Tests a network on videos, each judged by all its views.

    Args:
        model, dataset, activation: as in `predict_views`.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: as `predict_views`.

    Example:

    ```python
    result = evaluation.evaluate_views(model, views)
    print(result.accuracy, result.top_accuracy(5), result.confusion)
    ```
    """
    return Evaluation(*predict_views(model, dataset, activation))

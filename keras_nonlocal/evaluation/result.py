"""What a network said about videos, beside what they show."""

import dataclasses

import numpy as np

from keras_nonlocal.evaluation import metrics
from keras_nonlocal.evaluation.views import predict_views


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network said about videos, beside what they show.

    Args:
        probabilities: array `(videos, classes)`.
        labels: class numbers, `(videos,)`; of several classes a video zeros and ones,
            `(videos, classes)`, for which `mean_average_precision` alone has a meaning.

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
        return self.top_accuracy(1)

    def top_accuracy(self, k=5):
        """Share of the videos whose right class is among the `k` likeliest.

        Args:
            k: how many classes a video may be given.

        Returns:
            A number from 0 to 1.

        Raises:
            ValueError: if `k` is not between 1 and the number of classes.
        """
        return metrics.top_k_accuracy(self.labels, self.probabilities, k)

    @property
    def confusion(self):
        """How many videos of each class (rows) were given each class (columns)."""
        return metrics.confusion_matrix(self.labels, self.predictions, self.probabilities.shape[-1])

    @property
    def mean_class_accuracy(self):
        """The mean of the accuracies of the classes that have videos, from 0 to 1."""
        return metrics.mean_class_accuracy(
            self.labels, self.predictions, self.probabilities.shape[-1]
        )

    @property
    def mean_average_precision(self):
        """Of several labels a video, see `metrics.mean_average_precision`."""
        return metrics.mean_average_precision(self.labels, self.probabilities)


def evaluate_views(model, dataset, activation=None, over_views="mean", views_per_batch=None):
    """Tests a network on videos, each judged by all its views.

    Args:
        model, dataset, activation, over_views, views_per_batch: as in `predict_views`.

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
    return Evaluation(*predict_views(model, dataset, activation, over_views, views_per_batch))

"""Which videos there are, and what they show: `VideoList`, and its division."""

import collections
import dataclasses
import operator

import numpy as np

# An entry of a `VideoList`; `events` and `num_frames` are `None` where the list has none.
Video = collections.namedtuple("Video", "path label events num_frames")


@dataclasses.dataclass(frozen=True, eq=False)
class VideoList:
    """Videos with their labels.

    The functions `read_*` make one of what lies on a disk; everything that reads videos takes one.
    `dataclasses.replace(videos, fps=12.0)` changes a field.

    Args:
        paths: where the videos are: video files, folders of frames, or records.
        labels: class numbers, one a video. Where a video may show several classes or none:
            zeros and ones of shape `(videos, classes)`.
        class_names: names of the classes, in the order of their numbers.
        events: for each video what happens when, as tuples `(class number, start, end)` in
            seconds; `None` where nobody noted it.
        num_frames: for each video the number of its frames as a list of videos tells it, 0 where
            it does not. `None`: of no video.
        fps: frames per second of the videos that are folders of frames, which do not tell.

    Raises:
        ValueError: if there are not as many labels as paths, a label has no class, or another
            field does not fit.

    Example:

    >>> videos = VideoList(["a.mp4", "b.mp4"], [1, 0], ["jump", "run"])
    >>> len(videos), videos.class_names[videos.labels[0]]
    (2, 'run')
    >>> videos[0].path, videos[0].label
    ('a.mp4', 1)
    >>> videos[1:].paths
    ('b.mp4',)
    """

    paths: tuple
    labels: np.ndarray
    class_names: tuple
    events: tuple | None = None
    num_frames: np.ndarray | None = None
    fps: float | None = None

    def __post_init__(self):
        # The one way to set a field of a frozen dataclass.
        object.__setattr__(self, "paths", tuple(str(path) for path in self.paths))
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "labels", self._check_labels())
        object.__setattr__(self, "num_frames", self._check_num_frames())
        object.__setattr__(self, "events", self._check_events())
        if self.fps is not None and not 0 < self.fps < np.inf:
            raise ValueError(
                "`fps` must be a positive number of frames per second. "
                f"Received: fps={self.fps}. Leave it out if it is unknown."
            )

    def __len__(self):
        return len(self.paths)

    @property
    def multi_label(self):
        """Whether a video may show several classes: `labels` has a column for each."""
        return self.labels.ndim == 2

    def __getitem__(self, index):
        """Returns a `Video`, or for a slice the `VideoList` of these videos."""
        if isinstance(index, slice):
            return self.select(range(*index.indices(len(self))))
        index = operator.index(index)
        index += len(self) if index < 0 else 0
        if not 0 <= index < len(self):
            raise IndexError(f"The index must be below {len(self)}, the number of videos.")
        return Video(
            self.paths[index],
            self.labels[index] if self.multi_label else int(self.labels[index]),
            None if self.events is None else self.events[index],
            None if self.num_frames is None else int(self.num_frames[index]),
        )

    def select(self, indices):
        """Returns the list of the videos with these indices, in this order.

        Args:
            indices: sequence of integers.

        Raises:
            IndexError: if an index is not below the number of videos.
            ValueError: if they are not integers.
        """
        indices = np.asarray(indices)
        if indices.size and indices.dtype.kind not in "iu":
            raise ValueError(
                "`indices` must be integers. "
                f"Received: {indices.dtype} values. `np.flatnonzero` makes them of a mask."
            )
        indices = indices.astype(np.int64)
        events, num_frames = self.events, self.num_frames
        return dataclasses.replace(
            self,
            paths=[self.paths[i] for i in indices],
            labels=self.labels[indices],
            events=None if events is None else [events[i] for i in indices],
            num_frames=None if num_frames is None else num_frames[indices],
        )

    def filter(self, function):
        """Returns the list of the videos for which `function(video)` is true.

        Args:
            function: a function of a `Video`.

        Example:

        >>> videos = VideoList(["a.mp4", "b.mov"], [1, 0], ["jump", "run"])
        >>> videos.filter(lambda video: video.path.endswith(".mp4")).paths
        ('a.mp4',)
        """
        return self.select([i for i, video in enumerate(self) if function(video)])

    def _check_labels(self):
        given = np.asarray(self.labels)
        if given.ndim == 2:
            return self._check_label_table(given)
        labels = given
        if given.dtype.kind in "iufb":
            with np.errstate(invalid="ignore"):  # what is not finite is told of below
                labels = given.astype(np.int32)
        if labels.shape != (len(self.paths),):
            raise ValueError(
                "`labels` must hold one class number a path. "
                f"Received: {len(self.paths)} paths, labels of shape {labels.shape}. "
                "Give both in the same order."
            )
        if labels.dtype != np.int32 or not np.array_equal(labels, given):
            raise ValueError(
                "`labels` must be class numbers, integers. "
                f"Received: {given.dtype} values. "
                "`class_names.index(name)` returns the number of a name."
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.class_names):
            wrong = int(np.flatnonzero((labels < 0) | (labels >= len(self.class_names)))[0])
            raise ValueError(
                f"`labels` must lie in [0, {len(self.class_names)}), the classes. Received: "
                f"{labels[wrong]} for {self.paths[wrong]!r}. Classes are counted from 0."
            )
        return labels

    def _check_label_table(self, given):
        shape = (len(self.paths), len(self.class_names))
        if given.shape != shape:
            raise ValueError(
                "`labels` of several classes a video must be of shape (videos, classes), here "
                f"{shape}. Received: shape {given.shape}. Give class numbers in one dimension "
                "if each video shows one class."
            )
        # Compared in the type that came, whose rounding could make a one of what is none.
        wrong = np.flatnonzero(((given != 0) & (given != 1)).any(axis=1))
        if wrong.size:
            raise ValueError(
                "`labels` of several classes a video must be zeros and ones. Received: "
                f"{given[wrong[0]].tolist()} for {self.paths[wrong[0]]!r}."
            )
        return given.astype(np.float32)

    def _check_num_frames(self):
        if self.num_frames is None:
            return None
        num_frames = np.asarray(self.num_frames, np.int64)
        if num_frames.shape != (len(self.paths),) or (num_frames < 0).any():
            raise ValueError(
                "`num_frames` must hold a number of frames for each of the "
                f"{len(self.paths)} paths, 0 where it is unknown. Received: shape "
                f"{num_frames.shape}, the smallest {num_frames.min(initial=0)}."
            )
        return num_frames

    def _check_events(self):
        if self.events is None:
            return None
        events = tuple(tuple(map(tuple, happening)) for happening in self.events)
        if len(events) != len(self.paths):
            raise ValueError(
                "`events` must hold a sequence of events for each path. "
                f"Received: {len(self.paths)} paths, {len(events)} sequences. "
                "Give an empty one for a video in which nothing was noted."
            )
        for path, happening in zip(self.paths, events, strict=True):
            for event in happening:
                if not self._is_event(*event):
                    raise ValueError(
                        "`events` must be (class number, start, end), the number in "
                        f"[0, {len(self.class_names)}), with times in seconds. "
                        f"Received: {event} for {path!r}."
                    )
        return events

    def _is_event(self, label, start, end):
        return 0 <= label < len(self.class_names) and 0 <= start <= end < np.inf


def split_videos(videos, validation=0.2, seed=0):
    """Divides videos into training and validation, by file and within each class.

    Videos that may show several classes are divided as a whole: they belong to no single class
    within which to divide.

    Args:
        videos: a `VideoList`.
        validation: share of each class's files to keep for validation, at least one of them.
        seed: integer; the same seed divides the same way.

    Returns:
        Two `VideoList`s: training, validation.

    Raises:
        ValueError: if a class has fewer than two files, or the share is not between 0 and 1.
    """
    if not 0 < validation < 1:
        raise ValueError(
            f"`validation` must lie between 0 and 1. Received: validation={validation}. "
            "0.2 keeps every fifth video for validation."
        )
    if videos.multi_label:
        groups = [("the list", np.arange(len(videos)))]
    else:
        groups = [
            (f"class {name!r}", np.flatnonzero(videos.labels == label))
            for label, name in enumerate(videos.class_names)
        ]
    generator = np.random.default_rng(seed)
    parts = [], []
    for name, numbers in groups:
        numbers = generator.permutation(numbers)
        if len(numbers) < 2:
            raise ValueError(
                "Each class must have two videos or more, for training and for validation. "
                f"Received: {len(numbers)} of {name}. Add videos, or divide them yourself."
            )
        count = min(max(round(validation * len(numbers)), 1), len(numbers) - 1)
        parts[0].extend(numbers[count:])
        parts[1].extend(numbers[:count])
    training, validating = (videos.select(sorted(part)) for part in parts)
    return training, validating

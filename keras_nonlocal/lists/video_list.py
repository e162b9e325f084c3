"""`VideoList`: videos with their labels, and their division into training and validation."""

import collections
import collections.abc
import dataclasses
import operator
import os

import numpy as np

# An entry of a `VideoList`; `segment`, `events` and `num_frames` are `None` where it has none.
Video = collections.namedtuple("Video", "path label segment events num_frames")


@dataclasses.dataclass(frozen=True, eq=False)
class VideoList:
    """A sequence of videos with their labels: `len`, index, slice and iteration work.

    The functions `read_*` return one. `dataclasses.replace(videos, fps=12.0)` changes a field.

    Args:
        paths: video files, folders of frames, records, or URLs of these.
        labels: class number of each video, -1 for a video without a label. Where a video may show
            several classes: zeros and ones of shape `(videos, classes)`. `None`: no video has a
            label, so that the list serves for prediction alone.
        class_names: names of the classes in the order of their numbers, or the number of classes.
        events: for each video, tuples `(class number, start, end)`; `None`: unknown.
        num_frames: number of frames of each video, 0 where it is unknown. `None`: all unknown.
        fps: frames per second of folders of frames, which do not store it.
        segments: part of each video to draw clips from, float64 of shape `(videos, 2)`, start and
            end: the frames that are shown at `start <= time < end`. An infinite end is the end of
            the video. Several entries may have the same path. `None`: whole videos.
        time_unit: of `segments` and `events`: `"seconds"`, or `"frames"`, frame numbers from 0
            with the end excluded.
        skipped: dict from a reason to the paths that a reader passed over for it.

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
    labels: np.ndarray | None = None
    class_names: tuple = ()
    events: tuple | None = None
    num_frames: np.ndarray | None = None
    fps: float | None = None
    segments: np.ndarray | None = None
    time_unit: str = "seconds"
    skipped: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        checks = {
            "paths": lambda: tuple(map(_to_text, self.paths)),
            "class_names": lambda: check_class_names(self.class_names),
            "labels": self._check_labels,
            "num_frames": self._check_num_frames,
            "events": self._check_events,
            "segments": self._check_segments,
        }
        for name, check in checks.items():
            # The one way to set a field of a frozen dataclass.
            object.__setattr__(self, name, check())
        if self.fps is not None and not 0 < self.fps < np.inf:
            raise ValueError(
                "`fps` must be a positive number of frames per second. "
                f"Received: fps={self.fps}. Leave it out if it is unknown."
            )

    def __len__(self):
        return len(self.paths)

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
            None if self.segments is None else tuple(self.segments[index].tolist()),
            None if self.events is None else self.events[index],
            None if self.num_frames is None else int(self.num_frames[index]),
        )

    @property
    def multi_label(self):
        """Whether a video may show several classes: `labels` has a column for each."""
        return self.labels.ndim == 2

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
                f"`indices` must be integers. Received: {indices.dtype} values. "
                "`np.flatnonzero` makes them of a mask."
            )
        indices = indices.astype(np.int64)
        fields = {name: getattr(self, name) for name in ("labels", "num_frames", "segments")}
        return dataclasses.replace(
            self,
            paths=[self.paths[i] for i in indices],
            events=None if self.events is None else [self.events[i] for i in indices],
            **{name: None if value is None else value[indices] for name, value in fields.items()},
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

    def check_labeled(self, purpose):
        """Raises `ValueError` if a video has no label, which `purpose` ("training") needs."""
        missing = [] if self.multi_label else np.flatnonzero(self.labels < 0)
        if len(missing):
            raise ValueError(
                f"`videos` must have labels for {purpose}. Received: label -1, none, for "
                f"{len(missing):,} of {len(self):,} videos, {self.paths[missing[0]]!r} first. "
                "Read them with labels, or select the videos with `labels >= 0`."
            )

    def _check_labels(self):
        if self.labels is None:
            return np.full(len(self.paths), -1, np.int32)
        given = np.asarray(self.labels)
        if given.ndim == 2:
            return self._check_label_table(given)
        labels = given
        if given.dtype.kind in "iufb":
            with np.errstate(invalid="ignore"):  # values that are not finite are refused below
                labels = given.astype(np.int32)
        if labels.shape != (len(self.paths),):
            raise ValueError(
                "`labels` must hold one class number per path. "
                f"Received: {len(self.paths)} paths, labels of shape {labels.shape}. "
                "Give both in the same order."
            )
        if labels.dtype != np.int32 or not np.array_equal(labels, given):
            raise ValueError(
                f"`labels` must be class numbers, integers. Received: {given.dtype} values. "
                "`class_names.index(name)` returns the number of a name."
            )
        wrong = np.flatnonzero((labels < -1) | (labels >= len(self.class_names)))
        if wrong.size:
            raise ValueError(
                f"`labels` must lie in [0, {len(self.class_names)}), the classes, or be -1 for "
                f"no label. Received: {labels[wrong[0]]} for {self.paths[wrong[0]]!r}. Classes "
                "are counted from 0."
            )
        return labels

    def _check_label_table(self, given):
        shape = (len(self.paths), len(self.class_names))
        if given.shape != shape:
            raise ValueError(
                "`labels` of several classes per video must be of shape (videos, classes), here "
                f"{shape}. Received: shape {given.shape}. Give class numbers in one dimension "
                "if each video shows one class."
            )
        # Compared in the given type: rounding to float32 could make a one of another value.
        wrong = np.flatnonzero(((given != 0) & (given != 1)).any(axis=1))
        if wrong.size:
            raise ValueError(
                "`labels` of several classes per video must be zeros and ones. Received: "
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
        events = tuple(tuple(map(tuple, own)) for own in self.events)
        if len(events) != len(self.paths):
            raise ValueError(
                "`events` must hold a sequence of events for each path. "
                f"Received: {len(self.paths)} paths, {len(events)} sequences. "
                "Give an empty one for a video without events."
            )
        for path, own in zip(self.paths, events, strict=True):
            for label, start, end in own:
                if not (0 <= label < len(self.class_names) and 0 <= start <= end < np.inf):
                    raise ValueError(
                        "`events` must be (class number, start, end), the number in "
                        f"[0, {len(self.class_names)}), start not after end. "
                        f"Received: {(label, start, end)} for {path!r}."
                    )
        return events

    def _check_segments(self):
        if self.time_unit not in ("seconds", "frames"):
            raise ValueError(
                f'`time_unit` must be "seconds" or "frames". Received: {self.time_unit!r}.'
            )
        if self.segments is None:
            return None
        segments = np.asarray(self.segments, np.float64)
        if segments.shape != (len(self.paths), 2):
            raise ValueError(
                f"`segments` must be of shape (videos, 2), here ({len(self.paths)}, 2). Received: "
                f"shape {segments.shape}. (0, inf) is a whole video."
            )
        starts, ends = segments.T
        good = (starts >= 0) & (starts < ends) & np.isfinite(starts)
        if self.time_unit == "frames":
            good &= (segments == np.floor(segments)).all(axis=1)
        if not good.all():
            wrong = np.flatnonzero(~good)[0]
            raise ValueError(
                f"`segments` must be a start and a later end in {self.time_unit}. Received: "
                f"{segments[wrong].tolist()} for {self.paths[wrong]!r}."
            )
        return segments


def check_video_list(videos):
    """Raises a `ValueError` unless `videos` is a `VideoList`."""
    if not isinstance(videos, VideoList):
        raise ValueError(
            f"`videos` must be a `VideoList`. Received: {videos!r}. Read it by `read_folder` or "
            "`read_list`, or make it of paths and labels."
        )


def check_class_names(names):
    """Returns names as a tuple; of a number of classes, their numbers as text."""
    if isinstance(names, (int, np.integer)) and not isinstance(names, bool) and names >= 0:
        return tuple(map(str, range(names)))
    names = tuple(names) if isinstance(names, collections.abc.Iterable) else (names,)
    wrong = [name for name in names if not (isinstance(name, str) and name.strip("'\" "))]
    if wrong:
        raise ValueError(
            "`class_names` must be the names of the classes, each a text and not empty, or the "
            f"number of classes. Received: {wrong[0]!r}."
        )
    return names


def split_videos(videos, validation=0.2, seed=0):
    """Divides videos into training and validation, by file and within each class.

    Lists of segments are divided by file and regardless of class: all segments of a file go to the
    same part. Videos that may show several classes are divided regardless of class, too.

    Args:
        videos: a `VideoList`.
        validation: share of each class's files to keep for validation, at least one of them.
        seed: integer from 0; the same seed divides the same way.

    Returns:
        Two `VideoList`s: training, validation.

    Raises:
        ValueError: if a class has fewer than two files, or an argument is out of range.
    """
    if not 0 < validation < 1:
        raise ValueError(
            f"`validation` must lie between 0 and 1. Received: validation={validation}. "
            "0.2 keeps every fifth video for validation."
        )
    if not (isinstance(seed, (int, np.integer)) and seed >= 0):
        raise ValueError(f"`seed` must be an integer from 0. Received: seed={seed!r}.")
    check_video_list(videos)
    videos.check_labeled("splitting by class")
    files = np.arange(len(videos))
    if videos.segments is not None:
        files = np.unique(videos.paths, return_inverse=True)[1]
    if videos.multi_label or videos.segments is not None:
        groups = [("the list", np.unique(files))]
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
    training, validating = (videos.select(np.flatnonzero(np.isin(files, p))) for p in parts)
    return training, validating


def _to_text(path):
    return os.fsdecode(path) if isinstance(path, (bytes, os.PathLike)) else str(path)

"""Which videos there are, and what they show: `VideoList` and how to get one."""

import dataclasses
import pathlib

import numpy as np

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")


@dataclasses.dataclass(frozen=True, eq=False)
class VideoList:
    """Video files with their labels.

    Args:
        paths: paths of the files.
        labels: class numbers, one a file.
        classes: names of the classes, in the order of their numbers.

    Raises:
        ValueError: if there are not as many labels as paths, or a label has no class.

    Example:

    >>> videos = VideoList(["a.mp4", "b.mp4"], [1, 0], ["jump", "run"])
    >>> len(videos), videos.classes[videos.labels[0]]
    (2, 'run')
    """

    paths: tuple
    labels: np.ndarray
    classes: tuple

    def __post_init__(self):
        labels = np.asarray(self.labels, dtype=np.int32)
        if labels.shape != (len(self.paths),):
            raise ValueError(
                "`labels` must hold one class number a path. "
                f"Received: {len(self.paths)} paths, labels of shape {labels.shape}. "
                "Give both in the same order."
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            wrong = int(np.flatnonzero((labels < 0) | (labels >= len(self.classes)))[0])
            raise ValueError(
                f"`labels` must lie in [0, {len(self.classes)}), the classes. Received: "
                f"{labels[wrong]} for {str(self.paths[wrong])!r}. Classes are counted from 0."
            )
        # The one way to set a field of a frozen dataclass.
        object.__setattr__(self, "paths", tuple(str(path) for path in self.paths))
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "classes", tuple(self.classes))

    def __len__(self):
        return len(self.paths)

    def take(self, numbers):
        """Returns the list of the videos with these numbers, in this order.

        Args:
            numbers: sequence of integers.
        """
        return VideoList([self.paths[n] for n in numbers], self.labels[numbers], self.classes)


def read_folder(directory):
    """Lists the videos in a folder of class folders.

    Args:
        directory: folder that holds one folder a class, named like it, with video files in it
            or in folders below it. Names that begin with a dot are passed over.

    Returns:
        A `VideoList`, classes and files in alphabetical order.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no videos in class folders, or a class folder holds none.

    Example:

    ```python
    videos = read_folder("videos")  # videos/jump/*.mp4, videos/run/*.mp4
    videos.classes  # ("jump", "run")
    ```
    """
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(
            f"`directory` must be a folder of class folders. Received: {str(directory)!r}, which "
            "is no folder. Give the folder above videos/run/1.mp4's class folder: `videos`."
        )
    classes = sorted(
        entry.name for entry in directory.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
    found = [_list_videos(directory / name) for name in classes]
    empty = [name for name, paths in zip(classes, found, strict=True) if not paths]
    if empty or not classes:
        raise ValueError(
            f"Each class folder in {str(directory)!r} must hold videos "
            f"({', '.join(VIDEO_SUFFIXES)}). Received: {_describe(empty)}. "
            "Remove the empty ones, and put the videos of a class into a folder of its name."
        )
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in found])
    return VideoList([path for paths in found for path in paths], labels, classes)


def split_videos(videos, validation=0.2, seed=0):
    """Divides videos into training and validation, by file and within each class.

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
    generator = np.random.default_rng(seed)
    parts = [], []
    for label, name in enumerate(videos.classes):
        numbers = generator.permutation(np.flatnonzero(videos.labels == label))
        if len(numbers) < 2:
            raise ValueError(
                "Each class must have two videos or more, for training and for validation. "
                f"Received: {len(numbers)} of class {name!r}. Add videos, or divide them yourself."
            )
        count = min(max(round(validation * len(numbers)), 1), len(numbers) - 1)
        parts[0].extend(numbers[count:])
        parts[1].extend(numbers[:count])
    training, validating = (videos.take(sorted(part)) for part in parts)
    return training, validating


def _list_videos(folder):
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and path.name[0] != "."
    )


def _describe(empty):
    return f"none in {', '.join(map(repr, empty))}" if empty else "no class folders"

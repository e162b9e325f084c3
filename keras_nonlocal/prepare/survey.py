"""What a list of videos holds: lengths, sizes, rates and codecs, and which videos are broken."""

import collections
import concurrent.futures
import dataclasses
import statistics

import numpy as np

from keras_nonlocal.data import ClipSpec, VideoList
from keras_nonlocal.data.workers import count_cores
from keras_nonlocal.video.open import open_video


@dataclasses.dataclass(frozen=True)
class Spread:
    """The smallest, the middle and the largest of some numbers.

    Args:
        minimum: the smallest; `None` if no video tells the number.
        median: the middle one.
        maximum: the largest.
        unknown: of how many videos the number is not known.
    """

    minimum: float | None
    median: float | None
    maximum: float | None
    unknown: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """The facts of a list of videos, as `survey_videos` finds them.

    Args:
        videos: the `VideoList`.
        infos: a video's `VideoInfo`, or `None` where it cannot be read, one a video.
        faults: why those cannot be read: dictionary of a video's number and a text.
    """

    videos: VideoList
    infos: tuple
    faults: dict

    @property
    def readable(self):
        """Numbers of the videos that can be read, in ascending order."""
        return tuple(number for number, info in enumerate(self.infos) if info is not None)

    @property
    def broken(self):
        """Pairs of path and reason, one a video that cannot be read."""
        return tuple((self.videos.paths[number], self.faults[number]) for number in self.faults)

    @property
    def sizes(self):
        """How many videos there are of each `(height, width)`, the most frequent size first."""
        return _count((info.height, info.width) for info in self._known)

    @property
    def codecs(self):
        """How many videos there are of each codec, the most frequent one first."""
        return _count(info.codec for info in self._known)

    def spread(self, fact):
        """Gives minimum, median and maximum of a number that the readable videos tell.

        Args:
            fact: `"frames"`, `"duration"` (seconds), `"fps"`, `"height"` or `"width"`.

        Returns:
            A `Spread`. What a video does not tell (0) counts as unknown.
        """
        numbers = [getattr(info, fact) for info in self._known]
        told = [number for number in numbers if number]
        return spread_of(told, unknown=len(numbers) - len(told))

    def shorter_than(self, clip):
        """Gives the numbers of the readable videos that end before a clip does.

        What a clip shows of such a video it shows twice, or its last frame again and again.

        Args:
            clip: a `ClipSpec`, or a string such as `"8x8"`.
        """
        clip = ClipSpec.parse(clip)
        short = []
        for number in self.readable:
            info = self.infos[number]
            pace = info.fps / clip.target_fps if clip.target_fps else 1
            if info.frames < (clip.frames - 1) * clip.stride * pace + 1:
                short.append(number)
        return tuple(short)

    def with_faults(self, faults):
        """Returns the survey with more videos known to be broken.

        Args:
            faults: dictionary of a video's number and the reason.
        """
        infos = tuple(None if n in faults else info for n, info in enumerate(self.infos))
        return Survey(self.videos, infos, dict(sorted({**self.faults, **faults}.items())))

    @property
    def _known(self):
        return [info for info in self.infos if info is not None]


def survey_videos(videos, workers=None, deep=False, on_video=None):
    """Opens every video of a list, and notes what it is or why it cannot be read.

    A video is probed: its packets are counted and its first frame is decoded, which finds files
    that are missing, truncated or no videos. Damage in the middle of a file shows only when
    everything is decoded, which takes as long as an epoch of training without the network.

    Args:
        videos: a `VideoList`.
        workers: number of videos to look at at a time; `None`: one a core.
        deep: whether to decode every frame.
        on_video: function without arguments to call after each video, for a progress bar.

    Returns:
        A `Survey`.

    Raises:
        ValueError: if there are no videos, or `workers` is not positive.

    Example:

    ```python
    survey = survey_videos(read_folder("videos"))
    survey.spread("duration").median, survey.broken  # (10.0, (("videos/run/7.mp4", "..."),))
    ```
    """
    if not len(videos):
        raise ValueError("`videos` must hold a video. Received: an empty list. Check its source.")
    if workers is not None and workers < 1:
        raise ValueError(
            f"`workers` must be at least 1. Received: workers={workers}. "
            "Leave it out for one a core."
        )
    infos, faults = [], {}
    # Reading and decoding let go of Python's lock, so threads are enough.
    with concurrent.futures.ThreadPoolExecutor(workers or count_cores()) as pool:
        # By the thousand, as what waits to be done takes memory too.
        for first in range(0, len(videos), 1000):
            numbers = range(first, min(first + 1000, len(videos)))
            for number, found in zip(
                numbers, pool.map(lambda n: _look_at(videos, n, deep), numbers), strict=True
            ):
                if isinstance(found, str):
                    faults[number] = found
                    found = None
                infos.append(found)
                if on_video is not None:
                    on_video()
    return Survey(videos, tuple(infos), faults)


def count_classes(videos):
    """Counts the videos that show each class.

    Args:
        videos: a `VideoList`; a video of several classes counts in each.

    Returns:
        A tuple of integers, one a class.
    """
    if videos.multi_label:
        return tuple(int(count) for count in np.asarray(videos.labels).sum(axis=0))
    labels = videos.labels[videos.labels >= 0]
    return tuple(np.bincount(labels, minlength=len(videos.class_names)).tolist())


def class_names(videos, number):
    """Gives the names of the classes that a video shows, as a list.

    Args:
        videos: a `VideoList`.
        number: of the video in the list.
    """
    label = videos.labels[number]
    numbers = np.flatnonzero(label) if videos.multi_label else [label]
    return [videos.class_names[n] for n in numbers if n >= 0]


def spread_of(numbers, unknown=0):
    """Gives minimum, median and maximum of numbers.

    Args:
        numbers: sequence of numbers.
        unknown: how many more there are that nothing tells.

    Returns:
        A `Spread`.
    """
    if not numbers:
        return Spread(None, None, None, unknown)
    return Spread(min(numbers), statistics.median(numbers), max(numbers), unknown)


def open_listed(videos, number):
    """Opens a video of a list, with what the list says of folders of frames.

    Args:
        videos: a `VideoList`.
        number: of the video in the list.
    """
    num_frames = 0 if videos.num_frames is None else int(videos.num_frames[number])
    return open_video(videos.paths[number], num_frames, videos.fps)


def _look_at(videos, number, deep):
    """A video's `VideoInfo`, or the reason why it cannot be read."""
    try:
        video = open_listed(videos, number)
        info = video.info
        if deep:
            # Small pictures, as their conversion to RGB is not what can fail.
            for _ in video.iterate(short_side=16):
                pass
        return info
    except (OSError, ValueError) as fault:
        return " ".join(str(fault).splitlines())


def _count(things):
    return dict(collections.Counter(things).most_common())

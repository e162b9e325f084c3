"""What a list of videos holds: lengths, sizes, rates, codecs, and which videos are unreadable."""

import collections
import concurrent.futures
import csv
import dataclasses
import os
import statistics

import numpy as np

from keras_nonlocal.data import ClipSpec, VideoList
from keras_nonlocal.data.workers import count_cores
from keras_nonlocal.files import is_url
from keras_nonlocal.lists.path_lists import read_list
from keras_nonlocal.video.open import open_video


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What `survey_videos` found in a list of videos.

    Args:
        videos: the `VideoList`.
        infos: for each video its `VideoInfo`, or `None` if it cannot be read.
        faults: dictionary from the indices of videos that cannot be read to the reasons.
    """

    videos: VideoList
    infos: tuple
    faults: dict

    @property
    def readable(self):
        """Indices of the videos that can be read, in ascending order."""
        return tuple(index for index, info in enumerate(self.infos) if info is not None)

    @property
    def broken(self):
        """Pairs of path and reason, one per video that cannot be read."""
        return tuple((self.videos.paths[index], self.faults[index]) for index in self.faults)

    @property
    def sizes(self):
        """Number of videos of each `(height, width)`, the most frequent size first."""
        sizes = collections.Counter((info.height, info.width) for info in self._known)
        return dict(sizes.most_common())

    @property
    def codecs(self):
        """Number of videos of each codec, the most frequent codec first."""
        return dict(collections.Counter(info.codec for info in self._known).most_common())

    def spread(self, field):
        """Returns the `spread_of` a field of the readable videos; 0 counts as unknown.

        Args:
            field: `"frames"`, `"duration"` (seconds), `"fps"`, `"height"` or `"width"`.
        """
        numbers = [getattr(info, field) for info in self._known]
        known = [number for number in numbers if number]
        return spread_of(known, unknown=len(numbers) - len(known))

    def shorter_than(self, clip):
        """Returns the indices of the readable videos with fewer frames than a clip spans."""
        clip = ClipSpec.parse(clip)
        short = []
        for index in self.readable:
            info = self.infos[index]
            pace = info.fps / clip.target_fps if clip.target_fps else 1
            if info.frames < (clip.frames - 1) * clip.stride * pace + 1:
                short.append(index)
        return tuple(short)

    @property
    def non_square(self):
        """Indices of the readable videos whose pixels are not square."""
        return tuple(index for index in self.readable if self.infos[index].pixel_aspect != 1)

    def with_faults(self, faults):
        """Returns the survey with more unreadable videos, as a dictionary like `faults`."""
        infos = tuple(None if n in faults else info for n, info in enumerate(self.infos))
        return Survey(self.videos, infos, dict(sorted({**self.faults, **faults}.items())))

    @property
    def _known(self):
        return [info for info in self.infos if info is not None]


def survey_videos(videos, workers=None, deep=False, on_video=None):
    """Opens every video of a list.

    Opening counts the packets of a video and decodes its first frame. That finds files that are
    missing, truncated or no videos. Damage inside a file is only found by decoding all of it, which
    takes as long as an epoch of training without the model.

    Args:
        videos: a `VideoList`.
        workers: number of videos to open at a time (default: the number of cores).
        deep: whether to decode every frame.
        on_video: function without arguments to call after each video.

    Returns:
        A `Survey`.

    Raises:
        ValueError: if there are no videos, or `workers` is not positive.

    Example:

    ```python
    survey = survey_videos(read_folder("videos"))
    survey.spread("duration")["median"], survey.broken  # (10.0, (("videos/run/7.mp4", "..."),))
    ```
    """
    if not len(videos):
        raise ValueError("`videos` must hold a video. Received: an empty list. Check its source.")
    if workers is not None and workers < 1:
        raise ValueError(
            f"`workers` must be at least 1. Received: workers={workers}. "
            "Leave it out to use all cores."
        )
    infos, faults = [], {}
    # Threads: reading and decoding release Python's lock.
    with concurrent.futures.ThreadPoolExecutor(workers or count_cores()) as pool:
        # By the thousand, as waiting tasks take memory too.
        for first in range(0, len(videos), 1000):
            indices = range(first, min(first + 1000, len(videos)))
            for found in pool.map(lambda index: _look_at(videos, index, deep), indices):
                if isinstance(found, str):
                    faults[len(infos)] = found
                    found = None
                infos.append(found)
                if on_video is not None:
                    on_video()
    return Survey(videos, tuple(infos), faults)


def count_classes(videos):
    """Returns the number of videos of each class; one of several classes counts in each."""
    if videos.multi_label:
        return tuple(int(count) for count in np.asarray(videos.labels).sum(axis=0))
    labels = videos.labels[videos.labels >= 0]
    return tuple(np.bincount(labels, minlength=len(videos.class_names)).tolist())


def class_names(videos, index):
    """Returns the names of a video's classes, as a list."""
    label = videos.labels[index]
    labels = np.flatnonzero(label) if videos.multi_label else [label] if label >= 0 else []
    return [videos.class_names[each] for each in labels]


def spread_of(numbers, unknown=0):
    """Returns a dictionary of the `minimum`, `median` and `maximum` of numbers, and `unknown`."""
    median = statistics.median(numbers) if numbers else None
    least, most = min(numbers, default=None), max(numbers, default=None)
    return {"minimum": least, "median": median, "maximum": most, "unknown": unknown}


def open_listed(videos, index):
    """Opens a video of a list, with the frame rate and length that the list has for it."""
    num_frames = 0 if videos.num_frames is None else int(videos.num_frames[index])
    return open_video(videos.paths[index], num_frames, videos.fps)


def write_list(path, videos):
    """Writes `path,label` rows for `read_list`, with absolute paths, and segments.

    Args:
        path: path of the file, which is replaced if it exists. It is also left there if `videos`
            cannot be written: write beside the final path, and rename.
        videos: a `VideoList` of files or folders of frames, one class each.

    Returns:
        Whether `read_list` numbers the classes as `videos` does. It does not if a class has no
        videos or the classes are not in alphabetical order; then pass `class_names` to it.

    Raises:
        ValueError: if a list cannot hold the videos: they are records, have several classes
            or events, or have names that begin or end with spaces.

    Example:

    ```python
    survey = survey_videos(videos)
    write_list("readable.csv", videos.select(survey.readable))
    ```
    """
    if videos.events is not None:
        raise ValueError(
            "`videos` must have no events to be written as a list. Remove the unreadable ones from "
            "the file that lists them."
        )
    if videos.multi_label:
        raise ValueError(
            "`videos` must have one class each to be written as a list. Received: several classes "
            "per video. Remove the unreadable ones from the file that lists them."
        )
    paths = [each if is_url(each) else os.path.abspath(each) for each in videos.paths]
    names = _first_names(videos)
    columns = {"path": paths, "label": names}
    if videos.segments is not None:
        for name, times in zip(("start", "end"), videos.segments.T, strict=True):
            texts = ["" if np.isinf(time) else repr(float(time)) for time in times]
            columns[f"{name}_{videos.time_unit}"] = texts
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    # Names may hold anything; whether a list can hold them is what its reader finds.
    try:
        again = read_list(path)
    except (OSError, ValueError) as fault:
        raise ValueError(f"`videos` cannot be written as a list: {fault}") from fault
    same = list(again.paths) == paths and _first_names(again) == names
    if not same or not np.array_equal(again.segments, videos.segments):
        raise ValueError(
            "`videos` cannot be written as a list, since names of files or classes begin or end "
            "with spaces. Rename these, or remove the unreadable videos where they are."
        )
    return again.class_names == videos.class_names


def _first_names(videos):
    """Returns the class name of each video, "-1" for those without a label."""
    return [(class_names(videos, index) or ["-1"])[0] for index in range(len(videos))]


def _look_at(videos, index, deep):
    """Returns a video's `VideoInfo`, or the reason why it cannot be read."""
    try:
        video = open_listed(videos, index)
        info = video.info
        if deep:
            # Small pictures, as their conversion to RGB is not what can fail.
            for _ in video.iterate(short_side=16):
                pass
        return info
    except (OSError, ValueError) as fault:
        return " ".join(str(fault).splitlines())

"""Which video goes into which shard, and how it is stored: decided before any is opened."""

import dataclasses
import hashlib
import json
import os

from keras_nonlocal.lists.video_list import VideoList

# What a shard holds if nothing else is asked for: about 200 MB of ten-second videos.
_VIDEOS_PER_SHARD = 32
# So that few videos, too, keep several cores and readers busy.
_SHARDS_OF_FEW = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """All that decides the bytes of the shards. `make_plan` makes one.

    It can be pickled and sent to other machines, if they see the videos under the same paths.

    Args:
        videos: a `VideoList`.
        names: what the records call the videos, one a video.
        shards: a tuple of numbers of videos for each shard.
        short_side: pixels to which larger frames are brought; `None` keeps every size.
        quality: of the JPEG files, 1 to 100.
        fps: frames per second to which faster videos are thinned; `None` keeps every frame.
        seed: of the order.
    """

    videos: VideoList
    names: tuple
    shards: tuple
    short_side: int | None
    quality: int
    fps: float | None
    seed: int

    def shard_name(self, number):
        """Gives the file name of a shard."""
        return f"videos-{number:05}-of-{len(self.shards):05}.tfrecord"

    def labels_of(self, video):
        """Gives the class numbers of a video, as a list of one or several."""
        label = self.videos.labels[video]
        if self.videos.multi_label:
            return label.nonzero()[0].tolist()
        return [int(label)]

    def events_of(self, video):
        """Gives what a video shows when, as triples of a class number, a start and an end."""
        events = self.videos.events[video] if self.videos.events else ()
        return tuple((int(label), float(start), float(end)) for label, start, end in events)

    @property
    def settings(self):
        """What two plans must agree in to give the same shards, as a dictionary for JSON."""
        videos = self.videos
        listed = [
            [self.names[video], self.labels_of(video), self.events_of(video)]
            for video in range(len(videos))
        ]
        frames = None if videos.num_frames is None else videos.num_frames.tolist()
        return {
            "videos": len(videos),
            "classes": len(videos.class_names),
            "list": _digest([listed, frames, videos.fps, videos.class_names, self.shards]),
            "shards": len(self.shards),
            "short_side": self.short_side,
            "quality": self.quality,
            "fps": self.fps,
            "seed": self.seed,
        }


def make_plan(
    videos,
    root=None,
    shards=None,
    videos_per_shard=None,
    short_side=256,
    quality=90,
    fps=None,
    seed=0,
):
    """Decides which video goes into which shard, in an order that mixes the classes.

    The same list and options give the same plan on every machine and in every version of Python
    and NumPy, wherever the videos lie below `root`.

    Args:
        videos: a `VideoList`; records are welcome, too.
        root: folder below which the videos lie; the records name them by their path below it.
            `None`: the lowest folder that holds them all.
        shards: number of shards. `None`: by `videos_per_shard`.
        videos_per_shard: greatest number of videos in a shard. `None`: 32, less for lists so short
            that they would fill fewer than 16 shards.
        short_side: pixels of the shorter side of a frame. Larger frames are made smaller, smaller
            ones stay as they are. `None` keeps every size.
        quality: of the JPEG files, 1 to 100.
        fps: frames per second. Of faster videos frames are left out, slower ones stay as they are.
            `None` keeps every frame.
        seed: integer that fixes the order.

    Returns:
        A `Plan`.

    Raises:
        ValueError: if an argument is out of range, there are more shards than videos, or a video
            does not lie below `root`.

    Example:

    ```python
    plan = make_plan(read_folder("videos"), short_side=256)
    prepare_videos(plan, "prepared")
    ```
    """
    _check(videos, shards, videos_per_shard, short_side, quality, fps)
    videos.check_labeled("records")
    if videos.segments is not None or (videos.events and videos.time_unit == "frames"):
        raise ValueError(
            "`videos` must be whole videos, with events in seconds, to be stored as records. "
            "Received: segments, or events in frames. Train on the list itself."
        )
    names = _name_videos(videos, root)
    if shards is None:
        shards = -(-len(videos) // (videos_per_shard or _VIDEOS_PER_SHARD))
        if videos_per_shard is None:
            shards = max(shards, min(len(videos), _SHARDS_OF_FEW))
    # Sorting by hashes is a shuffle that no release of NumPy can change.
    order = sorted(range(len(videos)), key=lambda video: _digest([int(seed), video, names[video]]))
    # Every shards-th one, so that the lengths differ by one at most.
    parts = tuple(tuple(order[number::shards]) for number in range(shards))
    return Plan(videos, names, parts, short_side, quality, fps, seed)


def describe_difference(before, now):
    """Says in words in what the settings of two plans differ."""
    told = [
        f"{key} {before.get(key)} then, {value} now"
        for key, value in now.items()
        if key != "list" and before.get(key) != value
    ]
    return "; ".join(told) or "other videos, labels or names of classes"


def _name_videos(videos, root):
    paths = [os.path.abspath(path) for path in videos.paths]
    if root is None:
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
    root = os.path.abspath(root)
    outside = next((path for path in paths if os.path.commonpath([root, path]) != root), None)
    if outside is not None:
        raise ValueError(
            f"Every video must lie below `root`, {root!r}. Received: {outside!r}. "
            "Give the folder that holds them all, or leave `root` out."
        )
    return tuple(os.path.relpath(path, root).replace(os.sep, "/") for path in paths)


def _digest(value):
    return hashlib.sha256(json.dumps(value, default=float).encode()).hexdigest()


def _check(videos, shards, videos_per_shard, short_side, quality, fps):
    if not len(videos):
        raise ValueError("`videos` must hold at least one video. Received: none.")
    if shards is not None and videos_per_shard is not None:
        raise ValueError(
            "`shards` and `videos_per_shard` must not both be given. "
            f"Received: shards={shards}, videos_per_shard={videos_per_shard}. Leave one out."
        )
    for name, value, highest in (
        ("shards", shards, len(videos)),
        ("videos_per_shard", videos_per_shard, None),
        ("short_side", short_side, None),
        ("quality", quality, 100),
    ):
        if value is not None and not 1 <= value <= (highest or value):
            most = f" and at most {highest}" if highest else ""
            raise ValueError(
                f"`{name}` must be at least 1{most}. Received: {name}={value}. "
                f"Leave it out for what fits most data sets."
            )
    if fps is not None and not 0 < fps < float("inf"):
        raise ValueError(
            f"`fps` must be a positive number of frames per second. Received: fps={fps}. "
            "Leave it out to keep every frame."
        )

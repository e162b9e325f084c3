"""Videos to TFRecord shards: on this machine, or as the tasks of an array job."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import operator
import os
import threading

from keras_nonlocal.data.source import check_share
from keras_nonlocal.data.workers import count_cores
from keras_nonlocal.files import is_url
from keras_nonlocal.lists.video_list import VideoList
from keras_nonlocal.prepare.inspect import open_listed
from keras_nonlocal.prepare.manifest import (
    OutputFolder,
    file_state,
    load_shards,
    open_folder,
    save_shard,
    write_manifest,
)
from keras_nonlocal.video.records import INDEX_SUFFIX, encode_index, make_example, write_record

# About 200 MB of ten-second videos.
_VIDEOS_PER_SHARD = 32
# So that short lists, too, keep several cores and readers busy.
_SHARDS_OF_FEW = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """All that decides the bytes of the shards, as `make_plan` returns it.

    `names` are the names of the videos in the records, `shards` the indices of the videos in each
    shard. A plan can be pickled for machines that see the videos under the same paths.
    """

    videos: VideoList
    names: tuple
    shards: tuple
    short_side: int | None
    quality: int
    fps: float | None
    seed: int

    def shard_name(self, number):
        """Returns the file name of a shard."""
        return f"videos-{number:05}-of-{len(self.shards):05}.tfrecord"

    def labels_of(self, video):
        """Returns the class indices of a video, as a list of one or several."""
        label = self.videos.labels[video]
        return label.nonzero()[0].tolist() if self.videos.multi_label else [int(label)]

    def events_of(self, video):
        """Returns the events of a video: triples of class index, start and end in seconds."""
        events = self.videos.events[video] if self.videos.events else ()
        return tuple((int(label), float(start), float(end)) for label, start, end in events)

    @functools.cached_property
    def settings(self):
        """A dictionary for JSON. Plans with equal settings give the same shards."""
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
    short_side=256,
    quality=90,
    fps=None,
    seed=0,
):
    """Assigns each video to a shard, in an order that mixes the classes.

    The same list and options give the same plan on every machine and in every version of Python
    and NumPy, whichever folder the videos are in.

    Args:
        videos: a `VideoList` of files, folders of frames, records, or URLs.
        root: folder or URL that contains the videos; their names are relative to it (default: the
            lowest folder that contains all of them).
        shards: number of shards (default: one per 32 videos, but at least 16 if there are so many
            videos).
        short_side: pixels to which the short side of larger frames is reduced. Smaller frames are
            kept. `None` keeps every size.
        quality: of the JPEG files, 1 to 100.
        fps: frames per second to which faster videos are reduced, by leaving out frames. `None`
            keeps every frame.
        seed: integer that fixes the order.

    Returns:
        A `Plan`.

    Raises:
        ValueError: if an argument is out of range, there are more shards than videos, or a video
            is not in `root`.

    Example:

    ```python
    plan = make_plan(read_folder("videos"), short_side=256)
    prepare_videos(plan, "prepared")
    ```
    """
    _check_plan(videos, shards, short_side, quality, fps)
    names = _name_videos(videos, root)
    if shards is None:
        shards = max(-(-len(videos) // _VIDEOS_PER_SHARD), min(len(videos), _SHARDS_OF_FEW))
    # Sorting by hashes is a shuffle that no release of NumPy can change.
    order = sorted(range(len(videos)), key=lambda video: _digest([int(seed), video, names[video]]))
    # The lengths differ by one at most.
    parts = tuple(tuple(order[number::shards]) for number in range(shards))
    short_side = None if short_side is None else operator.index(short_side)
    fps = None if fps is None else float(fps)
    return Plan(videos, names, parts, short_side, operator.index(quality), fps, int(seed))


def prepare_videos(
    plan,
    directory,
    workers=None,
    max_broken=0.05,
    overwrite=False,
    report=None,
    shard=None,
):
    """Writes all shards of a plan, then a manifest.

    It may be killed at any moment. The next run with the same plan writes what is missing, and ends
    with the same bytes. A finished folder is left as it is.

    With `shard=(3, 64)` it is one task of an array job: it writes every 64th shard from shard 3 on,
    and no manifest. Tasks may run at the same time, on any machines. After the last one,
    `merge_shards` writes the manifest, or `prepare_videos` without `shard`, which also writes what
    is missing. `prepare_videos_on_beam` runs the same on Apache Beam. The files are the same, byte
    by byte.

    A worker holds the record of one video at a time, about three times: 1.2 GB for ten minutes of
    256x455 pixels at 30 frames per second, 6 GB at most, since a record holds 2 GB.

    Args:
        plan: a `Plan`.
        directory: folder to write, or the URL of one, such as `gs://bucket/records`: new, empty, or
            one in which this plan was begun. A URL cannot be locked: run one process at a time.
        workers: number of shards to write at a time, in threads (default: the number of cores).
        max_broken: maximum share of the videos that may be left out because they cannot be read.
            The manifest lists them. 0 stops at the first one.
        overwrite: whether to remove the shards and the manifest of an earlier preparation first.
            Other files are kept.
        report: function to call with three numbers, from any thread: finished videos, those of them
            that cannot be read, all videos. It is called first with what earlier runs have done.
        shard: `(index, count)` of a task of an array job, with 0 <= index < count.

    Returns:
        The manifest, a dictionary (see `write_manifest`); `None` if `shard` is given and the folder
        has no manifest yet.

    Raises:
        FileExistsError: if the folder holds something else, or shards of another plan.
        BlockingIOError: if another process prepares videos into the folder.
        OSError: if the folder cannot be written.
        ValueError: if more than `max_broken` of the videos cannot be read, or an argument is out of
            range.

    Example:

    ```python
    plan = make_plan(read_folder("videos"))
    prepare_videos(plan, "prepared")
    videos = read_records("prepared")
    ```
    """
    _check_options(workers, max_broken, overwrite, shard)
    with open_folder(plan, directory, overwrite, array=shard is not None) as (folder, manifest):
        if manifest is not None:
            return manifest
        index, count = shard or (0, 1)
        numbers = range(index, len(plan.shards), count)
        shards = load_shards(plan, folder)
        progress = _Progress(plan, numbers, shards, max_broken, report)
        missing = [number for number in numbers if shards[number] is None]
        _convert_shards(plan, folder.path, missing, workers, progress)
        return None if shard is not None else finish_folder(plan, folder, max_broken)


def merge_shards(plan, directory, max_broken=0.05):
    """Writes the manifest of a folder in which an array job has written all shards.

    Args:
        plan: the `Plan` of the array job.
        directory, max_broken: as for `prepare_videos`.

    Returns:
        The manifest, a dictionary; see `write_manifest`.

    Raises:
        FileNotFoundError: if a shard is missing.
        ValueError: if more than `max_broken` of the videos cannot be read.
        FileExistsError, BlockingIOError, OSError: as `prepare_videos`.
    """
    check_share("max_broken", max_broken)
    with open_folder(plan, directory, merge=True) as (folder, manifest):
        return finish_folder(plan, folder, max_broken) if manifest is None else manifest


def finish_folder(plan, folder, max_broken):
    """Writes the manifest into the open folder of a plan; see `merge_shards`."""
    shards = load_shards(plan, folder, retry=False)
    missing = [plan.shard_name(number) for number, shard in enumerate(shards) if shard is None]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(shards)} shards are missing in {folder.path!r}, such as "
            f"{missing[0]!r}. Run their tasks again, and check that all machines write to this "
            "folder."
        )
    failures = [failure for shard in shards for failure in shard["failures"]]
    _check_broken(failures, len(plan.videos), max_broken)
    return write_manifest(plan, shards, folder)


def convert_shard(plan, number, directory, report=None):
    """Writes one shard of a plan, and returns its metadata; see `save_shard`.

    It appears when it is complete. The same plan gives the same bytes on every machine, also if
    several processes write the shard at the same time.

    Args:
        plan: a `Plan`.
        number: index of the shard.
        directory: as for `prepare_videos`.
        report: function to call after each video, with its name and the reason why it cannot be
            read, or `None`. An exception that it raises stops the work.
    """
    folder = OutputFolder(directory)
    folder.begin()
    records, index, failures = [], [], []
    with folder.write(plan.shard_name(number)) as file:
        for video in plan.shards[number]:
            try:
                example = convert_video(plan, video)
            except (OSError, ValueError) as error:
                failures.append(_describe_failure(plan, video, error))
                if report is not None:
                    report(plan.names[video], failures[-1]["reason"])
                continue
            index.append(write_record(file, example))
            (offset, frames, *_), _ = index[-1]
            records.append(
                {
                    "offset": offset,
                    "path": plan.names[video],
                    "labels": plan.labels_of(video),
                    "frames": frames,
                }
            )
            if events := plan.events_of(video):
                records[-1]["events"] = events
            if report is not None:
                report(plan.names[video], None)
        with folder.write(plan.shard_name(number) + INDEX_SUFFIX) as index_file:
            index_file.write(encode_index(index))
        return save_shard(plan, number, folder, file.tell(), records, failures)


def convert_video(plan, video):
    """Returns the record of a video, a `tf.train.SequenceExample`.

    Args:
        plan: a `Plan`.
        video: index of the video in the list of the plan.

    Raises:
        OSError, ValueError: if the video cannot be read, or is too long for a record.
    """
    source = open_listed(plan.videos, video)
    info = source.info
    smaller = plan.short_side is not None and plan.short_side < min(info.height, info.width)
    frames, fps = source.iterate(plan.short_side if smaller else None), info.fps
    if plan.fps is not None:
        if not fps:
            raise ValueError(
                f"The video {plan.videos.paths[video]!r} has no frame rate, so it cannot be "
                f"reduced to {plan.fps:g} frames per second. Leave out `fps`, or the video."
            )
        if fps > plan.fps:
            frames, fps = _thin(frames, plan.fps / fps), plan.fps
    return make_example(
        frames,
        plan.labels_of(video),
        plan.videos.class_names,
        plan.names[video],
        fps=fps,
        events=plan.events_of(video),
        quality=plan.quality,
    )


class _Stopped(Exception):
    """Ends the other shards after one has failed."""


class _Progress:
    """Counts videos in several threads, and raises if too many cannot be read."""

    def __init__(self, plan, numbers, shards, max_broken, report):
        finished = [shards[number] for number in numbers if shards[number] is not None]
        self.failures = [failure for shard in finished for failure in shard["failures"]]
        self.done = len(self.failures) + sum(len(shard["records"]) for shard in finished)
        self.total = sum(len(plan.shards[number]) for number in numbers)
        self.limit = len(plan.videos), max_broken
        self.report = report or (lambda done, failed, total: None)
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._tell()

    def add(self, name, reason):
        if self.stopped.is_set():
            raise _Stopped
        with self._lock:
            self.done += 1
            if reason is not None:
                self.failures.append({"reason": reason})
            self._tell()

    def _tell(self):
        _check_broken(self.failures, *self.limit)
        self.report(self.done, len(self.failures), self.total)


def _convert_shards(plan, directory, numbers, workers, progress):
    # Threads: decoding and encoding release Python's lock, and a killed process leaves no children.
    with concurrent.futures.ThreadPoolExecutor(workers or count_cores()) as pool:
        futures = [
            pool.submit(convert_shard, plan, number, directory, progress.add) for number in numbers
        ]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            # Each shard stops after its current video; leaving the block waits for that.
            progress.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_broken(failures, total, max_broken):
    if len(failures) > max_broken * total:
        raise ValueError(
            f"No more than `max_broken` ({max_broken:.0%}) of the {total} videos may be "
            f"unreadable. Received: {len(failures)}, such as: {failures[0]['reason']} "
            "Repair or remove them, or raise `max_broken`, and run it again."
        )


def _thin(frames, share):
    """Yields a frame whenever the next one of the slower video is due."""
    for number, frame in enumerate(frames):
        # The first is due at once; an epsilon, as a third of 3 may be a little less than 1.
        if number == 0 or int(number * share + 1e-9) > int((number - 1) * share + 1e-9):
            yield frame


def _describe_failure(plan, video, error):
    path, name = plan.videos.paths[video], plan.names[video]
    # The output does not depend on the folder that the videos are in.
    reason = " ".join(str(error).replace(path, name).split()) or type(error).__name__
    return {"path": name, "reason": reason, "state": file_state(path)}


def _name_videos(videos, root):
    def parts_of(path):
        return (path if is_url(path) else os.path.abspath(path).replace(os.sep, "/")).split("/")

    paths = [parts_of(path) for path in videos.paths]
    if root is None:
        start = os.path.commonprefix([path[:-1] for path in paths])
    else:
        start = parts_of(os.fspath(root).rstrip("/") or "/")
    outside = next((path for path in paths if path[: len(start)] != start), None)
    if outside is not None:
        raise ValueError(
            f"`root` must contain every video. Received: root={'/'.join(start)!r}, a video "
            f"{'/'.join(outside)!r}. Pass the folder that contains them all, or leave out `root`."
        )
    return tuple("/".join(path[len(start) :]) for path in paths)


def _digest(value):
    return hashlib.sha256(json.dumps(value, default=float).encode()).hexdigest()


def _check_plan(videos, shards, short_side, quality, fps):
    if not len(videos):
        raise ValueError("`videos` must hold at least one video. Received: none.")
    videos.check_labeled("records")
    if videos.segments is not None or (videos.events and videos.time_unit == "frames"):
        raise ValueError(
            "`videos` must be whole videos, with events in seconds, to be stored as records. "
            "Received: segments, or events in frames. Train on the list itself."
        )
    for name, value, highest in (
        ("shards", shards, len(videos)),
        ("short_side", short_side, None),
        ("quality", quality, 100),
    ):
        if value is not None and not 1 <= value <= (highest or value):
            most = f" and at most {highest}" if highest else ""
            raise ValueError(
                f"`{name}` must be at least 1{most}. Received: {name}={value}. "
                "Leave it out for the default."
            )
    if fps is not None and not 0 < fps < float("inf"):
        raise ValueError(
            f"`fps` must be a positive number of frames per second. Received: fps={fps}. "
            "Leave it out to keep every frame."
        )


def _check_options(workers, max_broken, overwrite, shard):
    if workers is not None and workers < 1:
        raise ValueError(
            f"`workers` must be at least 1. Received: workers={workers}. "
            "Leave it out to use all cores."
        )
    check_share("max_broken", max_broken)
    if shard is None:
        return
    if not 0 <= shard[0] < shard[1]:
        raise ValueError(
            "`shard` must be (index, count) with 0 <= index < count. "
            f"Received: shard={shard}. The first of 64 tasks has (0, 64)."
        )
    if overwrite:
        raise ValueError(
            "`overwrite` must not be given with `shard`, since each task would remove the "
            "shards of the others. Remove the folder before the array job."
        )

"""All shards of a plan on this machine: `prepare_videos`."""

import concurrent.futures
import os
import threading

from keras_nonlocal.data.source import check_share
from keras_nonlocal.data.workers import count_cores
from keras_nonlocal.prepare.manifest import write_manifest
from keras_nonlocal.prepare.shards import convert_shard, load_shard
from keras_nonlocal.prepare.workplace import workplace


def prepare_videos(
    plan,
    directory,
    workers=None,
    on_error="skip",
    max_broken=0.05,
    overwrite=False,
    report=None,
):
    """Writes all shards of a plan, and a manifest once they are complete.

    It may be killed at any moment. Done again with the same plan, it makes what is missing, and
    ends with the same bytes as if nothing had happened. Where all is done already, it does nothing.

    Args:
        plan: a `Plan`.
        directory: folder to write; it is made, or empty, or one in which this plan was begun.
        workers: number of shards to make at a time, in threads. `None`: as many as there are cores.
        on_error: `"skip"` leaves out videos that cannot be read, and notes them in the manifest;
            `"raise"` stops at the first.
        max_broken: share of the videos that may be left out, before it is an error.
        overwrite: begin anew. It removes the shards and the manifest of an earlier preparation in
            the folder, and nothing else.
        report: function to call with three numbers, from any thread: videos done, of these found
            broken, videos in all. First when it begins, with what an earlier run has done.

    Returns:
        The manifest, a dictionary; see `write_manifest`.

    Raises:
        FileExistsError: if the folder holds something else, another plan, or shards of another one.
        BlockingIOError: if another process prepares into the folder.
        OSError: if it cannot be written, because the disk is full or otherwise.
        ValueError: if more videos are broken than `max_broken` says, or an argument is out of
            range. With `on_error="raise"`, also the error of the first broken video.

    Example:

    ```python
    plan = make_plan(read_folder("videos"))
    prepare_videos(plan, "prepared")
    videos = read_records("prepared")
    ```
    """
    _check(workers, on_error, max_broken)
    directory = os.path.abspath(directory)
    with workplace(plan, directory, overwrite) as manifest:
        if manifest is not None:
            return manifest
        numbers = range(len(plan.shards))
        shards = [load_shard(plan, number, directory) for number in numbers]
        if on_error == "raise":
            # What an earlier run has left out is what this one shall stop at.
            shards = [shard if shard and not shard.failures else None for shard in shards]
        tally = _Tally(plan, shards, max_broken, report)
        missing = [number for number in numbers if shards[number] is None]
        made = _convert_shards(plan, directory, missing, workers or count_cores(), on_error, tally)
        shards = [shards[number] or made[number] for number in numbers]
        return write_manifest(plan, shards, directory)


class _Stopped(Exception):
    """Ends the shards that are being made when one of them has failed."""


class _Tally:
    """Counts videos from several threads, and says when there are too many broken ones."""

    def __init__(self, plan, shards, max_broken, report):
        finished = [shard for shard in shards if shard is not None]
        self.total = len(plan.videos)
        self.failed = sum(len(shard.failures) for shard in finished)
        self.done = self.failed + sum(len(shard.records) for shard in finished)
        self.max_broken = max_broken
        self.report = report or (lambda done, failed, total: None)
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._check(next((f["reason"] for s in finished for f in s.failures), None))
        self.report(self.done, self.failed, self.total)

    def add(self, name, reason):
        if self.stopped.is_set():
            raise _Stopped
        with self._lock:
            self.done += 1
            self.failed += reason is not None
            self._check(reason)
            self.report(self.done, self.failed, self.total)

    def _check(self, reason):
        if self.failed > self.max_broken * self.total:
            raise ValueError(
                f"No more than `max_broken` ({self.max_broken:.0%}) of the {self.total} videos may "
                f"be broken. Received: {self.failed} so far, such as this: {reason} "
                "Mend them, leave them out, or raise `max_broken`, and run it again."
            )


def _convert_shards(plan, directory, numbers, workers, on_error, tally):
    # Threads, because decoding and encoding let go of Python's lock, and because a killed process
    # leaves no children behind.
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = {
            pool.submit(convert_shard, plan, number, directory, on_error, tally.add): number
            for number in numbers
        }
        try:
            return {
                futures[future]: future.result()
                for future in concurrent.futures.as_completed(futures)
            }
        except BaseException:
            # Each shard notices at its next video; leaving the block waits for that.
            tally.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check(workers, on_error, max_broken):
    if workers is not None and workers < 1:
        raise ValueError(
            f"`workers` must be at least 1. Received: workers={workers}. "
            "Leave it out to use all cores."
        )
    if on_error not in ("skip", "raise"):
        raise ValueError(
            '`on_error` must be "skip" (leave out and note) or "raise" (stop at the first). '
            f"Received: on_error={on_error!r}."
        )
    check_share("max_broken", max_broken)

"""All shards of a plan on many machines, as an Apache Beam pipeline: `prepare_videos_on_beam`."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import pickle
import tempfile

from keras_nonlocal import files
from keras_nonlocal.data.record_lists import UNFINISHED
from keras_nonlocal.data.source import check_share
from keras_nonlocal.prepare import manifest, remote_folder, shards, workplace

# Beam's runner in this process, which its DirectRunner comes to in the end. DirectRunner itself
# first fetches a program from the network, and that is for the user to ask for.
_RUNNER = "--runner=FnApiRunner"

_Steps = collections.namedtuple("_Steps", "workplace load_shard convert_shard write_manifest")


def prepare_videos_on_beam(plan, directory, options=(), max_broken=0.05, overwrite=False):
    """Writes all shards of a plan on the workers of Apache Beam, and a manifest at the end.

    The files are those that `prepare_videos` writes, byte by byte. As there, a run that was broken
    off is taken up by the next one, and broken videos are left out and noted. What a runner does
    twice, because a worker has died or was slow, does no harm.

    The videos and the folder must be where every worker finds them: under the same path, on a
    network file system, or in one that Beam reads, such as `gs://` (`apache-beam[gcp]`), `s3://`
    (`apache-beam[aws]`) and `hdfs://`. A worker copies its videos from there one shard at a time.
    This package must be installed on the workers, by a container image or `--requirements_file`.

    Args:
        plan: a `Plan`. Its videos may have remote paths; then they must be files.
        directory: folder to write; as for `prepare_videos`, or remote.
        options: list of words, Beam's pipeline options, such as `["--runner=DataflowRunner",
            "--project=...", "--region=..."]`. Without `--runner` it runs in this process.
        max_broken: share of the videos that may be left out, before it is an error. It is looked at
            when all shards are made.
        overwrite: begin anew. It removes what an earlier preparation has made, and nothing else.

    Returns:
        The manifest, a dictionary; see `write_manifest`.

    Raises:
        ImportError: if Apache Beam is not installed.
        FileExistsError: if the folder holds something else, another plan, or shards of another one.
        BlockingIOError: if another process prepares into the folder; remote ones cannot tell.
        FileNotFoundError: if workers do not see the folder under the path that this machine does.
        ValueError: if more videos are broken than `max_broken` says, or an argument is out of
            range, or `directory` is in a file system that Beam does not know.

    Example:

    ```python
    videos = VideoList(["gs://bucket/jump/1.mp4", "gs://bucket/run/2.mp4"], [0, 1], ["jump", "run"])
    prepare_videos_on_beam(
        make_plan(videos),
        "gs://bucket/records",
        ["--runner=DataflowRunner", "--project=films", "--region=europe-west4",
         "--temp_location=gs://bucket/tmp", "--sdk_container_image=..."],
    )
    ```

    Reference:
        [Apache Beam](https://beam.apache.org/documentation/runners/capability-matrix/)
    """
    beam = _import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    check_share("max_broken", max_broken)
    directory = os.fspath(directory)
    if remote_folder.is_remote(directory):
        directory = directory.rstrip("/")
    else:
        directory = os.path.abspath(directory)
    steps = _steps_of(directory)
    # Made first, as it tells the file systems who asks.
    pipeline = beam.Pipeline(options=PipelineOptions([_RUNNER, *options]))
    with steps.workplace(plan, directory, overwrite) as done:
        if done is not None:
            return done
        begun = _ask_of_all(steps.load_shard, plan, directory)
        missing = [number for number, shard in enumerate(begun) if shard is None]
        if missing:
            plan_path = _write_plan(plan, directory)
            with pipeline:
                (
                    pipeline
                    | "Numbers of shards" >> beam.Create(missing)
                    # Otherwise a runner may give them all to the worker that has made them up.
                    | "To all workers" >> beam.Reshuffle()
                    | "Shards" >> beam.Map(_make_shard, plan_path, directory)
                )
        finished = _ask_of_all(_read_note, plan, directory)
        _check_broken(plan, finished, max_broken)
        return steps.write_manifest(plan, finished, directory)


def _make_shard(number, plan_path, directory):
    """What a worker does for a shard."""
    plan, steps = _load_plan(plan_path), _steps_of(directory)
    # Runners hand the same number out again when they are not sure.
    if steps.load_shard(plan, number, directory) is None:
        with _fetched_videos(plan, number) as local:
            steps.convert_shard(local, number, directory, report=_count)


def _steps_of(directory):
    """How to work in a folder: a remote one, or one that all machines see under the same path."""
    if remote_folder.is_remote(directory):
        return remote_folder
    return _Steps(
        workplace.workplace, shards.load_shard, shards.convert_shard, manifest.write_manifest
    )


def _write_plan(plan, directory):
    """Puts the plan where the workers find it: a data set's fills more than a pipeline may."""
    # What runs on the workers is pickled by Beam, so that this asks for no more trust.
    data = pickle.dumps(plan)
    # By the suffix it goes with what else is unfinished; by the digest no worker takes another's.
    name = f"{UNFINISHED}/plan-{hashlib.sha256(data).hexdigest()}{files.PART}"
    remote_folder.write_file(io.BytesIO(data), name, directory)
    return f"{directory}/{name}"


@functools.lru_cache(maxsize=1)
def _load_plan(path):
    with remote_folder.open_file(path) as file:
        return pickle.loads(file.read())


@contextlib.contextmanager
def _fetched_videos(plan, number):
    """The plan with copies on this machine in the place of a shard's remote videos."""
    paths = list(plan.videos.paths)
    with tempfile.TemporaryDirectory() as folder:
        for video in plan.shards[number]:
            if remote_folder.is_remote(paths[video]):
                copy = os.path.join(folder, f"{video}{os.path.splitext(paths[video])[1]}")
                # One that is not there is found missing by what would read the copy.
                remote_folder.fetch_file(paths[video], copy)
                paths[video] = copy
        yield dataclasses.replace(plan, videos=dataclasses.replace(plan.videos, paths=paths))


def _count(name, reason):
    """Counts videos for the pages on which runners show how far they are."""
    from apache_beam.metrics import Metrics

    Metrics.counter("keras_nonlocal", "videos").inc()
    if reason is not None:
        Metrics.counter("keras_nonlocal", "broken videos").inc()


def _read_note(plan, number, directory):
    """Gives a finished `Shard`.

    `load_shard` would also ask whether its broken videos have changed since, which of remote ones
    it cannot tell.
    """
    name = plan.shard_name(number)
    note = f"{directory}/{UNFINISHED}/{name}.json"
    if not (remote_folder.exists(note) and remote_folder.exists(f"{directory}/{name}")):
        raise FileNotFoundError(
            f"The workers were done, and {name!r} is not in {directory!r}. Give a folder that all "
            "of them see under this path, or a remote one."
        )
    with remote_folder.open_file(note) as file:
        return shards.Shard(**json.loads(file.read()))


def _ask_of_all(function, plan, directory):
    """What a function says of each shard."""
    # Remote folders take their time to answer, and there may be thousands of shards.
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(
            pool.map(lambda number: function(plan, number, directory), range(len(plan.shards)))
        )


def _check_broken(plan, finished, max_broken):
    failures = [failure for shard in finished for failure in shard.failures]
    if len(failures) > max_broken * len(plan.videos):
        raise ValueError(
            f"No more than `max_broken` ({max_broken:.0%}) of the {len(plan.videos)} videos may be "
            f"broken. Received: {len(failures)}, such as this: {failures[0]['reason']} "
            "Mend them, leave them out, or raise `max_broken`, and run it again."
        )


def _import_beam():
    try:
        import apache_beam
    except ImportError as error:
        raise ImportError(
            "Preparing videos on several machines needs Apache Beam. "
            "Install it with `pip install keras_nonlocal[beam]`."
        ) from error
    return apache_beam

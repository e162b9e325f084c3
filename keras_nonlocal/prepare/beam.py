"""Videos to TFRecord shards on many machines, by an Apache Beam pipeline."""

import functools
import hashlib
import pickle

from keras_nonlocal.data.record_lists import UNFINISHED
from keras_nonlocal.data.source import check_share
from keras_nonlocal.prepare.convert import convert_shard, finish_folder
from keras_nonlocal.prepare.manifest import OutputFolder, load_shards, open_folder

# Beam's runner in this process. Its DirectRunner first downloads a program.
_RUNNER = "--runner=FnApiRunner"


def prepare_videos_on_beam(plan, directory, options=(), max_broken=0.05, overwrite=False):
    """Writes all shards of a plan on the workers of Apache Beam, then a manifest.

    The files are those of `prepare_videos`, byte by byte; as there, the next run continues one that
    was killed, and videos that cannot be read are left out and listed.

    Every worker must see the videos and the folder: under the same path on a network file system,
    or at URLs that fsspec opens, such as `gs://` (with `gcsfs` installed) or `s3://` (`s3fs`). This
    package must be installed on the workers, by a container image or `--requirements_file`.

    Args:
        plan: a `Plan`.
        directory: folder to write, or its URL; as for `prepare_videos`.
        options: list of Beam's pipeline options, such as `["--runner=DataflowRunner",
            "--project=...", "--region=..."]` (default: run in this process).
        max_broken: maximum share of the videos that may be left out, checked at the end.
        overwrite: as for `prepare_videos`.

    Returns:
        The manifest, a dictionary; see `write_manifest`.

    Raises:
        ImportError: if Apache Beam is not installed.
        FileNotFoundError: if the workers have written to another folder.
        FileExistsError, BlockingIOError, OSError, ValueError: as `prepare_videos`.

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
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ImportError(
            "Preparing videos on Apache Beam needs the package. "
            'Install it with `pip install "keras_nonlocal[beam]"`.'
        ) from error
    check_share("max_broken", max_broken)
    # Made first, as it checks the options.
    pipeline = beam.Pipeline(options=PipelineOptions([_RUNNER, *options]))
    with open_folder(plan, directory, overwrite) as (folder, manifest):
        if manifest is not None:
            return manifest
        shards = load_shards(plan, folder)
        missing = [number for number, shard in enumerate(shards) if shard is None]
        if missing:
            plan_name = _write_plan(plan, folder)
            with pipeline:
                (
                    pipeline
                    | "Indices of shards" >> beam.Create(missing)
                    # Otherwise a runner may give them all to the worker that has made them.
                    | "To all workers" >> beam.Reshuffle()
                    | "Shards" >> beam.Map(_convert_shard, plan_name, folder.path)
                )
        return finish_folder(plan, folder, max_broken)


def _write_plan(plan, folder):
    """Writes the plan for the workers: that of a large data set exceeds the size of a pipeline."""
    data = pickle.dumps(plan)
    # By the digest no worker takes the plan of another run.
    name = f"{UNFINISHED}/plan-{hashlib.sha256(data).hexdigest()}"
    with folder.write(name) as file:
        file.write(data)
    return name


def _convert_shard(number, plan_name, directory):
    from apache_beam.metrics import Metrics

    def count(name, reason):
        Metrics.counter("keras_nonlocal", "videos").inc()
        if reason is not None:
            Metrics.counter("keras_nonlocal", "broken videos").inc()

    convert_shard(_load_plan(plan_name, directory), number, directory, report=count)


@functools.lru_cache(maxsize=1)
def _load_plan(name, directory):
    return pickle.loads(OutputFolder(directory).read(name))

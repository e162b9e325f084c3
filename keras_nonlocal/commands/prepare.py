"""`keras-nonlocal prepare`: videos to TFRecord shards, from which clips are read faster."""

import argparse
import contextlib
import os
import pathlib
import sys

import rich.console
import rich.progress
import tensorflow as tf

from keras_nonlocal.commands import arguments, calls, printing, sources
from keras_nonlocal.commands.progress import RateColumn
from keras_nonlocal.data.record_lists import MANIFEST
from keras_nonlocal.files import is_url
from keras_nonlocal.prepare.beam import prepare_videos_on_beam
from keras_nonlocal.prepare.convert import make_plan, merge_shards, prepare_videos

# Unreadable videos that are printed; the manifest has all.
_LINES = 20


def add_arguments(parser):
    """Adds the arguments of `prepare`."""
    parser.description = (
        "Writes the videos of SOURCE to the folder OUT, as TFRecord files of JPEG frames in the "
        "layout of tf-models-official's video classification. If it is stopped, the same command "
        "continues."
    )
    parser.epilog = (
        "Array job: each task gets the same arguments and its own --shard, from --shard 0/64 to "
        "--shard 63/64. After the last task, run the same arguments with --merge once. The files "
        "are those of a run without --shard."
    )
    sources.add_source_arguments(parser)
    parser.add_argument(
        "out",
        metavar="OUT",
        help="folder to write, or a URL such as gs://bucket/out: new, empty, or begun before",
    )
    parser.add_argument(
        "--short-side",
        type=_pixels,
        default=256,
        metavar="PIXELS",
        help="short side to which larger frames are reduced; 0 keeps every size (default: 256)",
    )
    parser.add_argument(
        "--quality",
        type=arguments.count,
        default=90,
        help="of the JPEG frames, 1 to 100 (default: 90)",
    )
    parser.add_argument(
        "--fps", type=float, help="frames per second to keep of faster videos (default: all)"
    )
    parser.add_argument(
        "--shards",
        type=arguments.count,
        metavar="N",
        help="number of files (default: one per 32 videos, more for short lists)",
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of the order (default: 0)")
    parser.add_argument(
        "--workers",
        type=arguments.count,
        help="files to write at a time (default: the number of cores)",
    )
    parser.add_argument(
        "--max-broken",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="maximum share of the videos that may be left out because they cannot be read; 0 "
        "stops at the first one (default: 0.05)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="remove earlier records in OUT first"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--shard",
        type=_task,
        metavar="I/N",
        help="a task of an array job: write every N-th file from file I on, 0 <= I < N",
    )
    how.add_argument(
        "--merge",
        action="store_true",
        help="finish an array job: write the manifest, or name the files that are missing",
    )
    how.add_argument(
        "--beam",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="run on Apache Beam; all words after this are Beam's options, such as "
        "--runner=DataflowRunner",
    )


def run(chosen):
    """Writes the records, and prints a summary and how to read them."""
    _check(chosen)
    videos = sources.read_source(chosen)
    plan = make_plan(
        videos,
        # A list may name videos anywhere.
        root=chosen.source if os.path.isdir(chosen.source) and not chosen.videos else None,
        shards=chosen.shards,
        short_side=chosen.short_side,
        quality=chosen.quality,
        fps=chosen.fps,
        seed=chosen.seed,
    )
    _leave_gpus_alone()
    progress = _Progress()
    try:
        if chosen.beam is not None:
            manifest = prepare_videos_on_beam(
                plan, chosen.out, chosen.beam, chosen.max_broken, chosen.overwrite
            )
        elif chosen.merge:
            manifest = merge_shards(plan, chosen.out, chosen.max_broken)
        else:
            with progress:
                manifest = prepare_videos(
                    plan,
                    chosen.out,
                    chosen.workers,
                    chosen.max_broken,
                    chosen.overwrite,
                    progress.show,
                    chosen.shard,
                )
    except KeyboardInterrupt:
        printing.complain("error", "Stopped. Run the same command again to continue.")
        return 130
    if manifest is None:
        index, count = chosen.shard
        files = len(range(index, len(plan.shards), count))
        print(f"Wrote {files:,} of {len(plan.shards):,} files to {printing.printable(chosen.out)}")
        print("After the last task: run the same arguments with --merge in place of --shard.")
        return 0
    _print_manifest(manifest, chosen.out, "Wrote" if progress.begun else "Complete:")
    return 0


class _Progress(contextlib.AbstractContextManager):
    """A bar on a terminal; elsewhere a line for each tenth of the work."""

    def __init__(self):
        self.begun = False
        self._terminal = sys.stderr.isatty()
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("videos"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            RateColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.description}", markup=False),
            console=rich.console.Console(stderr=True),
            transient=True,
            disable=not self._terminal,
        )
        self._told = None

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *error):
        self._bar.stop()

    def show(self, done, failed, total):
        """Shows what `prepare_videos` reports."""
        broken = f"{failed} broken" if failed else ""
        if not self.begun:
            self.begun = True
            # The work of earlier runs does not count in the rate.
            self._task = self._bar.add_task(broken, total=total, completed=done)
        self._bar.update(self._task, completed=done, description=broken)
        tenth = 10 * done // total
        if not self._terminal and tenth != self._told:
            self._told = tenth
            line = f"{done} of {total} videos" + (f", {broken}" if broken else "")
            print(line, file=sys.stderr, flush=True)


def _print_manifest(manifest, out, done):
    print(f"{done} {printing.printable(out)}")
    classes, failures = len(manifest["classes"]), manifest["failures"]
    printing.print_pairs(
        [
            ("videos", f"{manifest['videos']:,} of {classes:,} classes"),
            ("frames", f"{manifest['frames']:,}"),
            ("files", f"{len(manifest['shards']):,}, {_size(manifest['bytes'])}"),
            ("left out", f"{len(failures):,} broken" if failures else "none"),
        ]
    )
    if failures:
        print()
    for failure in failures[:_LINES]:
        # A reason holds the path of its video.
        print(f"  {printing.printable(failure['reason'])}")
    if len(failures) > _LINES:
        path = printing.printable(os.path.join(out, MANIFEST))
        print(f"  and {len(failures) - _LINES:,} more; {path} has all")
    print(
        "\nClips of them in Python:\n\n"
        "import keras_nonlocal as knl\n\n"
        f"videos = {calls.write_call('knl.data.read_records', out)}\n"
        'clips = knl.data.training_clips(videos, "8x8")'
    )


def _leave_gpus_alone():
    """Keeps TensorFlow from taking all memory of GPUs, on which somebody may train meanwhile."""
    # It refuses where somebody uses TensorFlow already, in the same process.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def _check(chosen):
    if chosen.beam is not None and chosen.workers:
        raise ValueError("--workers must not be given with --beam. Leave it out.")
    if chosen.overwrite and (chosen.shard or chosen.merge):
        raise ValueError(
            "--overwrite must not be given with --shard or --merge, since it would remove "
            "the files of other tasks. Remove OUT before the array job."
        )
    if is_url(chosen.out) or not os.path.isdir(chosen.source):
        return
    # There the next command would take them for videos, or for a class.
    source, out = os.path.realpath(chosen.source), os.path.realpath(chosen.out)
    if pathlib.Path(out).is_relative_to(source):
        raise ValueError(f"OUT must not be inside SOURCE. Received: {out}. Write beside {source}.")


def _size(count):
    power = max(1, min(4, (len(str(count)) - 1) // 3))
    return f"{count / 1000**power:,.1f} {' kMGT'[power]}B"


def _pixels(text):
    return None if text == "0" else arguments.count(text)


def _task(text):
    try:
        index, count = map(int, text.split("/"))
    except ValueError:
        index, count = 0, 0
    if not 0 <= index < count:
        raise argparse.ArgumentTypeError(
            f"must be I/N with 0 <= I < N, such as 0/64. Received: {text}"
        )
    return index, count

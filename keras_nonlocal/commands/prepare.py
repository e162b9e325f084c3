"""`keras-nonlocal prepare`: videos to TFRecord shards, out of which clips are read faster."""

import argparse
import contextlib
import os
import sys

import rich.console
import rich.progress
import tensorflow as tf

from keras_nonlocal.commands import arguments, calls, printing, sources
from keras_nonlocal.commands.progress import RateColumn
from keras_nonlocal.data.record_lists import MANIFEST
from keras_nonlocal.prepare.beam import prepare_videos_on_beam
from keras_nonlocal.prepare.conversion import prepare_videos
from keras_nonlocal.prepare.plan import make_plan
from keras_nonlocal.prepare.remote_folder import is_remote

# Broken videos that are printed; the manifest has all.
_LINES = 20


def add_arguments(parser):
    """Says what can follow `prepare`."""
    parser.description = (
        "Writes the videos of SOURCE as TFRecord files of JPEG frames into the folder OUT, in the "
        "layout of tf-models-official's video classification. If it is stopped, in whatever way, "
        "the same command goes on where it was."
    )
    sources.add_source_arguments(parser)
    parser.add_argument("out", metavar="OUT", help="folder to write: new, empty, or begun before")
    parser.add_argument(
        "--short-side",
        type=_pixels,
        default=256,
        metavar="PIXELS",
        help="to which larger frames are brought; 256; 0 keeps every size",
    )
    parser.add_argument(
        "--quality", type=arguments.count, default=90, help="of the JPEG frames, 1 to 100; 90"
    )
    parser.add_argument(
        "--fps", type=float, help="frames a second to keep of faster videos; all if left out"
    )
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--shards", type=arguments.count, metavar="N", help="number of files")
    number.add_argument(
        "--videos-per-shard",
        type=arguments.count,
        metavar="N",
        help="at most, in a file; 32, and less of few videos",
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of the order; 0")
    parser.add_argument("--workers", type=arguments.count, help="files at a time; one a processor")
    parser.add_argument(
        "--on-error",
        choices=("skip", "raise"),
        default="skip",
        help="leave broken videos out and name them at the end, or stop at the first; skip",
    )
    parser.add_argument(
        "--max-broken",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="share of the videos that may be left out; 0.05",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew; removes earlier records in OUT"
    )
    parser.add_argument(
        "--beam",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="make them by Apache Beam; all words after this are options of Beam, such as "
        "--runner=DataflowRunner. OUT may be a place that Beam writes to, such as gs://bucket/out",
    )


def run(chosen):
    """Writes the records, and prints what there is then and how to read it."""
    _check_out(chosen)
    videos = sources.read_source(chosen)
    plan = make_plan(
        videos,
        # Of a list, the videos may lie anywhere.
        root=chosen.source if os.path.isdir(chosen.source) and not chosen.videos else None,
        shards=chosen.shards,
        videos_per_shard=chosen.videos_per_shard,
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
            _print_manifest(manifest, chosen.out, "Complete:")
            return 0
        with progress:
            manifest = prepare_videos(
                plan,
                chosen.out,
                chosen.workers,
                chosen.on_error,
                chosen.max_broken,
                chosen.overwrite,
                progress.show,
            )
    except KeyboardInterrupt:
        printing.complain("error", "Stopped. The same command goes on where it was.")
        return 130
    _print_manifest(manifest, chosen.out, "Wrote" if progress.begun else "Complete already:")
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
        """Takes what `prepare_videos` reports."""
        broken = f"{failed} broken" if failed else ""
        if not self.begun:
            self.begun = True
            # What an earlier run has done says nothing about the rate of this one.
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
    if is_remote(out):
        # Clips are drawn from files of this machine alone.
        return
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


def _check_out(chosen):
    """Finds records that would be taken for videos, or for a class of them, by the next command."""
    if chosen.beam is None and is_remote(chosen.out):
        raise ValueError(
            f"OUT must be a folder of this machine. Received: {chosen.out}. Add --beam at the end."
        )
    if chosen.beam is not None and (chosen.workers or chosen.on_error == "raise"):
        raise ValueError(
            "--workers and --on-error=raise are for this machine alone. Leave them out with --beam."
        )
    source, out = os.path.realpath(chosen.source), os.path.realpath(chosen.out)
    if os.path.isdir(source) and os.path.commonpath([source, out]) == source:
        raise ValueError(
            f"OUT must not lie in SOURCE, among the videos. Received: {out}. Write beside {source}."
        )


def _size(count):
    power = max(1, min(4, (len(str(count)) - 1) // 3))
    return f"{count / 1000**power:,.1f} {' kMGT'[power]}B"


def _pixels(text):
    return None if text == "0" else arguments.count(text)

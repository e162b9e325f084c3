"""What is written beside an export: how large, how fast, how faithful, and by what."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import time

_TIMED_CALLS = 5


def make_report(artefact, path, agreement, clip, quantize=None):
    """Gathers what there is to say of an export.

    Args:
        artefact: the `Artefact`, opened.
        path: file or folder that was written.
        agreement: an `Agreement`.
        clip: one clip to time the network with.
        quantize: see `export`.

    Returns:
        A dict of what JSON can hold.
    """
    facts = artefact.facts
    accelerated, operations = artefact.coverage or (None, None)
    return {
        "format": artefact.format,
        "quantize": quantize,
        "input_shape": None if facts is None else list(facts.input_shape),
        "takes": _takes(facts),
        "bytes": size_of(path),
        "runtime": artefact.runtime,
        "milliseconds_a_clip": round(time_per_clip(artefact, clip), 3),
        "timed_with_shape": list(clip.shape),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "agreement": dataclasses.asdict(agreement),
        "operations": artefact.operations,
        "accelerated_operations": accelerated,
        "all_operations": operations,
        "made_by": f"keras_nonlocal {importlib.metadata.version('keras_nonlocal')}",
    }


def _takes(facts):
    if facts is None or facts.source is None:
        return "what the model takes"
    if facts.include_preprocessing:
        return "RGB pixels from 0 to 255"
    return f"RGB clips, normalized as by {facts.source}"


def time_per_clip(artefact, clip):
    """Median milliseconds of a call with one clip, after one that warms up."""
    taken = []
    for _ in range(1 + _TIMED_CALLS):
        start = time.perf_counter()
        artefact.predict(clip[None])
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken[1:])


def size_of(path):
    """Bytes of a file, or of all files in a folder."""
    path = pathlib.Path(path)
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def report_path(path):
    """Where the report of an export stands: inside a folder, beside a file."""
    path = pathlib.Path(path)
    if (path / "assets.extra").is_dir():
        return path / "assets.extra" / "report.json"
    return path / "report.json" if path.is_dir() else path.with_name(f"{path.name}.report.json")


def write_report(path, report):
    """Writes a report to where it stands for an export that is not at its final name yet."""
    report_path(path).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def read_report(path):
    """Gives the report of an export.

    Args:
        path: of the export.

    Returns:
        The dict that `make_report` gave.

    Raises:
        FileNotFoundError: if it has none.
    """
    return json.loads(report_path(path).read_text(encoding="utf-8"))

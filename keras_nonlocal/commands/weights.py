"""`keras-nonlocal weights`: the weights that are known by name."""

import dataclasses
import difflib
import json

import keras_nonlocal
from keras_nonlocal.checkpoints import download, registry
from keras_nonlocal.commands import calls, printing

_HEADINGS = ("name", "network", "clip", "top-1", "top-5", "license", "source")


def add_arguments(parser):
    """Adds the arguments of `weights`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="weights to describe in full")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(chosen):
    """Prints a table of all weights, or describes one."""
    checkpoints = keras_nonlocal.list_weights()
    if chosen.name is not None:
        like = difflib.get_close_matches(chosen.name, registry.CHECKPOINTS, n=3, cutoff=0.5)
        if chosen.name not in registry.CHECKPOINTS:
            hint = f"Names like it: {', '.join(like)}. " if like else ""
            raise ValueError(
                f"NAME must be one that `keras-nonlocal weights` lists. Received: {chosen.name!r}. "
                f"{hint}"
            )
        checkpoints = [registry.CHECKPOINTS[chosen.name]]
    if chosen.json:
        print(_write_json(checkpoints))
    elif chosen.name is None:
        rows = [_HEADINGS, *map(_row, checkpoints)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(map(str.ljust, row, widths)).rstrip())
    else:
        print(chosen.name)
        printing.print_pairs(_describe(checkpoints[0]))
    return 0


def _row(checkpoint):
    network = "image network"
    if checkpoint.builder:
        depth = checkpoint.arguments["depth"]
        network = f"{checkpoint.builder} {f'R{depth}' if isinstance(depth, int) else 'small'}"
    top = ["-" if each is None else f"{each:.2f}" for each in (checkpoint.top1, checkpoint.top5)]
    clip = checkpoint.clip or "-"
    return (checkpoint.name, network, clip, *top, checkpoint.license, checkpoint.source)


def _write_json(checkpoints):
    """Returns a JSON list of the fields, file and url of checkpoints, without names of classes."""
    names = [field.name for field in dataclasses.fields(registry.Checkpoint)]
    names = [name for name in (*names, "file", "url") if name != "class_names"]
    rows = [{name: getattr(each, name) for name in names} for each in checkpoints]
    return json.dumps(rows, default=dict, indent=2)


def _describe(checkpoint):
    """Yields all that is known of a checkpoint, as pairs of a heading and a text."""
    kept = download.folder() / checkpoint.file
    if checkpoint.builder is None:
        yield "use", checkpoint.note
    else:
        load = calls.write_call(f"knl.{checkpoint.builder}", weights=checkpoint.name)
        yield "load", f"model = {load}"
        yield "network", calls.write_call(checkpoint.builder, **checkpoint.arguments)
        yield "clip", f"{checkpoint.clip} (frames x stride)"
        yield "pixels", f"short side {checkpoint.short_side}, crop {checkpoint.crop}"
        yield "classes", str(checkpoint.classes)
        if checkpoint.note:
            yield "note", checkpoint.note
    yield "source", checkpoint.source
    no_sale = ": no commercial use" if "-NC-" in checkpoint.license else ""
    yield "license", f"{checkpoint.license}{no_sale}"
    if checkpoint.top1 is not None:
        top5 = f", top-5 {checkpoint.top5} %" if checkpoint.top5 is not None else ""
        yield "accuracy", f"top-1 {checkpoint.top1} %{top5}; {checkpoint.test}; as published"
    yield "file", checkpoint.file
    yield "url", checkpoint.url or "ships with the package"
    if checkpoint.checksum is not None:
        yield "checksum", "{} begins with {}".format(*checkpoint.checksum)
    if checkpoint.builder and checkpoint.url:
        exists = " (it exists)" if kept.is_file() else ""
        yield "by hand", f"download it from the url and put it at {kept}{exists}"

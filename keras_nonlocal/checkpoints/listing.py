"""The published checkpoints as text, for people and for programs."""

import dataclasses
import json

from keras_nonlocal.checkpoints import download

_HEADINGS = ("name", "network", "clip", "top-1", "top-5", "licence", "source")


def write_table(checkpoints):
    """Returns checkpoints as a table of plain text, a line each.

    Args:
        checkpoints: list of `Checkpoint`.
    """
    rows = [_HEADINGS, *map(_row, checkpoints)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(checkpoint):
    return (
        checkpoint.name,
        _network(checkpoint),
        checkpoint.clip or "-",
        _percent(checkpoint.top1),
        _percent(checkpoint.top5),
        checkpoint.licence,
        checkpoint.source,
    )


def _network(checkpoint):
    if checkpoint.builder is None:
        return "image network"
    depth = checkpoint.arguments["depth"]
    return f"{checkpoint.builder} {f'R{depth}' if isinstance(depth, int) else 'small'}"


def _percent(share):
    return "-" if share is None else f"{share:.2f}"


def write_json(checkpoints):
    """Returns checkpoints as JSON: a list of objects with the fields of `Checkpoint`, file and url.

    The names of the 400 classes are left out.

    Args:
        checkpoints: list of `Checkpoint`.
    """
    fields = [field.name for field in dataclasses.fields(checkpoints[0])]
    fields = [name for name in fields if name != "class_names"]
    rows = [
        {name: getattr(each, name) for name in (*fields, "file", "url")} for each in checkpoints
    ]
    return json.dumps(rows, default=dict, indent=2)


def describe_checkpoint(checkpoint):
    """Returns all that is known of a checkpoint: pairs of a heading and a text.

    Args:
        checkpoint: a `Checkpoint`.
    """
    name, kept = checkpoint.name, download.folder() / checkpoint.file
    arguments = ", ".join(f"{key}={value!r}" for key, value in checkpoint.arguments.items())
    if checkpoint.builder is None:
        yield "use", checkpoint.note
    else:
        yield "load", f'model = knl.{checkpoint.builder}(weights="{name}")'
        yield "network", f"{checkpoint.builder}({arguments})"
        yield "clip", f"{checkpoint.clip} (frames x stride)"
        yield "pixels", f"short side {checkpoint.short_side}, crop {checkpoint.crop}"
        yield "classes", str(checkpoint.classes)
        if checkpoint.note:
            yield "note", checkpoint.note
    yield "source", checkpoint.source
    yield (
        "licence",
        checkpoint.licence + (": no commercial use" if "-NC-" in checkpoint.licence else ""),
    )
    if checkpoint.top1 is not None:
        top5 = f", top-5 {checkpoint.top5} %" if checkpoint.top5 is not None else ""
        yield "accuracy", f"top-1 {checkpoint.top1} %{top5}; {checkpoint.test}; as published"
    yield "file", checkpoint.file
    if checkpoint.url is None:
        yield "url", "none: it ships with the package"
        return
    yield "url", checkpoint.url
    if checkpoint.checksum is not None:
        yield "checksum", "{} begins with {}".format(*checkpoint.checksum)
    if checkpoint.builder is not None:
        yield (
            "by hand",
            (
                f"download it from the url and put it at {kept}; it is used from there"
                f"{' (it is there already)' if kept.is_file() else ''}"
            ),
        )

"""Writes what export_limits.py measured, and what each format cannot do, as a page."""

BEFORE = """\
# The limits of each format

Written by `python benchmarks/export_limits.py --out runs/limits`, which says more about how; do not
edit it here. One clip a call, float32 inputs.

- size: of the file or folder, in MB (10^6 bytes).
- seconds: the median of a few calls, all formats and the network's own `predict_on_batch` in
  turns.
- times: those seconds as a multiple of the network's, in the same rounds: median, least, greatest.
- memory: the most that a process held while it opened the file and answered for one clip, in MB
  beyond what it held once the runtime was imported.
- off: the largest difference of any answer from the network's, as a share of the largest answer.
- same: clips with the same highest class as the network's.

`camera_motion` is trained. It is compared on {clips} clips of scenes that it was not trained on,
and calibrated on 36 of scenes that it was. Published weights were not at hand, so the others have
random ones of the size that training leaves, and are compared on two clips of noise: that shows
that an export computes the same function, and little of what 8 bits do to a trained network.
Measure yours: `knl.export(..., clips=...)` reports it.
"""

AFTER = """\
## What each format cannot do

All formats:

- take functional and sequential models of one input and one output alone, in float32 or 8-bit
  numbers as above; the norms are folded, so an export cannot be trained further.
- hold no layer that was called with `training=True`.

SavedModel:

- is not quantised, and needs TensorFlow, or TF Serving, to run.
- resizes and crops pixels inside only if the network is of one square size; it takes frames, and
  decodes JPEG but no video.
- with batching in TF Serving, requests of different frame sizes do not share a batch.

TFLite:

- has all its sizes fixed, at one clip a call, and takes clips that were prepared, not pixels.
- 8 bits throughout (`"int8"`) leave the weighted mean of the non-local blocks, and what stands
  behind the classifier, in float: TFLite's 8-bit matrix product runs a plain loop on one core, and
  the sums over all keys have no range that 8 bits could hold together with their terms.
- `"int8"` refuses networks with loops, into which TensorFlow's calibration cannot look: blocks so
  large that they go through their queries in chunks (an affinity of more than 256 MiB).
- 8 bits are fast where the processor multiplies them fast. On x86 without VNNI or AMX they save
  space, and little time; `"float16"` saves space alone on CPUs, which widen the weights first.
  On some processors without AVX-512 even its float32 kernels are no faster than TensorFlow's.
- has no 3-D max-pooling, and its 3-D convolution no fast path, so all is lowered to two dimensions,
  Keras' own layers as well, but not 3-D convolutions with groups, which stay slow.

ONNX:

- is written in opset 15, is not quantised, and takes clips that were prepared, not pixels.
- Custom layers go through tf2onnx, operation by operation; one that it lacks is named in the error.

OpenVINO:

- is not quantised, runs in float32 here, and takes clips that were prepared, not pixels.
"""


def write_page(path, measured):
    """Writes the page.

    Args:
        path: of the page.
        measured: `{network: {"machine": text, "rows": {format: row}}}`.
    """
    clips = max(row.get("clips", 0) for each in measured.values() for row in each["rows"].values())
    first = next(iter(measured.values()))["machine"]
    parts = [BEFORE.format(clips=clips)]
    parts += [f"Measured on {_in_a_line(first)}, unless a section names another machine.\n"]
    for name, each in measured.items():
        elsewhere = None if each["machine"] == first else each["machine"]
        parts.append(_section(name, each["rows"], elsewhere))
    path.write_text("\n".join([*parts, AFTER]), encoding="utf-8")


def _in_a_line(machine):
    return machine.replace("\n", "; ")


def _section(name, rows, elsewhere):
    trained = any("top1" in row for row in rows.values())
    columns = ["", "size", "seconds", "times", "memory", "off", "same"] + ["top-1"] * trained
    lines = [f"## {name}", ""]
    lines += [f"Measured on {_in_a_line(elsewhere)}.", ""] if elsewhere else []
    lines += [_line(columns), _line(["---"] * len(columns))]
    for label, row in rows.items():
        cells = [
            label,
            f"{row['bytes'] / 1e6:.1f}" if "bytes" in row else "",
            f"{row['seconds']:.3g}",
            "{:.2f} [{:.2f}, {:.2f}]".format(*row["times"]) if "bytes" in row else "1",
            f"{row['memory'] / 1e6:.0f}",
            f"{row['relative']:.1g}" if "bytes" in row else "",
            f"{row['same_top']:.1%}" if "bytes" in row else "",
        ]
        cells += [f"{row['top1']:.2%}"] if trained else []
        lines.append(_line(cells))
    return "\n".join([*lines, ""])


def _line(cells):
    return f"| {' | '.join(cells)} |"

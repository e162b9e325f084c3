"""`keras-nonlocal export`: a network as a file that serves, and the Python that does the same."""

import pathlib

import tensorflow as tf

from keras_nonlocal import data
from keras_nonlocal.commands import arguments, calls, printing
from keras_nonlocal.commands.tested_network import CONVERT_WORDS, check_takes_floats
from keras_nonlocal.exporting.calibration import LEAST_CALIBRATION_CLIPS
from keras_nonlocal.exporting.exporting import FORMATS, export
from keras_nonlocal.exporting.facts import facts_of
from keras_nonlocal.exporting.loading import load_model
from keras_nonlocal.exporting.report import read_report, report_path
from keras_nonlocal.exporting.tflite import QUANTIZATIONS
from keras_nonlocal.exporting.versions import next_version
from keras_nonlocal.lists.classes import read_classes
from keras_nonlocal.models.config import parse_clip

_FORMAT_OF_ENDING = {
    ".tflite": "tflite",
    ".onnx": "onnx",
    "": "saved_model",
    # A folder may not be called so, as `export` says.
    ".keras": "saved_model",
    ".xml": "saved_model",
}
_WORDS = {
    **CONVERT_WORDS,
    # Whole phrases before the words in them.
    "prepared as for model.predict, a milder `quantize`, or a `tolerance` that your use can bear": (
        "or a milder --quantize"
    ),
    "`path`": "--to",
    "path=": "--to ",
    "`format`": "--format",
    "format=": "--format ",
    "`quantize`": "--quantize",
    "quantize=": "--quantize ",
    "overwrite=True": "--overwrite",
    "`model`": "MODEL",
    "`source`": "--source-of-weights",
    "source=": "--source-of-weights ",
    "`clip`": "--clip",
    "clip=": "--clip ",
    "`clips`": "--clips",
    "clips=None": "no --clips",
    ", as an array or a tf.data.Dataset,": "",
    "`class_names`": "--classes",
    "keras_nonlocal.lists.classes.read_classes gives those of a file.": "",
    "`input_shape`": "the shape of --clip and --crop",
    "input_shape=": "",
    "`tolerance` is": "no more is let through than",
}
_WORDS_OF_VIDEOS = {"`source`": "--clips", ", or name it by `format`": ""}


def add_arguments(parser):
    """Says what can follow `export`."""
    parser.description = (
        "Writes a network for TF Serving, TFLite, ONNX Runtime or OpenVINO, runs what it wrote, "
        "and keeps it only if it answers as the network does."
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a name of `keras-nonlocal weights`, a .keras file, or a published file",
    )
    parser.add_argument(
        "--to",
        required=True,
        metavar="PATH",
        help="file (.tflite, .onnx) or folder to write; TF Serving wants a numbered one: served/1",
    )
    parser.add_argument(
        "--next-version",
        action="store_true",
        help="write into PATH, under the number after the highest there",
    )
    parser.add_argument("--format", choices=FORMATS, help="as PATH ends; of a folder saved_model")
    parser.add_argument(
        "--quantize",
        choices=QUANTIZATIONS[1:],
        help="of TFLite: weights of 16 bits, of 8 bits, or 8 bits throughout",
    )
    parser.add_argument(
        "--clips",
        metavar="SOURCE",
        help="videos to compare on, and to calibrate int8 by: a folder, a list, or annotations",
    )
    network = parser.add_argument_group("network")
    arguments.add_network_arguments(network)
    network.add_argument("--classes", metavar="FILE", help="names of its classes, one a line")
    network.add_argument(
        "--crop",
        type=arguments.count,
        metavar="PIXELS",
        help="side of the clips, if it is to be another than MODEL was trained with",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what stands at PATH")


def run(chosen):
    """Exports a network, and prints what came out and the Python for it."""
    with printing.warnings_told(), printing.told_in_words_of_the_command(_WORDS):
        return _run(chosen)


def _run(chosen):
    form = chosen.format or _format_of(chosen.to)
    if chosen.next_version and form in ("tflite", "onnx"):
        raise ValueError(
            f"--next-version must be left out for {form}, as versions are folders. Received: --to "
            f"{chosen.to}."
        )
    path = str(next_version(chosen.to)) if chosen.next_version else chosen.to
    options = {
        "format": form,
        "quantize": chosen.quantize,
        "source": chosen.source_of_weights,
        "clip": chosen.clip,
        "overwrite": chosen.overwrite or None,
    }
    options = {key: value for key, value in options.items() if value is not None}
    shape = None
    if chosen.crop is not None:
        shape = _shape_of(chosen)
        options["input_shape"] = shape
    model = load_model(chosen.model, chosen.source_of_weights, chosen.clip, shape)
    shape = shape or model.input_shape[1:]
    facts = facts_of(model, shape)
    if form == "tflite" and None in facts.input_shape and len(facts.input_shape) == 4:
        raise ValueError(
            "--clip and --crop must be given for TFLite, whose sizes are fixed, where MODEL leaves "
            f"some open. Received: an input of shape {facts.input_shape}. Add for example "
            f"--clip {facts.input_shape[0] or 8}x2 --crop {facts.input_shape[1] or 224}."
        )
    lines, more = [], {}
    if chosen.classes:
        more["class_names"] = read_classes(chosen.classes)
        lines.append(f"names = {calls.write_call('read_classes', chosen.classes)}")
    if chosen.clips:
        check_takes_floats(facts, chosen.model)
        facts = facts_of(model, shape, **_said(chosen))
        with printing.told_in_words_of_the_command(_WORDS_OF_VIDEOS):
            videos = data.read_videos(chosen.clips)
        views = _view_options(facts)
        if chosen.quantize == "int8":
            # Where there are few videos, several clips of each: half to calibrate, half to compare.
            views["num_clips"] = -(-2 * LEAST_CALIBRATION_CLIPS // len(videos))
        clips = data.evaluation_clips(videos, **views).dataset()
        lines.append(f"videos = {calls.write_call('knl.data.read_videos', chosen.clips)}")
        views = calls.write_call("", **views)[1:-1]
        lines.append(f"clips = knl.data.evaluation_clips(videos, {views}).dataset()")
        if not facts.include_preprocessing:
            clips = clips.map(lambda clips, labels: (facts.prepare(clips), labels))
            prepare = f"knl.preprocess_input(clips, {facts.source!r})"
            lines.append(f"clips = clips.map(lambda clips, labels: ({prepare}, labels))")
        more["clips"] = clips
    try:
        written = export(model, path, **options, **more)
    except tf.errors.OpError as error:
        # A video that cannot be read, above all.
        raise ValueError(printing.reason_of(error)) from error
    except RuntimeError as error:
        # It answers otherwise, or Keras runs on another backend: told in one line like others.
        raise ValueError(str(error)) from error
    found = read_report(written)
    print(f"Wrote {written}, and a report, {report_path(written)}\n")
    printing.print_pairs(_describe(found))
    given = [calls.write_call("", chosen.model, path, **options)[1:-1]]
    given += ["class_names=names"] * bool(chosen.classes) + ["clips=clips"] * bool(chosen.clips)
    lines = [*lines, f"knl.export({', '.join(given)})"]
    imports = "import keras_nonlocal as knl\n"
    if chosen.classes:
        imports += "from keras_nonlocal.lists.classes import read_classes\n"
    takes_clips = len(shape) == 4 and shape[-1] == 3 and "float" in facts.dtype
    known = (facts.source or chosen.source_of_weights, facts.clip or chosen.clip)
    if takes_clips and None in known:
        printing.complain(
            "warning",
            "It does not tell how clips are prepared; --source-of-weights and --clip say so.",
        )
    print("\nThe same in Python:\n\n" + imports + "\n" + "\n".join(lines))
    return 0


def _format_of(path):
    ending = pathlib.Path(path).suffix.lower()
    # Of "served/1.5" the rest is a number, and no ending.
    ending = ending if ending[1:2].isalpha() else ""
    if ending not in _FORMAT_OF_ENDING:
        raise ValueError(
            f"--format must be given where --to ends in {ending}, which no format has. Received: "
            f"--to {path}."
        )
    return _FORMAT_OF_ENDING[ending]


def _said(chosen):
    return {"source": chosen.source_of_weights, "clip": chosen.clip}


def _shape_of(chosen):
    if chosen.clip is None:
        raise ValueError("--clip must be given with --crop, which says the frames: 8x8.")
    frames, _ = parse_clip(chosen.clip.partition("@")[0])
    return (frames, chosen.crop, chosen.crop, 3)


def _view_options(facts):
    """The arguments of `evaluation_clips` for the clips that the network is compared on."""
    for option, value in (("--source-of-weights", facts.source), ("--clip", facts.clip)):
        if value is None:
            raise ValueError(
                f"{option} must be given with --clips, as MODEL does not tell it. Networks of this "
                "package do."
            )
    _, height, width, _ = facts.input_shape
    if height is None or height != width:
        raise ValueError(
            "--crop must be given with --clips where MODEL leaves its size open. Received: an "
            f"input of shape {facts.input_shape}."
        )
    return {"clip": facts.clip, "size": height, "batch_size": 4}


def _describe(found):
    agreed = found["agreement"]
    yield "size", f"{found['bytes'] / 1e6:.2f} MB"
    yield "takes", found["takes"] + f", {tuple(found['input_shape'])}"
    yield "a clip", f"{found['milliseconds_a_clip']:.1f} ms by {found['runtime']}"
    if found["all_operations"]:
        told = f"{found['accelerated_operations']} of {found['all_operations']} operations"
        yield "fast path", told
    yield "agreement", agreed["summary"]

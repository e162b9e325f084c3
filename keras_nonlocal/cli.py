"""The command line: `keras-nonlocal convert`, `weights` and `verify`."""

import argparse
import contextlib
import difflib
import os
import sys
import textwrap
import warnings

import keras_nonlocal
from keras_nonlocal.checkpoints import description, inspection, listing, rules, zoo
from keras_nonlocal.export import destination
from keras_nonlocal.models import calls, summary

_SUFFIXES = (".keras", ".weights.h5", ".pkl", ".pth", ".pyth")
_MODES = ("embedded_gaussian", "dot_product", "gaussian", "concatenation")


def main(arguments=None):
    """Runs the command line.

    Args:
        arguments: list of words; `None` takes those of the process.

    Returns:
        The exit code: 0, or 1 after an error, which stands on stderr in one line.

    Raises:
        SystemExit: with code 2, on arguments that are none.

    Example:

    >>> main(["weights", "camera_motion"])  # doctest: +ELLIPSIS
    camera_motion
      load        model = knl.NLI3D(weights="camera_motion")
    ...
    0
    """
    chosen = _build_parser().parse_args(arguments)
    try:
        return chosen.run(chosen)
    except (ValueError, OSError, ImportError) as fault:
        _complain("error", fault)
        return 1


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        _complain("error", f"{message}. See {self.prog} --help.")
        sys.exit(2)


def _build_parser():
    parser = _Parser(
        prog="keras-nonlocal",
        description="Published weights of video networks: what there are, what is in a file, and "
        "files of others as files of Keras.",
    )
    parser.add_argument("--version", action="version", version=keras_nonlocal.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    convert = commands.add_parser("convert", help="make a Keras file of a published file")
    convert.set_defaults(run=_convert)
    convert.description = (
        "Reads a published file and writes the network that it holds. What the file does not tell "
        "must be said: above all whose it is (--source) and for which clips (--clip)."
    )
    convert.add_argument("file", metavar="FILE", help="a .pkl, .pth, .pyth or .safetensors file")
    convert.add_argument(
        "--to",
        required=True,
        metavar="OUT",
        help="file to write: .keras (the whole model), .weights.h5 (weights for the builder), or "
        ".pkl, .pth, .pyth (the format of another implementation, see --to-source)",
    )
    convert.add_argument("--source", choices=rules.SOURCES, help="whose file it is")
    convert.add_argument(
        "--clip",
        metavar="FRAMESxSTRIDE",
        help="of the clips it was trained on; if left out: what the name of the file or the "
        "config in it says, else 8x8",
    )
    convert.add_argument(
        "--crop", type=_pixels, default=224, metavar="PIXELS", help='224; "any" leaves it open'
    )
    convert.add_argument("--mode", choices=_MODES, help="of the non-local blocks")
    convert.add_argument(
        "--pool2", action=argparse.BooleanOptionalAction, help="pooling of frames after stage 2"
    )
    convert.add_argument("--classes", type=_count, help="other than the file's: a new classifier")
    convert.add_argument("--logits", action="store_true", help="no softmax at the end")
    convert.add_argument(
        "--except-for",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATTERN",
        help='tensors or layers to leave out, such as "predictions"',
    )
    convert.add_argument(
        "--to-source", choices=rules.SOURCES, help="whose format to write; --source if left out"
    )
    convert.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")

    weights = commands.add_parser("weights", help="list the weights that are known by name")
    weights.set_defaults(run=_weights)
    weights.add_argument("name", nargs="?", metavar="NAME", help="all that is known of one")
    weights.add_argument("--json", action="store_true", help="for other programs")

    verify = commands.add_parser("verify", help="say what is in a file, and how to load it")
    verify.set_defaults(run=_verify)
    verify.add_argument("files", nargs="+", metavar="FILE")
    return parser


def _count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return int(text)


def _pixels(text):
    return None if text == "any" else _count(text)


def _convert(chosen):
    if not chosen.to.endswith(_SUFFIXES):
        raise ValueError(f"--to must end in one of {', '.join(_SUFFIXES)}. Received: {chosen.to}.")
    if os.path.isdir(chosen.to) or (os.path.exists(chosen.to) and not chosen.overwrite):
        raise FileExistsError(f"{chosen.to} exists already. Add --overwrite, or write elsewhere.")
    findings = inspection.inspect_file(chosen.file)
    given = _given_options(chosen)
    options = {
        "source": chosen.source or inspection.choose_source(findings),
        "clip": findings.clip or "8x8",
        **given,
    }
    with _warnings_told():
        model = keras_nonlocal.load_checkpoint(chosen.file, **options)
    to_source = chosen.to_source or model.source
    with destination.written_beside(chosen.to) as written:
        _write(model, written, to_source)
    print(f"Read {chosen.file}")
    network = calls.facts_of(model)
    _print_pairs(description.describe_loaded(findings, network, given))
    if findings.record:
        _print_pairs(description.describe_record(chosen.file, findings.record))
    _print_pairs([("parameters", f"{summary.count_parameters(model):,}")])
    print(f"\nWrote {chosen.to}, {description.megabytes(chosen.to)}")
    print(f"\nThe same in Python:\n\n{_write_conversion(chosen, options, to_source)}")
    print(f"\nFrom a video to what it shows, with {chosen.to}:\n")
    print(_write_prediction(model, network, chosen, options, to_source))
    return 0


def _given_options(chosen):
    """The options that were given, by the names that they have in Python."""
    names = ("source", "clip", "mode", "pool2", "classes")
    options = {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}
    if chosen.crop != 224:
        options["crop"] = chosen.crop
    if chosen.logits:
        options["classifier_activation"] = None
    if chosen.except_for:
        options["except_for"] = chosen.except_for
    return options


def _write(model, path, source):
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.suffix == ".keras":
        model.save(path)
    else:
        keras_nonlocal.save_checkpoint(model, path, source=source)


def _write_conversion(chosen, options, to_source):
    """Python that does what was done."""
    load = calls.write_call("knl.load_checkpoint", chosen.file, **options)
    out = calls.write_call("", chosen.to)[1:]
    save = f'knl.save_checkpoint(model, {out[:-1]}, source="{to_source}")'
    if chosen.to.endswith(".weights.h5"):
        save = f"model.save_weights({out}"
    elif chosen.to.endswith(".keras"):
        save = f"model.save({out}"
    return f"import keras_nonlocal as knl\n\nmodel = {load}\n{save}"


def _write_prediction(model, network, chosen, options, to_source):
    """Python that uses what was written."""
    imports = "import keras_nonlocal as knl\n"
    if chosen.to.endswith(".keras"):
        imports = f"import keras\n{imports}"
        load = calls.write_call("keras.saving.load_model", chosen.to)
        to_source = model.source
    elif chosen.to.endswith(".weights.h5"):
        more = {"weights": chosen.to}
        if chosen.crop != 224:
            more = {"input_shape": model.input_shape[1:], **more}
        if chosen.logits:
            more = {"classifier_activation": None, **more}
        load = calls.write_builder_call(network, **more)
        to_source = model.source
    else:
        keys = ("clip", "mode", "pool2", "crop", "classifier_activation")
        more = {key: options[key] for key in keys if key in options}
        load = calls.write_call("knl.load_checkpoint", chosen.to, source=to_source, **more)
    pixels = {"crop": chosen.crop} if chosen.crop not in (None, 224) else {}
    views = calls.write_call("", model.clip, source=to_source, **pixels)[1:]
    activation = ', activation="softmax"' if chosen.logits else ""
    named = "knl.decode_predictions(probabilities)"
    return f"""\
{imports}
model = {load}
videos = knl.data.VideoList(["video.mp4"], labels=[0], classes=["unknown"])
views = knl.data.clip_dataset(videos, {views}
probabilities, _ = knl.evaluation.predict_views(model, views{activation})
print({named if model.class_names else "probabilities.argmax(axis=-1)"})"""


def _weights(chosen):
    checkpoints = keras_nonlocal.list_weights()
    if chosen.name is not None:
        like = difflib.get_close_matches(chosen.name, zoo.CHECKPOINTS, n=3, cutoff=0.5)
        if chosen.name not in zoo.CHECKPOINTS:
            hint = f"Names like it: {', '.join(like)}. " if like else ""
            raise ValueError(
                f"No weights are known by the name {chosen.name!r}. {hint}"
                "keras-nonlocal weights lists them all."
            )
        checkpoints = [zoo.CHECKPOINTS[chosen.name]]
    if chosen.json:
        print(listing.write_json(checkpoints))
    elif chosen.name is None:
        print(listing.write_table(checkpoints))
    else:
        print(chosen.name)
        _print_pairs(listing.describe_checkpoint(checkpoints[0]))
    return 0


def _verify(chosen):
    loads = [_verify_file(path) for path in chosen.files]
    return 0 if all(loads) else 1


def _verify_file(path):
    """Prints what is in a file; gives whether it loads."""
    print(_printable(path))
    record = zoo.find_file(path)
    try:
        if record and os.path.isfile(path):
            _print_pairs(description.describe_record(path, record))
        findings = inspection.inspect_file(path)
        _print_pairs(description.describe_file(findings))
        attempts = list(inspection.attempt(findings))
    # A file that lies may end NumPy and Keras in any way; the other files are still to come.
    except Exception as fault:
        _complain("error", fault)
        return False
    loading = [(function, options) for function, options, fault in attempts if fault is None]
    for function, options in loading:
        if function == "knl.inflate_weights":
            _print_pairs([("loads", f"model = {calls.write_call('knl.NLI3D', **options)}")])
            _print_pairs([("", f"{calls.write_call(function, path).replace('(', '(model, ', 1)}")])
        else:
            _print_pairs([("loads", f"model = {calls.write_call(function, path, **options)}")])
    if len(loading) > 1:
        known = f": {record.source}, if it is {record.name}" if record else ""
        _print_pairs([("note", f"these give different numbers; take whose file it is{known}")])
    if not loading:
        _complain("error", attempts[0][-1])
    return bool(loading)


def _print_pairs(pairs):
    for heading, text in pairs:
        # Python is not broken, so that it can be pasted.
        width = 10_000 if heading in ("load", "loads", "") else 100
        indents = {"initial_indent": f"  {heading:<12}", "subsequent_indent": " " * 14}
        lines = textwrap.wrap(
            _printable(text), width, break_long_words=False, break_on_hyphens=False, **indents
        )
        print("\n".join(lines))


@contextlib.contextmanager
def _warnings_told():
    """Prints warnings in a line each, without the code that they come from."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for warning in caught:
                _complain("warning", warning.message)


def _complain(kind, fault):
    """Prints an error or a warning as one line, however many it has."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    text = "; ".join([*(line.rstrip(".") for line in lines[:-1]), *lines[-1:]])
    text = text or type(fault).__name__
    sys.stdout.flush()
    print(f"keras-nonlocal: {kind}: {_printable(text)[:4000]}", file=sys.stderr)


def _printable(text):
    """Text with whatever a file may have put in to move the cursor, written as escapes."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


if __name__ == "__main__":
    sys.exit(main())

"""`keras-nonlocal convert`: a Keras file of a published file, and the Python that does the same."""

import argparse
import os

import keras_nonlocal
from keras_nonlocal.checkpoints import detection, key_maps, registry
from keras_nonlocal.commands import arguments, calls, printing, verify
from keras_nonlocal.exporting import destination
from keras_nonlocal.models import flops
from keras_nonlocal.models.video_resnet import config_of

_SUFFIXES = (".keras", ".weights.h5", ".pkl", ".pth", ".pyth")
_WORDS = {
    "pool2=True": "--pool2",
    "pool2=False": "--no-pool2",
    "mode=": "--mode ",
    "clip=": "--clip ",
    "source=": "--source ",
    "`mode`": "--mode",
    "`pool2`": "--pool2",
    "`clip`": "--clip",
    "`source`": "--source",
}
_MODES = ("embedded_gaussian", "dot_product", "gaussian", "concatenation")


def add_arguments(parser):
    """Says what can follow `convert`."""
    parser.description = (
        "Reads a published file and writes the network that it holds. What the file does not tell "
        "must be said: above all whose it is (--source) and for which clips (--clip)."
    )
    parser.add_argument("file", metavar="FILE", help="a .pkl, .pth, .pyth or .safetensors file")
    parser.add_argument(
        "--to",
        required=True,
        metavar="OUT",
        help="file to write: .keras (the whole model), .weights.h5 (weights for the builder), or "
        ".pkl, .pth, .pyth (the format of another implementation, see --to-source)",
    )
    parser.add_argument("--source", choices=key_maps.SOURCES, help="whose file it is")
    parser.add_argument(
        "--clip",
        metavar="FRAMESxSTRIDE",
        help="of the clips it was trained on (default: what the config in the file or the record "
        "of a published file says)",
    )
    parser.add_argument(
        "--crop",
        type=arguments.pixels,
        default=224,
        metavar="PIXELS",
        help='224; "any" leaves it open',
    )
    parser.add_argument("--mode", choices=_MODES, help="of the non-local blocks")
    parser.add_argument(
        "--pool2", action=argparse.BooleanOptionalAction, help="pooling of frames after stage 2"
    )
    parser.add_argument(
        "--classes", type=arguments.count, help="other than the file's: a new classifier"
    )
    parser.add_argument("--logits", action="store_true", help="no softmax at the end")
    parser.add_argument(
        "--except-for",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATTERN",
        help='tensors or layers to leave out, such as "predictions"',
    )
    parser.add_argument(
        "--to-source", choices=key_maps.SOURCES, help="whose format to write; --source if left out"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def run(chosen):
    """Converts a file, and prints what was read, what was written and how to use it."""
    if not chosen.to.endswith(_SUFFIXES):
        raise ValueError(f"--to must end in one of {', '.join(_SUFFIXES)}. Received: {chosen.to}.")
    if os.path.isdir(chosen.to) or (os.path.exists(chosen.to) and not chosen.overwrite):
        raise FileExistsError(f"{chosen.to} exists already. Add --overwrite, or write elsewhere.")
    given = _given_options(chosen)
    with printing.warnings_told(), printing.told_in_words_of_the_command(_WORDS):
        contents = detection.read_contents(chosen.file)
        model = keras_nonlocal.load_checkpoint(contents, **given)
    options = {"source": model.source, "clip": model.clip, **given}
    to_source = chosen.to_source or model.source
    with destination.written_beside(chosen.to) as written:
        _write(model, written, to_source)
    print(f"Read {chosen.file}")
    network = config_of(model)
    printing.print_pairs(verify.describe(contents, model.source, given))
    if record := registry.find_file(chosen.file):
        printing.print_pairs(verify.describe_record(chosen.file, record))
    printing.print_pairs([("parameters", f"{flops.count_parameters(model):,}")])
    print(f"\nWrote {chosen.to}, {verify.megabytes(chosen.to)}")
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
    elif chosen.to.endswith(".weights.h5"):
        more = {"weights": chosen.to}
        if chosen.crop != 224:
            more = {"input_shape": model.input_shape[1:], **more}
        if chosen.logits:
            more = {"classifier_activation": None, **more}
        load = calls.write_builder_call(network, **more)
    else:
        keys = ("clip", "mode", "pool2", "crop", "classifier_activation")
        more = {key: options[key] for key in keys if key in options}
        load = calls.write_call("knl.load_checkpoint", chosen.to, source=to_source, **more)
    size = {"size": chosen.crop} if chosen.crop not in (None, 224) else {}
    views = calls.write_call("", model.clip, **size)[1:-1]
    activation = ', activation="softmax"' if chosen.logits else ""
    named = "knl.decode_predictions(probabilities)"
    return f"""\
{imports}
model = {load}
videos = knl.data.VideoList(["video.mp4"], labels=[0], class_names=["unknown"])
views = knl.data.evaluation_clips(videos, {views}).dataset()
probabilities, _ = knl.evaluation.predict_views(model, views{activation})
print({named if model.class_names else "probabilities.argmax(axis=-1)"})"""

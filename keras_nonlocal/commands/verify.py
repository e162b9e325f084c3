"""`keras-nonlocal verify`: what is in checkpoint files, and the calls that load them."""

import collections
import os
import warnings

from keras_nonlocal.checkpoints import detection, download, loading, registry, state_dict, transfer
from keras_nonlocal.commands import calls, printing
from keras_nonlocal.models.config import DEPTHS, KINDS, ResNet3DConfig
from keras_nonlocal.models.video_resnet import build_network

# Arguments of load_checkpoint that a file may not tell: what to pass, and a value to try, as the
# value does not change whether the file loads.
_ARGUMENTS = {
    "clip": ('such as "8x8"', "8x8"),
    "mode": ('"embedded_gaussian" or "dot_product"', "embedded_gaussian"),
    "pool2": ("True or False", True),
}


def add_arguments(parser):
    """Adds the arguments of `verify`."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="checkpoint file")


def run(chosen):
    """Describes each file; returns 1 if one of them does not load."""
    loads = [_verify_file(path) for path in chosen.files]
    return 0 if all(loads) else 1


def _verify_file(path):
    """Describes a file; returns whether it loads."""
    print(printing.printable(path))
    record = registry.find_file(path)
    try:
        if record and os.path.isfile(path):
            printing.print_pairs(describe_record(path, record))
        contents = detection.read_contents(path)
        printing.print_pairs(describe(contents))
        found = list(_find_calls(contents))
    # A hostile file may end NumPy and Keras in any way; the other files are still to come.
    except Exception as error:
        printing.complain("error", error)
        return False
    loading_calls = [each for each in found if each[-1] is None]
    for lines, *_ in loading_calls:
        printing.print_pairs(zip(("loads", ""), lines, strict=False))
    if unknown := {key for _, keys, _ in loading_calls for key in keys}:
        choices = "; ".join(f"{key} {_ARGUMENTS[key][0]}" for key in _ARGUMENTS if key in unknown)
        printing.print_pairs([("note", f"put in what the file does not tell: {choices}")])
    if len(loading_calls) > 1:
        published = f": {record.source}, if it is {record.name}" if record else ""
        note = f"these give different numbers; pass the source that wrote the file{published}"
        printing.print_pairs([("note", note)])
    if not loading_calls:
        printing.complain("error", found[0][-1])
    return bool(loading_calls)


def _find_calls(contents):
    """Tries the calls that may load a file.

    Yields:
        Lines of Python, the arguments that are unknown, and the error, `None` if the file loads.
    """
    key_map, path = contents.key_map, contents.path
    loading.check_known(key_map, contents.arrays, path)
    network = contents.network
    if loading.is_image_network(key_map, contents.arrays):
        sizes = {key: network[key] for key in ("depth", "width")}
        config = ResNet3DConfig(**KINDS["NLI3D"], **sizes, source=key_map.sources[0])
        model = build_network(config, initialize=False)
        lines = [f"model = {calls.write_builder_call(config)}"]
        lines.append(calls.write_call("knl.inflate_weights", path).replace("(", "(model, ", 1))
        yield lines, (), _try(transfer.inflate_weights, model, path)
        return
    told = detection.detect(contents, "source")
    for source in [told[0]] if told else key_map.sources:
        options, unknown = {"source": source}, {}
        for argument, (_, value) in _ARGUMENTS.items():
            if argument == "mode" and not network["non_local"]:
                continue
            found = detection.detect(contents, argument, source)
            if found is None:
                options[argument], unknown[argument] = ..., value
            elif argument == "clip":
                options[argument] = found[0]
        if network["classes"] is None:
            options["except_for"] = "predictions"
        error = _try(loading.load_checkpoint, contents, **options | unknown)
        yield (
            [f"model = {calls.write_call('knl.load_checkpoint', path, **options)}"],
            unknown,
            error,
        )


def _try(function, *arguments, **options):
    """Returns the error of a call, or `None`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function(*arguments, **options)
        except Exception as error:
            return str(error) if isinstance(error, ValueError) else repr(error)
    return None


def describe(contents, source=None, given=()):
    """Describes a checkpoint file.

    Args:
        contents: `detection.Contents` of the file.
        source: the implementation that wrote it, if known.
        given: arguments that were passed to load_checkpoint.

    Yields:
        Pairs of a heading and a text.
    """
    arrays, key_map, given = contents.arrays, contents.key_map, dict(given)
    dtypes = collections.Counter(str(array.dtype) for array in arrays.values())
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.items())
    size = sum(array.size for array in arrays.values())
    yield "file", f"{contents.format}, {megabytes(contents.path)}"
    yield "tensors", f"{len(arrays)} ({dtypes}), {size / 1e6:.2f} million numbers"
    if not_finite := state_dict.non_finite(arrays):
        yield "corrupt", f"NaN or infinity in {len(not_finite)} tensors: {_join(not_finite)}"
    if key_map is None:
        yield "names", f"of no supported implementation, such as {_join(sorted(arrays))}"
        return
    yield "names", f"of {key_map.name} (source {' or '.join(map(repr, key_map.sources))})"
    network = contents.network
    depths = {blocks: f"{depth} layers" for depth, blocks in DEPTHS.items()}
    depth = depths.get(network["depth"], f"{'-'.join(map(str, network['depth']))} blocks")
    kind = f"{'NL' * bool(network['non_local'])}{'I3D' if network['inflated'] else 'C2D'}"
    yield "network", f"{kind}, {depth}, width {network['width']}"
    if network["inflated"]:
        yield "inflated", f"{network['inflation']} in {_join_blocks(network['inflated'])}"
    if ids := network["non_local"]:
        yield "non-local", f"{len(ids)}, after {_join_blocks(ids)}"
    yield "norms", "affine (frozen)" if network["frozen_norm"] else "batch norm"
    classes = given.get("classes", network["classes"])
    anew = ", a new classifier" if classes != network["classes"] else ""
    yield "classes", f"{classes or 'none, the file has no classifier'}{anew}"
    if loading.is_image_network(key_map, arrays):
        return
    told = detection.detect(contents, "source")
    source = source or (told and told[0])
    for argument in ("source", "mode", "pool2", "clip"):
        if argument == "mode" and not network["non_local"]:
            continue
        told = (given[argument], "given") if argument in given else None
        told = told or detection.detect(contents, argument, source)
        value, reason = told or ("unknown", f"pass `{argument}`")
        value = {True: "yes", False: "no"}.get(value, value)
        yield argument, f"{value}{', as' if told else ':'} {reason}"


def _join(names):
    return ", ".join(name[:80] for name in names[:4])


def _join_blocks(ids):
    stages = collections.defaultdict(list)
    for stage, block in ids:
        stages[stage].append(str(block))
    return ", ".join(f"stage {stage} block {' '.join(stages[stage])}" for stage in stages)


def describe_record(path, record):
    """Describes the published checkpoint that has the name of a file.

    Args:
        path: path of the file.
        record: the `Checkpoint`.

    Yields:
        Pairs of a heading and a text.
    """
    no_sale = ", no commercial use" if "-NC-" in record.license else ""
    yield "published", f"has the name of {record.name} ({record.license}{no_sale})"
    if record.checksum is None:
        yield "checksum", "not published"
    else:
        algorithm, published = record.checksum
        digest = registry.digest(path, record)
        text = f"its {algorithm} is the publisher's"
        if digest != published:
            text = f"its {algorithm} begins with {digest}, the publisher's with {published}: it is "
            text += "another file, or corrupt"
        yield "checksum", text
    if record.builder is None:
        yield "note", record.note
    else:
        call = calls.write_call(f"knl.{record.builder}", weights=record.name)
        yield "by name", f"{call} loads it from {download.folder()}"


def megabytes(path):
    """Returns the size of a file as text."""
    return f"{os.stat(path).st_size / 1e6:.1f} MB"

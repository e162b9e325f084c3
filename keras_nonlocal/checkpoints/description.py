"""What is in a file of weights, in words: pairs of a heading and a text."""

import collections
import os

from keras_nonlocal.checkpoints import download, inspection, registry, rules, state_dict

_LAYERS = {(3, 4, 6, 3): "50 layers", (3, 4, 23, 3): "101 layers"}


def describe_file(findings):
    """Says what is in a file.

    Args:
        findings: `inspection.Findings` of the file.

    Yields:
        Pairs of a heading and a text.
    """
    arrays, layout = findings.state_dict.tensors, findings.layout
    dtypes = collections.Counter(str(array.dtype) for array in arrays.values())
    numbers = sum(array.size for array in arrays.values())
    yield "file", f"{findings.state_dict.format}, {megabytes(findings.path)}"
    yield (
        "tensors",
        f"{len(arrays)} ({', '.join(f'{n} {d}' for d, n in dtypes.items())}), "
        f"{numbers / 1e6:.2f} million numbers",
    )
    if not_finite := state_dict.non_finite(arrays):
        yield "damage", f"NaN or infinity in {len(not_finite)} tensors, such as {_some(not_finite)}"
    if layout is None:
        yield "names", f"of no network that is known here, such as {_some(sorted(arrays))}"
    else:
        yield "names", f"of {layout.name} (source {' or '.join(map(repr, layout.sources))})"
    if findings.network is not None:
        yield from _describe_network(findings.network)
        if layout is not rules.TORCHVISION:
            yield from _describe_rest(findings)


def _some(names):
    return ", ".join(name[:80] for name in names[:4])


def _describe_network(network):
    depth = _LAYERS.get(network["depth"], f"{'-'.join(map(str, network['depth']))} blocks")
    kind = "I3D" if network["inflated"] else "C2D"
    kind = f"NL{kind}" if network["non_local"] else kind
    yield "network", f"{kind}, {depth}, width {network['width']}"
    if network["inflated"]:
        yield "inflated", f"{network['inflation']} in {_places(network['inflated'])}"
    if network["non_local"]:
        yield "non-local", f"{len(network['non_local'])}, after {_places(network['non_local'])}"
    yield "norms", "affine (frozen)" if network["frozen_norm"] else "batch norm"
    yield "classes", str(network["classes"] or "none, the file has no classifier")


def _places(places):
    blocks = collections.defaultdict(list)
    for stage, block in places:
        blocks[stage].append(str(block))
    return ", ".join(f"stage {stage} block {' '.join(blocks[stage])}" for stage in blocks)


_UNTOLD = {
    "mode": "embedded_gaussian or dot_product: nothing tells; `mode` says which",
    "pool2": "nothing tells; `pool2` says it",
    "clip": "nothing tells; look up what it was trained on, and give it as `clip`",
}


def _describe_rest(findings):
    """What tensors may leave open."""
    source = inspection.tell(findings, "source")
    for argument in ("mode", "pool2", "clip"):
        if argument == "mode" and not findings.network["non_local"]:
            continue
        told = inspection.tell(findings, argument, source and source[0])
        yield argument, _settled(told) if told else _UNTOLD[argument]


def describe_loaded(findings, config, given):
    """Says what is in a file, and what was settled when it was loaded.

    Args:
        findings: `inspection.Findings` of the file.
        config: the `ResNet3DConfig` of the network that was loaded.
        given: keyword arguments that were given by hand.

    Yields:
        Pairs of a heading and a text.
    """
    for heading, text in describe_file(findings):
        if heading in given and heading in _UNTOLD:
            text = _settled((getattr(config, heading), "given"))
        elif heading in _UNTOLD:
            text = _settled(inspection.tell(findings, heading, config.source))
        elif heading == "classes" and config.classes != findings.network["classes"]:
            text = f"{config.classes}, a new classifier"
        yield heading, text
    told = inspection.tell(findings, "source")
    yield "source", _settled((config.source, "given") if "source" in given else told)


def _settled(told):
    """A value and what tells it."""
    value, reason = told
    return f"{ {True: 'yes', False: 'no'}.get(value, value) }, as {reason}"


def describe_record(path, record):
    """Says whether a file is the published one whose name it bears, and how it loads by name.

    Args:
        path: of the file.
        record: the `Checkpoint`.

    Yields:
        Pairs of a heading and a text.
    """
    licence = f"{record.licence}{', no commercial use' if '-NC-' in record.licence else ''}"
    yield "zoo", f"bears the name of {record.name} ({licence})"
    if record.checksum is None:
        yield "checksum", "its publisher states none"
    else:
        algorithm, beginning = record.checksum
        digest = registry.digest(path, algorithm)
        fits = digest.startswith(beginning)
        yield (
            "checksum",
            f"its {algorithm} is the publisher's"
            if fits
            else f"its {algorithm} begins with {digest[: len(beginning)]}, the publisher's with "
            f"{beginning}: it is another file, or damaged",
        )
    if record.builder is None:
        yield "note", record.note
    else:
        yield (
            "by name",
            (
                f'knl.{record.builder}(weights="{record.name}") loads it once it lies in '
                f"{download.folder()}"
            ),
        )


def megabytes(path):
    """Gives the size of a file as text."""
    return f"{os.stat(path).st_size / 1e6:.1f} MB"

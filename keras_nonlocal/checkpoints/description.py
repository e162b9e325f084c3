"""What is in a file of weights, in words: pairs of a heading and a text."""

import collections
import hashlib
import os

import numpy as np

from keras_nonlocal.archives import readers
from keras_nonlocal.checkpoints import fetching, inspection, rules

_LAYERS = {(3, 4, 6, 3): "50 layers", (3, 4, 23, 3): "101 layers"}


def describe_file(findings):
    """Says what is in a file.

    Args:
        findings: `inspection.Findings` of the file.

    Yields:
        Pairs of a heading and a text.
    """
    arrays, layout = findings.archive.arrays, findings.layout
    dtypes = collections.Counter(str(array.dtype) for array in arrays.values())
    numbers = sum(array.size for array in arrays.values())
    yield "file", f"{findings.archive.container}, {megabytes(findings.path)}"
    yield (
        "tensors",
        f"{len(arrays)} ({', '.join(f'{n} {d}' for d, n in dtypes.items())}), "
        f"{numbers / 1e6:.2f} million numbers",
    )
    if not_finite := readers.non_finite(arrays):
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


def _describe_rest(findings):
    """What tensors may leave open."""
    mode, pool2 = inspection.tell_mode(findings), inspection.tell_pool2(findings)
    if findings.network["non_local"]:
        unknown = "embedded_gaussian or dot_product: nothing tells; `mode` says which"
        yield "mode", f"{mode[0]}, as {mode[1]}" if mode else unknown
    unknown = "nothing tells; `pool2` says it where it is not as usual"
    yield "pool2", f"{'yes' if pool2[0] else 'no'}, as {pool2[1]}" if pool2 else unknown
    unknown = "nothing tells; look up what it was trained on, and give it as `clip`"
    yield "clip", f"{findings.clip}, as {findings.clip_from}" if findings.clip else unknown


def describe_loaded(findings, network, given):
    """Says what is in a file, and what was settled when it was loaded.

    Args:
        findings: `inspection.Findings` of the file.
        network: facts of the network that was loaded, with source and clip among them.
        given: keyword arguments that were given by hand.

    Yields:
        Pairs of a heading and a text.
    """
    clip = (findings.clip, findings.clip_from) if findings.clip else None
    told = {
        "mode": inspection.tell_mode(findings),
        "pool2": inspection.tell_pool2(findings),
        "clip": clip,
        "source": (network["source"], "the names tell"),
    }
    for heading, text in describe_file(findings):
        if heading in told:
            text = _settled(heading, network[heading], heading in given, told[heading])
        elif heading == "classes" and network["classes"] != findings.network["classes"]:
            text = f"{network['classes']}, a new classifier"
        yield heading, text
    yield "source", _settled("source", network["source"], "source" in given, told["source"])


def _settled(argument, value, given, told):
    """A value and where it is from: the command line, the file, or nowhere."""
    value = {True: "yes", False: "no"}.get(value, value)
    if given:
        return f"{value}, as given"
    if told:
        return f"{value}, as {told[1]}"
    return f"{value} is taken, nothing in the file tells; `{argument}` says otherwise"


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
        # A view, as files may be larger than memory; there is none of nothing.
        content = np.memmap(path, mode="r") if os.stat(path).st_size else b""
        digest = hashlib.new(algorithm, content).hexdigest()
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
                f"{fetching.folder()}"
            ),
        )


def megabytes(path):
    """Gives the size of a file as text."""
    return f"{os.stat(path).st_size / 1e6:.1f} MB"

"""What a file of weights tells of its network, without building it."""

import dataclasses
import os
import pathlib
import re

import numpy as np

from keras_nonlocal.checkpoints import assignment, facts, hints, registry, rules, state_dict
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.layout import Layout
from keras_nonlocal.checkpoints.registry import Checkpoint
from keras_nonlocal.models.config import ResNet3DConfig

# Four frames or more, up to 16 apart: neither kernels (3x1x1) nor sizes of pictures (224x224).
_NAMED_CLIP = r"(?<![0-9x])((?:[4-9]|[1-9][0-9]{1,2})x(?:[1-9]|1[0-6]))(?:x1)?(?![0-9x])"
# Implementations whose networks all pool frames after stage 2.
_ALWAYS_POOL2 = ("video-nonlocal-net", "gluoncv")
_MODES = ("embedded_gaussian", "dot_product")


@dataclasses.dataclass(frozen=True)
class Findings:
    """What was found in a file that can be read.

    Attributes:
        path: of the file, a string.
        state_dict: its tensors, and the metadata stored beside them.
        layout: how its tensors are named; `None` if no known network names them so.
        tensors: arrays by address.
        strangers: names without an address.
        network: the facts of `facts.read_facts`; `None` if the tensors are of no network.
        fault: the `CheckpointError` that says why, or `None`.
        record: the published checkpoint that the file is, by its name, its checksum where one is
            known, and its tensors; or `None`.
        config: what the stored config says, see `hints.read_config`.
    """

    path: str
    state_dict: state_dict.StateDict
    layout: Layout | None
    tensors: dict[str, np.ndarray]
    strangers: list[str]
    network: dict | None
    fault: CheckpointError | None
    record: Checkpoint | None
    config: dict

    @property
    def sources(self):
        """Sources whose files bear these names."""
        return [s for s in rules.SOURCES if self.layout and s in self.layout.sources]


def inspect_file(path):
    """Reads a file of weights and looks at what it tells.

    Args:
        path: path of the file.

    Returns:
        `Findings`.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    path = os.fspath(path)
    content = state_dict.read_state_dict(path)
    layout, arrays = assignment.recognise(content.tensors)
    content = dataclasses.replace(content, tensors=arrays)
    tensors, strangers, network, fault = {}, [], None, None
    if layout is not None:
        try:
            tensors, strangers = assignment.address_tensors(arrays, layout)
            network = facts.read_facts(tensors)
        except CheckpointError as error:
            fault = error
    record = registry.find_file(path)
    if record is not None and not _is_of_record(path, network, record):
        record = None
    config = hints.read_config(content.metadata)
    return Findings(path, content, layout, tensors, strangers, network, fault, record, config)


def _is_of_record(path, network, record):
    """Whether a file that bears the name of a published one has its tensors and checksum."""
    if record.builder is None or network is None:
        return False
    known = record.config
    keys = ("depth", "width", "classes", "inflation", "inflated", "non_local", "frozen_norm")
    if any(getattr(known, key) != network[key] for key in keys):
        return False
    return network["mode"] in (None, known.mode) and registry.has_checksum(path, record)


def tell(findings, argument, source=None):
    """Returns what a file tells about an argument of `load_checkpoint`.

    Args:
        findings: of the file, with a network.
        argument: "source", "clip", "mode" or "pool2".
        source: whose file it is, as far as that is known.

    Returns:
        The value and what tells it, or `None` if nothing does.
    """
    layout, network, record = findings.layout, findings.network, findings.record
    if argument == "source" and len(findings.sources) == 1:
        return findings.sources[0], "the names tell"
    if argument == "mode" and network["mode"]:
        return network["mode"], "the tensors tell"
    if argument == "mode" and len(layout.modes) == 1:
        return layout.modes[0], f"always in {layout.name}"
    if argument == "pool2" and layout.pool2 is not None:
        return layout.pool2, "the numbers in the names tell"
    if argument == "pool2" and source in _ALWAYS_POOL2:
        return True, f"always in networks of {source}"
    if record is not None:
        return getattr(record.config, argument), f"the record of {record.name} says"
    if findings.config[argument] is not None:
        return findings.config[argument], "the stored config says"
    if argument == "pool2" and source == "pyslowfast" and _is_slow(network):
        return False, "always where the late stages alone are inflated"
    return None


def _is_slow(network):
    return network["inflated"] and min(stage for stage, _ in network["inflated"]) > 3


def resolve(findings, **given):
    """Returns the arguments of `load_checkpoint` that tensors may leave open.

    Args:
        findings: of the file, with a network.
        **given: source, clip, mode and pool2, each `None` if it was not given.

    Returns:
        Dictionary of the four.

    Raises:
        CheckpointError: if one is neither told nor given, or if the two differ.
    """
    source = _resolve(findings, "source", given["source"], tell(findings, "source"))
    if not findings.network["non_local"]:
        if given["mode"] is not None:
            raise CheckpointError(
                f"`mode` is for files with non-local blocks, and this has none. Received: "
                f"mode={given['mode']!r}. Leave it out."
            )
        mode = ResNet3DConfig.mode
    else:
        told = tell(findings, "mode")
        if told is None and given["mode"] not in (None, *_MODES):
            raise CheckpointError(
                f"`mode` must be {' or '.join(map(repr, _MODES))}: the tensors of the non-local "
                f"blocks are of no other. Received: mode={given['mode']!r}."
            )
        mode = _resolve(findings, "mode", given["mode"], told)
    if mode not in (None, *findings.layout.modes) and findings.network["non_local"]:
        raise CheckpointError(
            f"`mode` must be {' or '.join(map(repr, findings.layout.modes))} in files of "
            f"{findings.layout.name}. Received: {mode!r}."
        )
    pool2 = _resolve(findings, "pool2", given["pool2"], tell(findings, "pool2", source))
    clip = _resolve(findings, "clip", given["clip"], tell(findings, "clip"))
    resolved = {"source": source, "clip": clip, "mode": mode, "pool2": pool2}
    # Many sources have one `pool2`, so it is only asked for once the source is known.
    missing = [
        _way_out(findings, argument)
        for argument, value in resolved.items()
        if value is None and (argument != "pool2" or source is not None)
    ]
    if missing:
        if record := registry.find_file(findings.path):
            missing.append(f"The file has the name of {record.name}, but not its content.")
        raise CheckpointError(" ".join(missing))
    return resolved


_WAYS_OUT = {
    "clip": "Pass clip='8x8', or what else the network was trained on, as frames x stride.",
    "mode": "Pass mode='embedded_gaussian' or mode='dot_product', which have the same tensors.",
    "pool2": "Pass pool2=True or pool2=False, for a network with or without the max-pooling over "
    "frames after stage 2.",
}
_CHANGES = {
    "clip": " For other clips build a network with that `clip` and call transfer_weights(network, "
    "model) with the one that is loaded here."
}


def _way_out(findings, argument):
    """Returns what to pass for an argument that a file leaves open."""
    way_out = _WAYS_OUT.get(argument)
    if argument == "source":
        named = " and ".join(findings.sources)
        way_out = f"Pass source={' or source='.join(map(repr, findings.sources))}: {named} "
        way_out += "name their tensors alike, and compute other numbers with them."
    elif argument == "clip":
        if match := re.search(_NAMED_CLIP, pathlib.Path(findings.path).name):
            way_out += f" The file's name mentions {match[1]}."
    return f"`{argument}` is not stored in {findings.path!r}. {way_out}"


def _resolve(findings, argument, given, told):
    path = findings.path
    if told is not None and given not in (None, told[0]):
        so = "" if told[1].startswith("always") else " so"
        raise CheckpointError(
            f"`{argument}` must be {told[0]!r} for {path!r}: {told[1]}{so}. Received: "
            f"{argument}={given!r}. Leave it out.{_CHANGES.get(argument, '')}"
        )
    return told[0] if given is None and told is not None else given

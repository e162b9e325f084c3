"""What a file of weights is: whose, of which network, and what loads it."""

import dataclasses
import json
import os
import pathlib
import re
import warnings

from keras_nonlocal.archives import readers
from keras_nonlocal.archives.errors import CheckpointError
from keras_nonlocal.checkpoints import assignment, facts, hints, image_networks, rules
from keras_nonlocal.checkpoints.inflation import inflate_weights
from keras_nonlocal.checkpoints.layout import Layout
from keras_nonlocal.checkpoints.load import build_network, load_checkpoint
from keras_nonlocal.checkpoints.record import Checkpoint
from keras_nonlocal.checkpoints.zoo import find_file

# Four frames or more, up to 16 apart: neither kernels (3x1x1) nor sizes of pictures (224x224).
_NAMED_CLIP = r"(?<![0-9x])((?:[4-9]|[1-9][0-9]{1,2})x(?:[1-9]|1[0-6]))(?:x1)?(?![0-9x])"
# How the configs of MMAction2 and PySlowFast tell the two numbers of a clip.
_FRAMES = r"\b(?:clip_len\s*=|NUM_FRAMES:)\s*([1-9][0-9]{0,2})\b"
_STRIDE = r"\b(?:frame_interval\s*=|SAMPLING_RATE:)\s*([1-9][0-9]?)\b"
_WORDS = "the stored config or the file's name says"


@dataclasses.dataclass(frozen=True)
class Findings:
    """What was found in a file that can be read.

    Attributes:
        path: of the file, a string.
        archive: its arrays and what stands beside them.
        layout: how its tensors are named; `None` if no network is known that names them so.
        network: the facts of `facts.read_facts`; `None` if the tensors are of no network.
        said: what the stored config and the file's name say, see `hints.read_hints`.
        record: the checkpoint of the zoo whose file bears this name, or `None`.
        clip: frames x stride that the zoo, the file's name or the stored config tells, or
            `None`.
        clip_from: where from.
    """

    path: str
    archive: readers.Archive
    layout: Layout | None
    network: dict | None
    said: dict
    record: Checkpoint | None
    clip: str | None
    clip_from: str


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
    archive = readers.read_arrays(path)
    layout = rules.recognise(archive.arrays)
    network = None
    if layout is not None:
        try:
            tensors, _ = assignment.address_tensors(archive.arrays, layout)
            network = facts.read_facts(tensors)
        except CheckpointError:
            pass  # The attempts to load it will say why.
    said = hints.read_hints(path, archive.meta)
    record = find_file(path)
    return Findings(
        path, archive, layout, network, said, record, *_find_clip(path, archive, record)
    )


def _find_clip(path, archive, record):
    if record is not None and record.clip:
        return record.clip, f"the published {record.name}"
    if match := re.search(_NAMED_CLIP, pathlib.Path(path).name):
        return match[1], "the file's name says"
    config = json.dumps(archive.meta, default=str)
    frames, stride = re.search(_FRAMES, config), re.search(_STRIDE, config)
    if frames and stride:
        return f"{frames[1]}x{stride[1]}", "the stored config says"
    return None, ""


def choose_source(findings):
    """Gives the source that a file's names leave.

    Args:
        findings: of the file.

    Returns:
        A source of `load_checkpoint`.

    Raises:
        CheckpointError: if they leave none, or several.
    """
    sources = [s for s in rules.SOURCES if findings.layout and s in findings.layout.sources]
    # Says so where the file is of no network for clips.
    assignment.find_layout(findings.archive.arrays, findings.path, (sources or rules.SOURCES)[0])
    if len(sources) > 1:
        record = findings.record
        hint = f" The published file of this name is {record.source}'s." if record else ""
        raise CheckpointError(
            f"`source` must be given for {findings.path!r}: {' and '.join(sources)} both name "
            f"their tensors so, and compute other numbers with them. Give one of "
            f"{', '.join(map(repr, sources))}.{hint}"
        )
    return sources[0]


def tell_mode(findings):
    """Gives the mode of the non-local blocks and what tells it; `None` if nothing does."""
    if findings.network["mode"]:
        return findings.network["mode"], "the tensors tell"
    if findings.record is not None and findings.record.builder:
        mode = findings.record.arguments.get("mode", "embedded_gaussian")
        return mode, f"the published {findings.record.name}"
    if len(findings.layout.modes) == 1:
        return findings.layout.modes[0], f"always in {findings.layout.name}"
    return findings.said["mode"] and (findings.said["mode"], _WORDS)


def tell_pool2(findings):
    """Gives whether frames are pooled after stage 2, and what tells it; `None` if nothing does."""
    if findings.layout.pool2 is not None:
        return findings.layout.pool2, "the numbers in the names tell"
    if findings.record is not None and findings.record.builder:
        pool2 = findings.record.arguments.get("pool2", True)
        return pool2, f"the published {findings.record.name}"
    if findings.layout is rules.GLUONCV:
        return True, f"always in {findings.layout.name}"
    return None if findings.said["pool2"] is None else (findings.said["pool2"], _WORDS)


def attempt(findings):
    """Loads a file in every way that fits its names.

    Args:
        findings: of the file.

    Yields:
        Name of the function, keyword arguments, and the error that the call ends with, `None` if
        it loads. Of `inflate_weights` the arguments are those of the builder of its model.
    """
    sources = [s for s in rules.SOURCES if findings.layout and s in findings.layout.sources]
    if findings.record is not None:
        sources.sort(key=lambda source: source != findings.record.source)
    arguments = {"clip": findings.clip or "8x8"}
    if findings.network is not None and findings.network["classes"] is None:
        arguments["except_for"] = "predictions"
    for source in sources or rules.SOURCES[:1]:
        options = {"source": source, **arguments}
        fault = _fault_of(load_checkpoint, findings.path, **options)
        if fault is not None and _is_image_network(findings):
            yield "knl.inflate_weights", *_try_inflation(findings)
            return
        yield "knl.load_checkpoint", options, fault


def _is_image_network(findings):
    return _fault_of(image_networks.read_image_network, findings.path) is None


def _try_inflation(findings):
    """Gives arguments of a builder whose network takes an image network, and the error."""
    options = {"source": image_networks.read_image_network(findings.path).source}
    for key, usual in (("depth", (3, 4, 6, 3)), ("width", 64)):
        if findings.network[key] != usual:
            options[key] = findings.network[key]

    def inflate():
        network = {**findings.network, "pool2": True, "mode": None, "classes": 2}
        shape = {"clip": "8x8", "input_shape": (8, 224, 224, 3), "classifier_activation": None}
        model = build_network({**network, **options}, **shape)
        inflate_weights(model, findings.path)

    return options, _fault_of(inflate)


def _fault_of(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of NaN, which is told already.
        try:
            function(*arguments, **options)
        except Exception as fault:  # A file that lies may end Keras in any way.
            return str(fault) if isinstance(fault, ValueError) else repr(fault)
    return None

"""`keras-nonlocal predict`: what a network, exported or not, says of videos."""

import dataclasses
import json
import os

import numpy as np
import tensorflow as tf

from keras_nonlocal import data
from keras_nonlocal.commands import arguments, printing
from keras_nonlocal.commands.tested_network import (
    CONVERT_WORDS,
    check_range_known,
    check_takes_floats,
    convention_of,
)
from keras_nonlocal.exporting.agreement import answers_of
from keras_nonlocal.exporting.artefacts import load_artefact
from keras_nonlocal.exporting.facts import facts_of, frames_of
from keras_nonlocal.exporting.loading import load_model
from keras_nonlocal.lists.classes import read_classes

_EXPORTED = (".tflite", ".onnx", ".xml")
_WORDS = {
    **CONVERT_WORDS,
    "`path`": "MODEL",
    "`model`": "MODEL",
    "`source`": "--source-of-weights",
    "source=": "--source-of-weights ",
    "`clip`": "--clip",
    "clip=": "--clip ",
}


def add_arguments(parser):
    """Says what can follow `predict`."""
    parser.description = (
        "Shows a network clips of each video, evenly spread over it, and prints the classes of the "
        "highest mean. What was exported by this package knows how its clips are prepared."
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a SavedModel or OpenVINO folder, a .tflite, .onnx or .keras file, a name of "
        "`keras-nonlocal weights`, or a published file",
    )
    parser.add_argument("videos", metavar="VIDEO", nargs="+")
    parser.add_argument(
        "--top", type=arguments.count, default=5, metavar="N", help="classes to name; 5"
    )
    parser.add_argument(
        "--clips", type=arguments.count, default=10, metavar="N", help="of a video; 10"
    )
    parser.add_argument(
        "--json", action="store_true", help="an object a line, for each video that can be read"
    )
    network = parser.add_argument_group("network")
    arguments.add_network_arguments(network)
    network.add_argument(
        "--crop", type=arguments.count, metavar="PIXELS", help="of a network of any size; 224"
    )
    network.add_argument("--classes", metavar="FILE", help="names of its classes, one a line")


def run(chosen):
    """Prints what a network says of each video."""
    with printing.warnings_told(), printing.told_in_words_of_the_command(_WORDS):
        facts, predict = _open(chosen)
    facts = _complete(facts, chosen)
    code = 0
    for video in chosen.videos:
        try:
            answers = predict(_read_clips(video, facts, chosen))
        except (OSError, ValueError, tf.errors.OpError) as fault:
            printing.complain("error", printing.reason_of(fault))
            code = 1
            continue
        best = _name_best(np.mean(answers, axis=0, dtype="float64"), facts, chosen.top)
        if chosen.json:
            print(json.dumps({"video": video, facts.output: best}), flush=True)
        else:
            print(printing.printable(video))
            for row in best:
                name = printing.printable(row.get("class", f"class {row['index']}"))
                print(f"  {row['value']:7.4f}  {name}", flush=True)
    return code


def _open(chosen):
    """The facts of a network, as far as it tells them, and the function that runs it."""
    if os.path.isdir(chosen.model) or chosen.model.endswith(_EXPORTED):
        artefact = load_artefact(chosen.model)
        if artefact.facts is None:
            raise ValueError(
                f"MODEL must be an export of this package, which tells how clips are prepared. "
                f"Received: {chosen.model}, which does not."
            )
        return artefact.facts, artefact.predict
    model = load_model(chosen.model, chosen.source_of_weights, chosen.clip)
    check_range_known(model, chosen.model)
    return facts_of(model, model.input_shape[1:]), lambda clips: answers_of(model, clips)


def _complete(facts, chosen):
    """The facts, with what the options add."""
    check_takes_floats(facts, chosen.model)
    shape = facts.input_shape
    if len(shape) != 4 or shape[1] != shape[2]:
        raise ValueError(
            f"MODEL must take square clips (frames, height, width, 3). Received: {chosen.model}, "
            f"which takes {shape}."
        )
    given = {"source": chosen.source_of_weights, "clip": chosen.clip}
    for option, key in (("--source-of-weights", "source"), ("--clip", "clip")):
        known = getattr(facts, key)
        if known is None and given[key] is None:
            raise ValueError(
                f"{option} must be given, as {chosen.model} does not tell it. Networks of this "
                "package do, and their exports."
            )
        told = [value.partition("@")[0] for value in (known, given[key]) if value]
        if len(set(told)) > 1:
            raise ValueError(
                f"{option} must be {known} for {chosen.model}, which tells it. Received: "
                f"{given[key]}. Leave it out."
            )
    facts = dataclasses.replace(facts, **{key: value for key, value in given.items() if value})
    if chosen.classes:
        facts = dataclasses.replace(facts, class_names=read_classes(chosen.classes))
    if shape[0] not in (None, frames_of(facts.clip)):
        raise ValueError(
            f"--clip must have the {shape[0]} frames that {chosen.model} takes. Received: "
            f"{facts.clip}."
        )
    if shape[1] is not None and chosen.crop not in (None, shape[1]):
        raise ValueError(
            f"--crop must be left out for a network of one size ({shape[1]}). Received: "
            f"--crop {chosen.crop}."
        )
    return facts


def _read_clips(video, facts, chosen):
    """Clips of one video as the network takes them."""
    convention = convention_of(facts.source, facts.clip)
    views = data.evaluation_clips(
        data.VideoList([video], labels=[0], class_names=["unknown"]),
        data.UniformClipSampler(facts.clip, chosen.clips, convention),
        size=facts.input_shape[1] or chosen.crop or 224,
        batch_size=1,
    )
    ((clips, _),) = views.dataset().as_numpy_iterator()
    return facts.prepare(clips if chosen.clips == 1 else clips[0])


def _name_best(values, facts, top):
    if facts.class_names is not None and len(facts.class_names) != len(values):
        raise ValueError(
            f"--classes must name the {len(values)} classes of MODEL, in their order. Received: "
            f"{len(facts.class_names)} names."
        )
    best = np.argsort(-values, kind="stable")[:top]
    rows = []
    for index in best:
        row = {"index": int(index), "value": float(values[index])}
        if facts.class_names is not None:
            row = {"class": facts.class_names[index], **row}
        rows.append(row)
    return rows

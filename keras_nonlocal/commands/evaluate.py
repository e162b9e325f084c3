"""`keras-nonlocal evaluate`: how often a network is right about videos, and the Python for it."""

import contextlib
import dataclasses
import logging

import numpy as np

from keras_nonlocal import data, evaluation
from keras_nonlocal.commands import arguments, calls, reporting, sources
from keras_nonlocal.commands.progress import progress_bar
from keras_nonlocal.commands.tested_network import load_network, name_classes


def add_arguments(parser):
    """Says what can follow `evaluate`."""
    parser.description = (
        "Shows a network many views of each video, as published accuracies are measured, and "
        "reports how often it is right. With --out it goes on where it was stopped, and writes "
        "a page, tables and the scores. Videos that cannot be read are named."
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a name of `keras-nonlocal weights`, a .keras file, or a published file",
    )
    sources.add_source_arguments(parser)
    network = parser.add_argument_group("network")
    arguments.add_network_arguments(network)
    network.add_argument(
        "--activation", choices=("softmax", "sigmoid"), help="of a network that gives logits"
    )
    views = parser.add_argument_group("views")
    views.add_argument(
        "--clips", type=arguments.count, default=10, metavar="N", help="of a video; 10"
    )
    views.add_argument("--crops", type=int, choices=(1, 3), default=3, help="of a clip; 3")
    views.add_argument(
        "--crop",
        type=arguments.count,
        metavar="PIXELS",
        help="of a view; 256 for a network of 224, and in proportion",
    )
    views.add_argument(
        "--short-side",
        type=arguments.count,
        metavar="PIXELS",
        help="of the frames that views are cut from; with 3 crops that of a view, so that they "
        "cover the frame, with 1 crop 256 for views of 224, and in proportion",
    )
    views.add_argument(
        "--convention",
        choices=data.samplers.SOURCES,
        help="how clips are spread over a video; as the network's source does",
    )
    views.add_argument(
        "--over-views", choices=("mean", "max"), default="mean", help="of probabilities; mean"
    )
    views.add_argument(
        "--views-per-batch",
        type=arguments.count,
        metavar="N",
        help="through the network at a time; as many as memory allows",
    )
    reporting.add_report_arguments(parser)


def run(chosen):
    """Tests a network, and prints and writes what came out."""
    reporting.check_report_arguments(chosen)
    chosen.title = chosen.title or f"{chosen.model} on {chosen.source}"
    names = None
    if chosen.class_names and sources.names_classes(chosen.source):
        # Then they are the network's, of which the source may have some alone.
        names, chosen.class_names = chosen.class_names, None
    with sources.missing_told() as missing:
        videos = sources.read_source(chosen)
    network = load_network(chosen.model, chosen.source_of_weights, chosen.clip, chosen.crop)
    if names:
        network = name_classes(network, names)
    videos, renumbering = _number_classes(videos, network.class_names)
    options, clip = _view_options(chosen, network)
    settings = {
        "network": chosen.model,
        "clip": network.clip,
        "clips": chosen.clips,
        "convention": chosen.convention or network.convention,
        **{
            key: value
            for key, value in options.items()
            if key not in ("on_error", "max_error_rate")
        },
    }
    if missing:
        settings["missing"] = " ".join(missing)
    more = {
        "folder": chosen.out,
        "activation": chosen.activation,
        "over_views": chosen.over_views,
        "views_per_batch": chosen.views_per_batch,
    }
    more = {key: value for key, value in more.items() if value not in (None, "mean")}
    with _told_at_the_end(), progress_bar("videos", len(videos)) as advance:
        scores = evaluation.evaluate_videos(
            network.model,
            videos,
            lambda rest: data.evaluation_clips(rest, clip, **options),
            **more,
            settings=settings,
            overwrite=bool(chosen.out and chosen.overwrite),
            advance=advance,
        )
    clips, crops = (_counted(chosen.clips, "clip"), _counted(chosen.crops, "crop"))
    facts = [("views", f"{clips} of {network.clip}, {crops} of {network.crop} pixels")]
    facts += [("missing", each) for each in missing]
    reporting.print_and_write(chosen, scores, facts)
    print("\nThe same in Python:\n")
    print(_write_python(chosen, network, renumbering, options, more, settings))
    return 0


@contextlib.contextmanager
def _told_at_the_end():
    """Keeps the dataset from logging broken videos, which are told with those of earlier runs."""
    log = logging.getLogger("keras_nonlocal")

    def is_of_others(record):
        return record.module != "loader"

    log.addFilter(is_of_others)
    try:
        yield
    finally:
        log.removeFilter(is_of_others)


def _view_options(chosen, network):
    """The arguments of `evaluation_clips`, and its sampler."""
    short_side = chosen.short_side or (network.crop if chosen.crops == 3 else None)
    convention = chosen.convention or network.convention
    sampler = data.UniformClipSampler(network.clip, chosen.clips, convention)
    views = chosen.clips * chosen.crops
    return {
        "size": network.crop,
        "scale": short_side,
        "num_crops": chosen.crops,
        # Batches of about 30 views, so that the clips that wait fit into memory.
        "batch_size": max(30 // views, 1),
        "on_error": "skip",
        "max_error_rate": 1.0,
    }, sampler


def _number_classes(videos, names):
    """Gives the classes of a list the numbers that they have in the network.

    Returns:
        The list; and Python that does the same, or nothing if nothing was to be done.
    """
    if names is None or videos.class_names == tuple(names) or videos.multi_label:
        return videos, ""
    names = tuple(names)
    if all(name.isdecimal() and int(name) < len(names) for name in videos.class_names):
        # A list of numbers, which are the network's own.
        numbers = [int(name) for name in videos.class_names]
        line = "numbers = [int(name) for name in videos.class_names]"
    elif set(videos.class_names) <= set(names):
        numbers = [names.index(name) for name in videos.class_names]
        line = "numbers = [model.class_names.index(name) for name in videos.class_names]"
    else:
        strange = [name for name in videos.class_names if name not in names]
        raise ValueError(
            f"SOURCE must have classes that the network knows. Received: {strange[0]!r}"
            f"{f' and {len(strange) - 1} others' if strange[1:] else ''}. The network's are "
            f"{', '.join(map(repr, names[:3]))} and so on; name them as it does, by --classes or "
            "by the names of the folders."
        )
    labels = np.array(numbers, np.int32)[videos.labels]
    lines = f"""\
{line}
videos = dataclasses.replace(
    videos, labels=[numbers[n] for n in videos.labels], class_names=model.class_names, events=None
)
"""
    return dataclasses.replace(videos, labels=labels, class_names=names, events=None), lines


def _write_python(chosen, network, renumbering, options, more, settings):
    """Python that does what was done."""
    sampler = calls.write_call(
        "knl.data.UniformClipSampler",
        network.clip,
        clips=chosen.clips,
        source=settings["convention"],
    )
    read = {
        key: getattr(chosen, key)
        for key in (
            "videos",
            "format",
            "class_names",
            "separator",
            "columns",
            "time_unit",
            "split",
            "part",
        )
        if getattr(chosen, key) is not None
    }
    read |= {"missing": "drop"} if chosen.drop_missing else {}
    options = {key: value for key, value in options.items() if value is not None}
    views = calls.write_call("", **options)[1:]
    loads = "import keras\n" if "model = keras." in network.lines else ""
    replaces = "import dataclasses\n\n" if renumbering else ""
    given = [calls.write_call("", **{key: value})[1:-1] for key, value in more.items()]
    given.append(f"settings={calls.write_call('dict', **settings)}")
    given = "".join(f"    {each},\n" for each in given)
    return f"""\
{replaces}{loads}import keras_nonlocal as knl

{network.lines}
videos = {calls.write_call("knl.data.read_videos", chosen.source, **read)}
{renumbering}

def make_views(videos):
    clips = {sampler}
    return knl.data.evaluation_clips(
        videos, clips, {views[:-1]}
    )


scores = knl.evaluation.evaluate_videos(
    model,
    videos,
    make_views,
{given})
{reporting.write_python(chosen)}"""


def _counted(count, what):
    return f"1 {what}" if count == 1 else f"{count} {what}s"

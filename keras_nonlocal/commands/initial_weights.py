"""What is known of the weights that `keras-nonlocal train` starts from."""

import json
import os
import re
import zipfile
import zlib

from keras_nonlocal.checkpoints import zoo
from keras_nonlocal.models import architecture
from keras_nonlocal.runs.folder import FACTS


def is_model_file(weights):
    """Returns whether `--weights` must be a file that holds a whole network."""
    return weights is not None and weights.endswith(".keras")


def known_of(weights):
    """Returns what a name or a `.keras` file tells of its network and its clips.

    No tensor is read or made: JAX must join its processes before.

    Args:
        weights: value of `--weights`.

    Returns:
        Dictionary, empty for other weights and for files of other networks. As far as known:
        `network`, `depth`, `width`, `layers_of`, `clip`, `frames`, `crop`, and in `options` further
        arguments of the builder. Of a file, `clip` and `layers_of` are those of the run in whose
        folder it is.

    Raises:
        ValueError: if the file is damaged.
        FileNotFoundError: if there is no such file.
    """
    record = zoo.CHECKPOINTS.get(weights)
    known = {}
    if record is not None and record.builder is not None:
        known = {
            "network": record.builder,
            "depth": record.arguments.get("depth", architecture.DEFAULTS["depth"]),
            "width": record.arguments.get("width", architecture.DEFAULTS["width"]),
            "layers_of": record.arguments.get("source"),
            "clip": record.clip,
            "crop": record.crop,
        }
    elif is_model_file(weights):
        known = _read_file(weights)
    return {name: value for name, value in known.items() if value is not None}


def check_file(path):
    """Raises if a file is missing or has other content than its name says.

    Args:
        path: a `.keras` or `.weights.h5` file.

    Raises:
        ValueError: on other content.
        FileNotFoundError: if there is no such file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"--weights must be a file that is there. Received: {path}. Name another."
        )
    with open(path, "rb") as file:
        begin = file.read(8)
    kind, expected = ("Keras", b"PK") if is_model_file(path) else ("HDF5", b"\x89HDF\r\n\x1a\n")
    if not begin.startswith(expected):
        raise ValueError(
            f"--weights must be a file of {kind}, by its name. Received: {path}, whose content is "
            "none. Copy it anew, or name another."
        )


def _read_file(path):
    layers = _read_layers(path)
    blocks = tuple(
        sum(bool(re.fullmatch(rf"res{stage}_\d+_a_conv", name)) for name in layers)
        for stage in (2, 3, 4, 5)
    )
    shapes = [layer["batch_shape"] for layer in layers.values() if "batch_shape" in layer]
    if not all(blocks) or "conv1_conv" not in layers or len(shapes) != 1 or len(shapes[0]) != 5:
        return {}
    _, frames, height, width, _ = shapes[0]
    a, b = (_inflated_places(layers, kernel) for kernel in "ab")
    non_local = _places(layers, r"res(\d)_(\d+)_nonlocal")
    run = _read_run(os.path.dirname(path), frames)
    source = run.get("layers_of") or architecture.DEFAULTS["source"]
    options = {"pool2": "pool2" in layers}
    if a or b:
        places = tuple(sorted({*a, *b}))
        options["inflation"] = "3x3x3" if b else "3x1x1"
        standard = frozenset(places) == architecture.inflated_places(blocks)
        options["inflated"] = None if standard else places
    if non_local:
        options["mode"] = layers["res{}_{}_nonlocal".format(*non_local[0])]["mode"]
        standard = non_local == architecture.non_local_places(5, blocks, source)
        options["non_local"] = 5 if standard else non_local
    depths = {blocks: depth for depth, blocks in architecture.DEPTHS.items()}
    return {
        "network": ("NL" if non_local else "") + ("I3D" if a or b else "C2D"),
        "depth": depths.get(blocks, blocks),
        "width": layers["conv1_conv"]["filters"],
        "frames": frames,
        "crop": height if height == width else None,
        "options": {k: v for k, v in options.items() if v != architecture.DEFAULTS[k]},
        **run,
    }


def _read_layers(path):
    """Returns the configs of the layers of a `.keras` file by name."""
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))["config"]
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
        raise ValueError(
            f"--weights must be a whole .keras file. Received: {path}, which is damaged. Copy it "
            "anew, or name another."
        ) from error
    layers = [layer["config"] for layer in config.get("layers", ())]
    return {layer["name"]: layer for layer in layers if "name" in layer}


def _places(layers, pattern):
    found = (re.fullmatch(pattern, name) for name in layers)
    return tuple(sorted((int(place[1]), int(place[2])) for place in found if place))


def _inflated_places(layers, kernel):
    inflated = [name for name, layer in layers.items() if layer.get("kernel_size", (1,))[0] > 1]
    return _places(inflated, rf"res(\d)_(\d+)_{kernel}_conv")


def _read_run(folder, frames):
    """Returns clip and layers of the run that a folder is of; nothing if it is of none."""
    try:
        with open(os.path.join(folder, FACTS), encoding="utf-8") as file:
            settings = json.load(file)["settings"]["settings"]
        clip = settings["recipe"]["clip"]
        taken, _ = architecture.parse_clip(clip.partition("@")[0])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # No run of the command: the settings of others may be anything.
        return {}
    if frames not in (None, taken):
        return {}
    imagenet = "keras-applications" if settings.get("weights") == "imagenet" else None
    return {"clip": clip, "layers_of": settings.get("layers_of", imagenet)}

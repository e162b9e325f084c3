"""What is known of the weights that `keras-nonlocal train` starts from."""

import json
import os
import zipfile
import zlib

from keras_nonlocal.checkpoints import registry
from keras_nonlocal.models.config import DEPTHS, KINDS, ResNet3DConfig, parse_clip
from keras_nonlocal.models.video_resnet import VideoInput


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
        arguments of the builder.

    Raises:
        ValueError: if the file is damaged.
        FileNotFoundError: if there is no such file.
    """
    record = registry.CHECKPOINTS.get(weights)
    known = {}
    if record is not None and record.builder is not None:
        known = {
            "network": record.builder,
            "depth": record.arguments.get("depth", ResNet3DConfig.depth),
            "width": record.config.width,
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
    config = _read_config(path)
    if config is None:
        return {}
    usual = ResNet3DConfig(depth=config.depth, source=config.source, **KINDS[config.kind])
    fields = ("pool2", "inflation", "inflated", "mode", "non_local", "frozen_norm")
    frames, height, width, _ = config.input_shape
    depths = {blocks: depth for depth, blocks in DEPTHS.items()}
    return {
        "network": config.kind,
        "depth": depths.get(config.depth, config.depth),
        "width": config.width,
        "layers_of": config.source,
        # Of another number of frames, it is not the clip of the file.
        "clip": config.clip if frames in (None, parse_clip(config.clip)[0]) else None,
        "frames": frames,
        "crop": height if height == width else None,
        "options": {
            field: getattr(config, field)
            for field in fields
            if getattr(config, field) != getattr(usual, field)
        },
    }


def _read_config(path):
    """Returns the `ResNet3DConfig` of the network in a `.keras` file; `None` if it holds none."""
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
        raise ValueError(
            f"--weights must be a whole .keras file. Received: {path}, which is damaged. Copy it "
            "anew, or name another."
        ) from error
    waiting = [content]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if item.get("class_name") == VideoInput.__name__:
                return ResNet3DConfig(**item["config"]["config"])
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return None

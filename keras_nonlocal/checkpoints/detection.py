"""What a checkpoint file tells of its network: by tensors, by a stored config, by its record."""

import dataclasses
import functools
import os
import pathlib
import re

import numpy as np

from keras_nonlocal.checkpoints import key_maps, registry, state_dict, stored_config
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.key_maps import KeyMap
from keras_nonlocal.models.config import ResNet3DConfig

# Four frames or more, up to 16 apart: neither kernels (3x1x1) nor sizes of pictures (224x224).
_NAMED_CLIP = r"(?<![0-9x])((?:[4-9]|[1-9][0-9]{1,2})x(?:[1-9]|1[0-6]))(?:x1)?(?![0-9x])"
# Implementations whose networks all pool frames after stage 2.
_ALWAYS_POOL2 = ("video-nonlocal-net", "gluoncv")
# Modes that have the same tensors.
_TWIN_MODES = ("embedded_gaussian", "dot_product")
_MAX_BLOCKS, _MAX_CHANNELS = 200, 1024


@dataclasses.dataclass(frozen=True)
class Contents:
    """A checkpoint file that was read.

    Attributes:
        path: path of the file, a string.
        format: "pickle", "torch" or "safetensors".
        arrays: arrays by key, without a prefix that all names share.
        key_map: the `KeyMap` of the keys; `None` if they are of no supported implementation.
        config: what the stored config tells, see `stored_config.read_config`.
    """

    path: str
    format: str
    arrays: dict[str, np.ndarray]
    key_map: KeyMap | None
    config: dict

    @functools.cached_property
    def _renamed(self):
        return key_maps.rename(self.arrays, self.key_map)

    @property
    def tensors(self):
        """Arrays by path, in the axis order of Keras."""
        return self._renamed[0]

    @property
    def unexpected(self):
        """Arrays of unknown keys."""
        return self._renamed[1]

    @functools.cached_property
    def network(self):
        """The fields of a `ResNet3DConfig` that the tensors tell, see `read_network`."""
        return read_network(self.tensors)

    @functools.cached_property
    def record(self):
        """The published checkpoint with the name, tensors and checksum of the file, or `None`."""
        record = registry.find_file(self.path)
        if record is None or record.builder is None:
            return None
        published = record.config
        told = {key: value for key, value in self.network.items() if (key, value) != ("mode", None)}
        same = all(getattr(published, key) == value for key, value in told.items())
        return record if same and registry.has_checksum(self.path, record) else None


def read_contents(path):
    """Reads a checkpoint file; returns its `Contents`, or raises a `CheckpointError`."""
    path = os.fspath(path)
    content = state_dict.read_state_dict(path)
    key_map, arrays = key_maps.recognize(content.tensors)
    config = stored_config.read_config(content.metadata)
    return Contents(path, content.format, arrays, key_map, config)


def detect(contents, argument, source=None):
    """Returns what a file tells of an argument of `load_checkpoint`.

    Args:
        contents: `Contents` of the file.
        argument: "source", "clip", "mode" or "pool2".
        source: the implementation that wrote the file, as far as that is known.

    Returns:
        The value and its origin, or `None` if nothing tells it.
    """
    key_map, network, record = contents.key_map, contents.network, contents.record
    if argument == "source" and len(key_map.sources) == 1:
        return key_map.sources[0], "the names tell"
    if argument == "mode" and network["mode"]:
        return network["mode"], "the tensors tell"
    if argument == "mode" and len(key_map.modes) == 1:
        return key_map.modes[0], f"always in {key_map.name}"
    if argument == "pool2" and key_map.pool2 is not None:
        return key_map.pool2, "the numbers in the names tell"
    if argument == "pool2" and source in _ALWAYS_POOL2:
        return True, f"always in networks of {source}"
    if record is not None:
        return getattr(record.config, argument), f"the record of {record.name} says"
    if contents.config[argument] is not None:
        return contents.config[argument], "the stored config says"
    is_slow = network["inflated"] and min(stage for stage, _ in network["inflated"]) > 3
    if argument == "pool2" and source == "pyslowfast" and is_slow:
        return False, "always where the late stages alone are inflated"
    return None


def resolve(contents, **given):
    """Returns the fields of a `ResNet3DConfig` that describe the network of a file.

    Args:
        contents: `Contents` of the file.
        **given: source, clip, mode and pool2, each `None` if it was not passed.

    Raises:
        CheckpointError: if one of these is neither detected nor passed, or if the two differ.
    """
    key_map, fields, missing = contents.key_map, dict(contents.network), []
    for argument in ("source", "clip", "mode", "pool2"):
        value = given[argument]
        if argument == "mode" and not fields["non_local"]:
            if value is not None:
                raise CheckpointError(
                    f"`mode` is for files with non-local blocks, and {contents.path!r} has none. "
                    f"Received: mode={value!r}. Leave it out."
                )
            fields["mode"] = ResNet3DConfig.mode
            continue
        found = detect(contents, argument, fields.get("source"))
        if found is not None:
            _check_detected(contents, argument, value, *found)
            value = found[0]
        modes = [mode for mode in key_map.modes if found or mode in _TWIN_MODES]
        if argument == "mode" and value not in (None, *modes):
            raise CheckpointError(
                f"`mode` must be {' or '.join(map(repr, modes))}: the tensors of {key_map.name} in "
                f"{contents.path!r} are of no other. Received: mode={value!r}."
            )
        # For many sources `pool2` follows from the source, which comes first.
        if value is None and (argument != "pool2" or fields["source"]):
            missing.append(_ask_for(contents, argument))
        fields[argument] = value
    if missing:
        if record := registry.find_file(contents.path):
            missing.append(f"The file has the name of {record.name}, but not its content.")
        raise CheckpointError(" ".join(missing))
    return fields


def _check_detected(contents, argument, value, detected, origin):
    if value in (None, detected):
        return
    hint = ""
    if argument == "clip":
        hint = " For other clips build a network with that `clip` and call transfer_weights(network"
        hint += ", model) with the one that is loaded here."
    so = "" if origin.startswith("always") else " so"
    raise CheckpointError(
        f"`{argument}` must be {detected!r} for {contents.path!r}: {origin}{so}. Received: "
        f"{argument}={value!r}. Leave it out.{hint}"
    )


def _ask_for(contents, argument):
    """Returns a message that asks for an argument that a file does not tell."""
    sources = contents.key_map.sources
    hint = {
        "source": f"Pass source={' or source='.join(map(repr, sources))}: {' and '.join(sources)} "
        "have the same tensor names, and compute other numbers with them.",
        "clip": "Pass clip='8x8', or another that the network was trained on, as frames x stride.",
        "mode": "Pass mode='embedded_gaussian' or mode='dot_product', which have the same tensors.",
        "pool2": "Pass pool2=True or pool2=False, for a network with or without the max-pooling "
        "over frames after stage 2.",
    }[argument]
    if argument == "clip":
        if match := re.search(_NAMED_CLIP, pathlib.Path(contents.path).name):
            hint += f" The file's name mentions {match[1]}."
    return f"`{argument}` is not stored in {contents.path!r}. {hint}"


def read_network(tensors):
    """Returns the fields of a `ResNet3DConfig` that follow from names and shapes of tensors.

    Args:
        tensors: arrays by path, in the axis order of Keras.

    Returns:
        Dictionary of depth (block counts), width, classes (`None` without a classifier),
        inflation (`None` for C2D), inflated and non_local (block ids), mode (`None` if it may be
        embedded gaussian or dot product), frozen_norm.

    Raises:
        CheckpointError: if the tensors are of no network of this package.
    """
    shapes = {path: array.shape for path, array in tensors.items()}
    last = dict.fromkeys("2345", -1)
    non_local, inflated = set(), {"a": set(), "b": set()}
    for path, shape in shapes.items():
        if match := re.match(r"res([2-5])_(\d+)_([abc]|nonlocal)(_conv/kernel$)?", path):
            stage, block, part, is_kernel = match.groups()
            if part == "nonlocal":
                non_local.add((int(stage), int(block)))
                continue
            last[stage] = max(last[stage], int(block))
            if is_kernel and part in inflated and len(shape) == 5 and shape[0] > 1:
                inflated[part].add((int(stage), int(block)))
    blocks = tuple(index + 1 for index in last.values())
    # From any tensor of the stem, so that a missing one can be reported later.
    width = _last_size(shapes, "conv1_conv/kernel", "conv1_norm/gamma", "conv1_norm/beta")
    fits = 0 < min(blocks) and max(blocks) < _MAX_BLOCKS
    if not fits or not width or width > _MAX_CHANNELS:
        raise CheckpointError(
            "The tensors are of no bottleneck ResNet with stages 2 to 5 and a stem of at most "
            f"{_MAX_CHANNELS} channels. Found {blocks} blocks and a stem of {width or 'no'} "
            "channels."
        )
    classes = _last_size(shapes, "predictions/kernel", "predictions/bias")
    mode = None
    if any(path.endswith("_nonlocal/w_f") for path in shapes):
        mode = "concatenation"
    elif non_local and not any("l/theta/" in path or "l/phi/" in path for path in shapes):
        mode = "gaussian"
    network = {
        "depth": blocks,
        "width": width,
        "classes": classes,
        "inflation": "3x3x3" if inflated["b"] else "3x1x1" if inflated["a"] else None,
        "inflated": tuple(sorted(inflated["a"] | inflated["b"])),
        "non_local": tuple(sorted(non_local)),
        "mode": mode,
        "frozen_norm": not any(path.endswith("moving_mean") for path in shapes),
    }
    _check_size(network, sum(array.size for array in tensors.values()))
    return network


def _check_size(network, size):
    """Raises if names and a few shapes claim a network that is far larger than the file."""
    channels = [4 * network["width"] * 2**stage for stage in range(4)]
    # Of a block: c/4 to c/4 by 1x1 or more, c/4 to c/4 by 3x3, c/4 to c, and c to c/4.
    claimed = sum(n * c * c for n, c in zip(network["depth"], channels, strict=True)) * 17 // 16
    claimed += sum(channels[stage - 2] ** 2 for stage, _ in network["non_local"])
    claimed += channels[-1] * (network["classes"] or 0)
    if size < 0.3 * claimed:
        raise CheckpointError(
            f"The names are of a network with more than {claimed:,} weights, but the tensors have "
            f"{size:,} in all. The file is corrupt or was edited."
        )


def _last_size(shapes, *paths):
    """Returns the last size of the first of these tensors that has one; `None` without."""
    return next((shapes[path][-1] for path in paths if shapes.get(path)), None)

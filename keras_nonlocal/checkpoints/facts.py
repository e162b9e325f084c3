"""What the tensors of a file tell of their network."""

import re

from keras_nonlocal.checkpoints.errors import CheckpointError

_MOST_BLOCKS, _MOST_CHANNELS = 200, 1024


def read_facts(tensors):
    """Gives the arguments of a builder that follow from names and shapes alone.

    Args:
        tensors: arrays by address, in the axis order of Keras.

    Returns:
        Dictionary of depth (the block counts), width, classes (`None` without a classifier),
        inflation (`None` in C2D), inflated and non_local (places, `()` for none), mode (`None`
        where it may be embedded gaussian or dot product), frozen_norm.

    Raises:
        CheckpointError: if the tensors are of no network of this package.
    """
    shapes = {address: array.shape for address, array in tensors.items()}
    blocks = _count_blocks(shapes)
    # From any of its tensors, so that one that is missing can be named later.
    width = _first(shapes, "conv1_conv/kernel", "conv1_norm/gamma", "conv1_norm/beta")
    if not blocks or not width or width[0] > _MOST_CHANNELS:
        raise CheckpointError(
            "The tensors are of no bottleneck ResNet with stages 2 to 5 and a stem of at most "
            f"{_MOST_CHANNELS} channels. Found blocks {blocks or 'of no stage or too many'} and a "
            f"stem of {width[0] if width else 'no'} channels."
        )
    places = {"a": set(), "b": set()}
    for address, shape in shapes.items():
        if match := re.fullmatch(r"res(\d)_(\d+)_([ab])_conv/kernel", address):
            if len(shape) == 5 and shape[0] > 1:
                places[match[3]].add((int(match[1]), int(match[2])))
    inflation = "3x3x3" if places["b"] else "3x1x1" if places["a"] else None
    non_local = sorted(
        {
            (int(match[1]), int(match[2]))
            for address in shapes
            if (match := re.match(r"res(\d)_(\d+)_nonlocal/", address))
        }
    )
    network = {
        "depth": blocks,
        "width": width[0],
        "classes": next(iter(_first(shapes, "predictions/kernel", "predictions/bias")), None),
        "inflation": inflation,
        "inflated": tuple(sorted(places["a"] | places["b"])),
        "non_local": tuple(non_local),
        "mode": _read_mode(shapes, non_local),
        "frozen_norm": not any(address.endswith("moving_mean") for address in shapes),
    }
    _check_size(network, sum(array.size for array in tensors.values()))
    return network


def _check_size(network, held):
    """Raises if names and a few shapes claim a network that is far larger than the file."""
    channels = [4 * network["width"] * 2**stage for stage in range(4)]
    # Of a block: c/4 to c/4 by 1x1 or more, c/4 to c/4 by 3x3, c/4 to c, and c to c/4.
    blocks = sum(n * c * c for n, c in zip(network["depth"], channels, strict=True)) * 17 // 16
    local = sum(channels[stage - 2] ** 2 for stage, _ in network["non_local"])
    head = channels[-1] * (network["classes"] or 0)
    if held < 0.3 * (blocks + local + head):
        raise CheckpointError(
            f"The names tell of a network with more than {blocks + local + head:,} weights, but "
            f"the tensors hold {held:,} in all. The file is damaged or was edited."
        )


def _count_blocks(shapes):
    """Blocks in stages 2 to 5; nothing if one has none, or a number that no network has."""
    last = dict.fromkeys("2345", -1)
    for address in shapes:
        if match := re.match(r"res([2-5])_(\d+)_[abc]_", address):
            last[match[1]] = max(last[match[1]], int(match[2]))
    blocks = tuple(index + 1 for index in last.values())
    return blocks if min(blocks) > 0 and max(blocks) < _MOST_BLOCKS else ()


def _read_mode(shapes, non_local):
    if not non_local:
        return None
    if any(address.endswith("_nonlocal/w_f") for address in shapes):
        return "concatenation"
    embedded = any("_nonlocal/theta/" in a or "_nonlocal/phi/" in a for a in shapes)
    return None if embedded else "gaussian"


def _first(shapes, *addresses):
    """The last size of the first of these tensors that is there and has one."""
    return next((shapes[a][-1:] for a in addresses if shapes.get(a)), ())

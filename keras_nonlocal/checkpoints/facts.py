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
    width = shapes.get("conv1_conv/kernel", ())[-1:]
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
    return {
        "depth": blocks,
        "width": width[0],
        "classes": shapes.get("predictions/kernel", (None,))[-1],
        "inflation": inflation,
        "inflated": tuple(sorted(places["a"] | places["b"])),
        "non_local": tuple(non_local),
        "mode": _read_mode(shapes, non_local),
        "frozen_norm": not any(address.endswith("moving_mean") for address in shapes),
    }


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
    prefix = "res{}_{}_nonlocal/".format(*non_local[0])
    if prefix + "w_f" in shapes:
        return "concatenation"
    return None if prefix + "theta/kernel" in shapes else "gaussian"

"""The facts that fix one video network."""

import dataclasses
import operator
import re

import numpy as np

from keras_nonlocal.models.sources import SOURCES

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# What the builders take where neither an argument nor weights say otherwise.
DEFAULTS = {
    "depth": 50,
    "clip": "8x8",
    "classes": 400,
    "source": "video-nonlocal-net",
    "width": 64,
    "non_local": 5,
    "mode": "embedded_gaussian",
    "inflation": "3x1x1",
    "inflated": None,
    "pool2": True,
    "frozen_norm": False,
    "dropout": 0.5,
}
# Every other block of a stage spans three frames, beginning with the first; in the last stage
# with the second. Stage 2 is spanned whole.
_INFLATED_BLOCKS = {
    2: slice(None),
    3: slice(0, None, 2),
    4: slice(0, None, 2),
    5: slice(1, None, 2),
}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Everything that the graph of one network depends on, but for its input and its head.

    Attributes:
        blocks: bottleneck blocks in stages 2, 3, 4 and 5.
        width: channels of the stem; stage 2 gives four times as many, and each later stage
            doubles them.
        stem_frames: frames that the stem's kernel spans.
        stem_strides: step over frames of the stem and of the first max-pooling.
        pool1_frames: frames that the first max-pooling covers.
        pool1_padding: positions added at both ends of its height and width.
        pool2: whether frames are halved by a max-pooling after stage 2.
        stride_kernel: which convolution of a block halves height and width, `"a"` or `"b"`.
        inflated: `(stage, block)` places whose convolution spans three frames.
        inflation: `"3x1x1"` inflates the first 1x1 kernel of such a block, `"3x3x3"` its 3x3.
        non_local: `(stage, block)` places followed by a non-local block.
        non_local_options: arguments of these `NonLocal3D` layers, as pairs.
        frames_per_group: pairs of a stage and the frames that see each other in it.
        frozen_norm: whether norms are affine, see `BatchNormalization(frozen=True)`.
        head_window: height and width that the head averages at once; `None`: all.
        kernel_initializer: of all kernels but the classifier's; `None`: those to train with.
    """

    blocks: tuple[int, int, int, int]
    width: int
    stem_frames: int
    stem_strides: tuple[int, int]
    pool1_frames: int
    pool1_padding: int
    pool2: bool
    stride_kernel: str
    inflated: frozenset
    inflation: str | None
    non_local: tuple[tuple[int, int], ...]
    non_local_options: tuple[tuple[str, object], ...]
    frames_per_group: tuple[tuple[int, int], ...]
    frozen_norm: bool
    head_window: int | None
    kernel_initializer: str | None


def architecture(
    depth,
    clip,
    source,
    width,
    inflation,
    inflated,
    non_local,
    mode,
    pool2,
    frozen_norm,
    kernel_initializer=None,
):
    """Collects the facts of one network from the arguments of a builder.

    Args:
        depth, clip, source, width, pool2, mode, frozen_norm: see `C2D` and `NLC2D`.
        inflation: "3x1x1", "3x3x3", or `None` for a network without 3-D kernels.
        inflated: see `I3D`.
        non_local: 1, 5, 10, places, or `()` for none.
        kernel_initializer: of all kernels but the classifier's; `None`: those to train with.

    Returns:
        An `Architecture`.
    """
    _check_source(source)
    if inflation not in (None, "3x1x1", "3x3x3"):
        raise ValueError(
            f"`inflation` must be '3x1x1' or '3x3x3'. Received: inflation={inflation!r}."
        )
    facts = SOURCES[source]
    blocks = parse_depth(depth)
    width = positive_integer("width", width)
    pool2, frozen_norm = boolean("pool2", pool2), boolean("frozen_norm", frozen_norm)
    places = frozenset() if inflation is None else inflated_places(blocks, inflated)
    early = any(stage == 2 for stage, _ in places)
    strides = temporal_strides(clip, source, plain=places == inflated_places(blocks))
    group = facts.frames_per_group if is_long(clip) else None
    padding = facts.pool1_padding
    if inflation is None and pool2 and facts.pool1_padding_c2d is not None:
        padding = facts.pool1_padding_c2d
    options = {
        "mode": mode,
        "scale": facts.scale_late if places and not early else facts.scale,
        "pool_size": facts.pool_size,
        "pool_position": facts.pool_position,
        "norm": None if frozen_norm else "batch_norm",
        "kernel_initializer": kernel_initializer,
    }
    return Architecture(
        blocks=blocks,
        width=width,
        stem_frames=5 if early else 1,
        stem_strides=strides,
        pool1_frames=facts.pool1_frames if strides[1] == 2 else 1,
        pool1_padding=padding,
        pool2=pool2,
        stride_kernel=facts.stride_kernel,
        inflated=places,
        inflation=inflation,
        non_local=_standardize_places(non_local, blocks, source),
        non_local_options=tuple(options.items()),
        frames_per_group=((3, group),) if group else (),
        frozen_norm=frozen_norm,
        head_window=facts.head_window,
        kernel_initializer=kernel_initializer,
    )


def standardize(arguments):
    """Returns the arguments of a builder in the form that equal networks have in common.

    Args:
        arguments: dictionary with all that `architecture` takes, and more.

    Returns:
        The dictionary with block counts as `depth`, sorted `(stage, block)` ids as `non_local` and
        `inflated`, `()` for none, and Python's own integers and bools.
    """
    _check_source(arguments["source"])
    blocks = parse_depth(arguments["depth"])
    flat = arguments["inflation"] is None
    inflated = () if flat else sorted(inflated_places(blocks, arguments["inflated"]))
    parse_clip(arguments["clip"])
    return {
        **arguments,
        "depth": blocks,
        "width": positive_integer("width", arguments["width"]),
        "inflated": tuple(inflated),
        "non_local": _standardize_places(arguments["non_local"], blocks, arguments["source"]),
        "pool2": boolean("pool2", arguments["pool2"]),
        "frozen_norm": boolean("frozen_norm", arguments["frozen_norm"]),
    }


def _check_source(source):
    if source not in tuple(SOURCES):
        raise ValueError(
            f"`source` must be one of {', '.join(map(repr, SOURCES))}. Received: source={source!r}."
        )


def _standardize_places(non_local, blocks, source):
    if isinstance(non_local, tuple) and not non_local:
        return ()
    return non_local_places(non_local, blocks, source)


def parse_clip(clip):
    """Returns `(frames, stride)` of a clip such as "8x8"."""
    match = re.fullmatch(r"(\d+)x(\d+)", clip) if isinstance(clip, str) else None
    if not match or int(match[1]) < 4 or int(match[2]) < 1:
        raise ValueError(
            "`clip` must be 'FRAMESxSTRIDE' with at least 4 frames, such as '8x8', '32x2', '32x4' "
            f"or '128x1'. Received: clip={clip!r}."
        )
    return int(match[1]), int(match[2])


def integer(value):
    """Returns a Python or NumPy integer as an `int`; `None` for anything else, bools too."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def integers(values):
    """Returns a tuple, list or array of integers as a tuple of `int`; `None` for anything else."""
    if isinstance(values, (tuple, list, np.ndarray)):
        found = tuple(map(integer, values))
        return None if None in found else found
    return None


def positive_integer(name, value):
    """Returns the value of an argument as an `int`, or raises."""
    if (integer(value) or 0) < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    return integer(value)


def boolean(name, value):
    """Returns the value of an argument as a `bool`, or raises."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}.")
    return bool(value)


def parse_depth(depth):
    """Returns the four block counts of a depth."""
    if integer(depth) in DEPTHS:
        return DEPTHS[integer(depth)]
    blocks = integers(depth) or ()
    if len(blocks) == 4 and min(blocks) > 0:
        return blocks
    raise ValueError(
        "`depth` must be 50, 101, or four positive block counts, such as (3, 4, 6, 3). "
        f"Received: depth={depth!r}."
    )


def temporal_strides(clip, source="video-nonlocal-net", plain=True):
    """Steps over frames of the stem and of the first pooling: `(2, 2)` or `(1, 1)`.

    Args:
        clip: frames x stride, such as "8x8".
        source: whose rule to follow.
        plain: whether every other block of the network is inflated, as in I3D.
    """
    frames, stride = parse_clip(clip)
    dense = frames >= 32 and stride <= 2
    thinned = {"dense clips": dense, "i3d": plain, "nothing": False}[SOURCES[source].thins]
    return (2, 2) if thinned else (1, 1)


def is_long(clip):
    """Whether clips span 128 frames, which the authors train with frozen norms and groups."""
    frames, stride = parse_clip(clip)
    return frames >= 32 and frames * stride >= 128


def inflated_places(blocks, inflated=None):
    """The `(stage, block)` places that span three frames.

    Args:
        blocks: the four block counts.
        inflated: `None` for every other block, "all", "late" for stages 4 and 5 whole, or the
            places themselves.

    Returns:
        Frozen set of places.
    """
    if isinstance(inflated, (tuple, list, set, frozenset, np.ndarray)) and len(inflated):
        return frozenset(_check_place(place, blocks, "inflated") for place in inflated)
    if not (inflated is None or (isinstance(inflated, str) and inflated in ("all", "late"))):
        raise ValueError(
            "`inflated` must be None (every other block), 'all', 'late' (stages 4 and 5), or "
            f"(stage, block) places such as [(2, 0), (3, 0)]. Received: inflated={inflated!r}. "
            "Use C2D or NLC2D for a network without inflated blocks."
        )
    return frozenset(
        (stage, block)
        for stage, count in zip((2, 3, 4, 5), blocks, strict=True)
        for block in range(count)[slice(None) if inflated else _INFLATED_BLOCKS[stage]]
        if inflated != "late" or stage > 3
    )


def non_local_places(non_local, blocks, source="video-nonlocal-net"):
    """The `(stage, block)` places that a non-local block follows.

    One block stands right before the last block of stage 4; five stand after every other block
    of stages 3 and 4 (two and three of them); ten after every block of both in 50 layers,
    evenly spread over stage 4 in 101. Networks with fewer blocks in a stage take as many.

    Args:
        non_local: 1, 5, 10, or the places themselves.
        blocks: the four block counts.
        source: whose places to take where sources differ.

    Returns:
        Sorted tuple of places.
    """
    count = integer(non_local)
    if count is not None:
        if count == 1:
            return ((4, max(blocks[2] - 2, 0)),)
        if count == 5 and blocks == DEPTHS[101]:
            return ((3, 1), (3, 3), *((4, block) for block in SOURCES[source].places_101))
        if count in (5, 10):
            counts = (2, 3) if count == 5 else (4, 6)
            return tuple(
                (stage, block)
                for stage, count in zip((3, 4), counts, strict=True)
                for block in _spread(count, blocks[stage - 2])
            )
    elif isinstance(non_local, (tuple, list, np.ndarray)):
        places = tuple(sorted({_check_place(place, blocks, "non_local") for place in non_local}))
        if len(places) == len(non_local) > 0:
            return places
    raise ValueError(
        "`non_local` must be 1, 5, 10, or distinct (stage, block) places such as [(3, 1), (4, 5)]. "
        f"Received: non_local={non_local!r}. Use C2D or I3D for a network without them."
    )


def _spread(count, blocks):
    count = min(count, blocks)
    return [(i + 1) * blocks // count - 1 for i in range(count)]


def _check_place(place, blocks, argument):
    found = integers(place) or ()
    if len(found) == 2 and found[0] in (2, 3, 4, 5) and 0 <= found[1] < blocks[found[0] - 2]:
        return found
    raise ValueError(
        f"A place in `{argument}` must be (stage, block) with a stage from 2 to 5 and a block from "
        f"0 that the stage has. Received: {place!r} for stages of {blocks} blocks."
    )

"""The facts that fix one video network, and where each published source differs."""

import dataclasses
import re

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# Every other block of a stage spans three frames, beginning with the first; in the last stage
# with the second. Stage 2 is spanned whole.
_INFLATED_BLOCKS = {
    2: slice(None),
    3: slice(0, None, 2),
    4: slice(0, None, 2),
    5: slice(1, None, 2),
}


@dataclasses.dataclass(frozen=True)
class Source:
    """What a published implementation does that its checkpoints do not tell.

    Attributes:
        pool1_padding: zeros at both ends of height and width before the first max-pooling.
        pool1_frames: frames that the first max-pooling covers on clips thinned by the stem;
            it steps over two of them either way.
        pool_size: sub-sampling of the non-local keys.
        pool_position: whether keys are pooled before or after phi and g.
        scale: whether softmax logits are divided by the square root of their length.
        frames_per_group: frames that see each other in the non-local blocks of stage 3 on
            32x4 and 128x1 clips; `None`: all.
        places_101: blocks of stage 4 that carry a non-local block where 101 layers carry five.
    """

    pool1_padding: int
    pool1_frames: int = 1
    pool_size: int | None = 2
    pool_position: str = "before"
    scale: bool = True
    frames_per_group: int | None = None
    places_101: tuple[int, ...] = (6, 13, 20)


SOURCES = {
    "video-nonlocal-net": Source(pool1_padding=0, pool1_frames=2, frames_per_group=4),
    "pyslowfast": Source(pool1_padding=1, places_101=(1, 3, 5)),
    "pytorchvideo": Source(pool1_padding=1),
    "mmaction2": Source(pool1_padding=1, pool_position="after", scale=False),
    "gluoncv": Source(pool1_padding=1, pool_size=None),
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
        pool1_padding: zeros at both ends of its height and width.
        inflated: `(stage, block)` places whose convolution spans three frames.
        inflation: `"3x1x1"` inflates the first 1x1 kernel of such a block, `"3x3x3"` its 3x3.
        non_local: `(stage, block)` places followed by a non-local block.
        non_local_options: arguments of these `NonLocal3D` layers, as pairs.
        frames_per_group: pairs of a stage and the frames that see each other in it.
        frozen_norm: whether norms are affine, see `BatchNormalization(frozen=True)`.
    """

    blocks: tuple[int, int, int, int]
    width: int
    stem_frames: int
    stem_strides: tuple[int, int]
    pool1_frames: int
    pool1_padding: int
    inflated: frozenset
    inflation: str | None
    non_local: tuple[tuple[int, int], ...]
    non_local_options: tuple[tuple[str, object], ...]
    frames_per_group: tuple[tuple[int, int], ...]
    frozen_norm: bool


def architecture(depth, clip, source, width, inflation, non_local, mode, frozen_norm):
    """Collects the facts of one network from the arguments of a builder.

    Args:
        depth, clip, source, width, mode, frozen_norm: see `C2D` and `NLC2D`.
        inflation: "3x1x1", "3x3x3", or `None` for a network without 3-D kernels.
        non_local: 1, 5, 10, places, or `()` for none.

    Returns:
        An `Architecture`.
    """
    if source not in SOURCES:
        raise ValueError(
            f"`source` must be one of {', '.join(map(repr, SOURCES))}. Received: source={source!r}."
        )
    if inflation not in (None, "3x1x1", "3x3x3"):
        raise ValueError(
            f"`inflation` must be '3x1x1' or '3x3x3'. Received: inflation={inflation!r}."
        )
    facts = SOURCES[source]
    blocks = parse_depth(depth)
    strides = temporal_strides(clip)
    group = facts.frames_per_group if is_long(clip) else None
    options = {
        "mode": mode,
        "scale": facts.scale,
        "pool_size": facts.pool_size,
        "pool_position": facts.pool_position,
        "norm": None if frozen_norm else "batch_norm",
    }
    return Architecture(
        blocks=blocks,
        width=width,
        stem_frames=1 if inflation is None else 5,
        stem_strides=strides,
        pool1_frames=facts.pool1_frames if strides[1] == 2 else 1,
        pool1_padding=facts.pool1_padding,
        inflated=frozenset() if inflation is None else inflated_places(blocks),
        inflation=inflation,
        non_local=() if non_local == () else non_local_places(non_local, blocks, source),
        non_local_options=tuple(options.items()),
        frames_per_group=((3, group),) if group else (),
        frozen_norm=frozen_norm,
    )


def parse_clip(clip):
    """Gives `(frames, stride)` of a clip such as "8x8"."""
    match = re.fullmatch(r"(\d+)x(\d+)", clip) if isinstance(clip, str) else None
    if not match or int(match[1]) < 4 or int(match[2]) < 1:
        raise ValueError(
            "`clip` must be 'FRAMESxSTRIDE' with at least 4 frames, such as '8x8', '32x2', '32x4' "
            f"or '128x1'. Received: clip={clip!r}."
        )
    return int(match[1]), int(match[2])


def parse_depth(depth):
    """Gives the four block counts of a depth."""
    if isinstance(depth, int) and depth in DEPTHS:
        return DEPTHS[depth]
    if isinstance(depth, (tuple, list)) and len(depth) == 4:
        if all(isinstance(count, int) and count > 0 for count in depth):
            return tuple(depth)
    raise ValueError(
        "`depth` must be 50, 101, or four positive block counts, such as (3, 4, 6, 3). "
        f"Received: depth={depth!r}."
    )


def temporal_strides(clip):
    """Steps over frames of the stem and of the first pooling.

    Dense clips (32 frames or more, two frames apart or closer) are thinned by two, twice.
    """
    frames, stride = parse_clip(clip)
    return (2, 2) if frames >= 32 and stride <= 2 else (1, 1)


def is_long(clip):
    """Whether clips span 128 frames, which the authors train with frozen norms and groups."""
    frames, stride = parse_clip(clip)
    return frames >= 32 and frames * stride >= 128


def inflated_places(blocks):
    """The `(stage, block)` places that span three frames in I3D."""
    return frozenset(
        (stage, block)
        for stage, count in zip((2, 3, 4, 5), blocks, strict=True)
        for block in range(count)[_INFLATED_BLOCKS[stage]]
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
    if isinstance(non_local, int) and not isinstance(non_local, bool):
        if non_local == 1:
            return ((4, max(blocks[2] - 2, 0)),)
        if non_local == 5 and blocks == DEPTHS[101]:
            return ((3, 1), (3, 3), *((4, block) for block in SOURCES[source].places_101))
        if non_local in (5, 10):
            counts = (2, 3) if non_local == 5 else (4, 6)
            return tuple(
                (stage, block)
                for stage, count in zip((3, 4), counts, strict=True)
                for block in _spread(count, blocks[stage - 2])
            )
    elif isinstance(non_local, (tuple, list)):
        places = tuple(sorted({_check_place(place, blocks) for place in non_local}))
        if len(places) == len(non_local) > 0:
            return places
    raise ValueError(
        "`non_local` must be 1, 5, 10, or distinct (stage, block) places such as [(3, 1), (4, 5)]. "
        f"Received: non_local={non_local!r}. Use C2D or I3D for a network without them."
    )


def _spread(count, blocks):
    count = min(count, blocks)
    return [(i + 1) * blocks // count - 1 for i in range(count)]


def _check_place(place, blocks):
    if isinstance(place, (tuple, list)) and len(place) == 2:
        stage, block = place
        if stage in (2, 3, 4, 5) and isinstance(block, int) and 0 <= block < blocks[stage - 2]:
            return (stage, block)
    raise ValueError(
        "A place in `non_local` must be (stage, block) with a stage from 2 to 5 and a block from "
        f"0 that the stage has. Received: {place!r} for stages of {blocks} blocks."
    )

"""The configuration of a video network."""

import dataclasses
import json
import numbers
import re

import keras
import numpy as np

from keras_nonlocal.implementations import IMPLEMENTATIONS, check_source
from keras_nonlocal.layers.backend import as_ints, check_choice, check_positive_int, is_int
from keras_nonlocal.preprocessing import check_class_names

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# What differs between the builders, where neither an argument nor weights say otherwise.
KINDS = {
    "C2D": {"inflation": None, "non_local": ()},
    "I3D": {"inflation": "3x1x1", "non_local": ()},
    "NLC2D": {"inflation": None, "non_local": 5},
    "NLI3D": {"inflation": "3x1x1", "non_local": 5},
}
# Fields that change neither the layers in front of the head nor what their weights mean.
HEAD = (
    *("input_shape", "include_top", "classes", "pooling", "classifier_activation", "dropout"),
    "class_names",
)
# Of non-local blocks, what their weights do not tell.
BLOCK_SETTINGS = ("mode", "scale", "pool_size", "pool_position")


@dataclasses.dataclass(frozen=True)
class ResNet3DConfig:
    """The configuration of a video network: everything but its weights.

    Values are checked and brought into one form: `depth` into block counts, `inflated` and
    `non_local` into sorted `(stage, block)` ids.

    Args:
        depth, width, clip, source, pool2, frozen_norm, input_shape, include_top, classes,
            pooling, classifier_activation, dropout, include_preprocessing, class_names: see
            `keras_nonlocal.C2D`.
        inflation: `"3x1x1"`, `"3x3x3"`, or `None` for a network without 3-D kernels.
        inflated: see `keras_nonlocal.I3D`.
        non_local: 1, 5, 10, `(stage, block)` ids, or `()` for no non-local blocks.
        mode: see `keras_nonlocal.NLC2D`.
        normalization: the implementation whose mean and standard deviation normalize pixels, if
            weights of another one than `source` were loaded.
        weights: name or file that the weights came from; `None` for random values.

    Raises:
        ValueError: on a value outside these rules.
    """

    depth: object = 50
    width: int = 64
    clip: str = "8x8"
    source: str = "video-nonlocal-net"
    inflation: str | None = None
    inflated: object = None
    non_local: object = ()
    mode: str = "embedded_gaussian"
    pool2: bool = True
    frozen_norm: bool = False
    input_shape: tuple | None = None
    include_top: bool = True
    classes: int = 400
    pooling: str | None = None
    classifier_activation: str | None = "softmax"
    dropout: float = 0.5
    include_preprocessing: bool = True
    class_names: tuple[str, ...] | None = None
    normalization: str | None = None
    weights: str | None = None

    def __post_init__(self):
        check_source("source", self.source)
        check_choice("inflation", self.inflation, ("3x1x1", "3x3x3", None))
        check_choice("pooling", self.pooling, (None, "avg", "max"))
        flags = ("pool2", "frozen_norm", "include_top", "include_preprocessing")
        for name in flags:
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise ValueError(
                    f"`{name}` must be True or False. Received: {name}={getattr(self, name)!r}."
                )
        share = isinstance(self.dropout, numbers.Real) and not isinstance(self.dropout, bool)
        if not share or not 0 <= self.dropout < 1:
            raise ValueError(
                "`dropout` must be a share of features from 0, for none, to below 1. Received: "
                f"dropout={self.dropout!r}."
            )
        blocks, activation = parse_depth(self.depth), self.classifier_activation
        if not isinstance(activation, (str, type(None))):
            # As the layers of Keras, by name or as a serializable object.
            activation = keras.activations.serialize(activation)
        names = self.class_names if self.include_top else None
        alone = isinstance(self.non_local, (tuple, list)) and not self.non_local
        values = {
            "depth": blocks,
            "width": check_positive_int("width", self.width),
            "inflated": () if self.inflation is None else inflated_blocks(blocks, self.inflated),
            "non_local": () if alone else non_local_blocks(self.non_local, blocks, self.source),
            **{name: bool(getattr(self, name)) for name in flags},
            "classes": check_positive_int("classes", self.classes),
            "classifier_activation": activation,
            "dropout": float(self.dropout),
            "input_shape": self._check_input_shape(parse_clip(self.clip)[0]),
            "class_names": None if names is None else check_class_names(names, self.classes),
        }
        if self.normalization is not None:
            check_source("normalization", self.normalization)
            theirs, ours = IMPLEMENTATIONS[self.normalization], self.implementation
            if (theirs.mean, theirs.std) == (ours.mean, ours.std):
                values["normalization"] = None
        for name, value in values.items():
            object.__setattr__(self, name, value)
        # After the others, as the strides over frames depend on them.
        self._check_frames()

    @property
    def implementation(self):
        """The `Implementation` that the layers follow."""
        return IMPLEMENTATIONS[self.source]

    @property
    def kind(self):
        """Name of the builder: "C2D", "I3D", "NLC2D" or "NLI3D"."""
        return f"{'NL' if self.non_local else ''}{'C2D' if self.inflation is None else 'I3D'}"

    @property
    def stem_frames(self):
        """Frames that the kernel of the stem spans."""
        return 5 if any(stage == 2 for stage, _ in self.inflated) else 1

    @property
    def stem_strides(self):
        """Strides over frames of the stem and of the first max-pooling: `(2, 2)` or `(1, 1)`."""
        frames, stride = parse_clip(self.clip)
        every_other = self.inflated == inflated_blocks(self.depth)
        halves = {
            "dense clips": frames >= 32 and stride <= 2,
            "i3d": every_other,
            "none": False,
        }[self.implementation.temporal_stride_rule]
        return (2, 2) if halves else (1, 1)

    @property
    def pool1_frames(self):
        """Frames that the first max-pooling covers."""
        return self.implementation.pool1_frames if self.stem_strides[1] == 2 else 1

    @property
    def pool1_padding(self):
        """Positions added at both ends of height and width before the first max-pooling."""
        special = self.implementation.pool1_padding_c2d
        c2d = self.inflation is None and self.pool2 and special is not None
        return special if c2d else self.implementation.pool1_padding

    @property
    def non_local_options(self):
        """Arguments of the `NonLocal3D` layers, but for `frames_per_group`."""
        late = self.inflated and self.stem_frames == 1
        facts = self.implementation
        return {
            "mode": self.mode,
            "scale": facts.scale_if_late_inflated if late else facts.scale,
            "pool_size": facts.pool_size,
            "pool_position": facts.pool_position,
            "norm": None if self.frozen_norm else "batch_norm",
        }

    def frames_per_group(self, stage):
        """Returns the frames that attend to each other in the blocks of a stage; `None`: all.

        Clips that span 128 frames, which the authors train with frozen norms, have groups.
        """
        frames, stride = parse_clip(self.clip)
        long = frames >= 32 and frames * stride >= 128
        return self.implementation.frames_per_group if long and stage == 3 else None

    @property
    def settings(self):
        """What the layers do beyond the weights: a dictionary to compare networks by."""
        facts = self.implementation
        settings = {
            "strides over frames": self.stem_strides,
            "frames of pool1": self.pool1_frames,
            "padding of pool1": self.pool1_padding,
            "pool2": self.pool2,
            "convolution with strides": facts.stride_kernel,
        }
        if self.include_top:
            settings["window of the head"] = facts.head_window
        if self.non_local:
            options = self.non_local_options
            settings |= {key: options[key] for key in BLOCK_SETTINGS}
            settings["frames_per_group"] = self.frames_per_group(3)
        return settings

    def to_dict(self):
        """Returns the fields as values of JSON, from which `ResNet3DConfig(**...)` makes it."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def _check_input_shape(self, frames):
        """Returns `input_shape` as a tuple of four sizes, of which all but the last may be None."""
        if self.input_shape is None:
            return (frames, 224, 224, 3)
        try:
            sizes = tuple(self.input_shape)
        except (TypeError, ValueError):  # TensorFlow's shapes of unknown rank raise the latter.
            sizes = ()
        sizes = tuple(size if size is None else int(size) if is_int(size) else 0 for size in sizes)
        if len(sizes) != 4 or sizes[3] is None or 0 in sizes or min(filter(None, sizes)) < 1:
            raise ValueError(
                "`input_shape` must be (frames, height, width, channels), where all but the "
                f"channels may be None. Received: input_shape={self.input_shape!r}."
            )
        if self.include_preprocessing and sizes[3] != 3:
            raise ValueError(
                "`input_shape` must have 3 channels, RGB, with include_preprocessing=True. "
                f"Received: input_shape={sizes}. Pass include_preprocessing=False for others."
            )
        return sizes

    def _check_frames(self):
        # The strides of the stem, and pool2 after them, need two frames to be left.
        least = max(2 * self.stem_strides[0] * self.stem_strides[1], 4)
        frames = self.input_shape[0]
        if frames is not None and frames < least:
            shorter = " or, with most sources, a `clip` of fewer frames, such as '8x8'"
            raise ValueError(
                f"`input_shape` must have at least {least} frames with clip={self.clip!r}. "
                f"Received: input_shape={self.input_shape}. Use longer clips"
                f"{shorter * (least > 4)}."
            )


def parse_clip(clip):
    """Returns `(frames, stride)` of a clip such as "8x8"."""
    match = re.fullmatch(r"(\d+)x(\d+)", clip) if isinstance(clip, str) else None
    if not match or int(match[1]) < 4 or int(match[2]) < 1:
        raise ValueError(
            "`clip` must be 'FRAMESxSTRIDE' with at least 4 frames, such as '8x8', '32x2', '32x4' "
            f"or '128x1'. Received: clip={clip!r}."
        )
    return int(match[1]), int(match[2])


def parse_depth(depth):
    """Returns the four block counts of a depth."""
    if is_int(depth) and depth in DEPTHS:
        return DEPTHS[depth]
    blocks = as_ints(depth)
    if len(blocks) == 4 and min(blocks) > 0:
        return blocks
    raise ValueError(
        "`depth` must be 50, 101, or four positive block counts, such as (3, 4, 6, 3). "
        f"Received: depth={depth!r}."
    )


def inflated_blocks(blocks, inflated=None):
    """Returns the ids of the blocks that span three frames.

    Args:
        blocks: the four block counts.
        inflated: `None` for every other block, "all", "late" for stages 4 and 5 whole, or
            `(stage, block)` ids.

    Returns:
        Sorted tuple of `(stage, block)` ids.
    """
    if isinstance(inflated, (tuple, list, set, frozenset, np.ndarray)) and len(inflated):
        return tuple(sorted({_check_block(block, blocks, "inflated") for block in inflated}))
    if not (inflated is None or (isinstance(inflated, str) and inflated in ("all", "late"))):
        raise ValueError(
            "`inflated` must be None (every other block), 'all', 'late' (stages 4 and 5), or "
            f"(stage, block) ids such as [(2, 0), (3, 0)]. Received: inflated={inflated!r}. "
            "Use C2D or NLC2D for a network without inflated blocks."
        )
    blocks = [(stage, block) for stage in (2, 3, 4, 5) for block in range(blocks[stage - 2])]
    if inflated is None:
        # All of stage 2, then every other block, beginning with the first; in stage 5 the second.
        return tuple((s, b) for s, b in blocks if s == 2 or b % 2 == (s == 5))
    return tuple((s, b) for s, b in blocks if inflated == "all" or s > 3)


def non_local_blocks(non_local, blocks, source="video-nonlocal-net"):
    """Returns the ids of the blocks that a non-local block follows.

    One is inserted right before the last block of stage 4; five after every other block of stages
    3 and 4 (two and three of them); ten after every block of both in 50 layers, evenly spread
    over stage 4 in 101. Networks with fewer blocks in a stage have as many as fit.

    Args:
        non_local: 1, 5, 10, or `(stage, block)` ids.
        blocks: the four block counts.
        source: the implementation whose ids to take where they differ.

    Returns:
        Sorted tuple of `(stage, block)` ids.
    """
    if is_int(non_local) and non_local == 1:
        return ((4, max(blocks[2] - 2, 0)),)
    if is_int(non_local) and non_local == 5 and blocks == DEPTHS[101]:
        stage_4 = IMPLEMENTATIONS[source].non_local_101
        return ((3, 1), (3, 3), *((4, block) for block in stage_4))
    if is_int(non_local) and non_local in (5, 10):
        counts = (2, 3) if non_local == 5 else (4, 6)
        return (*_spread(3, counts[0], blocks), *_spread(4, counts[1], blocks))
    if isinstance(non_local, (tuple, list, np.ndarray)):
        ids = tuple(sorted({_check_block(block, blocks, "non_local") for block in non_local}))
        if len(ids) == len(non_local) > 0:
            return ids
    raise ValueError(
        "`non_local` must be 1, 5, 10, or distinct (stage, block) ids such as [(3, 1), (4, 5)]. "
        f"Received: non_local={non_local!r}. Use C2D or I3D for a network without them."
    )


def _spread(stage, count, blocks):
    total = blocks[stage - 2]
    count = min(count, total)
    return [(stage, (i + 1) * total // count - 1) for i in range(count)]


def _check_block(block, blocks, argument):
    found = as_ints(block)
    if len(found) == 2 and found[0] in (2, 3, 4, 5) and 0 <= found[1] < blocks[found[0] - 2]:
        return found
    raise ValueError(
        f"A block in `{argument}` must be (stage, block) with a stage from 2 to 5 and a block from "
        f"0 that the stage has. Received: {block!r} for stages of {blocks} blocks."
    )

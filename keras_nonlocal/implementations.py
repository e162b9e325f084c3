"""How the published implementations differ: one record each."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Implementation:
    """What a published implementation does that its checkpoints do not tell.

    Attributes:
        pool1_padding: zeros at both ends of height and width before the first max-pooling.
        mean: of RGB pixels from 0 to 255, subtracted from each channel.
        std: divides each channel after that.
        pool1_padding_c2d: `pool1_padding` of C2D with pool2, where it differs.
        pool1_frames: frames that the first max-pooling covers where the stem halves the frames;
            its stride over frames is 2 either way.
        temporal_stride_rule: which networks halve the frames in the stem and in the first
            max-pooling: `"dense clips"` those for 32 frames or more at stride 1 or 2; `"i3d"`
            those with every other block inflated, for any clip; `"none"`.
        stride_kernel: which convolution of a block halves height and width, `"a"` or `"b"`.
        pool_size: max-pooling of the non-local keys.
        pool_position: whether keys are pooled before or after phi and g.
        scale: whether softmax logits are divided by the square root of their length.
        scale_if_late_inflated: `scale` where only blocks of stages 4 and 5 are inflated.
        frames_per_group: frames that attend to each other in the non-local blocks of stage 3 for
            32x4 and 128x1 clips; `None`: all.
        non_local_101: blocks of stage 4 that a non-local block follows, of five in 101 layers.
        head_window: height and width that the head averages before the classifier, and
            slides over larger maps; `None`: the whole map.
    """

    pool1_padding: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pool1_padding_c2d: int | None = None
    pool1_frames: int = 1
    temporal_stride_rule: str = "none"
    stride_kernel: str = "b"
    pool_size: int | None = 2
    pool_position: str = "before"
    scale: bool = True
    scale_if_late_inflated: bool = True
    frames_per_group: int | None = None
    non_local_101: tuple[int, ...] = (6, 13, 20)
    head_window: int | None = 7


# PySlowFast and PyTorchVideo write the same numbers for pixels from 0 to 1, GluonCV and
# torchvision those of MMAction2.
_GRAY = {"mean": (114.75,) * 3, "std": (57.375,) * 3}
_IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
IMPLEMENTATIONS = {
    "video-nonlocal-net": Implementation(
        pool1_padding=0,
        pool1_frames=2,
        temporal_stride_rule="dense clips",
        frames_per_group=4,
        **_GRAY,
    ),
    "pyslowfast": Implementation(pool1_padding=1, non_local_101=(1, 3, 5), **_GRAY),
    "pytorchvideo": Implementation(pool1_padding=1, **_GRAY),
    "mmaction2": Implementation(
        pool1_padding=1,
        pool1_padding_c2d=0,
        temporal_stride_rule="i3d",
        pool_position="after",
        scale=False,
        head_window=None,
        **_IMAGENET,
    ),
    "gluoncv": Implementation(
        pool1_padding=1,
        temporal_stride_rule="i3d",
        pool_size=None,
        head_window=None,
        **_IMAGENET,
    ),
    # Video networks that start from these image networks.
    "torchvision": Implementation(pool1_padding=1, temporal_stride_rule="dense clips", **_IMAGENET),
    "keras-applications": Implementation(
        pool1_padding=1,
        temporal_stride_rule="dense clips",
        stride_kernel="a",
        mean=(123.68, 116.779, 103.939),
        std=(1.0, 1.0, 1.0),
    ),
}


def check_source(argument, source):
    """Raises unless `source` is one of `IMPLEMENTATIONS`."""
    if source not in tuple(IMPLEMENTATIONS):
        raise ValueError(
            f"`{argument}` must be one of {', '.join(map(repr, IMPLEMENTATIONS))}. Received: "
            f"{argument}={source!r}."
        )

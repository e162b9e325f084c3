"""Where each published source differs, beyond what its checkpoints tell."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Source:
    """What a published implementation does that its checkpoints do not tell.

    Attributes:
        pool1_padding: zeros at both ends of height and width before the first max-pooling.
        pool1_padding_c2d: the same for C2D with pool2, where it differs.
        pool1_frames: frames that the first max-pooling covers on clips thinned by the stem;
            it steps over two of them either way.
        thins: which networks halve the frames in the stem and in the first max-pooling:
            `"dense clips"` those for 32 frames or more, two apart or closer; `"i3d"` those
            with every other block inflated, on any clip; `"nothing"`.
        stride_kernel: which convolution of a block halves height and width, `"a"` or `"b"`.
        pool_size: sub-sampling of the non-local keys.
        pool_position: whether keys are pooled before or after phi and g.
        scale: whether softmax logits are divided by the square root of their length.
        scale_late: the same where only the late stages are inflated.
        frames_per_group: frames that see each other in the non-local blocks of stage 3 on
            32x4 and 128x1 clips; `None`: all.
        places_101: blocks of stage 4 that carry a non-local block where 101 layers carry five.
        head_window: height and width that the head averages before the classifier, and
            slides over larger maps; `None`: the whole map.
    """

    pool1_padding: int
    pool1_padding_c2d: int | None = None
    pool1_frames: int = 1
    thins: str = "nothing"
    stride_kernel: str = "b"
    pool_size: int | None = 2
    pool_position: str = "before"
    scale: bool = True
    scale_late: bool = True
    frames_per_group: int | None = None
    places_101: tuple[int, ...] = (6, 13, 20)
    head_window: int | None = 7


SOURCES = {
    "video-nonlocal-net": Source(
        pool1_padding=0, pool1_frames=2, thins="dense clips", frames_per_group=4
    ),
    "pyslowfast": Source(pool1_padding=1, places_101=(1, 3, 5)),
    "pytorchvideo": Source(pool1_padding=1),
    "mmaction2": Source(
        pool1_padding=1,
        pool1_padding_c2d=0,
        thins="i3d",
        pool_position="after",
        scale=False,
        head_window=None,
    ),
    "gluoncv": Source(pool1_padding=1, thins="i3d", pool_size=None, head_window=None),
    # Networks for clips that begin as these image networks.
    "torchvision": Source(pool1_padding=1, thins="dense clips"),
    "keras-applications": Source(pool1_padding=1, thins="dense clips", stride_kernel="a"),
}

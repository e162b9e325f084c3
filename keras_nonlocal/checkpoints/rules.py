"""How each implementation names its tensors: one table a format.

A row pairs a name in a file with an address in our networks, `layer/variable`. Fields in braces
stand for the same thing on both sides; `words` translates those that are spelt otherwise.
"""

import collections
import re
import types

from keras_nonlocal.checkpoints.layout import Layout

_NORM_TORCH = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_NORM_CAFFE2 = {"s": "gamma", "b": "beta", "rm": "moving_mean", "riv": "moving_variance"}
_PARTS = dict.fromkeys(("theta", "phi", "g", "out"))
_STAGES = {"2": "2", "3": "3", "4": "4", "5": "5"}
_STAGES_FROM_0 = {"0": "2", "1": "3", "2": "4", "3": "5"}
_STAGES_FROM_1 = {"1": "2", "2": "3", "3": "4", "4": "5"}
_CONVS = {"1": "a", "2": "b", "3": "c"}

_BLOCK = "res{stage}_{block}"


def _words(**words):
    return types.MappingProxyType(words)


CAFFE2 = Layout(
    name="Caffe2",
    sources=("video-nonlocal-net", "pyslowfast"),
    rows=(
        ("conv1_w", "conv1_conv/kernel"),
        ("res_conv1_bn_{norm}", "conv1_norm/{norm}"),
        ("res{stage}_{block}_branch2{conv}_w", _BLOCK + "_{conv}_conv/kernel"),
        ("res{stage}_{block}_branch2{conv}_bn_{norm}", _BLOCK + "_{conv}_norm/{norm}"),
        ("res{stage}_{block}_branch1_w", _BLOCK + "_shortcut_conv/kernel"),
        ("res{stage}_{block}_branch1_bn_{norm}", _BLOCK + "_shortcut_norm/{norm}"),
        ("nonlocal_conv{stage}_{block}_{part}_{kind}", _BLOCK + "_nonlocal/{part}/{kind}"),
        ("nonlocal_conv{stage}_{block}_bn_{norm}", _BLOCK + "_nonlocal/norm/{norm}"),
        ("pred_{kind}", "predictions/{kind}"),
    ),
    words=_words(
        stage=_STAGES,
        conv=dict.fromkeys("abc"),
        norm=_NORM_CAFFE2,
        part=_PARTS,
        kind={"w": "kernel", "b": "bias"},
    ),
    ignored=(r".*_momentum", "lr", "model_iter", "epoch"),
)
_TORCH_KIND = {"weight": "kernel", "bias": "bias"}
PYSLOWFAST = Layout(
    name="PySlowFast",
    sources=("pyslowfast",),
    rows=(
        ("s1.pathway0_stem.conv.weight", "conv1_conv/kernel"),
        ("s1.pathway0_stem.bn.{norm}", "conv1_norm/{norm}"),
        ("s{stage}.pathway0_res{block}.branch2.{conv}.weight", _BLOCK + "_{conv}_conv/kernel"),
        ("s{stage}.pathway0_res{block}.branch2.{conv}_bn.{norm}", _BLOCK + "_{conv}_norm/{norm}"),
        ("s{stage}.pathway0_res{block}.branch1.weight", _BLOCK + "_shortcut_conv/kernel"),
        ("s{stage}.pathway0_res{block}.branch1_bn.{norm}", _BLOCK + "_shortcut_norm/{norm}"),
        (
            "s{stage}.pathway0_nonlocal{block}.conv_{part}.{kind}",
            _BLOCK + "_nonlocal/{part}/{kind}",
        ),
        ("s{stage}.pathway0_nonlocal{block}.bn.{norm}", _BLOCK + "_nonlocal/norm/{norm}"),
        ("head.projection.{kind}", "predictions/{kind}"),
    ),
    words=_words(
        stage=_STAGES,
        conv=dict.fromkeys("abc"),
        norm=_NORM_TORCH,
        part=_PARTS,
        kind=_TORCH_KIND,
    ),
)


def _pytorchvideo(name, stages, head, pool2):
    # Its blocks are numbered with pool2 among them, which has no tensors.
    return Layout(
        name=name,
        sources=("pytorchvideo",),
        rows=(
            ("blocks.0.conv.weight", "conv1_conv/kernel"),
            ("blocks.0.norm.{norm}", "conv1_norm/{norm}"),
            (
                "blocks.{stage}.res_blocks.{block}.branch2.conv_{conv}.weight",
                _BLOCK + "_{conv}_conv/kernel",
            ),
            (
                "blocks.{stage}.res_blocks.{block}.branch2.norm_{conv}.{norm}",
                _BLOCK + "_{conv}_norm/{norm}",
            ),
            (
                "blocks.{stage}.res_blocks.{block}.branch1_conv.weight",
                _BLOCK + "_shortcut_conv/kernel",
            ),
            (
                "blocks.{stage}.res_blocks.{block}.branch1_norm.{norm}",
                _BLOCK + "_shortcut_norm/{norm}",
            ),
            (f"blocks.{head}.proj.{{kind}}", "predictions/{kind}"),
        ),
        words=_words(stage=stages, conv=dict.fromkeys("abc"), norm=_NORM_TORCH, kind=_TORCH_KIND),
        modes=(),
        pool2=pool2,
    )


PYTORCHVIDEO = _pytorchvideo(
    "PyTorchVideo", {"1": "2", "3": "3", "4": "4", "5": "5"}, head=6, pool2=True
)
PYTORCHVIDEO_WITHOUT_POOL2 = _pytorchvideo(
    "PyTorchVideo (without pool2)", _STAGES_FROM_1, head=5, pool2=False
)
MMACTION2 = Layout(
    name="MMAction2",
    sources=("mmaction2",),
    rows=(
        ("backbone.conv1.conv.weight", "conv1_conv/kernel"),
        ("backbone.conv1.bn.{norm}", "conv1_norm/{norm}"),
        ("backbone.layer{stage}.{block}.conv{conv}.conv.weight", _BLOCK + "_{conv}_conv/kernel"),
        ("backbone.layer{stage}.{block}.conv{conv}.bn.{norm}", _BLOCK + "_{conv}_norm/{norm}"),
        (
            "backbone.layer{stage}.{block}.downsample.conv.weight",
            _BLOCK + "_shortcut_conv/kernel",
        ),
        ("backbone.layer{stage}.{block}.downsample.bn.{norm}", _BLOCK + "_shortcut_norm/{norm}"),
        (
            "backbone.layer{stage}.{block}.non_local_block.{part}.{kind}",
            _BLOCK + "_nonlocal/{part}/{kind}",
        ),
        (
            "backbone.layer{stage}.{block}.non_local_block.conv_out.bn.{norm}",
            _BLOCK + "_nonlocal/norm/{norm}",
        ),
        (
            "backbone.layer{stage}.{block}.non_local_block.concat_project.conv.weight",
            _BLOCK + "_nonlocal/w_f",
        ),
        ("cls_head.fc_cls.{kind}", "predictions/{kind}"),
    ),
    words=_words(
        stage=_STAGES_FROM_1,
        conv=_CONVS,
        norm=_NORM_TORCH,
        # What is sub-sampled stands in a sequence with its pooling.
        part={
            "theta.conv": "theta",
            "phi.0.conv": "phi",
            "g.0.conv": "g",
            "conv_out.conv": "out",
        },
        kind=_TORCH_KIND,
    ),
    modes=("gaussian", "embedded_gaussian", "dot_product", "concatenation"),
    out_bias=False,
    flat_c2d=True,
)
GLUONCV = Layout(
    name="GluonCV",
    sources=("gluoncv",),
    rows=(
        ("first_stage.0.weight", "conv1_conv/kernel"),
        ("first_stage.1.{norm}", "conv1_norm/{norm}"),
        ("res_layers.{stage}.{block}.conv{conv}.weight", _BLOCK + "_{conv}_conv/kernel"),
        ("res_layers.{stage}.{block}.bn{conv}.{norm}", _BLOCK + "_{conv}_norm/{norm}"),
        ("res_layers.{stage}.{block}.downsample.0.weight", _BLOCK + "_shortcut_conv/kernel"),
        ("res_layers.{stage}.{block}.downsample.1.{norm}", _BLOCK + "_shortcut_norm/{norm}"),
        (
            "res_layers.{stage}.{block}.nonlocal_block.{part}.{kind}",
            _BLOCK + "_nonlocal/{part}/{kind}",
        ),
        ("res_layers.{stage}.{block}.nonlocal_block.bn.{norm}", _BLOCK + "_nonlocal/norm/{norm}"),
        # The same modules, registered a second time in a sequence.
        (
            "res_layers.{stage}.{block}.nonlocal_block.W_bn.0.{kind}",
            _BLOCK + "_nonlocal/out/{kind}",
        ),
        (
            "res_layers.{stage}.{block}.nonlocal_block.W_bn.1.{norm}",
            _BLOCK + "_nonlocal/norm/{norm}",
        ),
        ("fc.{kind}", "predictions/{kind}"),
        ("head.1.{kind}", "predictions/{kind}"),
    ),
    words=_words(
        stage=_STAGES_FROM_0,
        conv=_CONVS,
        norm=_NORM_TORCH,
        part={"theta": "theta", "phi": "phi", "g": "g", "W": "out"},
        kind=_TORCH_KIND,
    ),
    modes=("embedded_gaussian",),
)
TORCHVISION = Layout(
    name="torchvision",
    sources=("torchvision",),
    rows=(
        ("conv1.weight", "conv1_conv/kernel"),
        ("bn1.{norm}", "conv1_norm/{norm}"),
        ("layer{stage}.{block}.conv{conv}.weight", _BLOCK + "_{conv}_conv/kernel"),
        ("layer{stage}.{block}.bn{conv}.{norm}", _BLOCK + "_{conv}_norm/{norm}"),
        ("layer{stage}.{block}.downsample.0.weight", _BLOCK + "_shortcut_conv/kernel"),
        ("layer{stage}.{block}.downsample.1.{norm}", _BLOCK + "_shortcut_norm/{norm}"),
        ("fc.{kind}", "predictions/{kind}"),
    ),
    words=_words(stage=_STAGES_FROM_1, conv=_CONVS, norm=_NORM_TORCH, kind=_TORCH_KIND),
    modes=(),
)

LAYOUTS = (
    CAFFE2,
    PYSLOWFAST,
    PYTORCHVIDEO,
    PYTORCHVIDEO_WITHOUT_POOL2,
    MMACTION2,
    GLUONCV,
    TORCHVISION,
)
# Every source of video networks once, in the order of the layouts.
SOURCES = tuple(
    dict.fromkeys(
        source for layout in LAYOUTS if layout is not TORCHVISION for source in layout.sources
    )
)


def recognise(names):
    """Finds the implementation that names its tensors so.

    Args:
        names: names of tensors.

    Returns:
        The layout that knows most of the names, `None` if none knows one, and the prefix to take
        off for that: "", or one that more than half of the names share.
    """
    names = list(names)
    shared = collections.Counter(n[: m.end()] for n in names for m in re.finditer("[./]", n))
    prefixes = ["", *(prefix for prefix, count in shared.items() if 2 * count > len(names))]
    known = {
        (layout, prefix): sum(
            layout.address_of(name.removeprefix(prefix)) is not None for name in names
        )
        for prefix in prefixes
        for layout in LAYOUTS
    }
    best = max(known, key=known.get)
    return best if known[best] else (None, "")

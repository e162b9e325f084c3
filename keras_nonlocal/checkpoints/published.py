"""The table of published checkpoints: who published them, where they lie, how well they do.

A record's name is `network_depth_clip[_variant].dataset_source`. The network and the variant
say which builder it is and with which arguments, so the name is all that a row needs to tell
of the network. Sources are the publishers below, by three letters.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Publisher:
    """What all files of one publisher have in common.

    Attributes:
        source: the builders' name for the publisher's layer list.
        base_url: where its files lie.
        licence: SPDX identifier.
        tests: how accuracies were measured, by network; "" stands for all others.
        algorithm: hash whose first eight digits end the names of files; `None`: they do not.
    """

    source: str
    base_url: str
    licence: str
    tests: dict
    algorithm: str | None = None


_META = "https://dl.fbaipublicfiles.com"
_VIEWS = "30 views (10 clips x 3 crops of 256)"
PUBLISHERS = {
    "vnl": Publisher(
        source="video-nonlocal-net",
        base_url=f"{_META}/video-nonlocal/",
        licence="CC-BY-NC-4.0",
        tests={"": f"{_VIEWS}, fully convolutional"},
    ),
    "psf": Publisher(
        source="pyslowfast",
        base_url=f"{_META}/pyslowfast/model_zoo/kinetics400/",
        licence="Apache-2.0",
        tests={"": _VIEWS},
    ),
    "ptv": Publisher(
        source="pytorchvideo",
        base_url=f"{_META}/pytorchvideo/model_zoo/kinetics/",
        licence="Apache-2.0",
        tests={"": _VIEWS},
    ),
    "mma": Publisher(
        source="mmaction2",
        base_url="https://download.openmmlab.com/mmaction/v1.0/recognition/",
        licence="Apache-2.0",
        tests={"": _VIEWS, "c2d": "30 views (10 clips x 3 crops of 224)"},
        algorithm="sha256",
    ),
    "gcv": Publisher(
        source="gluoncv",
        base_url="https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/torch/models/",
        licence="Apache-2.0",
        tests={"": "30 views (10 clips x 3 crops)"},
        algorithm="sha1",
    ),
}

NETWORKS = {
    "c2d": ("C2D", {}),
    "nl_c2d": ("NLC2D", {}),
    "i3d": ("I3D", {}),
    "nl_i3d": ("NLI3D", {}),
    # The slow path of SlowFast networks.
    "nl_slowonly": (
        "NLI3D",
        {
            "inflated": "late",
            "pool2": False,
            "non_local": ((3, 0), (3, 2), (4, 0), (4, 2), (4, 4)),
        },
    ),
}
VARIANTS = {
    "affine": ({"frozen_norm": True}, "affine layers in place of batch norm"),
    "nopool": ({"pool2": False}, "without the max-pooling over time after stage 2"),
    "heavy": ({"inflated": "all"}, "every block inflated, no steps over frames in the stem"),
    "nl10": ({"non_local": 10}, "ten non-local blocks"),
    "dot_product": ({"mode": "dot_product"}, ""),
    "gaussian": ({"mode": "gaussian"}, ""),
    "dense": ({}, "trained and tested on densely sampled clips"),
    "300k": ({}, "300k iterations in place of 400k"),
    "4gpu_600k": ({}, "four GPUs, 600k iterations, fewer videos"),
    "4gpu_300k": ({}, "four GPUs, 300k iterations, fewer videos"),
}


def _openmmlab(room, directory, suffix):
    """OpenMMLab's files bear the names of their directories."""
    directory = f"{directory}_kinetics400-rgb"
    return f"{room}/{directory}/{directory}_{suffix}.pth"


def _i3d(pretrained, recipe, suffix):
    return _openmmlab("i3d", f"i3d_imagenet-pretrained-r50{pretrained}_8xb8-{recipe}-100e", suffix)


def _c2d(pretrained, recipe, suffix):
    return _openmmlab("c2d", f"c2d_{pretrained}_8xb32-{recipe}-100e", suffix)


def _slowonly(recipe, suffix):
    directory = f"slowonly_r50-in1k-pre-nl-embedded-gaussian_8xb16-{recipe}-steplr-150e"
    return _openmmlab("slowonly", directory, suffix)


# Name up to the dataset, path, top-1, top-5.
KINETICS400 = {
    "vnl": (
        ("c2d_r50_32x2", "c2d_baseline_32x2_IN_pretrain_400k.pkl", 72.0, 90.0),
        ("nl_c2d_r50_32x2", "c2d_nonlocal_32x2_IN_pretrain_400k.pkl", 73.9, 91.0),
        ("i3d_r50_32x2", "i3d_baseline_32x2_IN_pretrain_400k.pkl", 73.6, 90.8),
        ("nl_i3d_r50_32x2", "i3d_nonlocal_32x2_IN_pretrain_400k.pkl", 74.9, 91.6),
        ("i3d_r50_128x1_affine", "i3d_baseline_128x1_I3D_pretrain_400k.pkl", 75.2, 92.0),
        ("nl_i3d_r50_128x1_affine", "i3d_nonlocal_128x1_I3D_pretrain_400k.pkl", 76.5, 92.7),
        ("c2d_r50_8x8", "c2d_baseline_8x8_IN_pretrain_400k.pkl", 71.9, 90.0),
        ("nl_c2d_r50_8x8", "c2d_nonlocal_8x8_IN_pretrain_400k.pkl", 74.4, 91.4),
        ("i3d_r50_8x8", "i3d_baseline_8x8_IN_pretrain_400k.pkl", 73.4, 90.9),
        ("nl_i3d_r50_8x8", "i3d_nonlocal_8x8_IN_pretrain_400k.pkl", 74.7, 91.6),
        ("i3d_r50_32x4_affine", "i3d_baseline_32x4_I3D_pretrain_400k.pkl", 75.5, 92.0),
        ("nl_i3d_r50_32x4_affine", "i3d_nonlocal_32x4_I3D_pretrain_400k.pkl", 76.5, 92.6),
        ("i3d_r50_8x8_300k", "i3d_baseline_8x8_IN_pretrain_300k.pkl", 73.2, 90.8),
        ("i3d_r50_8x8_4gpu_600k", "i3d_baseline_8x8_IN_pretrain_600k_4gpu.pkl", 73.0, 90.4),
        ("i3d_r50_8x8_4gpu_300k", "i3d_baseline_8x8_IN_pretrain_300k_4gpu.pkl", 72.0, 90.1),
    ),
    "psf": (
        ("c2d_r50_8x8_nopool", "C2D_NOPOOL_8x8_R50.pkl", 67.2, 87.8),
        ("i3d_r50_8x8", "I3D_8x8_R50.pkl", 73.5, 90.8),
        ("nl_i3d_r50_8x8", "I3D_NLN_8x8_R50.pkl", 74.0, 91.1),
    ),
    "ptv": (
        ("c2d_r50_8x8", "C2D_8x8_R50.pyth", 71.46, 89.68),
        ("i3d_r50_8x8", "I3D_8x8_R50.pyth", 73.27, 90.7),
    ),
    "mma": (
        (
            "nl_i3d_r50_32x2_dot_product",
            _i3d("-nl-dot-product", "32x2x1", "20220812-8e1f2148"),
            74.8,
            92.07,
        ),
        (
            "nl_i3d_r50_32x2",
            _i3d("-nl-embedded-gaussian", "32x2x1", "20220812-afd8f562"),
            74.73,
            91.8,
        ),
        (
            "nl_i3d_r50_32x2_gaussian",
            _i3d("-nl-gaussian", "32x2x1", "20220812-0c5cbf5a"),
            73.97,
            91.33,
        ),
        ("i3d_r50_32x2", _i3d("", "32x2x1", "20220812-e213c223"), 73.47, 91.27),
        ("i3d_r50_32x2_dense", _i3d("", "dense-32x2x1", "20220812-9f46003f"), 73.77, 91.35),
        ("i3d_r50_32x2_heavy", _i3d("-heavy", "32x2x1", "20220812-ed501b31"), 76.21, 92.48),
        (
            "c2d_r50_8x8_nopool",
            _c2d("r50-in1k-pre-nopool", "8x8x1", "20221027-e0227b22"),
            73.44,
            91.0,
        ),
        (
            "c2d_r101_8x8_nopool",
            _c2d("r101-in1k-pre-nopool", "8x8x1", "20221027-557bd8bc"),
            74.97,
            91.77,
        ),
        ("c2d_r50_8x8", _c2d("r50-in1k-pre", "8x8x1", "20221027-3ca304fa"), 73.89, 91.21),
        ("c2d_r50_16x4", _c2d("r50-in1k-pre", "16x4x1", "20221027-5f382a43"), 74.97, 91.91),
        ("nl_slowonly_r50_4x16", _slowonly("4x16x1", "20220901-cf739c75"), 74.84, 91.41),
        ("nl_slowonly_r50_8x8", _slowonly("8x8x1", "20220901-df42dc84"), 76.35, 92.18),
    ),
    "gcv": (
        ("i3d_r50_32x2", "i3d_resnet50_v1_kinetics400-18545497.pth", 74.87, None),
        ("i3d_r101_32x2", "i3d_resnet101_v1_kinetics400-a9bb4f89.pth", 75.1, None),
        ("nl_i3d_r50_32x2", "i3d_nl5_resnet50_v1_kinetics400-9df1e103.pth", 75.17, None),
        ("nl_i3d_r50_32x2_nl10", "i3d_nl10_resnet50_v1_kinetics400-281e1e8a.pth", 75.93, None),
        ("nl_i3d_r101_32x2", "i3d_nl5_resnet101_v1_kinetics400-2cea8edd.pth", 75.81, None),
        ("nl_i3d_r101_32x2_nl10", "i3d_nl10_resnet101_v1_kinetics400-526a2ed0.pth", 75.93, None),
    ),
}
# The name of this file repeats the hash of another one, the network without non-local blocks.
CHECKSUM_UNKNOWN = ("nl_slowonly_r50_8x8.kinetics400_mma",)

# Image networks, from which networks for clips begin. Name, path, top-1, top-5, test, note.
IMAGENET = {
    "vnl": (
        (
            "resnet_r50_r101",
            "pretrained_model.tar.gz",
            None,
            None,
            "",
            "an archive: unpack it, give r50_pretrain_c2_model_iter450450_clean.pkl or its r101 "
            "sister to keras_nonlocal.inflate_weights, and affine_model_400k.pkl (an I3D with "
            "affine layers) to keras_nonlocal.load_checkpoint",
        ),
    ),
    "psf": (
        (
            "resnet_r50",
            "R50_IN1K.pyth",
            76.4,
            93.2,
            "centre crops of images",
            "an image network: give it to keras_nonlocal.inflate_weights",
        ),
    ),
}

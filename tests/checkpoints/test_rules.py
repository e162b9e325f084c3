"""The tables of names against the tensor lists of real implementations."""

import functools
import re

import numpy as np
import pytest

from keras_nonlocal.checkpoints import assignment, facts, rules
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.models.config import DEPTHS, inflated_blocks
from tests.checkpoints import golden

FIVE = ((3, 1), (3, 3), (4, 1), (4, 3), (4, 5))
TEN = (*((3, block) for block in range(4)), *((4, block) for block in range(6)))


@functools.cache
def read(name):
    """Layout, addressed tensors and facts of a network, without its values."""
    described = golden.read(name)
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape, *_ in described["tensors"]}
    layout, renamed = assignment.recognise(arrays)
    assert list(renamed) == list(arrays)
    assignment.check_layout(layout, arrays, name, described["source"])
    tensors, strangers = assignment.address_tensors(arrays, layout)
    return layout, arrays, tensors, strangers, facts.read_facts(tensors)


@pytest.mark.parametrize("name", golden.NAMES)
def test_every_name_is_known_and_can_be_written(name):
    layout, arrays, tensors, strangers, _ = read(name)
    assert strangers == []
    written = {key for address in tensors for key in layout.names_of(address)}
    assert written == set(arrays)


@pytest.mark.parametrize("name", golden.NAMES)
def test_facts_are_those_of_the_network(name):
    *_, network = read(name)
    blocks = DEPTHS[101 if "r101" in name else 50]
    flat = "c2d" in name
    kind = "all" if "heavy" in name else "late" if "slow" in name else None
    inflated = () if flat else tuple(sorted(inflated_blocks(blocks, kind)))
    if "psf_i3d_nl_r101" in name:  # Its temporal kernels end with the sixth block of stage 4.
        inflated = tuple(place for place in inflated if place[0] != 4 or place[1] < 6)
    assert network["depth"] == blocks
    assert (network["width"], network["classes"]) == (64, 400)
    assert network["inflated"] == inflated
    assert network["inflation"] == (None if flat else "3x3x3" if "3x3x3" in name else "3x1x1")
    assert network["frozen_norm"] == ("affine" in name)


@pytest.mark.parametrize(
    ("name", "places", "mode"),
    [
        ("vnl_i3d_nl_r50_8x8", FIVE, None),
        ("mma_i3d_nl_gaussian_r50_32x2", FIVE, "gaussian"),
        ("mma_i3d_nl_dot_product_r50_32x2", FIVE, None),
        ("mma_i3d_nl_concatenation_r50_16x4", FIVE, "concatenation"),
        ("mma_slowonly_nl_r50_4x16", ((3, 0), (3, 2), (4, 0), (4, 2), (4, 4)), None),
        ("gcv_i3d_nl10_r50_32x2", TEN, None),
        ("gcv_i3d_nl5_r101_32x2", ((3, 1), (3, 3), (4, 6), (4, 13), (4, 20)), None),
        ("psf_i3d_nl_r101_8x8", FIVE, None),
        ("vnl_c2d_r50_8x8", (), None),
    ],
)
def test_places_and_mode_of_non_local_blocks_are_read(name, places, mode):
    *_, network = read(name)
    assert (network["non_local"], network["mode"]) == (places, mode)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("conv1_w", rules.CAFFE2),
        ("s1.pathway0_stem.conv.weight", rules.PYSLOWFAST),
        ("blocks.6.proj.weight", rules.PYTORCHVIDEO),
        ("blocks.1.res_blocks.0.branch2.conv_a.weight", rules.PYTORCHVIDEO),
        ("blocks.5.proj.weight", rules.PYTORCHVIDEO_WITHOUT_POOL2),
        ("backbone.conv1.conv.weight", rules.MMACTION2),
        ("first_stage.0.weight", rules.GLUONCV),
        ("layer1.0.conv1.weight", rules.TORCHVISION),
        ("resnet.conv2.weight", None),
    ],
)
def test_layouts_are_recognised_by_names(name, layout):
    assert rules.recognise([name, "lr"]) == (layout, "")


@pytest.mark.parametrize("kept", [".*", "(?!.*(head|fc|proj|pred)).*"], ids=["whole", "no head"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "module.model._orig_mod.", "a.blocks.", "gpu_0/"]
)
@pytest.mark.parametrize(
    "name",
    [
        "vnl_i3d_nl_r50_8x8",
        "psf_i3d_nl_r50_8x8",
        "ptv_slow_r50_8x8",
        "mma_i3d_nl_gaussian_r50_32x2",
        "gcv_i3d_nl10_r50_32x2",
    ],
)
def test_prefixes_are_taken_off_and_nothing_else(name, prefix, kept):
    layout, arrays, *_ = read(name)
    names = [key for key in arrays if re.fullmatch(kept, key)]
    assert rules.recognise([prefix + key for key in names]) == (layout, prefix)
    assert rules.recognise([*(prefix + key for key in names), "loss.w", "x"]) == (layout, prefix)


def test_one_name_with_and_without_the_prefix_is_refused():
    names = [
        "conv1.weight",
        *(f"module.{name}" for name in ("conv1.weight", "bn1.bias", "fc.bias")),
    ]
    with pytest.raises(CheckpointError, match="contains 'conv1.weight' and 'module.conv1.weight'"):
        assignment.recognise(dict.fromkeys(names))


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("nonlocal_conv3_1_theta_w", "res3_1_nonlocal/theta/kernel"),
        ("res4_22_branch2c_bn_riv", "res4_22_c_norm/moving_variance"),
        ("res6_0_branch2a_w", None),
        ("res2_0_branch2d_w", None),
        ("res2_99999_branch2a_w", None),
        ("conv1_w_momentum", None),
    ],
)
def test_addresses_are_strict(name, address):
    assert rules.CAFFE2.address_of(name) == address

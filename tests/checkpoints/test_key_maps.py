"""The key maps against the tensor lists of real implementations."""

import functools
import re

import numpy as np
import pytest

from keras_nonlocal.checkpoints import detection, key_maps, loading
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.models.config import DEPTHS, inflated_blocks
from tests.checkpoints import golden

FIVE = ((3, 1), (3, 3), (4, 1), (4, 3), (4, 5))
TEN = (*((3, block) for block in range(4)), *((4, block) for block in range(6)))


@functools.cache
def read(name):
    """Key map, arrays, tensors by path and detected network, without values."""
    described = golden.read(name)
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape, *_ in described["tensors"]}
    key_map, renamed = key_maps.recognize(arrays)
    assert list(renamed) == list(arrays)
    loading.check_key_map(key_map, arrays, name, described["source"])
    tensors, unexpected = key_maps.rename(arrays, key_map)
    assert unexpected == {}
    return key_map, arrays, tensors, detection.read_network(tensors)


@pytest.mark.parametrize("name", golden.NAMES)
def test_every_key_is_known_and_the_network_is_detected(name):
    key_map, arrays, tensors, network = read(name)
    assert {key for path in tensors for key in key_map.keys_of(path)} == set(arrays)
    kernels = {re.fullmatch(r"res\d_\d+_(\w+)_conv/kernel", path): a for path, a in tensors.items()}
    for match, kernel in kernels.items():
        if match:
            _, height, _, inner, filters = kernel.shape
            fits = {"a": filters <= inner, "b": filters == inner, "c": filters == 4 * inner}
            assert {**fits, "shortcut": filters >= 2 * inner}[match[1]], match[0]
            assert (height == 3) == (match[1] == "b"), match[0]
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
    ("name", "ids", "mode"),
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
def test_ids_and_mode_of_non_local_blocks_are_detected(name, ids, mode):
    *_, network = read(name)
    assert (network["non_local"], network["mode"]) == (ids, mode)


@pytest.mark.parametrize(
    ("name", "key_map"),
    [
        ("conv1_w", key_maps.CAFFE2),
        ("s1.pathway0_stem.conv.weight", key_maps.PYSLOWFAST),
        ("blocks.6.proj.weight", key_maps.PYTORCHVIDEO),
        ("blocks.1.res_blocks.0.branch2.conv_a.weight", key_maps.PYTORCHVIDEO),
        ("blocks.5.proj.weight", key_maps.PYTORCHVIDEO_WITHOUT_POOL2),
        ("backbone.conv1.conv.weight", key_maps.MMACTION2),
        ("first_stage.0.weight", key_maps.GLUONCV),
        ("layer1.0.conv1.weight", key_maps.TORCHVISION),
        ("resnet.conv2.weight", None),
    ],
)
def test_formats_are_recognized_by_names(name, key_map):
    arrays = dict.fromkeys([name, "lr"])
    assert key_maps.recognize(arrays) == (key_map, arrays)


@pytest.mark.parametrize("kept", [".*", "(?!.*(head|fc|proj|pred)).*"], ids=["whole", "no head"])
@pytest.mark.parametrize("prefix", ["module.", "module.model._orig_mod.", "a.blocks.", "gpu_0/"])
@pytest.mark.parametrize("name", ["vnl_i3d_nl_r50_8x8", "ptv_slow_r50_8x8"])
def test_prefixes_are_removed_and_nothing_else(name, prefix, kept):
    key_map, arrays, *_ = read(name)
    keys = [key for key in arrays if re.fullmatch(kept, key)]
    prefixed = dict.fromkeys([*(prefix + key for key in keys), "loss.w", "x"])
    assert key_maps.recognize(prefixed) == (key_map, dict.fromkeys([*keys, "loss.w", "x"]))


def test_one_name_with_and_without_the_prefix_is_refused():
    names = [
        "conv1.weight",
        *(f"module.{name}" for name in ("conv1.weight", "bn1.bias", "fc.bias")),
    ]
    with pytest.raises(CheckpointError, match="contains 'conv1.weight' and 'module.conv1.weight'"):
        key_maps.recognize(dict.fromkeys(names))


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("nonlocal_conv3_1_theta_w", "res3_1_nonlocal/theta/kernel"),
        ("res4_22_branch2c_bn_riv", "res4_22_c_norm/moving_variance"),
        ("res6_0_branch2a_w", None),
        ("res2_0_branch2d_w", None),
        ("res2_99999_branch2a_w", None),
        ("conv1_w_momentum", None),
    ],
)
def test_paths_are_strict(key, path):
    assert key_maps.CAFFE2.path_of(key) == path

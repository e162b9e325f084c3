"""Networks go to the formats of others and come back; what has no place there is refused."""

import pickle
import pickletools

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.checkpoints.state_dict import read_state_dict
from keras_nonlocal.models.video_resnet import change_config
from tests.checkpoints import networks
from tests.subjects import fill

# Formats that keep scale and shift of an affine norm alone, or no bias before a norm.
ROUNDED = [name for name in networks.KINDS if "affine" in name or "mma_nl" in name]


def configs(model):
    """What every layer is, but for what is meant for training alone."""
    return {
        layer.name: {**layer.get_config(), "rate": None}
        for layer in model.layers
        if layer.name not in ("dropout", "preprocessing")
    }


def load(path, model, name):
    """What a file tells, its config above all; GluonCV's files hold none."""
    given = {"clip": model.clip} if name == "gcv_nli3d" else {}
    return knl.load_checkpoint(path, crop=64, include_preprocessing=False, **given)


@pytest.mark.parametrize("name", networks.KINDS)
def test_saved_networks_come_back_with_all_that_they_are(name, tmp_path):
    model, path = networks.save(name, tmp_path)
    again = load(path, model, name)
    assert configs(again) == configs(model)
    if name in ROUNDED:
        x = networks.clip_for(model)
        np.testing.assert_allclose(again(x), model(x), atol=1e-6)
    else:
        for ours, theirs in zip(model.weights, again.weights, strict=True):
            np.testing.assert_array_equal(theirs, ours, err_msg=ours.path)
    assert again.name == model.name
    assert (again.source, again.clip) == (model.source, model.clip)


def test_bias_that_mmaction2_lacks_goes_into_the_mean(tmp_path):
    model, path = networks.save("mma_nli3d", tmp_path)
    arrays = read_state_dict(path).tensors
    block = model.get_layer("res3_1_nonlocal")
    mean = arrays["backbone.layer2.1.non_local_block.conv_out.bn.running_mean"]
    expected = np.array(block.norm.moving_mean) - np.array(block.out.bias)
    np.testing.assert_array_equal(mean, expected)
    assert not any(name.endswith("conv_out.conv.bias") for name in arrays)


def test_aliases_of_gluoncv_are_written_twice(tmp_path):
    _, path = networks.save("gcv_nli3d", tmp_path)
    arrays = read_state_dict(path).tensors
    np.testing.assert_array_equal(arrays["fc.weight"], arrays["head.1.weight"])
    block = "res_layers.1.0.nonlocal_block."
    np.testing.assert_array_equal(arrays[block + "W.weight"], arrays[block + "W_bn.0.weight"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "psf_nli3d_dot_product",
            ("NUM_FRAMES: 8", "SAMPLING_RATE: 8", "ARCH: i3d", "dot_product"),
        ),
        ("psf_c2d_without_pool2", ("ARCH: 2d",)),
        ("mma_c2d_without_pool2", ("type='ResNet'", "clip_len=8", "frame_interval=8")),
        ("mma_nli3d_dot_product", ("type='ResNet3d'", "mode='dot_product'")),
    ],
)
def test_configs_tell_what_tensors_do_not(name, words, tmp_path):
    _, path = networks.save(name, tmp_path)
    meta = read_state_dict(path).metadata
    config = meta.get("cfg") or meta["meta"]["cfg"]
    assert [word for word in words if word not in config] == []


def test_kernels_of_mmaction2_c2d_are_flat(tmp_path):
    _, path = networks.save("mma_c2d", tmp_path)
    arrays = read_state_dict(path).tensors
    assert arrays["backbone.conv1.conv.weight"].shape == (8, 3, 7, 7)


def test_pickles_can_be_read_by_any_numpy(tmp_path):
    _, path = networks.save("psf_nli3d_caffe2", tmp_path)
    content = path.read_bytes()
    names = {arg for op, arg, _ in pickletools.genops(content) if op.name == "GLOBAL"}
    assert "numpy.core.multiarray _reconstruct" in names
    assert not any("_core" in name for name in names)
    assert content[:2] == b"\x80\x02"


def test_affine_files_hold_scale_and_shift_of_moving_statistics(tmp_path):
    model, path = networks.save("vnl_nli3d_affine", tmp_path)
    arrays = read_state_dict(path).tensors
    norm = model.get_layer("res4_0_b_norm")
    gamma, beta, mean, variance = (
        np.array(getattr(norm, key), "float64")
        for key in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(arrays["res4_0_branch2b_bn_s"], scale, rtol=1e-6)
    np.testing.assert_allclose(arrays["res4_0_branch2b_bn_b"], beta - mean * scale, atol=1e-6)
    assert not any(name.endswith(("_rm", "_riv")) for name in arrays)


def small(builder=knl.NLI3D, **arguments):
    shape = arguments.pop("input_shape", (8, 32, 32, 3))
    return builder(depth=(1, 1, 1, 1), width=4, classes=2, input_shape=shape, **arguments)


def other_pixels():
    model = small(knl.I3D, source="pyslowfast")
    change_config(model, normalization="mmaction2")
    return model


@pytest.mark.parametrize(
    ("make", "file", "source", "words"),
    [
        (small, "a.pkl", "caffe", "`source` must be one of 'video-nonlocal-net'"),
        (small, "a.pth", "video-nonlocal-net", r"`path` must end in \.pkl for"),
        (small, "a.onnx", "mmaction2", r"`path` must end in \.pth"),
        (small, "a.pkl", "pyslowfast", "other numbers.*padding of pool1 is 0 here, 1 there"),
        (
            lambda: small(source="pyslowfast"),
            "a.pth",
            "mmaction2",
            r"strides over frames is \(1, 1\) here, \(2, 2\) there.*Build with source='mmaction2'",
        ),
        (
            lambda: small(source="pytorchvideo"),
            "a.pyth",
            "pytorchvideo",
            "no names for 24 variables of nli3d: res3_0_nonlocal",
        ),
        (
            lambda: small(source="gluoncv", mode="dot_product", clip="32x2"),
            "a.pth",
            None,
            "GluonCV has no non-local blocks of mode='dot_product', only embedded_gaussian",
        ),
        (
            lambda: small(source="pyslowfast", frozen_norm=True),
            "a.pyth",
            None,
            "no affine non-local networks. Use transfer_weights",
        ),
        (lambda: small(pool2=False), "a.pkl", None, "no networks without pool2"),
        (
            lambda: small(source="keras-applications"),
            "a.pkl",
            "pyslowfast",
            "convolution with strides is a here, b there",
        ),
        (other_pixels, "a.pyth", None, "normalizes pixels by its own mean .* need mmaction2's"),
    ],
)
def test_networks_that_others_lack_are_refused(make, file, source, words, tmp_path):
    with pytest.raises(knl.CheckpointError, match=words):
        knl.save_checkpoint(make(), tmp_path / file, source)
    assert list(tmp_path.iterdir()) == []


def test_other_models_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`model` must be a network of this package"):
        knl.save_checkpoint(model, tmp_path / "a.pkl", "video-nonlocal-net")


@pytest.mark.parametrize(
    ("file", "source", "arguments"),
    [
        ("a.pkl", "pyslowfast", {"mode": "dot_product", "pool2": False}),
        ("a.pth", "mmaction2", {"pool2": False, "clip": "32x2"}),
    ],
)
def test_files_tell_all_that_loading_needs(file, source, arguments, tmp_path):
    shape = (int(arguments.get("clip", "8x8").split("x")[0]), 32, 32, 3)
    model = small(source=source, **arguments, input_shape=shape)
    knl.save_checkpoint(model, tmp_path / file)
    again = knl.load_checkpoint(tmp_path / file, crop=32)
    assert configs(again) == configs(model)
    assert (again.source, again.clip) == (model.source, model.clip)


@pytest.mark.parametrize("file", ["a.pkl", "a.pyth"])
def test_bfloat16_variables_are_saved_as_float32(file, tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    model = fill(small(source="pyslowfast"))
    knl.save_checkpoint(model, tmp_path / file)
    keras.config.set_dtype_policy("float32")
    arrays = read_state_dict(tmp_path / file).tensors
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}
    again = knl.load_checkpoint(tmp_path / file, crop=32)
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        ours = keras.ops.convert_to_numpy(keras.ops.cast(ours, "float32"))
        np.testing.assert_array_equal(theirs, ours, err_msg=theirs.path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"old")
    monkeypatch.setattr(
        pickle, "dumps", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OSError, match="full"):
        knl.save_checkpoint(small(), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pkl"]


def test_headless_networks_are_saved_without_a_classifier(tmp_path):
    model = fill(small(include_top=False))
    knl.save_checkpoint(model, tmp_path / "a.pkl")
    arrays = read_state_dict(tmp_path / "a.pkl").tensors
    assert not any(name.startswith("pred") for name in arrays)
    with pytest.raises(knl.CheckpointError, match=r"2 missing keys: pred_w \(\d+, 400\), pred_b"):
        knl.load_checkpoint(tmp_path / "a.pkl", crop=32)
    again = knl.load_checkpoint(
        tmp_path / "a.pkl", "video-nonlocal-net", crop=32, classes=3, except_for="predictions"
    )
    assert again.output_shape == (None, 3)

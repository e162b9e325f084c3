"""What load_checkpoint reads from files, and what it says of those that do not fit."""

import pickle
import warnings

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.archives import readers
from keras_nonlocal.checkpoints import assignment, fetching
from keras_nonlocal.models import assembly
from tests.checkpoints import networks
from tests.subjects import fill


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Tensors of a small non-local I3D in Caffe2's names."""
    _, path = networks.save("psf_nli3d_caffe2", tmp_path_factory.mktemp("arrays"))
    return {name: np.array(array) for name, array in readers.read_arrays(path).arrays.items()}


@pytest.fixture(scope="module")
def mmaction2(tmp_path_factory):
    """State of a small non-local I3D in MMAction2's names, without config."""
    _, path = networks.save("mma_nli3d", tmp_path_factory.mktemp("mmaction2"))
    return dict(readers.read_arrays(path).arrays)


def write(arrays, path, wrap=True):
    path.write_bytes(pickle.dumps({"blobs": arrays} if wrap else arrays, protocol=2))
    return path


def write_torch(arrays, path, meta=None):
    import torch

    state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    torch.save({"state_dict": state, "meta": meta or {}}, path)
    return path


def load(path, source="pyslowfast", **arguments):
    return knl.load_checkpoint(path, source, **{"crop": 64, **arguments})


def test_model_remembers_where_it_comes_from(arrays, tmp_path):
    model = load(write(arrays, tmp_path / "a.pkl"), clip="16x4")
    assert (model.source, model.clip, model.class_names) == ("pyslowfast", "16x4", None)
    assert model.input_shape == (None, 16, 64, 64, 3)


def test_400_classes_are_those_of_kinetics(tmp_path):
    model = fill(knl.C2D(depth=(1, 1, 1, 1), width=4, input_shape=(8, 32, 32, 3)))
    knl.save_checkpoint(model, tmp_path / "a.pkl")
    again = load(tmp_path / "a.pkl", "video-nonlocal-net", crop=32)
    assert again.class_names[:2] == ("abseiling", "air drumming")
    clip = again.preprocess_input(np.zeros((1, 8, 32, 32, 3), "uint8"))
    assert len(again.decode_predictions(np.array(again(clip)), top=3)[0]) == 3


def test_flat_files_and_leftovers_of_training_are_read(arrays, tmp_path):
    more = {
        **arrays,
        "conv1_w_momentum": np.zeros(3, "float32"),
        "lr": 0.1,
        "model_iter": 7,
        "epoch": 1,
        "pred_w": arrays["pred_w"][:, :, None, None, None],
    }
    one = load(write(arrays, tmp_path / "a.pkl"))
    other = load(write(more, tmp_path / "b.pkl", wrap=False))
    x = networks.clip_for(one)
    np.testing.assert_array_equal(one(x), other(x))


def test_half_precision_is_widened(arrays, tmp_path):
    half = {name: array.astype("float16") for name, array in arrays.items()}
    model = load(write(half, tmp_path / "a.pkl"))
    kernel = model.get_layer("predictions").kernel
    np.testing.assert_array_equal(kernel, half["pred_w"].T.astype("float32"))


@pytest.mark.parametrize("crop", [None, 48])
def test_crop_is_the_size_of_clips(crop, arrays, tmp_path):
    model = load(write(arrays, tmp_path / "a.pkl"), crop=crop)
    assert model.input_shape == (None, 8, crop, crop, 3)


def test_logits_are_given_without_an_activation(arrays, tmp_path):
    path = write(arrays, tmp_path / "a.pkl")
    logits, shares = load(path, classifier_activation=None), load(path)
    x = networks.clip_for(logits)
    expected = keras.ops.softmax(logits(x))
    np.testing.assert_allclose(shares(x), expected, atol=1e-6)


def test_other_classes_start_the_classifier_anew_and_say_so(arrays, tmp_path):
    path = write(arrays, tmp_path / "a.pkl")
    with pytest.warns(UserWarning, match="classifier starts anew: .* has 5 classes, classes=7"):
        model = load(path, classes=7)
    assert model.output_shape == (None, 7)
    np.testing.assert_array_equal(
        model.get_layer("conv1_conv").kernel, arrays["conv1_w"].transpose(2, 3, 4, 1, 0)
    )


def test_the_same_classes_are_no_news(arrays, tmp_path):
    assert load(write(arrays, tmp_path / "a.pkl"), classes=5).output_shape == (None, 5)


def test_loaded_networks_start_anew_when_they_are_cloned(arrays, tmp_path):
    clone = keras.models.clone_model(load(write(arrays, tmp_path / "a.pkl")))
    assert np.std(clone.get_layer("res4_0_b_conv").kernel) > 0.01


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_loaded_and_told(bad, arrays, tmp_path):
    array = arrays["res4_0_branch2a_w"].copy()
    array[0, 0] = bad
    path = write({**arrays, "res4_0_branch2a_w": array}, tmp_path / "a.pkl")
    with pytest.warns(UserWarning, match="NaN or infinite values stand in res4_0_branch2a_w"):
        model = load(path)
    kernel = np.array(model.get_layer("res4_0_a_conv").kernel)
    np.testing.assert_array_equal(kernel[:, 0, 0], array[:, :, :, 0, 0].transpose(2, 1, 0))


def test_all_faults_are_listed_at_once(arrays, tmp_path):
    faulty = dict(arrays)
    del faulty["res3_0_branch2b_bn_rm"], faulty["pred_b"]
    faulty["res4_0_branch2c_w"] = faulty["res4_0_branch2c_w"][:, :5]
    faulty["extra"] = np.zeros(2, "float32")
    with pytest.raises(knl.CheckpointError) as raised:
        load(write(faulty, tmp_path / "a.pkl"))
    message = str(raised.value)
    assert "1 only in the file: extra" in message
    assert "2 only in the model: " in message
    assert "pred_b" in message
    assert "res3_0_branch2b_bn_rm" in message
    assert "res4_0_branch2c_w (1, 1, 1, 5, 128) against (1, 1, 1, 32, 128)" in message
    assert "Nothing was loaded" in message
    assert "a.pkl" in message


@pytest.mark.parametrize(
    "name",
    [
        "conv1_w",
        "res_conv1_bn_s",
        "res2_0_branch1_w",
        "res5_1_branch2c_bn_riv",
        "nonlocal_conv3_1_theta_w",
        "nonlocal_conv3_1_phi_b",
        "nonlocal_conv3_1_bn_rm",
        "pred_w",
        "pred_b",
    ],
)
def test_any_tensor_that_is_missing_is_named(name, arrays, tmp_path):
    faulty = {key: array for key, array in arrays.items() if key != name}
    with pytest.raises(knl.CheckpointError, match=f"1 only in the model: {name}"):
        load(write(faulty, tmp_path / "a.pkl"))


def test_nothing_is_loaded_into_a_model_that_does_not_fit(arrays, tmp_path):
    model = networks.make("psf_nli3d_caffe2", seed=5)
    before = [np.array(variable) for variable in model.weights]
    faulty = {name: array for name, array in arrays.items() if name != "pred_b"}
    with pytest.raises(knl.CheckpointError, match="1 only in the model: pred_b"):
        assignment.load_into(model, write(faulty, tmp_path / "a.pkl"), "pyslowfast")
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_what_is_excepted_is_left_out(arrays, tmp_path):
    faulty = dict(arrays)
    del faulty["res3_0_branch2b_bn_rm"]
    path = write({**faulty, "extra_1": np.zeros(2), "extra_2": np.zeros(3)}, tmp_path / "a.pkl")
    with pytest.raises(knl.CheckpointError, match="2 only in the file"):
        load(path, except_for=("res3_0_b_norm",))
    model = load(path, except_for=("extra_*", "res3_0_b_norm/moving_mean"))
    np.testing.assert_array_equal(model.get_layer("res3_0_b_norm").moving_mean, 0)
    np.testing.assert_array_equal(
        model.get_layer("res3_0_b_norm").gamma, arrays["res3_0_branch2b_bn_s"]
    )


@pytest.mark.parametrize(
    "except_for",
    ["res5_1_*", "res5_*", "*_nonlocal", "*/moving_*", "*_bn_rm", "*_w", "predictions", "pred_*"],
)
def test_the_network_stays_whole_whatever_is_left_out(except_for, arrays, tmp_path):
    path = write(arrays, tmp_path / "a.pkl")
    whole = [variable.path for variable in load(path).weights]
    model = load(path, except_for=except_for)
    assert [variable.path for variable in model.weights] == whole
    assert model.output_shape == (None, 5)
    block = np.array(model.get_layer("res4_0_b_conv").kernel).transpose(4, 3, 0, 1, 2)
    assert np.array_equal(block, arrays["res4_0_branch2b_w"]) == (except_for != "*_w")


def test_a_published_name_brings_its_licence(arrays, tmp_path, caplog):
    fetching.tell_licence.cache_clear()
    path = write(arrays, tmp_path / "i3d_nonlocal_8x8_IN_pretrain_400k.pkl")
    load(path)
    load(path)
    told = [record.message for record in caplog.records]
    assert len(told) == 1 and "CC-BY-NC-4.0, which forbids commercial use" in told[0]


def test_torchvision_names_with_kernels_over_frames_are_no_source_of_ours(tmp_path):
    path = write({"conv1.weight": np.zeros((8, 3, 5, 7, 7), "float32")}, tmp_path / "a.pkl")
    with pytest.raises(knl.CheckpointError, match="torchvision's names, but kernels that span"):
        load(path, "video-nonlocal-net")


@pytest.mark.parametrize(
    ("name", "given", "right"),
    [
        ("vnl_c2d", "mmaction2", "video-nonlocal-net or pyslowfast"),
        ("mma_c2d", "pyslowfast", "mmaction2"),
        ("gcv_nli3d", "video-nonlocal-net", "gluoncv"),
        ("ptv_slow", "pyslowfast", "pytorchvideo"),
        ("psf_slow", "pytorchvideo", "pyslowfast"),
    ],
)
def test_files_of_another_source_are_recognised(name, given, right, tmp_path):
    _, path = networks.save(name, tmp_path)
    words = f"looks like a file of {right} .*; source='{given}' was given"
    with pytest.raises(knl.CheckpointError, match=words):
        load(path, given)


def test_unknown_sources_are_refused(arrays, tmp_path):
    with pytest.raises(knl.CheckpointError, match="`source` must be one of 'video-nonlocal-net'"):
        load(write(arrays, tmp_path / "a.pkl"), "caffe2")


def test_files_of_other_networks_are_refused(tmp_path):
    path = write({"features.0.weight": np.zeros(3), "b": np.zeros(1)}, tmp_path / "a.pkl")
    with pytest.raises(knl.CheckpointError, match="no names of a network.*Found 2 tensors: b, fea"):
        load(path)


@pytest.mark.parametrize("name", ["vnl_c2d", "psf_c2d_without_pool2"])
def test_networks_for_images_are_sent_to_inflate_weights(name, tmp_path):
    model, path = networks.save(name, tmp_path)
    arrays = readers.read_arrays(path).arrays
    flat = {key: a[:, :, 0] if a.ndim == 5 else np.array(a) for key, a in arrays.items()}
    with pytest.raises(knl.CheckpointError, match="network for images .* call inflate_weights"):
        load(write(flat, tmp_path / "b.pkl"), model.source)


@pytest.mark.parametrize(
    "change",
    [
        {"res3_900_branch2a_w": np.zeros(1, "float32")},
        {"conv1_w": np.zeros((4096, 3, 1, 7, 7), "float32")},
        {"conv1_w": np.zeros((1024, 3, 1, 1, 1), "float32")},
        {"res5_150_branch2a_w": np.zeros(1, "float32")},
        {"pred_w": np.zeros((10**6, 1), "float32")},
    ],
    ids=["blocks", "stem", "width", "stage", "classes"],
)
def test_sizes_that_no_network_has_are_refused_before_it_is_built(
    change, arrays, tmp_path, monkeypatch
):
    monkeypatch.setattr(assembly, "build_graph", None)
    path = write({**arrays, **change}, tmp_path / "a.pkl")
    with pytest.raises(knl.CheckpointError, match="of no bottleneck ResNet|the tensors hold"):
        load(path)


def test_aliases_must_agree(tmp_path):
    _, path = networks.save("gcv_nli3d", tmp_path)
    state = dict(readers.read_arrays(path).arrays)
    state["head.1.bias"] = state["head.1.bias"] + 1
    with pytest.raises(knl.CheckpointError, match="'head.1.bias' is another name of 'fc.bias'"):
        load(write_torch(state, tmp_path / "b.pth"), "gluoncv", clip="32x2")


def test_an_alias_alone_is_enough(tmp_path):
    model, path = networks.save("gcv_nli3d", tmp_path)
    state = readers.read_arrays(path).arrays
    state = {name: array for name, array in state.items() if "head.1" not in name}
    again = load(write_torch(state, tmp_path / "b.pth"), "gluoncv", clip="32x2")
    x = networks.clip_for(model)
    np.testing.assert_array_equal(again(x), model(x))


CONFIG = "model = dict(backbone=dict(type='ResNet3d', non_local_cfg=dict(mode='{}')))"


@pytest.mark.parametrize(
    ("file", "cfg", "given", "mode"),
    [
        ("a.pth", None, None, "embedded_gaussian"),
        ("i3d_imagenet-pretrained-r50-nl-dot-product_8xb8.pth", None, None, "dot_product"),
        ("a.pth", CONFIG.format("dot_product"), None, "dot_product"),
        ("nl-dot-product.pth", CONFIG.format("embedded_gaussian"), None, "embedded_gaussian"),
        ("nl-dot-product.pth", None, "embedded_gaussian", "embedded_gaussian"),
        ("a.pth", None, "dot_product", "dot_product"),
    ],
)
def test_mode_is_given_or_in_the_config_or_in_the_name(file, cfg, given, mode, mmaction2, tmp_path):
    path = write_torch(mmaction2, tmp_path / file, {"cfg": cfg} if cfg else None)
    model = load(path, "mmaction2", mode=given)
    assert model.get_layer("res3_1_nonlocal").mode == mode


def test_modes_that_the_tensors_exclude_are_refused(mmaction2, tmp_path):
    path = write_torch(mmaction2, tmp_path / "a.pth")
    words = "`mode` must be 'embedded_gaussian' or 'dot_product'.*Received: mode='gaussian'"
    with pytest.raises(knl.CheckpointError, match=words):
        load(path, "mmaction2", mode="gaussian")


def test_mode_is_refused_where_there_are_no_blocks(tmp_path):
    _, path = networks.save("mma_c2d", tmp_path)
    with pytest.raises(knl.CheckpointError, match="`mode` is for files with non-local blocks"):
        load(path, "mmaction2", mode="dot_product")


def test_no_classes_are_refused(arrays, tmp_path):
    with pytest.warns(UserWarning, match="starts anew"):
        with pytest.raises(ValueError, match="`classes` must be a positive integer"):
            load(write(arrays, tmp_path / "a.pkl"), classes=0)


@pytest.mark.parametrize(
    ("file", "cfg", "given", "pool2"),
    [
        ("a.pth", None, None, True),
        ("c2d_r50-in1k-pre-nopool_8xb32-8x8x1.pth", None, None, False),
        ("a.pth", "model = dict(type='Recognizer2D', backbone=dict(type='ResNet'))", None, False),
        ("nopool.pth", "model = dict(backbone=dict(type='C2D'))", None, True),
        ("nopool.pth", None, True, True),
        ("a.pth", None, False, False),
    ],
)
def test_pool2_is_given_or_in_the_config_or_in_the_name(file, cfg, given, pool2, tmp_path):
    _, path = networks.save("mma_c2d", tmp_path)
    state = readers.read_arrays(path).arrays
    path = write_torch(state, tmp_path / file, {"cfg": cfg} if cfg else None)
    model = load(path, "mmaction2", pool2=given)
    assert any(layer.name == "pool2" for layer in model.layers) == pool2


def test_pool2_that_names_exclude_is_refused(tmp_path):
    _, path = networks.save("ptv_slow", tmp_path)
    with pytest.raises(knl.CheckpointError, match="`pool2` must be False: the numbers in the"):
        load(path, "pytorchvideo", pool2=True)


def test_nothing_is_said_when_all_fits(arrays, tmp_path, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(write(arrays, tmp_path / "a.pkl"))
    assert caplog.records == []

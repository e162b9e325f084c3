"""What load_checkpoint reads from files, and what it says of those that do not fit."""

import dataclasses
import pickle
import warnings

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.checkpoints import key_maps, loading, registry, stored_config
from keras_nonlocal.checkpoints.state_dict import read_state_dict
from tests.checkpoints import networks
from tests.subjects import fill


@pytest.fixture(autouse=True)
def _build_again(monkeypatch):
    """Tests share networks: what a test loads is overwritten by what it loads next."""
    monkeypatch.setattr(loading, "build_network", networks.build_again)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Tensors of a small non-local I3D in Caffe2's names."""
    _, path = networks.save("psf_nli3d_caffe2", tmp_path_factory.mktemp("arrays"))
    return {name: np.array(array) for name, array in read_state_dict(path).tensors.items()}


@pytest.fixture(scope="module")
def mmaction2(tmp_path_factory):
    """State of a small non-local I3D in MMAction2's names, without config."""
    _, path = networks.save("mma_nli3d", tmp_path_factory.mktemp("mmaction2"))
    return dict(read_state_dict(path).tensors)


def write(arrays, path, wrap=True):
    path.write_bytes(pickle.dumps({"blobs": arrays} if wrap else arrays, protocol=2))
    return path


def write_torch(arrays, path, meta=None):
    import torch

    state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    torch.save({"state_dict": state, "meta": meta or {}}, path)
    return path


# What Caffe2's files leave open.
OPEN = {"clip": "8x8", "mode": "embedded_gaussian", "pool2": True}


def load(path, source="pyslowfast", **arguments):
    options = {**OPEN, "crop": 64, "include_preprocessing": False, **arguments}
    return knl.load_checkpoint(path, source, **options)


def test_model_remembers_where_it_comes_from(arrays, tmp_path):
    model = load(write(arrays, tmp_path / "a.pkl"), clip="16x4")
    assert (model.source, model.clip, model.class_names) == ("pyslowfast", "16x4", None)
    assert model.input_shape == (None, 16, 64, 64, 3)


def test_400_classes_are_those_of_kinetics(tmp_path):
    model = fill(knl.C2D(depth=(1, 1, 1, 1), width=4, input_shape=(8, 32, 32, 3)))
    knl.save_checkpoint(model, tmp_path / "a.pkl")
    again = knl.load_checkpoint(tmp_path / "a.pkl", crop=32, include_preprocessing=False)
    assert again.class_names[:2] == ("abseiling", "air drumming")
    clip = np.zeros((1, 8, 32, 32, 3), "uint8")
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
    expected = load(write(arrays, tmp_path / "a.pkl")).get_weights()
    other = load(write(more, tmp_path / "b.pkl", wrap=False))
    assert all(map(np.array_equal, other.get_weights(), expected))


@pytest.mark.parametrize("prefix", ["module.", "model._orig_mod."])
def test_prefixes_of_training_frameworks_are_taken_off(prefix, mmaction2, tmp_path):
    expected = load(write_torch(mmaction2, tmp_path / "a.pth"), "mmaction2").get_weights()
    prefixed = {prefix + name: array for name, array in mmaction2.items()}
    model = load(write_torch(prefixed, tmp_path / "b.pth"), "mmaction2")
    assert all(map(np.array_equal, model.get_weights(), expected))
    path = write_torch({**prefixed, "loss.weight": np.ones(5, "float32")}, tmp_path / "c.pth")
    with pytest.raises(knl.CheckpointError, match=r"\n1 unexpected keys .*: loss.weight \(5,\)\n"):
        load(path, "mmaction2")
    model = load(path, "mmaction2", except_for="loss.*")
    assert all(map(np.array_equal, model.get_weights(), expected))


def test_half_precision_is_widened(arrays, tmp_path):
    half = {name: array.astype("float16") for name, array in arrays.items()}
    model = load(write(half, tmp_path / "a.pkl"))
    kernel = model.get_layer("predictions").kernel
    np.testing.assert_array_equal(kernel, half["pred_w"].T.astype("float32"))


@pytest.mark.parametrize("crop", [None, 48])
def test_crop_is_the_size_of_clips(crop, arrays, tmp_path):
    model = load(write(arrays, tmp_path / "a.pkl"), crop=crop)
    assert model.input_shape == (None, 8, crop, crop, 3)


def test_preprocessing_in_the_network_normalizes_pixels(arrays, tmp_path):
    path = write(arrays, tmp_path / "a.pkl")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 64, 64, 3), "uint8")
    model, bare = (
        load(path, include_preprocessing=each, classifier_activation=None) for each in (True, False)
    )
    expected = np.array(bare((pixels - np.float32(114.75)) / np.float32(57.375)))
    np.testing.assert_allclose(model(pixels), expected, rtol=1e-5)
    assert np.abs(bare(pixels.astype("float32")) - expected).min() > 0.1 * np.abs(expected).max()


def test_logits_are_given_without_an_activation(arrays, tmp_path):
    path = write(arrays, tmp_path / "a.pkl")
    logits, shares = load(path, classifier_activation=None), load(path)
    x = networks.clip_for(logits)
    expected = keras.ops.softmax(logits(x))
    np.testing.assert_allclose(shares(x), expected, atol=1e-6)


def test_other_classes_start_the_classifier_anew_and_say_so(arrays, tmp_path):
    path = write(arrays, tmp_path / "a.pkl")
    with pytest.warns(UserWarning, match="is initialized: .* has 5 classes. Received: classes=7"):
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
def test_values_that_are_no_numbers_are_refused(bad, arrays, tmp_path):
    array = arrays["res4_0_branch2a_w"].copy()
    array[0, 0] = bad
    path = write({**arrays, "res4_0_branch2a_w": array}, tmp_path / "a.pkl")
    words = "NaN or infinite values are in res4_0_branch2a_w. Nothing was loaded"
    with pytest.raises(knl.CheckpointError, match=words):
        load(path)
    # What is left out anyway does not matter.
    model = load(path, except_for="res4_0_a_conv")
    assert np.isfinite(model.get_layer("res4_0_a_conv").kernel).all()


def test_all_faults_are_listed_at_once(arrays, tmp_path):
    faulty = dict(arrays)
    del faulty["res3_0_branch2b_bn_rm"], faulty["pred_b"]
    faulty["res4_0_branch2c_w"] = faulty["res4_0_branch2c_w"][:, :5]
    faulty["extra"] = np.zeros(2, "float32")
    with pytest.raises(knl.CheckpointError) as raised:
        load(write(faulty, tmp_path / "a.pkl"))
    message = str(raised.value)
    assert "1 unexpected keys in the file: extra (2,)" in message
    assert "2 missing keys: " in message
    assert "pred_b (5,)" in message
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
        "res5_0_branch2c_bn_riv",
        "nonlocal_conv3_1_theta_w",
        "nonlocal_conv3_1_phi_b",
        "nonlocal_conv3_1_bn_rm",
        "pred_w",
        "pred_b",
    ],
)
def test_any_tensor_that_is_missing_is_named(name, arrays, tmp_path):
    faulty = {key: array for key, array in arrays.items() if key != name}
    with pytest.raises(knl.CheckpointError, match=f"1 missing keys: {name} "):
        load(write(faulty, tmp_path / "a.pkl"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("predictions/bias"), "1 missing keys: pred_b"),
        (lambda tensors: tensors["predictions/bias"].fill(np.nan), "NaN .* in pred_b"),
    ],
    ids=["missing", "NaN"],
)
def test_nothing_is_assigned_to_a_model_that_does_not_fit(change, words, arrays):
    model = networks.make("psf_nli3d_caffe2", seed=5)
    before = [np.array(variable) for variable in model.weights]
    tensors, _ = key_maps.rename(arrays, key_maps.CAFFE2)
    tensors = {path: np.array(array) for path, array in tensors.items()}
    change(tensors)
    with pytest.raises(knl.CheckpointError, match=words):
        loading.assign(model, tensors, key_maps.CAFFE2)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_what_is_excepted_is_left_out(arrays, tmp_path):
    faulty = dict(arrays)
    del faulty["res3_0_branch2b_bn_rm"]
    path = write({**faulty, "extra_1": np.zeros(2), "extra_2": np.zeros(3)}, tmp_path / "a.pkl")
    with pytest.raises(knl.CheckpointError, match="2 unexpected keys in the file"):
        load(path, except_for=("res3_0_b_norm",))
    model = load(path, except_for=("extra_*", "res3_0_b_norm/moving_mean"))
    np.testing.assert_array_equal(model.get_layer("res3_0_b_norm").moving_mean, 0)
    np.testing.assert_array_equal(
        model.get_layer("res3_0_b_norm").gamma, arrays["res3_0_branch2b_bn_s"]
    )


@pytest.mark.parametrize(
    "except_for",
    ["res5_0_*", "*_nonlocal", "*/moving_*", "*_bn_rm", "*_w", "predictions", "pred_*"],
)
def test_the_network_stays_whole_whatever_is_left_out(except_for, arrays, tmp_path):
    path = write(arrays, tmp_path / "a.pkl")
    whole = [variable.path for variable in networks.make("psf_nli3d_caffe2").weights]
    model = load(path, except_for=except_for)
    assert [variable.path for variable in model.weights] == whole
    assert model.output_shape == (None, 5)
    block = np.array(model.get_layer("res4_0_b_conv").kernel).transpose(4, 3, 0, 1, 2)
    assert np.array_equal(block, arrays["res4_0_branch2b_w"]) == (except_for != "*_w")


def test_a_published_name_brings_its_license(arrays, tmp_path, caplog):
    registry.warn_license.cache_clear()
    path = write(arrays, tmp_path / "i3d_nonlocal_8x8_IN_pretrain_400k.pkl")
    load(path)
    load(path)
    told = [record.message for record in caplog.records]
    assert len(told) == 1 and "CC-BY-NC-4.0, which forbids commercial use" in told[0]


def test_torchvision_names_with_kernels_over_frames_are_no_source_of_ours(tmp_path):
    path = write({"conv1.weight": np.zeros((8, 3, 5, 7, 7), "float32")}, tmp_path / "a.pkl")
    with pytest.raises(knl.CheckpointError, match="torchvision's names but 3-D kernels"):
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
    words = f"has the tensor names of {right}. Received: source='{given}'"
    with pytest.raises(knl.CheckpointError, match=words):
        load(path, given)


def test_unknown_sources_are_refused(arrays, tmp_path):
    with pytest.raises(knl.CheckpointError, match="`source` must be one of 'video-nonlocal-net'"):
        load(write(arrays, tmp_path / "a.pkl"), "caffe2")


def test_files_of_other_networks_are_refused(tmp_path):
    path = write({"features.0.weight": np.zeros(3), "b": np.zeros(1)}, tmp_path / "a.pkl")
    with pytest.raises(knl.CheckpointError, match="no tensor names of.*Found 2 tensors: b, fea"):
        load(path)


@pytest.mark.parametrize("name", ["vnl_c2d", "psf_c2d_without_pool2"])
def test_networks_for_images_are_sent_to_inflate_weights(name, tmp_path):
    model, path = networks.save(name, tmp_path)
    arrays = read_state_dict(path).tensors
    flat = {key: a[:, :, 0] if a.ndim == 5 else np.array(a) for key, a in arrays.items()}
    with pytest.raises(knl.CheckpointError, match="an image network .* call inflate_weights"):
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
    monkeypatch.setattr(loading, "build_network", None)
    path = write({**arrays, **change}, tmp_path / "a.pkl")
    with pytest.raises(knl.CheckpointError, match="of no bottleneck ResNet|the tensors have"):
        load(path)


def test_aliases_must_agree(tmp_path):
    _, path = networks.save("gcv_nli3d", tmp_path)
    state = dict(read_state_dict(path).tensors)
    state["head.1.bias"] = state["head.1.bias"] + 1
    with pytest.raises(knl.CheckpointError, match="'head.1.bias' is another name of 'fc.bias'"):
        knl.load_checkpoint(write_torch(state, tmp_path / "b.pth"), clip="32x2")


def test_an_alias_alone_is_enough(tmp_path):
    model, path = networks.save("gcv_nli3d", tmp_path)
    state = read_state_dict(path).tensors
    state = {name: array for name, array in state.items() if "head.1" not in name}
    again = knl.load_checkpoint(write_torch(state, tmp_path / "b.pth"), clip="32x2", crop=64)
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))


PYTHON = "model = dict(backbone=dict({}))\ntrain_pipeline = [dict({})]\n"
MODE = "type='ResNet3d', non_local_cfg=dict(mode='{}')"
SAMPLING = "type='SampleFrames', clip_len={}, frame_interval={}, num_clips=1"


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("clip", "`clip` is not stored in .*'. Pass clip='8x8', or .* mentions 32x2.$"),
        ("mode", "`mode` is not .* Pass mode='embedded_gaussian' or mode='dot_product'"),
        ("pool2", "`pool2` is not .* Pass pool2=True or pool2=False"),
        ("source", "Pass source='video-nonlocal-net' or source='pyslowfast': "),
    ],
)
def test_what_a_file_does_not_tell_must_be_passed(argument, words, arrays, tmp_path):
    """Whatever its name mentions."""
    path = write(arrays, tmp_path / "i3d_nopool_dot_product_32x2_pyslowfast.pkl")
    with pytest.raises(knl.CheckpointError, match=words):
        load(path, **{"source": "pyslowfast", argument: None})


def test_names_of_files_change_nothing(arrays, tmp_path):
    """Of the published name too, if the file is another."""
    configs = []
    for file in ("best.pkl", "nopool_dot_product_32x2.pkl", "C2D_NOPOOL_8x8_R50.pkl"):
        model = load(write(arrays, tmp_path / file))
        configs.append({**model.config, "weights": None})
    assert configs[0] == configs[1] == configs[2]
    with pytest.raises(knl.CheckpointError, match="has the name of c2d_r50_8x8_nopool.* but not "):
        load(tmp_path / "C2D_NOPOOL_8x8_R50.pkl", clip=None)


@pytest.mark.parametrize(
    ("backbone", "sampling", "told"),
    [
        (MODE.format("dot_product"), SAMPLING.format(32, 2), ("32x2", "dot_product", True)),
        (MODE.format("embedded_gaussian"), SAMPLING.format(8, 8), ("8x8", OPEN["mode"], True)),
        (
            MODE.format("dot_product") + ", with_pool2=False",
            SAMPLING.format(8, 16),
            ("8x16", "dot_product", False),
        ),
    ],
    ids=["dot_product", "embedded_gaussian", "without_pool2"],
)
def test_stored_configs_tell_the_rest(backbone, sampling, told, mmaction2, tmp_path):
    path = write_torch(mmaction2, tmp_path / "a.pth", {"cfg": PYTHON.format(backbone, sampling)})
    model = knl.load_checkpoint(path, crop=64)
    pool2 = any(layer.name == "pool2" for layer in model.layers)
    assert (model.clip, model.get_layer("res3_1_nonlocal").mode, pool2) == told
    assert model.source == "mmaction2"
    given = {"source": "mmaction2", "clip": told[0], "mode": told[1], "pool2": told[2]}
    assert knl.load_checkpoint(path, crop=64, **given).to_json() == model.to_json()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"clip": "8x8"}, "`clip` must be '32x2' for .*: the stored config says so.*transfer_weig"),
        ({"mode": "embedded_gaussian"}, "`mode` must be 'dot_product' for .* config says so"),
        ({"pool2": False}, "`pool2` must be True for .* config says so. Received: pool2=False"),
    ],
    ids=["clip", "mode", "pool2"],
)
def test_what_contradicts_a_stored_config_is_refused(given, words, mmaction2, tmp_path):
    config = PYTHON.format(MODE.format("dot_product"), SAMPLING.format(32, 2))
    path = write_torch(mmaction2, tmp_path / "a.pth", {"cfg": config})
    with pytest.raises(knl.CheckpointError, match=words):
        knl.load_checkpoint(path, **given)


def test_two_clips_in_a_config_tell_none(mmaction2, tmp_path):
    sampling = SAMPLING.format(32, 2) + "), dict(" + SAMPLING.format(16, 4)
    config = PYTHON.format(MODE.format("dot_product"), sampling)
    path = write_torch(mmaction2, tmp_path / "a.pth", {"cfg": config})
    with pytest.raises(knl.CheckpointError, match="`clip` is not stored"):
        knl.load_checkpoint(path)


def test_the_source_of_our_own_pickles_is_stored(tmp_path):
    model, path = networks.save("psf_nli3d_caffe2", tmp_path)
    assert knl.load_checkpoint(path, crop=64).source == "pyslowfast"
    with pytest.raises(knl.CheckpointError, match="`source` must be 'pyslowfast' for"):
        knl.load_checkpoint(path, "video-nonlocal-net")


PUBLISHED = (
    "nl_i3d_r50_8x8.kinetics400_psf",
    "c2d_r50_8x8_nopool.kinetics400_psf",
    "nl_c2d_r50_32x2.kinetics400_vnl",
    "i3d_r50_32x4_affine.kinetics400_vnl",
    "nl_i3d_r50_32x2_dot_product.kinetics400_mma",
    "nl_slowonly_r50_4x16.kinetics400_mma",
    "c2d_r50_8x8.kinetics400_ptv",
    "nl_i3d_r50_32x2_nl10.kinetics400_gcv",
)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_known_by_name_and_tensors(name, tmp_path, monkeypatch):
    record = registry.CHECKPOINTS[name]
    options = {**record.arguments, "depth": (1, 1, 1, 1), "width": 4, "input_shape": None}
    if isinstance(options.get("non_local"), tuple):
        options["non_local"] = ((3, 0), (4, 0))
    small = dataclasses.replace(
        record, arguments={k: v for k, v in options.items() if v is not None}, checksum=None
    )
    monkeypatch.setitem(registry.CHECKPOINTS, name, small)
    frames = int(record.clip.split("x")[0])
    sizes = {"input_shape": (frames, 32, 32, 3), "class_names": None}
    network = networks.build_again(dataclasses.replace(small.config, **sizes))
    path = tmp_path / record.file
    knl.save_checkpoint(network, tmp_path / f"saved{path.suffix}", record.source)
    tensors = read_state_dict(tmp_path / f"saved{path.suffix}").tensors
    # Without the config, which published files do not hold.
    (write if path.suffix == ".pkl" else write_torch)(tensors, path)
    model = knl.load_checkpoint(path, crop=32)
    assert (model.source, model.clip) == (record.source, record.clip)
    others = dict.fromkeys(("weights", "class_names", "include_preprocessing"))
    assert {**model.config, **others} == {**network.config, **others}
    other = "128x1" if frames < 128 else "8x8"
    with pytest.raises(knl.CheckpointError, match=f"the record of {name} says so"):
        knl.load_checkpoint(path, clip=other)
    # Another name, another checksum, or other tensors, and it is a file like any other.
    for change in (
        {"path": "other.pkl"},
        {"checksum": ("sha256", "0123")},
        {"classes": 7, "class_names": ()},
    ):
        monkeypatch.setitem(registry.CHECKPOINTS, name, dataclasses.replace(small, **change))
        with pytest.raises(knl.CheckpointError, match="is not stored in"):
            knl.load_checkpoint(path)


def test_modes_that_the_tensors_exclude_are_refused(mmaction2, tmp_path):
    path = write_torch(mmaction2, tmp_path / "a.pth")
    words = "`mode` must be 'embedded_gaussian' or 'dot_product'.*Received: mode='gaussian'"
    with pytest.raises(knl.CheckpointError, match=words):
        load(path, "mmaction2", mode="gaussian")


def test_mode_is_refused_where_there_are_no_blocks(tmp_path):
    _, path = networks.save("mma_c2d", tmp_path)
    with pytest.raises(knl.CheckpointError, match="`mode` is for files with non-local blocks"):
        load(path, "mmaction2", mode="dot_product")


@pytest.mark.parametrize("argument", ["classes", "crop"])
def test_no_classes_and_no_pixels_are_refused(argument, arrays, tmp_path):
    with pytest.raises(ValueError, match=f"`{argument}` must be a positive integer"):
        load(write(arrays, tmp_path / "a.pkl"), **{argument: 0})


@pytest.mark.parametrize(
    ("config", "pool2"),
    [
        ("model = dict(type='Recognizer2D', backbone=dict(type='ResNet'))", False),
        ("model = dict(backbone=dict(type='mmaction.C2D'))", True),
        ("MODEL:\n  ARCH: 2d\n", False),
        ("MODEL:\n  ARCH: c2d\n", True),
        ("MODEL:\n  ARCH: c2d_nopool\n", False),
        ("MODEL:\n  ARCH: slow_i3d\n", False),
        ("MODEL:\n  ARCH: i3d\n", True),
        ("MODEL:\n  ARCH: another\n", None),
    ],
)
def test_stored_configs_tell_pool2(config, pool2):
    assert stored_config.read_config({"cfg": config})["pool2"] is pool2
    assert stored_config.read_config({"meta": {"cfg": config}})["pool2"] is pool2


def test_pool2_that_names_exclude_is_refused(tmp_path):
    _, path = networks.save("ptv_slow", tmp_path)
    with pytest.raises(knl.CheckpointError, match="`pool2` must be False .*the numbers in the"):
        load(path, "pytorchvideo", mode=None, pool2=True)


def test_nothing_is_said_when_all_fits(arrays, tmp_path, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(write(arrays, tmp_path / "a.pkl"))
    assert caplog.records == []

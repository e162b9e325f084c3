import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.models.flops import count_multiply_adds, count_parameters
from tests.subjects import example, fill

# Of normalized clips, as those of `example` are.
SMALL = {"depth": (1, 2, 2, 1), "width": 8, "classes": 5, "include_preprocessing": False}


def non_local_names(model):
    return [layer.name for layer in model.layers if "nonlocal" in layer.name]


# Millions of parameters and GFLOPs: MMAction2's and PyTorchVideo's model tables (both at 256x256);
# table 2e of the paper for C2D R101. PyTorchVideo counts norms too, which makes its GFLOPs higher.
PUBLISHED = {
    "mmaction2-i3d": (knl.I3D, {"source": "mmaction2", "clip": "32x2"}, 256, 28.0, 43.5),
    "mmaction2-embedded": (knl.NLI3D, {"source": "mmaction2", "clip": "32x2"}, 256, 35.4, 59.3),
    "mmaction2-gaussian": (
        knl.NLI3D,
        {"source": "mmaction2", "clip": "32x2", "mode": "gaussian"},
        256,
        31.7,
        56.5,
    ),
    "pytorchvideo-c2d": (knl.C2D, {"source": "pytorchvideo"}, 256, 24.33, 25.89),
    "pytorchvideo-i3d": (knl.I3D, {"source": "pytorchvideo"}, 256, 28.04, 37.53),
    "paper-c2d-101": (knl.C2D, {"depth": 101}, 224, 43.2, 34.2),
}


@pytest.mark.parametrize(
    ("builder", "arguments", "crop", "parameters", "gflops"), PUBLISHED.values(), ids=PUBLISHED
)
def test_parameters_and_flops_are_the_published_ones(builder, arguments, crop, parameters, gflops):
    frames = int(arguments.get("clip", "8x8").split("x")[0])
    model = builder(**arguments, input_shape=(frames, crop, crop, 3))
    assert count_parameters(model) / 1e6 == pytest.approx(parameters, rel=0.004)
    assert count_multiply_adds(model) / 1e9 == pytest.approx(gflops, rel=0.02)


def test_inflation_costs_what_table_2e_says():
    base = knl.C2D(depth=101, clip="32x2")
    ratios = []
    for inflation in ("3x1x1", "3x3x3"):
        model = knl.I3D(depth=101, clip="32x2", inflation=inflation)
        ratios.append(round(count_parameters(model) / count_parameters(base), 1))
        ratios.append(round(count_multiply_adds(model) / count_multiply_adds(base), 1))
    assert ratios == [1.2, 1.5, 1.5, 1.8]


# (frames, height) behind the stem, pool1, res2, pool2, res3, res4 and res5.
STAGES = {
    ("video-nonlocal-net", "8x8"): [
        (8, 112), (8, 55), (8, 55), (4, 55), (4, 28), (4, 14), (4, 7)
    ],
    ("video-nonlocal-net", "32x2"): [
        (16, 112), (8, 55), (8, 55), (4, 55), (4, 28), (4, 14), (4, 7)
    ],
    ("video-nonlocal-net", "32x4"): [
        (32, 112), (32, 55), (32, 55), (16, 55), (16, 28), (16, 14), (16, 7)
    ],
    ("video-nonlocal-net", "128x1"): [
        (64, 112), (32, 55), (32, 55), (16, 55), (16, 28), (16, 14), (16, 7)
    ],
    ("pyslowfast", "8x8"): [(8, 112), (8, 56), (8, 56), (4, 56), (4, 28), (4, 14), (4, 7)],
    ("mmaction2", "32x2"): [(16, 112), (8, 56), (8, 56), (4, 56), (4, 28), (4, 14), (4, 7)],
    ("gluoncv", "32x2"): [(16, 112), (8, 56), (8, 56), (4, 56), (4, 28), (4, 14), (4, 7)],
}  # fmt: skip


@pytest.mark.parametrize(("key", "expected"), STAGES.items(), ids=map("-".join, STAGES))
def test_stages_have_the_published_sizes(key, expected):
    source, clip = key
    model = knl.NLI3D(depth=(1, 1, 1, 1), width=4, clip=clip, source=source)
    names = ("conv1_relu", "pool1", "res2_0_out", "pool2", "res3_0_out", "res4_0_out", "res5_0_out")
    assert [tuple(model.get_layer(name).output.shape[1:3]) for name in names] == expected


@pytest.mark.parametrize(
    ("depth", "source", "non_local", "places"),
    [
        (50, "video-nonlocal-net", 1, "4_4"),
        (50, "video-nonlocal-net", 5, "3_1 3_3 4_1 4_3 4_5"),
        (50, "video-nonlocal-net", 10, "3_0 3_1 3_2 3_3 4_0 4_1 4_2 4_3 4_4 4_5"),
        (101, "video-nonlocal-net", 5, "3_1 3_3 4_6 4_13 4_20"),
        (101, "pyslowfast", 5, "3_1 3_3 4_1 4_3 4_5"),
        (101, "gluoncv", 10, "3_0 3_1 3_2 3_3 4_2 4_6 4_10 4_14 4_18 4_22"),
        ((1, 1, 1, 1), "video-nonlocal-net", 5, "3_0 4_0"),
        ((2, 1, 1, 2), "video-nonlocal-net", [(5, 1), (2, 0)], "2_0 5_1"),
    ],
)
def test_non_local_blocks_stand_where_published(depth, source, non_local, places):
    model = knl.NLC2D(
        depth=depth, width=2, source=source, non_local=non_local, input_shape=(4, 64, 64, 3)
    )
    assert non_local_names(model) == [f"res{place}_nonlocal" for place in places.split()]


def test_inflated_blocks_are_every_other_one():
    model = knl.I3D(depth=(3, 4, 6, 3), width=2, input_shape=(8, 64, 64, 3))
    spans = {
        layer.name.removesuffix("_a_conv"): layer.kernel_size[0]
        for layer in model.layers
        if layer.name.endswith("_a_conv")
    }
    inflated = "2_0 2_1 2_2 3_0 3_2 4_0 4_2 4_4 5_1".split()
    assert [name for name, span in spans.items() if span == 3] == [f"res{n}" for n in inflated]
    assert model.get_layer("conv1_conv").kernel_size == (5, 7, 7)
    thick = knl.I3D(depth=(3, 4, 6, 3), width=2, inflation="3x3x3", input_shape=(8, 64, 64, 3))
    assert thick.get_layer("res3_2_a_conv").kernel_size == (1, 1, 1)
    assert thick.get_layer("res3_2_b_conv").kernel_size == (3, 3, 3)


def test_c2d_spans_no_frames():
    model = knl.C2D(**SMALL, input_shape=(8, 64, 64, 3))
    spans = {v.shape[0] for v in model.weights if v.name == "kernel" and len(v.shape) == 5}
    assert spans == {1}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("video-nonlocal-net", (2, "before", True)),
        ("pyslowfast", (2, "before", True)),
        ("mmaction2", (2, "after", False)),
        ("gluoncv", (None, "before", True)),
    ],
)
def test_non_local_blocks_follow_their_source(source, expected):
    model = knl.NLI3D(**SMALL, source=source, input_shape=(8, 64, 64, 3))
    block = model.get_layer("res3_1_nonlocal")
    assert (block.pool_size, block.pool_position, block.scale) == expected


def test_long_clips_group_frames_in_stage_3():
    model = knl.NLI3D(**SMALL, clip="32x4", frozen_norm=True, input_shape=(32, 32, 32, 3))
    blocks = {name: model.get_layer(name) for name in non_local_names(model)}
    assert {n: b.frames_per_group for n, b in blocks.items() if n.startswith("res3")} == {
        "res3_0_nonlocal": 4,
        "res3_1_nonlocal": 4,
    }
    assert all(b.frames_per_group is None for n, b in blocks.items() if n.startswith("res4"))
    assert all(block.norm is None for block in blocks.values())
    assert model.get_layer("res2_0_a_norm").frozen


@pytest.mark.parametrize("frames", (4, 5, 7, 16))
def test_small_networks_take_any_number_of_frames(frames):
    model = knl.NLI3D(**SMALL, input_shape=(frames, 64, 64, 3))
    probabilities = model(example((frames, 64, 64, 3), batch=1))
    np.testing.assert_allclose(np.sum(probabilities), 1, rtol=1e-5)


def test_head_above_training_size_is_the_mean_over_places():
    model = fill(knl.I3D(**SMALL, input_shape=(4, 256, 256, 3)))
    x = example((4, 256, 256, 3), batch=1)
    stem = keras.Model(model.input, model.get_layer("res5_0_out").output)
    features = np.asarray(stem(x))
    dense = model.get_layer("predictions")
    answers = []
    for i, j in itertools.product(range(2), repeat=2):
        window = features[:, :, i : i + 7, j : j + 7].mean(axis=(1, 2, 3))
        logits = window @ dense.kernel.numpy() + dense.bias.numpy()
        answers.append(np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())
    assert features.shape[2:4] == (8, 8)
    np.testing.assert_allclose(model(x), np.mean(answers, axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "shape"),
    [(None, (None, 4, 2, 2, 256)), ("avg", (None, 256)), ("max", (None, 256))],
)
def test_networks_without_top_give_features(pooling, shape):
    model = knl.NLI3D(**SMALL, include_top=False, pooling=pooling, input_shape=(8, 64, 64, 3))
    assert model.output_shape == shape


def test_logits_and_probabilities_agree():
    logits = fill(knl.C2D(**SMALL, classifier_activation=None, input_shape=(4, 64, 64, 3)))
    softmax = knl.C2D(**SMALL, input_shape=(4, 64, 64, 3))
    softmax.set_weights(logits.get_weights())
    x = example((4, 64, 64, 3))
    np.testing.assert_allclose(softmax(x), keras.ops.softmax(logits(x)), rtol=1e-4, atol=1e-6)


def test_head_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = knl.C2D(**SMALL, input_shape=(4, 64, 64, 3))
    assert model(example((4, 64, 64, 3))).dtype == "float32"


def test_a_keras_file_of_another_network_is_refused(tmp_path):
    shape = {"input_shape": (4, 32, 32, 3)}
    knl.C2D(**SMALL, source="pyslowfast", **shape).save(tmp_path / "my.keras")
    with pytest.raises(ValueError, match="`source` must be 'pyslowfast' with weights=.*my.keras"):
        knl.C2D(weights=tmp_path / "my.keras", source="mmaction2")
    with pytest.raises(ValueError, match="are of a C2D. Received them in I3D"):
        knl.I3D(weights=tmp_path / "my.keras")
    normalized = {"include_preprocessing": False}
    model = knl.C2D(weights=tmp_path / "my.keras", source="pyslowfast", **shape, **normalized)
    assert knl.C2D(weights=tmp_path / "my.keras", **SMALL).config == model.config


def test_a_keras_file_with_layers_before_its_network_is_not_normalized_by_a_guess(tmp_path):
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(keras.Input((4, 32, 32, 3)))
    arguments = SMALL | {"include_preprocessing": False}
    knl.C2D(**arguments, input_tensor=scaled).save(tmp_path / "my.keras")
    with pytest.raises(ValueError, match="The clips of weights=.*my.keras' are prepared by other"):
        knl.C2D(weights=tmp_path / "my.keras")
    knl.C2D(weights=tmp_path / "my.keras", include_preprocessing=False)


@pytest.mark.parametrize("weights", (True, ["a"]), ids=str)
def test_weights_of_other_types_are_refused(weights):
    with pytest.raises(ValueError, match="`weights` must be None, 'imagenet', a name of"):
        knl.C2D(weights=weights)


def test_layers_before_the_network_keep_their_initializers():
    before = knl.layers.Conv3D(3, 1, kernel_initializer="ones")
    tensor = before(keras.Input((8, 64, 64, 3)))
    knl.NLI3D(weights="camera_motion", input_tensor=tensor)
    assert isinstance(before.kernel_initializer, keras.initializers.Ones)


def test_weights_path_is_loaded(tmp_path):
    model = fill(knl.C2D(**SMALL, input_shape=(4, 64, 64, 3)))
    model.save_weights(tmp_path / "my.weights.h5")
    copy = knl.C2D(**SMALL, weights=tmp_path / "my.weights.h5", input_shape=(4, 64, 64, 3))
    x = example((4, 64, 64, 3))
    np.testing.assert_array_equal(copy(x), model(x))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"depth": 34}, "`depth` must be 50, 101, or four"),
        ({"depth": (1, 1, 0, 1)}, "`depth` must be 50, 101, or four"),
        ({"clip": "8"}, "`clip` must be 'FRAMESxSTRIDE'"),
        ({"clip": "2x8"}, "at least 4 frames"),
        ({"source": "torch"}, "`source` must be one of 'video-nonlocal-net'"),
        ({"non_local": 3}, "`non_local` must be 1, 5, 10, or"),
        ({"non_local": [(3, 9)]}, r"must be \(stage, block\).*\(3, 9\)"),
        ({"non_local": [(3, 1), (3, 1)]}, "distinct"),
        ({"mode": "softmax"}, "`mode` must be one of"),
        ({"inflation": "3x3"}, "`inflation` must be one of '3x1x1', '3x3x3'"),
        ({"input_shape": (8, 64, 64)}, r"`input_shape` must be \(frames"),
        ({"input_shape": (3, 64, 64, 3)}, "at least 4 frames"),
        ({"input_shape": (4, 64, 64, 3), "clip": "32x2"}, "at least 8 frames.*such as '8x8'"),
        ({"pooling": "mean"}, "`pooling` must be one of None, 'avg', 'max'"),
        ({"classes": 0}, "`classes` must be a positive integer"),
        ({"width": 1.5}, "`width` must be a positive integer"),
        ({"classes": True}, "`classes` must be a positive integer"),
        ({"dropout": 1.5}, "`dropout` must be a share"),
        ({"pool2": "no"}, "`pool2` must be True or False"),
        ({"frozen_norm": 1}, "`frozen_norm` must be True or False"),
        ({"input_shape": (8, 64.0, 64, 3)}, r"`input_shape` must be \(frames"),
        ({"input_shape": tf.TensorShape(None)}, r"`input_shape` must be \(frames"),
        ({"weights": "imagnet"}, "`weights` must be None, 'imagenet', a name of"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, words):
    with pytest.raises(ValueError, match=words):
        knl.NLI3D(**{**SMALL, **arguments})


def test_shapes_and_numbers_are_taken_as_keras_takes_them():
    batch = tf.zeros((2, 8, 32, 32, 3))
    model = knl.NLI3D(
        depth=np.array([1, 2, 2, 1]),
        width=np.int64(4),
        classes=np.int32(5),
        input_shape=batch.shape[1:],
        non_local=np.array([[3, 1], [4, 0]]),
        inflated=[(np.int64(2), np.int64(0))],
        dropout=np.float32(0.25),
        pool2=np.bool_(False),
    )
    same = knl.NLI3D(
        depth=(1, 2, 2, 1),
        width=4,
        classes=5,
        input_shape=(8, 32, 32, 3),
        non_local=[(3, 1), (4, 0)],
        inflated=[(2, 0)],
        dropout=0.25,
        pool2=False,
    )
    assert model.to_json() == same.to_json()


def test_input_tensor_is_what_the_network_is_built_on():
    inputs = keras.Input((8, 32, 32, 1))
    tensor = keras.layers.Concatenate()([inputs, inputs, inputs])
    sizes = {"depth": (1, 1, 1, 1), "width": 4, "classes": 5, "include_top": False}
    sizes["include_preprocessing"] = False
    model = fill(knl.C2D(**sizes, input_tensor=tensor))
    assert model.inputs[0] is inputs
    plain = knl.C2D(**sizes, input_shape=(8, 32, 32, 3))
    plain.set_weights(model.get_weights())
    x = example((8, 32, 32, 1))
    np.testing.assert_array_equal(model(x), plain(np.repeat(x, 3, axis=-1)))
    # As in keras.applications, an input itself stays the model's input.
    assert knl.C2D(**sizes, input_tensor=plain.input).input is plain.input


def test_input_tensor_takes_the_weights_of_a_file(tmp_path):
    sizes = {"depth": (1, 1, 1, 1), "width": 4, "classes": 5, "include_preprocessing": False}
    trained = fill(knl.C2D(**sizes, input_shape=(8, 32, 32, 3)))
    trained.save_weights(tmp_path / "a.weights.h5")
    inputs = keras.Input((8, 32, 32, 3))
    tensor = keras.layers.Conv3D(3, 1, name="before")(inputs)
    model = knl.C2D(**sizes, weights=tmp_path / "a.weights.h5", input_tensor=tensor)
    x = example((8, 32, 32, 3))
    expected = trained(model.get_layer("before")(x))
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("tensor", "shape", "words"),
    [
        (lambda: np.zeros((1, 8, 32, 32, 3)), None, "must be a Keras tensor.*of type ndarray"),
        (lambda: keras.Input((32, 32, 3)), None, "`input_tensor` must be of shape .batch, frames"),
        (lambda: keras.Input((3, 32, 32, 3)), None, "at least 4 frames"),
        (lambda: keras.Input((8, 32, 32, 3)), (8, 64, 64, 3), "`input_shape` must be that of"),
        (lambda: keras.Input((8, None, 32, 3)), (8, 32, 32, 3), "`input_shape` must be that of"),
    ],
    ids=["array", "rank", "frames", "other_size", "open_size"],
)
def test_tensors_that_no_network_fits_are_refused(tensor, shape, words):
    with pytest.raises(ValueError, match=words):
        knl.C2D(**SMALL, input_tensor=tensor(), input_shape=shape)


def test_summary_table_has_a_row_a_model():
    models = [knl.C2D(**SMALL, input_shape=(8, 64, 64, 3)), knl.I3D(**SMALL)]
    lines = knl.summary_table(models).splitlines()
    assert lines[0].split() == ["model", "input", "parameters", "(M)", "GFLOPs"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["c2d", "8x64x64x3"],
        ["i3d", "8x224x224x3"],
    ]
    with pytest.raises(ValueError, match="need known sizes"):
        knl.summary_table([knl.C2D(**SMALL, input_shape=(None, 64, 64, 3))])


MMA = {"source": "mmaction2", "clip": "32x2"}


@pytest.mark.parametrize(
    ("builder", "arguments", "frames", "stem"),
    [
        (knl.I3D, {"source": "mmaction2", "clip": "8x8"}, [4, 2, 1], 5),
        (knl.I3D, {**MMA, "inflated": "all"}, [32, 32, 16], 5),
        (knl.I3D, {**MMA, "inflated": "late", "pool2": False}, [32, 32, 32], 1),
        (knl.C2D, MMA, [32, 32, 16], 1),
        (knl.NLI3D, {"source": "gluoncv", "clip": "32x2"}, [16, 8, 4], 5),
        (knl.I3D, {"source": "pyslowfast", "clip": "32x2"}, [32, 32, 16], 5),
        (knl.I3D, {"source": "pytorchvideo", "inflated": "late", "pool2": False}, [8, 8, 8], 1),
        (knl.C2D, {"source": "pyslowfast", "pool2": False}, [8, 8, 8], 1),
        (knl.C2D, {"clip": "32x2"}, [16, 8, 4], 1),
    ],
)
def test_frames_are_thinned_as_the_source_does(builder, arguments, frames, stem):
    model = builder(depth=(1, 2, 2, 2), width=4, **arguments)
    layers = ("conv1_conv", "pool1", "res3_0_out")
    assert [model.get_layer(name).output.shape[1] for name in layers] == frames
    assert model.get_layer("conv1_conv").kernel.shape[0] == stem


@pytest.mark.parametrize(
    ("builder", "arguments", "size"),
    [
        (knl.C2D, {"source": "mmaction2"}, 55),
        (knl.C2D, {"source": "mmaction2", "pool2": False}, 56),
        (knl.I3D, {"source": "mmaction2"}, 56),
        (knl.C2D, {"source": "torchvision"}, 56),
        (knl.C2D, {}, 55),
    ],
)
def test_pool1_pads_as_the_source_does(builder, arguments, size):
    model = builder(depth=(1, 1, 1, 1), width=4, **arguments)
    assert model.get_layer("pool1").output.shape[2:4] == (size, size)


@pytest.mark.parametrize(
    ("inflated", "places"),
    [
        (None, {(2, 0), (2, 1), (3, 0), (4, 0), (5, 1)}),
        ("all", {(s, b) for s in (2, 3, 4, 5) for b in (0, 1)}),
        ("late", {(4, 0), (4, 1), (5, 0), (5, 1)}),
        ([(3, 1), (4, 0)], {(3, 1), (4, 0)}),
    ],
)
def test_inflated_names_the_blocks_that_span_three_frames(inflated, places):
    model = knl.I3D(depth=(2, 2, 2, 2), width=4, input_shape=(8, 32, 32, 3), inflated=inflated)
    spanned = {
        (s, b)
        for s in (2, 3, 4, 5)
        for b in (0, 1)
        if model.get_layer(f"res{s}_{b}_a_conv").kernel.shape[0] == 3
    }
    assert spanned == places


@pytest.mark.parametrize(
    ("source", "inflated", "scaled"),
    [("mmaction2", None, False), ("mmaction2", "late", True), ("gluoncv", None, True)],
)
def test_scale_follows_source_and_inflated_blocks(source, inflated, scaled):
    model = knl.NLI3D(
        depth=(1, 2, 2, 1), width=4, input_shape=(8, 32, 32, 3), source=source, inflated=inflated
    )
    assert model.get_layer("res3_1_nonlocal").scale is scaled


def test_keras_applications_networks_stride_in_the_first_convolution():
    shape = (8, 64, 64, 3)
    ours = knl.C2D(depth=(1, 1, 1, 1), width=4, input_shape=shape, source="keras-applications")
    theirs = knl.C2D(depth=(1, 1, 1, 1), width=4, input_shape=shape, source="torchvision")
    sizes = [m.get_layer("res3_0_a_conv").output.shape[2] for m in (ours, theirs)]
    assert sizes == [8, 16]


@pytest.mark.parametrize("source", ["mmaction2", "gluoncv"])
def test_global_heads_average_the_whole_map_at_any_size(source):
    arguments = {"depth": (1, 1, 1, 1), "width": 4, "source": source, "classes": 3}
    model = knl.I3D(**arguments, input_shape=(8, None, None, 3), classifier_activation=None)
    x = np.random.default_rng(0).normal(size=(1, 8, 320, 288, 3)).astype("float32")
    features = keras.Model(model.input, model.get_layer("res5_0_out").output).predict(x, verbose=0)
    dense = model.get_layer("predictions")
    expected = features.mean((1, 2, 3)) @ np.array(dense.kernel) + np.array(dense.bias)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)

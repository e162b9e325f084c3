"""Networks that receive weights answer as those that gave them."""

import functools

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.transfer import transfer_weights
from keras_nonlocal.models.video_resnet import change_config, config_of, find_input

SMALL = {"width": 8, "classes": 6, "classifier_activation": None, "include_preprocessing": False}
# Inflated kernels see beyond the clip's ends; these steps of the last map are far from them.
LONG, INNER = 32, slice(6, 10)


@functools.cache
def _network(builder, trained, **arguments):
    """A small network, with other values in each variable if `trained`, its values and config."""
    model = builder(**arguments)
    if trained:
        for number, variable in enumerate(model.weights):
            variable.assign(fill(variable.path, variable.shape, number))
    return model, model.get_weights(), config_of(model)


def build(builder, frames=8, trained=True, **arguments):
    """Returns a network as new; tests share those of the same arguments."""
    if isinstance(arguments.get("non_local"), list):
        arguments["non_local"] = tuple(arguments["non_local"])
    shape = (frames, 32, 32, 3)
    options = {"depth": (1, 1, 2, 1), "input_shape": shape, **SMALL, **arguments}
    model, weights, config = _network(builder, trained, **options)
    model.set_weights(weights)
    find_input(model).config = config
    return model


def fill(path, shape, number):
    random = np.random.default_rng([number, len(path)])
    if path.endswith(("gamma", "moving_variance")):
        return random.uniform(0.5, 1.5, shape)
    scale = np.prod(shape[:-1]) ** -0.5 if len(shape) > 1 else 0.3
    return random.normal(0, scale, shape)


def clip(frames=8):
    return np.random.default_rng(5).standard_normal((2, frames, 32, 32, 3)).astype("float32")


def values_of(model):
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}


def close(actual, expected, tolerance=1e-6):
    atol = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("baseline", "non_local", "frozen_norm"),
    [(knl.C2D, knl.NLC2D, False), (knl.I3D, knl.NLI3D, True)],
    ids=["c2d", "affine_i3d"],
)
def test_new_blocks_leave_the_output_as_it_was(baseline, non_local, frozen_norm):
    giver = build(baseline, frozen_norm=frozen_norm)
    model = build(non_local, trained=False, frozen_norm=frozen_norm, non_local=[(3, 0), (4, 1)])
    assert transfer_weights(model, giver) == ["res3_0_nonlocal", "res4_1_nonlocal"]
    np.testing.assert_array_equal(model(clip()), giver(clip()))


def test_more_blocks_keep_those_that_are_trained():
    giver = build(knl.NLI3D, non_local=1, mode="gaussian")
    model = build(knl.NLI3D, trained=False, mode="gaussian")
    kept = transfer_weights(model, giver)
    assert kept == ["res3_0_nonlocal", "res4_1_nonlocal"]
    np.testing.assert_array_equal(model(clip()), giver(clip()))


def test_norms_turn_affine_and_back():
    giver = build(knl.NLI3D)
    affine = build(knl.NLI3D, trained=False, frozen_norm=True)
    again = build(knl.NLI3D, trained=False)
    assert transfer_weights(affine, giver) == []
    assert transfer_weights(again, affine) == []
    close(affine(clip()), giver(clip()))
    np.testing.assert_array_equal(affine(clip(), training=False), again(clip(), training=False))
    for name in ("conv1_norm", "res5_0_c_norm"):  # They are copied, not folded.
        trained = giver.get_layer(name).get_weights()
        assert all(map(np.array_equal, affine.get_layer(name).get_weights(), trained))


def test_affine_blocks_get_a_norm_that_changes_nothing():
    giver = build(knl.NLI3D, frozen_norm=True)
    model = build(knl.NLI3D, trained=False)
    transfer_weights(model, giver)
    close(model(clip()), giver(clip()))
    norm = model.get_layer("res3_0_nonlocal").norm
    x = np.random.default_rng(6).standard_normal((1, 2, 2, 2, 64)).astype("float32")
    np.testing.assert_allclose(norm(x), x, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "frames"),
    [
        ({"clip": "32x4"}, 32),
        ({"clip": "128x1"}, 128),
        ({"clip": "32x2"}, 32),
    ],
    ids=["32x4", "128x1", "32x2"],
)
def test_other_clips_take_the_weights_as_they_are(arguments, frames):
    giver, model = build(knl.NLI3D), build(knl.NLI3D, frames, trained=False, **arguments)
    assert transfer_weights(model, giver) == []
    trained = values_of(giver)
    assert all(np.array_equal(v, trained[address]) for address, v in values_of(model).items())
    # The way to long clips and back to short ones loses nothing.
    again = build(knl.NLI3D, trained=False)
    transfer_weights(again, model)
    np.testing.assert_array_equal(again(clip()), giver(clip()))


def test_long_clips_of_the_authors_answer_as_their_network_does():
    giver = build(knl.NLI3D, 32, clip="32x4")
    model = build(knl.NLI3D, 32, trained=False, clip="32x4", frozen_norm=True)
    transfer_weights(model, build(knl.NLI3D))
    # `build` gives networks of the same variables the same values.
    close(model(clip(32)), giver(clip(32)))


@pytest.mark.parametrize("inflation", ["3x1x1", "3x3x3"])
def test_c2d_is_inflated_into_i3d(inflation):
    giver = build(knl.C2D, LONG, include_top=False)
    model = build(knl.NLI3D, LONG, trained=False, include_top=False, inflation=inflation)
    transfer_weights(model, giver)
    still = np.repeat(clip(1), LONG, axis=1)
    close(model(still)[:, INNER], np.asarray(giver(still))[:, INNER], 5e-6)


def test_other_classes_start_the_classifier_anew():
    giver, model = build(knl.I3D), build(knl.I3D, trained=False, classes=4)
    before = values_of(model)
    with pytest.warns(UserWarning, match="keeps its values: i3d has no classifier for the same 4 "):
        assert transfer_weights(model, giver) == ["predictions"]
    after, trained = values_of(model), values_of(giver)
    for address, value in after.items():
        source = before if address.startswith("predictions/") else trained
        np.testing.assert_array_equal(value, source[address], err_msg=address)


def test_headless_network_gives_all_but_the_classifier():
    giver = build(knl.I3D, include_top=False)
    model = build(knl.I3D, trained=False)
    with pytest.warns(UserWarning, match="The classifier keeps its values"):
        assert transfer_weights(model, giver) == ["predictions"]
    inside = keras.Model(model.input, model.get_layer("res5_0_out").output)
    np.testing.assert_array_equal(inside(clip()), giver(clip()))


def test_headless_network_takes_all_but_the_classifier():
    giver = build(knl.I3D)
    model = build(knl.I3D, trained=False, include_top=False)
    assert transfer_weights(model, giver) == []
    inside = keras.Model(giver.input, giver.get_layer("res5_0_out").output)
    np.testing.assert_array_equal(model(clip()), inside(clip()))


def test_normalization_and_class_names_go_with_the_weights():
    giver = build(knl.I3D)
    change_config(giver, normalization="mmaction2", class_names=tuple("abcdef"))
    model = build(knl.NLI3D, clip="32x4")
    transfer_weights(model, giver)
    assert (model.source, model.clip) == ("video-nonlocal-net", "32x4")
    assert model.normalization == "mmaction2"
    assert model.class_names == tuple("abcdef")


def test_a_part_of_a_network_gives_its_normalization():
    giver, model = build(knl.I3D), build(knl.NLI3D)
    change_config(giver, normalization="mmaction2")
    part = keras.Model(giver.input, giver.get_layer("res5_0_out").output)
    with pytest.warns(UserWarning, match="The classifier keeps its values"):
        transfer_weights(model, part)
    assert model.normalization == "mmaction2"


def test_normalization_by_layers_before_the_network_is_not_guessed():
    inputs = keras.Input((8, 32, 32, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    giver = knl.C2D(depth=(1, 1, 2, 1), **SMALL, input_tensor=scaled)
    model = knl.C2D(depth=(1, 1, 2, 1), **SMALL | {"include_preprocessing": True})
    before = values_of(model)
    with pytest.raises(CheckpointError, match="prepared by other layers .* Nothing was loaded"):
        transfer_weights(model, giver)
    assert all(np.array_equal(before[path], value) for path, value in values_of(model).items())
    same = build(knl.C2D)
    transfer_weights(same, giver)
    close(same(clip() / 127.5 - 1), giver(clip()), 1e-5)


def test_sources_that_are_the_same_keep_their_names():
    """PyTorchVideo's networks are PySlowFast's, pixels and all."""
    giver, model = build(knl.I3D, source="pytorchvideo"), build(knl.I3D, source="pyslowfast")
    transfer_weights(model, giver)
    assert (model.source, model.normalization) == ("pyslowfast", "pyslowfast")


def test_class_names_stay_with_a_classifier_that_starts_anew():
    giver, model = build(knl.I3D), build(knl.I3D, classes=2)
    giver.class_names, model.class_names = tuple("abcdef"), ("x", "y")
    with pytest.warns(UserWarning, match="The classifier keeps its values"):
        transfer_weights(model, giver)
    assert model.class_names == ("x", "y")


@pytest.mark.parametrize(
    ("model", "giver", "words"),
    [
        ((knl.C2D, {}), (knl.I3D, {}), r"conv1_conv/kernel \(5, .* against \(1, "),
        (
            (knl.I3D, {}),
            (knl.NLI3D, {}),
            "36 unexpected keys in the nli3d: res3_0_nonlocal",
        ),
        ((knl.I3D, {"width": 4}), (knl.I3D, {}), r"conv1_norm/gamma \(8,\) against \(4,\)"),
        ((knl.I3D, {"depth": (1, 2, 2, 1)}), (knl.I3D, {}), "15 missing keys: res3_1_a_conv"),
        (
            (knl.NLI3D, {}),
            (knl.NLI3D, {"mode": "gaussian"}),
            "mode is 'gaussian' in nli3d, 'embedded_gaussian' as nli3d",
        ),
        (
            (knl.I3D, {}),
            (knl.I3D, {"source": "keras-applications"}),
            "convolution with strides is 'a' in i3d, 'b' as i3d",
        ),
    ],
    ids=["flattened", "blocks_lost", "width", "depth", "mode", "stride"],
)
def test_other_differences_are_listed_and_nothing_changes(model, giver, words):
    giver = build(giver[0], **giver[1])
    model = build(model[0], trained=False, **model[1])
    before = values_of(model)
    with pytest.raises(CheckpointError, match=words):
        transfer_weights(model, giver)
    assert all(np.array_equal(v, before[address]) for address, v in values_of(model).items())


@pytest.mark.parametrize("argument", ["model", "from_model"])
def test_other_models_are_refused(argument):
    inputs = keras.Input((8, 8, 3))
    other = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    networks = {"model": build(knl.C2D), "from_model": build(knl.C2D), argument: other}
    with pytest.raises(ValueError, match=f"`{argument}` must be a network of C2D, I3D"):
        transfer_weights(**networks)


MMA, LATE = {"source": "mmaction2", "clip": "32x2"}, {"inflated": "late", "pool2": False}
# Arguments of the receiver and of the giver, and what the error says.
DIFFERENCES = {
    "mode": (
        {},
        {"mode": "dot_product"},
        "mode is 'dot_product' in nli3d, 'embedded_",
    ),
    "pool size": ({}, {"source": "gluoncv"}, "pool_size is None in nli3d, 2 as"),
    "pool position": ({}, MMA, "pool_position is 'after' in nli3d, 'before' as"),
    "scale": (MMA, {**MMA, **LATE, "pool2": True}, "scale is True in nli3d, False as"),
    "pool2": ({}, {"pool2": False}, "pool2 is False in nli3d, True as"),
    "pool1": ({}, {"source": "pyslowfast"}, "padding of pool1 is 1 in nli3d, 0 as"),
    "rule of steps": (
        {"source": "torchvision", "clip": "32x2"},
        {"source": "pyslowfast", "clip": "32x2"},
        r"strides over frames is \(1, 1\) in nli3d, \(2, 2\) as",
    ),
}


@pytest.mark.parametrize(("model", "giver", "words"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_networks_in_which_weights_mean_something_else_are_refused(model, giver, words):
    frames = 32 if "clip" in {**model, **giver} else 8
    giver = build(knl.NLI3D, frames, trained=False, **giver)
    model = build(knl.NLI3D, frames, trained=False, **model)
    before = values_of(model)
    with pytest.raises(CheckpointError, match=f"{words}.*Nothing was transferred"):
        transfer_weights(model, giver)
    assert all(np.array_equal(v, before[address]) for address, v in values_of(model).items())
    assert model.source == model.normalization


def test_the_window_of_the_head_must_agree():
    giver = build(knl.I3D, 32, trained=False, source="gluoncv", clip="32x2")
    model = build(knl.I3D, 32, trained=False, source="torchvision", clip="32x2")
    with pytest.raises(CheckpointError, match="window of the head is None in i3d, 7 as i3d"):
        transfer_weights(model, giver)


def test_weights_that_are_no_numbers_are_refused():
    giver, model = build(knl.C2D), build(knl.C2D, trained=False)
    giver.get_layer("res4_1_b_norm").gamma.assign(np.full(32, np.inf))
    before = values_of(model)
    with pytest.raises(CheckpointError, match="NaN or infinite values are in res4_1_b_norm/gamma"):
        transfer_weights(model, giver)
    assert all(np.array_equal(v, before[address]) for address, v in values_of(model).items())

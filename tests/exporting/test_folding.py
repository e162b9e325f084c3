"""Folding changes the layers and not the answers."""

import keras
import numpy as np
import pytest

from keras_nonlocal.exporting import fold
from keras_nonlocal.layers import BatchNormalization, Conv3D, NonLocal2D, NonLocal3D
from keras_nonlocal.layers.non_local import MODES

LAST = keras.layers.BatchNormalization


def norms_in(model):
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += norms_in(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            found.append(layer.name)
        elif getattr(layer, "norm", None) is not None:
            found.append(f"{layer.name}/norm")
    return found


def answers(model, clips):
    return np.asarray(model(clips, training=False))


def test_networks_answer_as_before_without_norms(network, clips):
    assert norms_in(network)
    expected = answers(network, clips)
    for lower in (False, True):
        folded = fold(network, lower=lower)
        assert norms_in(folded) == []
        np.testing.assert_allclose(answers(folded, clips), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_blocks_of_every_mode_answer_as_before(mode, randomise):
    inputs = keras.Input((4, 8, 8, 6))
    model = randomise(keras.Model(inputs, NonLocal3D(mode=mode, name="block")(inputs)))
    clips = images_of(shape=(4, 8, 8, 6))
    folded = fold(model, lower=True)
    assert norms_in(folded) == []
    np.testing.assert_allclose(answers(folded, clips), answers(model, clips), atol=1e-5)


def test_lowering_leaves_no_convolution_in_three_dimensions(build, clips):
    network = build("I3D 3x3x3")
    lowered = fold(network, lower=True)
    both_at_once = [
        layer.name
        for layer in lowered.layers
        if isinstance(layer, Conv3D) and layer.kernel_size[0] > 1 and layer.kernel_size[1] > 1
    ]
    assert isinstance(network.get_layer("conv1_conv"), Conv3D)
    assert isinstance(lowered.get_layer("conv1_conv"), keras.layers.Conv2D)
    assert both_at_once == []


def test_lowering_follows_strides_over_frames_and_biases(randomise):
    inputs = keras.Input((9, 12, 10, 3))
    x = Conv3D(4, (3, 5, 3), (2, 2, 1), use_bias=True, activation="relu")(inputs)
    x = Conv3D(6, (1, 3, 3), (2, 2, 2))(x)
    x = Conv3D(6, (3, 1, 1), (1, 2, 2))(x)
    model = randomise(keras.Model(inputs, x))
    clips = np.random.default_rng(0).normal(size=(2, 9, 12, 10, 3)).astype("float32")
    lowered = fold(model, lower=True)
    assert not any(isinstance(layer, Conv3D) for layer in lowered.layers)
    np.testing.assert_allclose(answers(lowered, clips), answers(model, clips), atol=1e-5)


def test_the_model_itself_stays_as_it_was(build, clips):
    network = build("NLI3D embedded_gaussian")
    network.compile("sgd", "mse")
    before, weights = answers(network, clips), network.get_weights()
    folded = fold(network)
    for variable in folded.variables:
        variable.assign(variable * 0 + 7)
    for was, now in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(now, was)
    np.testing.assert_array_equal(answers(network, clips), before)
    assert not folded.compiled
    # A layer that stands in two graphs would refuse to name its output.
    assert network.get_layer("res3_0_nonlocal").output is not None


def image_model(add_norm, randomise, conv=None):
    inputs = keras.Input((8, 8, 3))
    conv = conv or keras.layers.Conv2D(4, 3, name="conv")
    return randomise(keras.Model(inputs, add_norm(conv, inputs)))


def read_after(conv, x):
    x = conv(x)
    return keras.layers.Add()([LAST(name="norm")(x), x])


def read_before(conv, x):
    x = conv(x)
    return keras.layers.Add()([x, LAST(name="norm")(x)])


def shared_norm(conv, x):
    norm = LAST(name="norm")
    return norm(keras.layers.Conv2D(4, 1)(norm(conv(x))))


def shared_conv(conv, x):
    x = keras.layers.Conv2D(3, 1)(x)
    one, other = conv(x), conv(keras.layers.Rescaling(2.0)(x))
    return keras.layers.Add()([LAST(name="norm")(one), other])


class Doubled(keras.layers.Conv2D):
    def call(self, inputs):
        return super().call(inputs) ** 2


class Halving(keras.layers.BatchNormalization):
    def call(self, inputs, training=None):
        return super().call(inputs / 2, training=training)


@pytest.mark.parametrize(
    "add_norm, conv",
    [
        (read_after, None),
        (read_before, None),
        (shared_norm, None),
        (shared_conv, None),
        (lambda conv, x: LAST(name="norm")(conv(x)), keras.layers.Conv2D(4, 3, activation="relu")),
        (lambda conv, x: LAST(name="norm")(conv(x)), Doubled(4, 3)),
        (lambda conv, x: Halving(name="norm")(conv(x)), None),
        (lambda conv, x: LAST(axis=1, name="norm")(conv(x)), None),
        (lambda conv, x: LAST(name="norm")(x), None),
    ],
    ids=[
        "read after",
        "read before",
        "shared norm",
        "shared conv",
        "activation",
        "convolution of one's own",
        "norm of one's own",
        "axis",
        "no conv",
    ],
)
def test_a_norm_that_no_convolution_can_take_stays(add_norm, conv, randomise):
    model = image_model(add_norm, randomise, conv)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    folded = fold(model)
    assert norms_in(folded) == ["norm"]
    np.testing.assert_allclose(answers(folded, images), answers(model, images), atol=1e-5)


def enable_lora(layer, rank, seed=0):
    layer.enable_lora(rank, lora_alpha=3)
    for variable in (layer.lora_kernel_a, layer.lora_kernel_b):
        variable.assign(np.random.default_rng(seed).normal(size=variable.shape))


@pytest.mark.parametrize("lower", [False, True], ids=["folded", "lowered"])
def test_lora_becomes_part_of_the_kernels(lower, randomise):
    inputs = keras.Input((4, 6, 6, 3))
    ours, theirs = Conv3D(4, 3, name="ours"), keras.layers.Conv3D(4, 2, name="theirs")
    block, dense = NonLocal3D(mode="concatenation", name="block"), keras.layers.Dense(3)
    x = block(theirs(LAST()(ours(inputs))))
    model = randomise(keras.Model(inputs, dense(keras.layers.GlobalAveragePooling3D()(x))))
    clips = images_of(shape=(4, 6, 6, 3))
    without = answers(model, clips)
    for seed, layer in enumerate([ours, theirs, dense, block.theta, block.g, block.out]):
        enable_lora(layer, 2, seed)
    folded = fold(model, lower=lower)
    assert norms_in(folded) == []
    assert not [v.path for v in folded.weights if "lora" in v.path]
    expected = answers(model, clips)
    assert np.abs(expected - without).max() > 0.1 * np.abs(expected).max()
    difference = np.abs(answers(folded, clips) - expected).max()
    assert difference < 1e-5 * np.abs(expected).max()


def test_a_norm_called_in_training_mode_stays(randomise):
    model = image_model(lambda conv, x: LAST(name="norm")(conv(x), training=True), randomise)
    assert norms_in(fold(model)) == ["norm"]


def test_a_norm_of_the_last_axis_stays_where_channels_are_the_first(randomise):
    # TensorFlow has no such convolution for CPUs, so the graph alone is looked at.
    conv = keras.layers.Conv2D(4, 3, data_format="channels_first")
    model = image_model(lambda conv, x: LAST(name="norm")(conv(x)), randomise, conv)
    assert norms_in(fold(model)) == ["norm"]


@pytest.mark.parametrize("scale", [True, False], ids=["scale", "no scale"])
@pytest.mark.parametrize("center", [True, False], ids=["center", "no center"])
def test_a_norm_without_scale_or_center_folds(scale, center, randomise):
    model = image_model(
        lambda conv, x: LAST(scale=scale, center=center, epsilon=0.5)(conv(x)), randomise
    )
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    folded = fold(model)
    assert norms_in(folded) == []
    np.testing.assert_allclose(answers(folded, images), answers(model, images), atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
        keras.layers.DepthwiseConv2D(3, use_bias=False),
        keras.layers.Dense(5),
        keras.layers.Conv2D(6, 3, groups=3),
    ],
    ids=["depthwise", "without bias", "dense", "groups"],
)
def test_other_layers_with_kernels_take_a_norm(layer, randomise):
    model = image_model(lambda conv, x: LAST()(conv(x)), randomise, layer)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    folded = fold(model)
    assert norms_in(folded) == []
    np.testing.assert_allclose(answers(folded, images), answers(model, images), atol=1e-5)


@pytest.mark.parametrize(
    "relu, kind",
    [
        (keras.layers.Activation("relu"), "relu"),
        (keras.layers.Activation("relu6"), "relu6"),
        (keras.layers.ReLU(), "relu"),
        (keras.layers.ReLU(6.0), "relu6"),
    ],
    ids=["activation", "activation of 6", "layer", "layer of 6"],
)
@pytest.mark.parametrize("norm", [True, False], ids=["behind a norm", "behind a convolution"])
@pytest.mark.parametrize("lower", [False, True], ids=["folded", "lowered"])
def test_a_relu_becomes_the_activation_of_what_is_before(relu, kind, norm, lower, randomise):
    inputs = keras.Input((4, 8, 8, 3))
    x = inputs
    for number, kernel_size in enumerate([(1, 3, 3), (3, 1, 1), (3, 3, 3)]):
        x = Conv3D(8, kernel_size, use_bias=not norm, name=f"conv{number}")(x)
        x = LAST()(x) if norm else x
        x = type(relu).from_config({**relu.get_config(), "name": f"relu{number}"})(x)
    model = randomise(keras.Model(inputs, x))
    # Large enough that a limit of 6 cuts something off.
    clips = 30 * np.random.default_rng(0).normal(size=(2, 4, 8, 8, 3)).astype("float32")
    folded = fold(model, lower=lower)
    assert [layer.name for layer in folded.layers[1:]] == ["conv0", "conv1", "conv2"]
    assert {layer.activation.__name__ for layer in folded.layers[1:]} == {kind}
    expected = answers(model, clips)
    assert expected.min() == 0 and (kind == "relu" or expected.max() == 6)
    np.testing.assert_allclose(answers(folded, clips), expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.parametrize(
    "relu",
    [
        keras.layers.ReLU(negative_slope=0.1),
        keras.layers.ReLU(threshold=0.5),
        keras.layers.ReLU(3.0),
        keras.layers.LeakyReLU(),
        keras.layers.Activation("tanh"),
    ],
    ids=["slope", "threshold", "limit", "leaky", "tanh"],
)
def test_other_activations_stay(relu, randomise):
    inputs = keras.Input((8, 8, 3))
    model = randomise(keras.Model(inputs, relu(keras.layers.Conv2D(4, 3)(inputs))))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    folded = fold(model)
    assert folded.layers[-1].name == relu.name
    np.testing.assert_array_equal(answers(folded, images), answers(model, images))


def test_a_relu_whose_input_is_read_elsewhere_stays(randomise):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    model = randomise(keras.Model(inputs, keras.layers.Add()([x, keras.layers.ReLU()(x)])))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(answers(fold(model), images), answers(model, images))


def test_nested_and_sequential_models_fold(randomise):
    block = keras.Sequential(
        [keras.Input((8, 8, 6)), keras.layers.Conv2D(6, 3, padding="same"), LAST()], name="block"
    )
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(6, 1), LAST(), block, NonLocal2D()]
    )
    randomise(model)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    folded = fold(model)
    assert norms_in(folded) == []
    assert "block" in [layer.name for layer in folded.layers]
    np.testing.assert_allclose(answers(folded, images), answers(model, images), atol=1e-5)


def test_a_nested_model_is_lowered_at_the_sizes_it_is_called_with(randomise):
    inputs = keras.Input((None, None, None, 3))
    x = LAST(name="norm")(Conv3D(8, 3, 2, name="conv")(inputs))
    block = keras.Model(inputs, x, name="block")
    model = keras.Sequential([keras.Input((4, 8, 8, 3)), block, keras.layers.ReLU()])
    randomise(model)
    clips = np.random.default_rng(0).normal(size=(2, 4, 8, 8, 3)).astype("float32")
    lowered = fold(model, lower=True)
    assert isinstance(lowered.get_layer("block").get_layer("conv"), keras.layers.Conv2D)
    np.testing.assert_allclose(answers(lowered, clips), answers(model, clips), atol=1e-5)


def test_a_nested_model_in_two_places_stays_one(randomise):
    inputs = keras.Input((8, 8, 6))
    block = keras.Model(inputs, LAST()(keras.layers.Conv2D(6, 1)(inputs)), name="block")
    outer = keras.Input((8, 8, 6))
    model = randomise(keras.Model(outer, block(block(outer))))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 6)).astype("float32")
    folded = fold(model)
    assert len(folded.weights) == 2
    np.testing.assert_allclose(answers(folded, images), answers(model, images), atol=1e-5)


def test_operations_and_call_arguments_survive(randomise):
    inputs = keras.Input((4, 8, 8, 6))
    x, scores = NonLocal3D(inner_channels=2)(inputs, return_attention_scores=True)
    x = keras.ops.mean(x * 2.0, axis=(2, 3)) + keras.ops.mean(scores)
    model = randomise(keras.Model(inputs, x))
    clips = np.random.default_rng(0).normal(size=(2, 4, 8, 8, 6)).astype("float32")
    np.testing.assert_allclose(answers(fold(model), clips), answers(model, clips), atol=1e-5)


def test_half_precision_folds_to_float32(randomise, clips):
    inputs = keras.Input(clips.shape[1:])
    x = Conv3D(8, (1, 3, 3), dtype="mixed_bfloat16")(inputs)
    x = BatchNormalization(dtype="mixed_bfloat16")(x)
    x = NonLocal3D(dtype="mixed_bfloat16")(x)
    folded = fold(randomise(keras.Model(inputs, x)))
    assert {layer.compute_dtype for layer in folded.layers} == {"float32"}
    assert answers(folded, clips).dtype == np.float32


def test_a_nested_model_computes_in_the_precision_that_was_asked_for(randomise):
    conv = keras.layers.Conv2D(4, 3, name="conv")
    block = keras.Sequential([keras.Input((8, 8, 3)), conv], name="block")
    model = randomise(keras.Sequential([keras.Input((8, 8, 3)), block]))
    folded = fold(model, dtype="bfloat16")
    assert folded.get_layer("block").get_layer("conv").kernel.dtype == "bfloat16"
    expected = answers(model, images_of())
    np.testing.assert_allclose(answers(folded, images_of()), expected, atol=0.05)


def images_of(seed=0, shape=(8, 8, 3)):
    return np.random.default_rng(seed).normal(size=(2, *shape)).astype("float32")


def test_an_adapted_normalization_divides_as_before(randomise):
    normalization = keras.layers.Normalization()
    normalization.adapt(3 + 2 * images_of(1))
    model = keras.Sequential([keras.Input((8, 8, 3)), normalization, keras.layers.Conv2D(4, 3)])
    expected = answers(model, images_of())
    np.testing.assert_allclose(answers(fold(model), images_of()), expected, atol=1e-5)


def test_a_function_of_ones_own_survives(randomise):
    scale = keras.layers.Lambda(lambda x: x / np.pi)
    model = randomise(keras.Sequential([keras.Input((8, 8, 3)), scale, keras.layers.Conv2D(4, 3)]))
    np.testing.assert_allclose(
        answers(fold(model), images_of()), answers(model, images_of()), atol=1e-6
    )


def test_layers_called_by_the_name_of_their_argument_fold(randomise):
    inputs = keras.Input((4, 8, 8, 3))
    x = Conv3D(4, 3, name="conv")(inputs=inputs)
    x = BatchNormalization(name="norm")(inputs=x)
    block = keras.Sequential([keras.Input((4, 8, 8, 4)), Conv3D(4, 1), LAST()], name="block")
    model = randomise(keras.Model(inputs, block(inputs=x)))
    clips = images_of(shape=(4, 8, 8, 3))
    for lower in (False, True):
        folded = fold(model, lower=lower)
        assert norms_in(folded) == []
        np.testing.assert_allclose(answers(folded, clips), answers(model, clips), atol=1e-5)


def test_a_block_called_in_training_mode_keeps_its_norm(randomise):
    inputs = keras.Input((8, 8, 6))
    model = randomise(keras.Model(inputs, NonLocal2D(name="block")(inputs, training=True)))
    folded = fold(model)
    assert norms_in(folded) == ["block/norm"]
    images = images_of(shape=(8, 8, 6))
    np.testing.assert_allclose(answers(folded, images), answers(model, images), atol=1e-5)


def test_a_nested_model_called_in_training_mode_is_refused():
    inputs = keras.Input((8, 8, 6))
    block = keras.Sequential([inputs, keras.layers.Conv2D(6, 1), LAST()], name="block")
    outer = keras.Input((8, 8, 6))
    with pytest.raises(ValueError, match=r"training=True.*'block' in 'outer'.*Leave the argument"):
        fold(keras.Model(outer, block(outer, training=True), name="outer"))


class NonLocal(keras.layers.Layer):
    """The name that others give to theirs."""

    def build(self, input_shape):
        self.norm = LAST()
        self.norm.build(input_shape)

    def call(self, inputs):
        return inputs + self.norm(inputs)


class Doubled3D(Conv3D):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


def test_layers_of_ones_own_stay_as_they_are(randomise):
    inputs = keras.Input((4, 8, 8, 3))
    model = randomise(keras.Model(inputs, NonLocal()(Doubled3D(4, 3)(inputs))))
    clips = images_of(shape=(4, 8, 8, 3))
    np.testing.assert_allclose(answers(fold(model, lower=True), clips), answers(model, clips))


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv3D(5, 3, name="layer"),
        keras.layers.Conv3D(5, (3, 2, 3), (2, 3, 1), padding="same", name="layer"),
        keras.layers.Conv3D(5, (2, 3, 2), dilation_rate=(2, 1, 3), activation="relu", name="layer"),
        keras.layers.Conv3D(5, (3, 4, 1), dilation_rate=2, padding="same", name="layer"),
        keras.layers.Conv3D(5, (1, 3, 3), padding="same", name="layer"),
        keras.layers.MaxPooling3D((2, 3, 2), name="layer"),
        keras.layers.MaxPooling3D((3, 2, 2), (1, 3, 2), name="layer"),
        keras.layers.AveragePooling3D((3, 2, 3), (2, 1, 2), name="layer"),
        keras.layers.MaxPooling3D((3, 2, 3), (2, 3, 2), padding="same", name="layer"),
        keras.layers.AveragePooling3D((3, 2, 3), (2, 3, 2), padding="same", name="layer"),
    ],
    ids="valid same dilated dilated-same space pool strides average pool-same average-same".split(),
)
def test_layers_of_keras_run_in_two_dimensions(layer, randomise, tmp_path):
    inputs = keras.Input((7, 10, 11, 3))
    copy = type(layer).from_config(layer.get_config())
    model = randomise(keras.Model(inputs, copy(inputs)))
    clips = images_of(shape=(7, 10, 11, 3))
    lowered = fold(model, lower=True)
    assert "3D" not in type(lowered.get_layer("layer")).__name__
    expected = answers(model, clips)
    np.testing.assert_allclose(answers(lowered, clips), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv3D(6, 3, groups=3, name="layer"),
        keras.layers.UpSampling3D(2, name="layer"),
    ],
    ids=["groups", "another"],
)
def test_what_has_no_form_in_two_dimensions_stays(layer, randomise):
    inputs = keras.Input((4, 6, 6, 3))
    copy = type(layer).from_config(layer.get_config())
    model = randomise(keras.Model(inputs, copy(inputs)))
    assert type(fold(model, lower=True).get_layer("layer")) is type(layer)


def test_what_is_wrapped_computes_in_the_precision_that_was_asked_for(randomise):
    inputs = keras.Input((4, 8, 8, 3))
    conv = keras.layers.Conv2D(4, 3, dtype="mixed_float16")
    x = keras.layers.TimeDistributed(conv, name="wrapped")(inputs)
    model = randomise(keras.Model(inputs, x))
    assert fold(model).get_layer("wrapped").layer.compute_dtype == "float32"


def test_an_input_in_half_precision_becomes_one_of_float32(randomise):
    inputs = keras.Input((8, 8, 3), dtype="float16")
    x = keras.layers.Conv2D(4, 3, dtype="mixed_float16")(inputs)
    assert fold(randomise(keras.Model(inputs, x))).inputs[0].dtype == "float32"


@pytest.mark.parametrize("lower", [False, True], ids=["folded", "lowered"])
def test_networks_fold_to_half_precision(lower, nli3d, clips):
    folded = fold(nli3d, lower=lower, dtype="bfloat16")
    found, expected = answers(folded, clips), answers(nli3d, clips)
    assert norms_in(folded) == []
    assert found.dtype == np.float32
    kernels = {v.dtype for layer in folded.layers[:-3] for v in layer.weights}
    assert kernels == {"bfloat16"}
    assert folded.get_layer("predictions").kernel.dtype == "float32"
    assert 1e-5 < np.abs(found - expected).max() < 0.03 * expected.max()


def test_norms_that_stay_keep_their_digits_in_half_precision(randomise):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(LAST(name="norm")(inputs))
    folded = fold(randomise(keras.Model(inputs, x)), dtype="bfloat16")
    assert folded.get_layer("norm").moving_variance.dtype == "float32"
    assert folded.get_layer("norm").compute_dtype == "bfloat16"
    assert folded.get_layer("conv").kernel.dtype == "bfloat16"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_in_double_precision_stays_so(dtype, randomise):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, dtype="float64", name="conv")(inputs)
    model = randomise(keras.Model(inputs, LAST(dtype="float64")(x)))
    assert fold(model, dtype=dtype).get_layer("conv").kernel.dtype == "float64"


def test_an_unknown_precision_is_refused(tiny):
    with pytest.raises(ValueError, match="`dtype` must be one of 'float32', 'bfloat16'.*'float16'"):
        fold(tiny, dtype="float16")


def test_unknown_sizes_stay_unknown_until_they_are_given(build):
    network = build("NLI3D dot_product", input_shape=(None, None, None, 3))
    assert fold(network).input_shape == (None, None, None, None, 3)
    fixed = fold(network, input_shape=(4, 32, 32, 3), batch_size=2)
    assert fixed.input_shape == (2, 4, 32, 32, 3)


def test_lowering_needs_sizes(build):
    network = build("C2D", input_shape=(None, 32, 32, 3))
    with pytest.raises(ValueError, match=r"`lower=True` needs known sizes.*Pass `input_shape`"):
        fold(network, lower=True)


@pytest.mark.parametrize(
    "model, way_out",
    [
        (keras.Sequential([keras.layers.Dense(2)]), r"Build it: model.build\(input_shape\)"),
        (
            type("Subclassed", (keras.Model,), {"call": lambda self, x: x})(),
            "Build a functional model of its layers",
        ),
        ("model.keras", "Pass a keras.Model"),
    ],
    ids=["not built", "subclassed", "a path"],
)
def test_a_model_without_a_graph_is_refused(model, way_out):
    message = rf"`model` must be a functional or a built sequential.*{way_out}"
    with pytest.raises(ValueError, match=message):
        fold(model)


def test_a_model_of_several_outputs_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(3)(inputs)])
    with pytest.raises(ValueError, match=r"one input and one output.*1 inputs and 2 outputs"):
        fold(model)


@pytest.mark.parametrize("shape", [(8, 32, 32, 3), (4, 32, 3)], ids=["other size", "other rank"])
def test_a_contradicting_input_shape_is_refused(build, shape):
    with pytest.raises(ValueError, match=r"`input_shape` must fit the model's own.*\(4, 32, 32, 3"):
        fold(build("C2D"), input_shape=shape)

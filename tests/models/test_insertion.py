import inspect

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from tests.subjects import example, fill

# Builders of `keras.applications` that run by default; the others take minutes together.
QUICK = ("MobileNet", "MobileNetV3Small", "VGG16")
BUILDERS = {
    name: builder
    for name, builder in vars(keras.applications).items()
    if inspect.isfunction(builder)
}
# Smallest inputs, but for those that take 32 x 32 pixels.
SIZES = {"Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75}


def test_all_applications_are_found():
    assert len(BUILDERS) >= 40 and set(QUICK) | set(SIZES) <= set(BUILDERS)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in BUILDERS]
)
def test_applications_have_the_same_outputs_to_the_bit(name):
    size = SIZES.get(name, 32)
    model = BUILDERS[name](weights=None, include_top=False, input_shape=(size, size, 3))
    x = np.random.default_rng(1).uniform(0, 255, (4, size, size, 3)).astype("float32")
    # As built, some outputs are all but constant. With these statistics all layers have a part.
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)
    maps = [layer for layer in model.layers if len(layer.output.shape) == 4]
    maps = [layer.name for layer in maps[1:] if layer.output.shape[1] > 1]
    after = maps[len(maps) // 2]
    grown = knl.insert_non_local(model, after)
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_array_equal(grown(x), expected)
    # The output depends on the input, and on the block once this is trained.
    least = 1e-5 * np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > least > 0
    block = grown.get_layer(f"{after}_nonlocal")
    block.norm.gamma.assign(np.linspace(1e3, 2e3, block.norm.gamma.shape[0]))
    changed = keras.ops.convert_to_numpy(grown(x))
    assert np.abs(changed - expected).max() > least
    assert any(variable is block.theta.kernel for variable in grown.trainable_variables)
    del model, maps, grown, block
    keras.backend.clear_session()


def test_function_chooses_layers_of_video_networks():
    model = fill(knl.C2D(depth=(1, 2, 2, 1), width=8, classes=5, input_shape=(4, 48, 48, 3)))
    grown = knl.insert_non_local(
        model, after=lambda layer: layer.name.endswith("_1_out"), axes="space"
    )
    x = example((4, 48, 48, 3))
    assert np.array_equal(model(x), grown(x))
    blocks = [layer for layer in grown.layers if isinstance(layer, knl.NonLocal3D)]
    assert [block.name for block in blocks] == ["res3_1_out_nonlocal", "res4_1_out_nonlocal"]
    assert all(block.axes == "space" for block in blocks)


def test_weights_are_copied():
    model = fill(knl.C2D(depth=(1, 1, 1, 1), width=8, classes=5, input_shape=(4, 48, 48, 3)))
    grown = knl.insert_non_local(model, after="res4_0_out")
    before = model.get_layer("conv1_conv").kernel.numpy()
    grown.get_layer("conv1_conv").kernel.assign(before + 1)
    np.testing.assert_array_equal(model.get_layer("conv1_conv").kernel, before)


def test_blocks_take_part_once_trained():
    model = fill(knl.C2D(depth=(1, 1, 1, 1), width=8, classes=5, input_shape=(4, 48, 48, 3)))
    grown = knl.insert_non_local(model, after="res4_0_out")
    fill(grown.get_layer("res4_0_out_nonlocal"))
    x = example((4, 48, 48, 3))
    assert np.abs(model(x) - grown(x)).max() > 1e-4


def test_sequential_models_and_sequences_work():
    model = keras.Sequential(
        [keras.Input((20, 4)), keras.layers.Conv1D(6, 3, name="conv"), keras.layers.Flatten()]
    )
    grown = knl.insert_non_local(model, after="conv")
    assert isinstance(grown.get_layer("conv_nonlocal"), knl.NonLocal1D)
    x = example((20, 4))
    assert np.array_equal(model(x), grown(x))


def _nested():
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="inside")])
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 1, name="outside")(inputs)
    return keras.Model(inputs, keras.layers.Flatten()(inner(x)))


def test_nested_models_are_kept_whole():
    model = _nested()
    grown = knl.insert_non_local(model, after="outside")
    x = example((8, 8, 3))
    assert np.array_equal(model(x), grown(x))
    with pytest.raises(ValueError, match="'inside' is in the nested model 'sequential"):
        knl.insert_non_local(model, after="inside")


def _shared():
    inputs = keras.Input((8, 8, 3))
    twice = keras.layers.Conv2D(3, 1, name="twice")
    x = keras.layers.Conv2D(4, 3, name="once")(twice(twice(inputs)))
    return keras.Model(inputs, keras.layers.Flatten()(x))


def test_shared_layers_stay_shared():
    model = _shared()
    grown = knl.insert_non_local(model, after="once")
    x = example((8, 8, 3))
    assert np.array_equal(model(x), grown(x))
    assert len(grown.weights) == len(model.weights) + len(grown.get_layer("once_nonlocal").weights)
    with pytest.raises(ValueError, match="must be used once.*'twice'.*several times"):
        knl.insert_non_local(model, after="twice")


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (["nothing"], r"`after` must name layers.*\['nothing'\] are not there"),
        (["pixels"], r"`after` must name layers.*\['pixels'\] .* are inputs"),
        ([], "`after` must name layers"),
        (lambda layer: False, "must be true for at least one layer"),
        (["flatten"], r"one tensor of rank 3, 4 or 5.*\(None, 144\)"),
    ],
)
def test_layers_that_cannot_be_followed_are_refused(after, words):
    inputs = keras.Input((8, 8, 3), name="pixels")
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Flatten(name="flatten")(x))
    with pytest.raises(ValueError, match=words):
        knl.insert_non_local(model, after=after)


def test_subclassed_models_are_refused():
    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(TypeError, match="`model` must be a functional"):
        knl.insert_non_local(Mine(), after="conv")


def _convolutional(order, relu_first=False):
    """A network whose layers say the order of their axes here and there."""
    shape, axis = ((3, 8, 6), 1) if order == "channels_first" else ((8, 6, 3), -1)
    inputs = keras.Input(shape)
    x = keras.layers.ReLU(name="start")(inputs)
    x = keras.layers.Conv2D(4, 3, padding="same", data_format=order, name="conv")(x)
    x = keras.layers.BatchNormalization(axis, name="norm")(x)
    y = keras.layers.ReLU(name="relu")(x)
    y = keras.layers.Add(name="add")([x, y])
    return keras.Model(inputs, y)


@pytest.mark.parametrize("after", ["start", "conv", "norm", "relu", "add"])
def test_channels_first_networks_are_refused(after):
    words = f"must have its channels last. Received: '{after}', .* as those of '(norm|conv)'"
    with pytest.raises(ValueError, match=words):
        knl.insert_non_local(_convolutional("channels_first"), after=after)
    grown = knl.insert_non_local(_convolutional("channels_last"), after=after)
    assert grown.get_layer(f"{after}_nonlocal").out.filters == (3 if after == "start" else 4)


def test_the_nearest_layers_tell_the_order_of_axes():
    """A part with its channels first, between two transpositions, does not matter after it."""
    inputs = keras.Input((8, 6, 3))
    x = keras.layers.Permute((3, 1, 2))(inputs)
    inner = _convolutional("channels_first")
    x = keras.layers.ReLU(name="inside")(inner(x))
    x = keras.layers.ReLU(name="turned")(keras.layers.Permute((2, 3, 1))(x))
    model = keras.Model(inputs, keras.layers.Conv2D(5, 3, name="last")(x))
    for after in ("last", "turned"):
        knl.insert_non_local(model, after=after)
    with pytest.raises(ValueError, match="channels are first, as those of 'functional"):
        knl.insert_non_local(model, after="inside")


def test_channels_last_networks_are_taken_under_any_configuration():
    model = fill(_convolutional("channels_last"))
    x = example((8, 6, 3))
    keras.config.set_image_data_format("channels_first")
    try:
        grown = knl.insert_non_local(model, after="relu")
        again = keras.Model.from_config(grown.get_config())
    finally:
        keras.config.set_image_data_format("channels_last")
    again.set_weights(grown.get_weights())
    np.testing.assert_array_equal(grown(x), model(x))
    fill(grown.get_layer("relu_nonlocal"))
    plain = knl.insert_non_local(model, after="relu")
    plain.set_weights(grown.get_weights())
    np.testing.assert_array_equal(grown(x), plain(x))


def _adapted():
    layer = keras.layers.Normalization(name="normalization")
    layer.adapt(np.random.default_rng(2).normal(3, 2, (64, 8, 6, 3)).astype("float32"))
    return [layer]


def _functions():
    def halve(x):
        return x / 2

    return [
        keras.layers.Lambda(lambda x: np.pi * x, name="lambda"),
        keras.layers.Lambda(halve, name="function"),
    ]


def _nested_adapted():
    return [keras.Sequential([keras.Input((8, 6, 3)), *_adapted()])]


@pytest.mark.parametrize("make", [_adapted, _nested_adapted, _functions])
def test_state_besides_weights_is_copied(make):
    inputs = x = keras.Input((8, 6, 3))
    for layer in make():
        x = layer(x)
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="conv")(x))
    grown = knl.insert_non_local(model, after="conv")
    x = example((8, 6, 3))
    np.testing.assert_array_equal(grown(x), model(x))


def test_a_lambda_in_a_nested_model_needs_trust_as_in_clone_model():
    inner = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.Lambda(lambda x: 2 * x)])
    inputs = keras.Input((8, 6, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="conv")(inner(inputs)))
    for copy in (keras.models.clone_model, lambda model: knl.insert_non_local(model, "conv")):
        with pytest.raises(ValueError, match=r"keras.config.enable_unsafe_deserialization\(\)"):
            copy(model)
    # Until the session is cleared, after the test.
    keras.config.enable_unsafe_deserialization()
    grown = knl.insert_non_local(model, "conv")
    x = example((8, 6, 3))
    np.testing.assert_array_equal(grown(x), model(x))


def test_layers_that_return_several_tensors_are_kept():
    inputs = keras.Input((6, 3), name="x")
    sequence, state = keras.layers.GRU(4, return_sequences=True, return_state=True, name="gru")(
        inputs
    )
    x = keras.layers.Conv1D(3, 2, name="conv")(sequence)
    total = keras.ops.sum(x, 1)
    model = keras.Model({"x": inputs}, {"state": state, "total": total})
    grown = knl.insert_non_local(model, after="conv")
    x = {"x": example((6, 3))}
    for name, value in model(x).items():
        np.testing.assert_array_equal(grown(x)[name], value)
    with pytest.raises(ValueError, match=r"return one tensor.*'gru'.*\(None, 6, 4\), \(None, 4\)"):
        knl.insert_non_local(model, after="gru")

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from tests.subjects import example, fill

APPLICATIONS = {
    "resnet50": (keras.applications.ResNet50, ["conv4_block6_out", "conv3_block4_out"]),
    "efficientnetb0": (keras.applications.EfficientNetB0, ["block6d_add"]),
    "mobilenetv3": (keras.applications.MobileNetV3Small, ["expanded_conv_9_add"]),
}


@pytest.mark.parametrize(("builder", "after"), APPLICATIONS.values(), ids=APPLICATIONS)
def test_applications_give_the_same_answers_to_the_bit(builder, after):
    model = builder(weights=None, input_shape=(64, 64, 3), classes=7)
    for layer in model.layers:  # Away from the start, so that a lost weight would show.
        if isinstance(layer, keras.layers.BatchNormalization):
            fill(layer)
    grown = knl.insert_non_local(model, after=after, pool_size=None)
    x = example((64, 64, 3))
    assert np.array_equal(model(x), grown(x))
    assert all(grown.get_layer(f"{name}_nonlocal").pool_size is None for name in after)


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
    assert len(grown.get_layer("twice")._inbound_nodes) == 2
    with pytest.raises(ValueError, match="must be used once.*'twice'.*2 times"):
        knl.insert_non_local(model, after="twice")


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (["nothing"], r"`after` must name layers.*\['nothing'\] are not there"),
        ([], "`after` must name layers"),
        (lambda layer: False, "must be true for at least one layer"),
        (["flatten"], r"one tensor of rank 3, 4 or 5.*\(None, 144\)"),
    ],
)
def test_layers_that_cannot_be_followed_are_refused(after, words):
    inputs = keras.Input((8, 8, 3))
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
    """A part with its channels first, between two transpositions, does not matter behind it."""
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

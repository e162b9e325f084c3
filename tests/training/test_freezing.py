import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.training.freezing import describe_frozen, freeze_until, layer_rates
from keras_nonlocal.training.optimizers import SGD
from tests.subjects import fill

CLIP = (2, 4, 4, 3)


def network():
    """Layers named as in the networks of the package, but few, as tracing those takes long."""
    inputs = x = keras.Input(CLIP)
    for stage in ("conv1", "res2_0_a", "res3_0_a", "res4_0_a", "res5_0_a"):
        x = knl.layers.Conv3D(4, (1, 3, 3), name=f"{stage}_conv")(x)
        x = knl.layers.BatchNormalization(name=f"{stage}_norm")(x)
        if stage in ("res3_0_a", "res4_0_a"):
            x = knl.NonLocal3D(name=f"{stage[:6]}_nonlocal")(x)
    x = keras.layers.GlobalAveragePooling3D()(x)
    return fill(keras.Model(inputs, keras.layers.Dense(5, name="predictions")(x), name="network"))


def plain(*names):
    """A chain of dense layers with norms."""
    inputs = x = keras.Input((3,))
    for name in names:
        x = keras.layers.Dense(4, name=name)(x)
        x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
    return fill(keras.Model(inputs, x, name="plain"))


def around(model):
    """A user's model with ours within."""
    return keras.Sequential([keras.Input(model.input_shape[1:]), model, keras.layers.Dense(2)])


def stages_of(variables):
    """The first part of the names, each once, in order."""
    return list(dict.fromkeys(variable.path.split("_")[0] for variable in variables))


def values_of(model):
    return {variable.path: np.array(variable) for variable in model.weights}


def fit(model, steps=2):
    random = np.random.default_rng(0)
    x = random.standard_normal((2 * steps, *model.input_shape[1:])).astype("float32")
    y = random.standard_normal((2 * steps, model.output_shape[-1])).astype("float32")
    model.fit(x, y, batch_size=2, shuffle=False, verbose=0)


@pytest.mark.parametrize("stage", (1, 3, 5))
def test_stages_up_to_the_given_one_are_fixed(stage):
    model = knl.NLI3D(input_shape=(4, 32, 32, 3), depth=(1, 1, 1, 1), width=8)
    everything = stages_of(model.trainable_variables)
    freeze_until(model, stage)
    assert everything[:5] == ["conv1", "res2", "res3", "res4", "res5"]
    assert stages_of(model.trainable_variables) == everything[stage:]


def test_fixed_stages_stay_bit_equal_in_fit_and_the_others_do_not():
    model = network()
    freeze_until(model, 3)
    model.compile(SGD(0.1, l2=0.1), "mse")
    before = values_of(model)
    fit(model)
    changed = {path for path, values in values_of(model).items() if (values != before[path]).any()}
    assert changed == {path for path in before if path.startswith(("res4", "res5", "predictions"))}


def test_fixed_norms_normalise_by_their_statistics_in_training():
    model = network()
    freeze_until(model, 3)
    stages = keras.Model(model.input, model.get_layer("res3_0_nonlocal").output)
    x = np.random.default_rng(0).standard_normal((2, *CLIP)).astype("float32")
    np.testing.assert_array_equal(stages(x, training=True), stages(x, training=False))


def gradient_kernels(model):
    """How many gradients of convolutions a training step computes."""

    @tf.function
    def step(x, y):
        model.train_step((x, y))

    shapes = model.input_shape[1:], model.output_shape[1:]
    graph = step.get_concrete_function(*(tf.TensorSpec((2, *shape)) for shape in shapes)).graph
    # As TensorFlow runs it: what changes a variable, and all that this needs.
    todo = [op for op in graph.get_operations() if op.op_def.is_stateful]
    needed = set()
    while todo:
        op = todo.pop()
        if op not in needed:
            needed.add(op)
            todo += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return sum("Backprop" in op.type and op.type.startswith("Conv") for op in needed)


def test_fixed_layers_cost_no_gradient():
    inputs = x = keras.Input((8, 8, 3))
    for i in range(4):
        x = keras.layers.Conv2D(4, 3, name=f"conv_{i}", padding="same")(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    counts = []
    for stage in (None, "conv_1"):
        if stage:
            freeze_until(model, stage)
        model.compile("sgd", "mse")
        model.optimizer.build(model.trainable_variables)
        counts.append(gradient_kernels(model))
    # Kernels of all, inputs of all but the first; then the same of the last two.
    assert counts == [4 + 3, 2 + 1]


def test_a_saved_model_stays_fixed(tmp_path):
    model = network()
    freeze_until(model, 3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert stages_of(again.trainable_variables) == stages_of(model.trainable_variables)
    assert not again.get_layer("res3_0_nonlocal").norm.trainable


def test_sub_layers_of_a_fixed_layer_are_fixed_too():
    model = network()
    block = model.get_layer("res3_0_nonlocal")
    block.trainable = False
    block.norm.trainable = True
    freeze_until(model, 3)
    assert not block.norm.trainable


def test_stages_of_an_inner_model_are_found():
    model = around(network())
    freeze_until(model, 4)
    assert stages_of(model.trainable_variables)[0] == "res5"


def test_a_name_fixes_all_layers_up_to_it():
    model = plain("one", "two", "three")
    freeze_until(model, "two")
    expected = ["two_norm/gamma", "two_norm/beta", "three/kernel", "three/bias"]
    assert [v.path for v in model.trainable_variables][:4] == expected


def test_a_model_in_training_must_be_compiled_again():
    model = plain("one", "two")
    model.compile("sgd", "mse", jit_compile=False)
    freeze_until(model, "one")
    fit(model)  # Nothing had been built yet.
    freeze_until(model, "one_norm")
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        fit(model)
    model.compile("sgd", "mse", jit_compile=False)
    before = values_of(model)
    fit(model)
    np.testing.assert_array_equal(before["one_norm/gamma"], values_of(model)["one_norm/gamma"])


@pytest.mark.parametrize("stage", (0, 6, True, None, 2.0))
def test_stage_must_exist(stage):
    with pytest.raises(ValueError, match="`stage` must be an integer from 1.*Received: stage="):
        freeze_until(network(), stage)


def test_numbers_are_for_models_with_stages():
    model = plain("conv1_conv", "conv2_conv")
    with pytest.raises(ValueError, match=r"'plain' without a layer 'res2_\.\.\.', but with layers"):
        freeze_until(model, 3)
    assert model.get_layer("conv1_conv").trainable


def test_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match="name of one of the layers of 'plain'.*stage='four'"):
        freeze_until(plain("one"), "four")


# Rates.


def test_rates_shrink_from_the_classifier_stage_by_stage():
    rates = layer_rates(network(), 0.5)
    assert [factor for _, factor in rates] == [0.5**5, 0.5**4, 0.5**3, 0.5**2, 0.5]


@pytest.mark.parametrize("wrapped", (False, True), ids=("alone", "inner"))
def test_the_optimizer_steps_by_these_rates(wrapped):
    model = around(network()) if wrapped else network()
    model.compile(SGD(1.0, 0.0, rate_factors=layer_rates(model, 0.5)), "mse")
    x = np.random.default_rng(0).standard_normal((2, *CLIP)).astype("float32")
    y = np.zeros((2, model.output_shape[-1]), "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
    variables = {v.path: v for v in model.trainable_variables}
    slopes = tape.gradient(loss, [v.value for v in variables.values()])
    slopes = dict(zip(variables, map(np.array, slopes), strict=True))
    before = values_of(model)
    model.optimizer.apply([slopes[path] for path in variables], list(variables.values()))
    powers = {"conv1_conv": 5, "res2_0_a_conv": 4, "res3_0_nonlocal/g": 3, "res5_0_a_conv": 1}
    powers |= {"predictions": 0}
    for name, power in powers.items():
        path = f"{name}/kernel"
        step = before[path] - np.array(variables[path])
        assert np.abs(step).max() > 0
        np.testing.assert_allclose(step, 0.5**power * slopes[path], rtol=1e-2, atol=1e-6)


def test_a_user_names_the_stages():
    rates = layer_rates(plain("stem.1", "body"), 0.1, stages=("stem.1", "body"))
    assert rates == ((r"(^|/)stem\.1", pytest.approx(0.01)), ("(^|/)body", 0.1))


def test_rates_need_stages_that_the_model_has():
    with pytest.raises(ValueError, match="begin with 'conv1_'. Received: 'plain', with layers"):
        layer_rates(plain("one"), 0.5)


@pytest.mark.parametrize("factor", (0, 1.5, "0.5", True))
def test_factor_must_be_a_share(factor):
    with pytest.raises(ValueError, match="`factor` must be above 0 and up to 1.*Received: factor="):
        layer_rates(network(), factor)


STAGE_NAMES = ["conv1", "res2", "res3", "res4", "res5"]


@pytest.mark.parametrize("wrap", [lambda model: model, around], ids=["alone", "inner"])
def test_what_is_frozen_is_described_in_order(wrap):
    model = wrap(knl.NLI3D(input_shape=(4, 32, 32, 3), depth=(1, 1, 1, 1), width=8))
    assert describe_frozen(model) == "nothing"
    for stage in range(1, 6):
        freeze_until(model, stage)
        assert describe_frozen(model) == ", ".join(STAGE_NAMES[:stage])
    model.trainable = False
    last = ["dense"] if model.name.startswith("sequential") else []
    everything = [*STAGE_NAMES, "predictions", *last]
    assert re.sub(r"_\d+", "", describe_frozen(model)) == ", ".join(everything)

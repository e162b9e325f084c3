"""The numbers of each recipe are those of its source, and they reach the training."""

import dataclasses
import inspect
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.data import training_clips, transforms
from keras_nonlocal.training.labels import CrossEntropy, TopAccuracy
from keras_nonlocal.training.outputs import find_activation
from keras_nonlocal.training.recipe import Recipe
from keras_nonlocal.training.recipes import (
    CHARADES,
    FINE_TUNING,
    KINETICS,
    KINETICS_COSINE,
    LONG_CLIPS,
    RECIPES,
)
from tests import subjects

CLASSES = 6


def network(recipe=None, builder=knl.C2D, **options):
    several = recipe is not None and recipe.labels == "several"
    options.setdefault("classifier_activation", "sigmoid" if several else "softmax")
    options.setdefault("include_preprocessing", False)
    shape = (4, 32, 32, 3)
    model = builder(depth=(1, 1, 1, 1), width=4, classes=CLASSES, input_shape=shape, **options)
    if recipe is not None and recipe.weights == "trained":
        # As after a training.
        model.get_layer("conv1_norm").beta.assign(np.linspace(-0.1, 0.1, 4))
    return model


def compiled(recipe, steps_per_epoch=10, batch_size=None, **options):
    model = network(recipe, **options)
    recipe.prepare(model)
    recipe.compile(model, steps_per_epoch, batch_size or recipe.batch_size)
    return model


def batches(recipe, count=2):
    random = np.random.default_rng(0)
    clips = random.standard_normal((2 * count, 4, 32, 32, 3)).astype("float32")
    labels = random.integers(CLASSES, size=2 * count)
    if recipe.labels == "several":
        labels = np.eye(CLASSES, dtype="float32")[labels]
    return tf.data.Dataset.from_tensor_slices((clips, labels)).batch(2, drop_remainder=True)


# As their files have them, by the names that they have there.
AUTHORS = {
    # configs/DBG_kinetics_resnet_8gpu_c2d_nonlocal_400k.yaml and lib/core/config.py;
    # TRAIN.DROPOUT_RATE of scripts/run_i3d_nlnet_400k.sh.
    "kinetics": {
        "BATCH_SIZE": 64,
        "BASE_LR": 0.01,
        "STEP_SIZES": [150_000, 150_000, 100_000],
        "LRS": [1, 0.1, 0.01, 0.001],
        "MAX_ITER": 400_000,
        "WEIGHT_DECAY": 0.0001,
        "MOMENTUM": 0.9,
        "NESTEROV": True,
        "SCALE_MOMENTUM": True,
        "DROPOUT_RATE": 0.5,
        "COMPUTE_PRECISE_BN": True,
        "ITER_COMPUTE_PRECISE_BN": 200,
        "USE_AFFINE": False,
        "JITTER_SCALES": (256, 320),
        "CROP_SIZE": 224,
        "VIDEO": "8x8",
    },
    # configs/DBG_kinetics_resnet_8gpu_c2d_nonlocal_affine_400k.yaml and
    # scripts/run_i3d_nlnet_affine_400k.sh.
    "long-clips": {
        "BATCH_SIZE": 16,
        "BASE_LR": 0.0025,
        "STEP_SIZES": [150_000, 150_000, 100_000],
        "LRS": [1, 0.1, 0.01, 0.001],
        "MAX_ITER": 400_000,
        "WEIGHT_DECAY": 0.0001,
        "MOMENTUM": 0.9,
        "NESTEROV": True,
        "SCALE_MOMENTUM": True,
        "DROPOUT_RATE": 0.5,
        "COMPUTE_PRECISE_BN": False,
        "ITER_COMPUTE_PRECISE_BN": 200,
        "USE_AFFINE": True,
        "JITTER_SCALES": (256, 320),
        "CROP_SIZE": 224,
        "VIDEO": "32x4",
    },
    # Section 5.2 of the paper: 8 GPUs with a clip each, 200k iterations, the rate of 0.00125
    # reduced by 10 every 75k, norms frozen, the 224 crop enlarged to 288 pixels; the rest as
    # for Kinetics.
    "charades": {
        "BATCH_SIZE": 8,
        "BASE_LR": 0.00125,
        "STEP_SIZES": [75_000, 75_000, 50_000],
        "LRS": [1, 0.1, 0.01],
        "MAX_ITER": 200_000,
        "WEIGHT_DECAY": 0.0001,
        "MOMENTUM": 0.9,
        "NESTEROV": True,
        "SCALE_MOMENTUM": True,
        "DROPOUT_RATE": 0.5,
        "COMPUTE_PRECISE_BN": False,
        "ITER_COMPUTE_PRECISE_BN": 200,
        "USE_AFFINE": True,
        "JITTER_SCALES": (round(256 * 288 / 224), round(320 * 288 / 224)),
        "CROP_SIZE": 288,
        "VIDEO": "128x1",
    },
}

# configs/Kinetics/I3D_NLN_8x8_R50.yaml and slowfast/config/defaults.py.
PYSLOWFAST = {
    "BATCH_SIZE": 64,
    "BASE_LR": 0.1,
    "COSINE_END_LR": 0.0,
    "MAX_EPOCH": 196,
    "WARMUP_EPOCHS": 34,
    "WARMUP_START_LR": 0.01,
    "MOMENTUM": 0.9,
    "NESTEROV": True,
    "WEIGHT_DECAY": 1e-4,
    "DROPOUT_RATE": 0.5,
    "NUM_BATCHES_PRECISE": 200,
    "TRAIN_JITTER_SCALES": (256, 320),
    "TRAIN_CROP_SIZE": 224,
    "VIDEO": "8x8",
}


def rate_of_the_authors(config, step):
    """`steps_with_relative_lrs` of lib/utils/lr_policy.py."""
    begins = np.cumsum([0, *config["STEP_SIZES"]])
    return config["BASE_LR"] * config["LRS"][np.flatnonzero(begins <= step)[-1]]


def rate_of_pyslowfast(config, epoch):
    """`lr_func_cosine` and the warm-up of slowfast/utils/lr_policy.py."""

    def cosine(epoch):
        return config["BASE_LR"] * (math.cos(math.pi * epoch / config["MAX_EPOCH"]) + 1) * 0.5

    warmup, start = config["WARMUP_EPOCHS"], config["WARMUP_START_LR"]
    if epoch >= warmup:
        return cosine(epoch)
    return epoch * (cosine(warmup) - start) / warmup + start


@pytest.mark.parametrize("name", AUTHORS)
def test_rates_are_the_authors_at_each_step(name):
    config, recipe = AUTHORS[name], RECIPES[name]
    schedule = recipe.make_schedule(steps_per_epoch=3750, batch_size=config["BATCH_SIZE"])
    ends = np.cumsum(config["STEP_SIZES"])
    for step in (0, 1, *(ends - 1), *ends[:-1], *(ends[:-1] + 1)):
        rate = rate_of_the_authors(config, step)
        assert float(schedule(int(step))) == pytest.approx(rate, rel=1e-6), step


@pytest.mark.parametrize("name", AUTHORS)
def test_settings_are_the_authors(name):
    config, recipe = AUTHORS[name], RECIPES[name]
    assert recipe.clips_seen == config["MAX_ITER"] * config["BATCH_SIZE"]
    optimizer = compiled(recipe).optimizer
    assert optimizer.momentum == config["MOMENTUM"]
    assert optimizer.nesterov == config["NESTEROV"]
    assert optimizer.momentum_correction == config["SCALE_MOMENTUM"]
    assert (optimizer.l2, optimizer.weight_decay) == (config["WEIGHT_DECAY"], None)
    assert recipe.dropout == config["DROPOUT_RATE"]
    precise = config["COMPUTE_PRECISE_BN"] * config["ITER_COMPUTE_PRECISE_BN"]
    assert recipe.precise_norm_batches == precise
    assert (recipe.norms == "frozen") == config["USE_AFFINE"]
    check_pixels(recipe, config["VIDEO"], config["CROP_SIZE"], config["JITTER_SCALES"])


def check_pixels(recipe, clip, crop, jitter):
    assert (recipe.data["clip"], recipe.data["size"]) == (clip, crop)
    # Left out, `training_clips` draws in proportion to the crop.
    assert recipe.data["scale"] is None and transforms.short_sides_of(crop) == jitter
    assert recipe.data["flip"] is True and recipe.data["color"] == 0


def test_rates_are_pyslowfasts_at_each_step():
    steps = 100
    schedule = KINETICS_COSINE.make_schedule(steps, PYSLOWFAST["BATCH_SIZE"])
    for step in (0, 1, 1700, 3399, 3400, 3401, 9800, 19_000, 19_599):
        rate = rate_of_pyslowfast(PYSLOWFAST, step / steps)
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-5), step


def test_settings_are_pyslowfasts():
    assert KINETICS_COSINE.count_epochs(100, 64) == PYSLOWFAST["MAX_EPOCH"]
    optimizer = compiled(KINETICS_COSINE).optimizer
    assert optimizer.momentum == PYSLOWFAST["MOMENTUM"]
    assert optimizer.nesterov == PYSLOWFAST["NESTEROV"]
    # PyTorch's velocity holds no rate, which is what the correction comes to.
    assert optimizer.momentum_correction
    assert (optimizer.l2, optimizer.weight_decay) == (PYSLOWFAST["WEIGHT_DECAY"], None)
    assert KINETICS_COSINE.dropout == PYSLOWFAST["DROPOUT_RATE"]
    assert KINETICS_COSINE.precise_norm_batches == PYSLOWFAST["NUM_BATCHES_PRECISE"]
    sizes = (PYSLOWFAST["TRAIN_CROP_SIZE"], PYSLOWFAST["TRAIN_JITTER_SCALES"])
    check_pixels(KINETICS_COSINE, PYSLOWFAST["VIDEO"], *sizes)


def test_another_batch_scales_the_rate_and_the_steps():
    whole, half = (KINETICS.make_schedule(1000, batch_size) for batch_size in (64, 32))
    for step in (0, 149_999, 150_000, 299_999, 300_000):
        assert float(half(2 * step)) == pytest.approx(float(whole(step)) / 2)
    assert float(half(2 * 150_000 - 1)) == pytest.approx(0.005)


@pytest.mark.parametrize(
    "recipe, steps, batch_size, epochs",
    # 25.6 million clips are 51,200 passes through 500 videos.
    [(KINETICS, 500 // 4, 4, 51_200), (KINETICS, 3750, 64, 107), (FINE_TUNING, 7, 8, 30)],
    ids=["few-videos", "240,000-videos", "epochs"],
)
def test_epochs_follow_from_the_clips_to_see(recipe, steps, batch_size, epochs):
    assert recipe.count_epochs(steps, batch_size) == epochs


def test_epochs_stretch_the_whole_schedule():
    recipe = dataclasses.replace(KINETICS, epochs=8)
    schedule = recipe.make_schedule(steps_per_epoch=10, batch_size=64)
    rates = [float(schedule(step)) for step in (0, 29, 30, 59, 60, 79)]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001], rtol=1e-6)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_one_step_is_a_training_too(recipe):
    schedule = dataclasses.replace(recipe, epochs=1).make_schedule(1, recipe.batch_size)
    assert 0 < float(schedule(0)) <= recipe.learning_rate * (1 + 1e-6)


def test_accumulated_batches_count_as_one():
    recipe = dataclasses.replace(KINETICS, accumulation=4)
    model = compiled(recipe, steps_per_epoch=1000, batch_size=16)
    assert model.optimizer.gradient_accumulation_steps == 4
    schedule = recipe.make_schedule(1000, 16)
    assert float(schedule(149_999)) == pytest.approx(0.01)
    assert float(schedule(150_000)) == pytest.approx(0.001)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_norms_alone_are_left_out_of_the_decay(recipe):
    """A step without a gradient changes what decays, and nothing else."""
    # A decay that the slowest layers show in float32.
    model = compiled(dataclasses.replace(recipe, warmup=0.0, l2=1.0), builder=knl.NLI3D)
    assert recipe.l2 == 1e-4 and recipe.weight_decay is None
    variables = model.trainable_variables
    random = np.random.default_rng(1)
    for variable in variables:
        variable.assign(random.standard_normal(variable.shape))
    before = [np.array(variable) for variable in variables]
    model.optimizer.apply([keras.ops.zeros(v.shape) for v in variables], variables)
    moved = {
        variable.path
        for variable, value in zip(variables, before, strict=True)
        if not np.array_equal(variable, value)
    }
    kinds = ("kernel", "bias")
    assert moved == {v.path for v in variables if v.path.rpartition("/")[2] in kinds}
    assert {path.rpartition("/")[2] for path in moved} == set(kinds)
    assert len(moved) < len(variables)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_each_recipe_trains(recipe):
    model = compiled(recipe, batch_size=2)
    model.run_eagerly = True  # Tracing would take longer than two steps.
    frozen = {layer.name for layer in model.layers if not layer.trainable}
    before = {v.path: np.array(v) for v in model.weights}
    data = batches(recipe)
    history = model.fit(
        data, validation_data=data, callbacks=recipe.callbacks(), shuffle=False, verbose=0
    ).history
    assert np.isfinite(history["loss"] + history["val_loss"]).all()
    watched = "val_pr_auc" if recipe.labels == "several" else "val_accuracy"
    assert 0 <= history[watched][0] <= 1
    after = {v.path: np.array(v) for v in model.weights}
    moved = {path for path in after if not np.array_equal(before[path], after[path])}
    assert "predictions/kernel" in moved
    assert not {path.split("/")[0] for path in moved} & frozen
    assert any("moving_" in path for path in moved) == (recipe.norms != "frozen")


def test_fine_tuning_trains_all_layers_and_keeps_the_statistics():
    model = compiled(FINE_TUNING)
    assert all(layer.trainable for layer in model._flatten_layers())
    assert model.get_layer("conv1_norm").frozen and not model.optimizer.rate_factors
    assert (FINE_TUNING.freeze_until, FINE_TUNING.early_stopping) == (None, None)


def test_the_first_stages_can_be_fixed_and_the_next_slowed():
    model = compiled(dataclasses.replace(FINE_TUNING, freeze_until=2, layer_rate=0.5))
    trained = {v.path for v in model.trainable_variables}
    assert not any(path.startswith(("conv1_", "res2_")) for path in trained)
    assert any(path.startswith("res3_") for path in trained)
    factors = model.optimizer.rate_factors
    of = {stage: next(f for p, f in factors.items() if f"{stage}_" in p) for stage in ("res5",)}
    assert of["res5"] == 0.5


@pytest.mark.parametrize(
    "name, builder", [("long-clips", knl.C2D), ("charades", knl.C2D), ("fine-tuning", knl.NLI3D)]
)
def test_random_weights_are_not_frozen(name, builder):
    recipe = RECIPES[name]
    options = {"classifier_activation": "sigmoid"} if recipe.labels == "several" else {}
    model = network(builder=builder, **options)
    message = f"must have trained weights for '{name}'.*with random ones. Build it with `weights=`"
    with pytest.raises(ValueError, match=message):
        recipe.prepare(model)
    assert model.get_layer("conv1_norm").frozen is False
    # One that has seen a batch is another.
    model.get_layer("conv1_norm").moving_mean.assign(np.full(4, 0.5))
    recipe.prepare(model)
    assert model.get_layer("conv1_norm").frozen is True


def test_affine_weights_count_as_trained():
    """Files of affine norms leave the statistics as built and bring scale and shift."""
    model = network(frozen_norm=True)
    model.get_layer("conv1_norm").beta.assign(np.full(4, 0.5))
    LONG_CLIPS.prepare(model)


def test_patience_counts_from_the_end_of_the_warm_up():
    """The loss rises while the rate does; then it falls for an epoch, and rises to the end."""
    assert KINETICS.callbacks() == []
    options = {"early_stopping": 2, "epochs": 12, "warmup": 0.3}
    (stop,) = dataclasses.replace(FINE_TUNING, **options).callbacks()
    assert (stop.monitor, stop.restore_best_weights) == ("val_loss", True)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
    model.stop_training = False  # As `fit` does.
    stop.set_model(model)
    stop.on_train_begin()
    losses = [1.0, 2.0, 3.0, 4.0, 5.0, 4.5, 6.0, 7.0, 8.0]
    for epoch, loss in enumerate(losses):
        model.set_weights([np.full((1, 1), loss)])
        stop.on_epoch_end(epoch, {"val_loss": loss})
        if model.stop_training:
            break
    # 0.3 of 12 epochs are 3.6: epoch 4 is the first that counts, epoch 5 the best.
    assert epoch == 7
    stop.on_train_end()
    np.testing.assert_array_equal(model.get_weights()[0], [[4.5]])


def test_several_replicas_compile_without_xla(monkeypatch):
    # Whatever a version of Keras makes of "auto".
    monkeypatch.setattr(keras.Model, "_resolve_auto_jit_compile", lambda model: True)
    monkeypatch.setattr("keras.src.trainers.trainer.model_supports_jit", lambda model: True)
    assert compiled(KINETICS).jit_compile is True
    with subjects.two_replicas().scope():
        assert compiled(KINETICS).jit_compile is False


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_data_settings_are_arguments_of_training_clips(recipe):
    inspect.signature(training_clips).bind("videos", batch_size=8, **recipe.data)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_descriptions_tell_command_result_and_source(recipe):
    text = recipe.describe()
    assert text.startswith(f"{recipe.name}: ")
    for heading in ("Command:", "Expected result:", "Source:"):
        assert f"\n{heading}\n" in text
    assert f"learning_rate = {recipe.learning_rate}" in text
    assert "None" not in text.partition("Source:")[2]


def test_dropout_is_set_where_the_network_has_it():
    model = network(dropout=0.1)
    KINETICS.prepare(model)
    assert model.get_layer("dropout").rate == 0.5
    with pytest.raises(ValueError, match=r"must have a dropout layer to set to 0.5.*dropout=None"):
        KINETICS.prepare(network(dropout=0.0))
    dataclasses.replace(KINETICS, dropout=None).prepare(network(dropout=0.0))


def test_what_is_asked_for_reaches_the_optimizer():
    recipe = dataclasses.replace(KINETICS, clip_norm=0.5, ema=0.99, momentum=0.8)
    optimizer = compiled(recipe).optimizer
    assert (optimizer.global_clipnorm, optimizer.momentum) == (0.5, 0.8)
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.99)


def test_adamw_decays_apart_from_the_gradient():
    recipe = dataclasses.replace(KINETICS, optimizer="adamw", l2=0.0, weight_decay=0.05)
    optimizer = compiled(recipe).optimizer
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert optimizer.weight_decay == 0.05


def test_norms_are_synchronized_if_asked_for():
    recipe = dataclasses.replace(KINETICS, norms="synchronized")
    assert compiled(recipe).get_layer("conv1_norm").synchronized


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_needs_a_network_built_so(precision):
    recipe = dataclasses.replace(KINETICS, precision=precision)
    message = rf'must be built under.*{precision}.*set_dtype_policy\("{precision}"\)'
    with pytest.raises(ValueError, match=message):
        recipe.prepare(network())
    with pytest.raises(ValueError, match=message):
        recipe.compile(network(), 10, 2)
    keras.config.set_dtype_policy(precision)
    model = compiled(recipe, batch_size=2)
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (precision == "mixed_float16")
    with pytest.raises(ValueError, match="must be built under.*'float32'"):
        KINETICS.prepare(model)


@pytest.mark.parametrize(
    "activation, labels, message",
    [
        ("softmax", "several", "several labels a clip must end in 'sigmoid'.*ends in 'softmax'"),
        ("sigmoid", "one", "one label a clip must end in 'softmax'.*ends in 'sigmoid'"),
        ("relu", "one", "must end in 'softmax'.*ends in 'relu'"),
    ],
)
def test_outputs_that_make_no_sense_are_refused(activation, labels, message):
    recipe = dataclasses.replace(KINETICS, labels=labels)
    with pytest.raises(ValueError, match=message):
        recipe.compile(network(classifier_activation=activation), 10, 2)


@pytest.mark.parametrize("recipe", [KINETICS, CHARADES], ids=["one", "several"])
@pytest.mark.parametrize("logits", [False, True], ids=["probabilities", "logits"])
def test_logits_are_recognised(recipe, logits):
    options = {"classifier_activation": None} if logits else {}
    model = compiled(recipe, **options)
    assert model.loss.get_config()["from_logits"] is logits


def test_the_activation_is_found_behind_a_pooling_and_in_a_model():
    model = network(classifier_activation="sigmoid")
    assert find_activation(model) == "sigmoid"
    inputs = keras.Input((4, 32, 32, 3))
    assert find_activation(keras.Model(inputs, model(inputs))) == "sigmoid"
    inputs = keras.Input((4,))
    assert find_activation(keras.Model(inputs, keras.layers.Softmax()(inputs))) == "softmax"
    assert find_activation(keras.Model(inputs, keras.layers.LayerNormalization()(inputs))) is None


MISTAKES = {
    "schedule": ({"schedule": "cosine"}, "`schedule` must be one of 'steps', 'half_cosine'"),
    "labels": ({"labels": "two"}, "`labels` must be one of 'one', 'several'"),
    "norms": ({"norms": "affine"}, "`norms` must be one of 'trainable'"),
    "precision": ({"precision": "bfloat16"}, "`precision` must be one of 'float32'"),
    "optimizer": ({"optimizer": "lars"}, "`optimizer` must be one of 'sgd', 'adamw'"),
    "no epochs": (
        {"epochs": 0},
        "`epochs` must be an integer of at least 1, or None. Received: epochs=0.",
    ),
    "half an epoch": ({"epochs": 0.5}, "`epochs` must be an integer"),
    "no length": ({"clips_seen": None}, "`epochs` or `clips_seen`.*Give `epochs`"),
    "adamw with l2": (
        {"optimizer": "adamw", "weight_decay": 0.05},
        "must have its decay in `weight_decay`.*Received: l2=0.0001, weight_decay=0.05.",
    ),
    "adamw": ({"optimizer": "adamw", "l2": 0.0}, "weight_decay=None. Give.*or 0.0 for none"),
    "frozen norms of random weights": (
        {"norms": "frozen"},
        "`weights` must be 'trained'.*Received: weights='any', norms='frozen'. Give weights=",
    ),
    "frozen stages of random weights": ({"freeze_until": 2}, "weights='any', freeze_until=2."),
    "early stopping by clips": ({"early_stopping": 3}, "`early_stopping` counts epochs"),
    "falling shares": ({"decay_at": (0.7, 0.3)}, "rising shares.*decay_at=(0.7, 0.3)"),
    "steps as shares": ({"decay_at": (150_000,)}, "rising shares of the length"),
    "other schedule": ({"schedule": "half_cosine"}, "left empty but for schedule='steps'"),
}


@pytest.mark.parametrize("changes, message", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_in_a_recipe_are_told(changes, message):
    with pytest.raises(ValueError) as error:
        dataclasses.replace(KINETICS, **changes)
    for part in message.split(".*"):
        assert part in str(error.value)


# field: values that are refused, the words of the rule, values that are taken.
RULES = {
    "learning_rate": ((0, -1, "a", math.inf, math.nan, True), "greater than 0 and finite", (1,)),
    "warmup": ((-0.1, 1), "from 0 to below 1", (0.3,)),
    "warmup_start": ((-0.1, 1, "a"), "from 0 to below 1", (0, 0.99)),
    "momentum": ((-0.1, 1, None), "from 0 to below 1", (0,)),
    "l2": ((-1e-4, math.inf, None), "at least 0 and finite", (0,)),
    "weight_decay": ((-1e-4, math.nan), "at least 0 and finite, or None", (None,)),
    "clip_norm": ((0, -1, math.inf), "greater than 0 and finite, or None", (0.1, None)),
    "ema": ((-0.1, 1), "from 0 to below 1, or None", (0.99, None)),
    "label_smoothing": ((-0.1, 1, 2), "from 0 to below 1", (0, 0.1)),
    "dropout": ((-0.1, 1, "0.5"), "from 0 to below 1, or None", (0, None)),
    "layer_rate": ((0, 1.1), "greater than 0 and at most 1", (1,)),
    "color": ((-0.1, math.inf), "at least 0 and finite", (0, 0.4)),
    "batch_size": ((0, 8.0, None), "an integer of at least 1", (1,)),
    "accumulation": ((0, True), "an integer of at least 1", (1,)),
    "precise_norm_batches": ((-1, 0.5), "an integer of at least 0", (0,)),
    "weights": ((None, "random"), "one of 'any', 'trained'", ("trained",)),
    "freeze_until": ((0, 6, "res2"), "an integer from 1 to 5, or None", (None,)),
    "early_stopping": ((0, -1), "an integer of at least 1, or None", (None,)),
    "labels_of": (("index",), "one of 'video', 'clip'", ("clip",)),
    "clip": (("8", "8x", "0x8", "8x0", (8, 8), "8x8x8"), "frames x stride", ("32x2",)),
    "short_side": (
        (256, (256,), (320, 256), (0, 256), (223, 256), (256.0, 320)),
        "a pair of integers, the smaller first and at least crop=224, or None",
        ((224, 224), [256, 320], None),
    ),
}


@pytest.mark.parametrize("field", RULES)
def test_values_outside_the_rules_are_told(field):
    refused, rule, taken = RULES[field]
    for value in refused:
        with pytest.raises(ValueError) as error:
            dataclasses.replace(KINETICS, **{field: value})
        assert f"`{field}` must be " in str(error.value) and rule in str(error.value), value
        assert str(error.value).endswith(f"Received: {field}={value!r}."), value
    for value in taken:
        assert getattr(dataclasses.replace(KINETICS, **{field: value}), field) == value


def test_more_accumulation_than_steps_is_refused():
    recipe = dataclasses.replace(KINETICS, epochs=1, accumulation=7)
    recipe.make_schedule(steps_per_epoch=7, batch_size=4)
    message = "accumulation=7 for 6 steps. Lower `accumulation`, or raise `epochs`"
    with pytest.raises(ValueError, match=message):
        recipe.make_schedule(steps_per_epoch=6, batch_size=4)


def test_recipes_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        KINETICS.epochs = 3
    assert isinstance(hash(LONG_CLIPS), int)
    assert KINETICS == dataclasses.replace(KINETICS)
    assert isinstance(KINETICS, Recipe)


PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], "float32")


@pytest.mark.parametrize("from_logits", [False, True], ids=["probabilities", "logits"])
def test_the_loss_takes_numbers_and_shares(from_logits):
    loss = CrossEntropy(from_logits)
    numbers, shares = np.array([0, 1]), np.array([[1, 0, 0], [0.2, 0.5, 0.3]], "float32")
    log = np.log(PROBABILITIES)
    if from_logits:
        log = PROBABILITIES - np.log(np.exp(PROBABILITIES).sum(axis=1, keepdims=True))
    assert float(loss(numbers, PROBABILITIES)) == pytest.approx(-(log[0, 0] + log[1, 1]) / 2)
    expected = -(shares * log).sum(axis=1).mean()
    assert float(loss(shares, PROBABILITIES)) == pytest.approx(expected, rel=1e-6)


def test_the_loss_smooths_numbers_and_shares_alike():
    loss = CrossEntropy(label_smoothing=0.3)
    smooth = 0.7 * np.eye(3)[[0, 1]] + 0.1
    expected = -(smooth * np.log(PROBABILITIES)).sum(axis=1).mean()
    assert float(loss(np.array([0, 1]), PROBABILITIES)) == pytest.approx(expected, rel=1e-6)
    shares = np.eye(3, dtype="float32")[[0, 1]]
    assert float(loss(shares, PROBABILITIES)) == pytest.approx(expected, rel=1e-6)


def test_accuracy_takes_numbers_and_shares():
    for labels in (np.array([0, 1]), np.array([[0.6, 0.4, 0], [0, 0.9, 0.1]])):
        for k, expected in ((1, 0.5), (2, 1.0)):
            metric = TopAccuracy(k)
            metric.update_state(labels, PROBABILITIES)
            assert float(metric.result()) == expected


def test_losses_and_metrics_survive_a_file(tmp_path):
    model = compiled(dataclasses.replace(KINETICS, label_smoothing=0.2))
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.loss.label_smoothing == 0.2
    metric = keras.metrics.deserialize(keras.metrics.serialize(TopAccuracy(5, "top5_accuracy")))
    assert (metric.k, metric.name) == (5, "top5_accuracy")
    assert again.optimizer.get_config() == model.optimizer.get_config()


def test_mixed_clips_train_and_numbers_validate():
    recipe = dataclasses.replace(KINETICS, epochs=1)
    model = compiled(recipe, batch_size=2)
    model.run_eagerly = True
    mixed = batches(recipe).map(
        lambda clips, labels: transforms.mixup(0.8, CLASSES)(clips, labels, (0, 1))
    )
    assert mixed.element_spec[1].shape == (2, CLASSES)
    history = model.fit(mixed, validation_data=batches(recipe), shuffle=False, verbose=0).history
    assert set(history) >= {"accuracy", "val_accuracy", "val_top5_accuracy"}


def test_all_names_are_listed_before_they_are_used():
    assert {*knl.training.__all__, "__all__"} <= set(dir(knl.training))

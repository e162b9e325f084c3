"""A small set of variables that optimizers update with given gradients, on any backend.

    KERAS_BACKEND=jax python tests/training/optimizer_runs.py ANSWERS.npz

writes what each of `CASES` comes to.
"""

import sys

import keras
import numpy as np

from keras_nonlocal.training.loss_scaling import LossScaleOptimizer
from keras_nonlocal.training.optimizers import SGD, AdamW
from keras_nonlocal.training.schedules import HalfCosine, Steps

SHAPES = {
    "conv/kernel": (3, 4),
    "conv/bias": (4,),
    "norm/gamma": (4,),
    "norm/beta": (4,),
    "head/kernel": (4, 2),
    "head/bias": (2,),
}
RATES, BOUNDARIES = (0.1, 0.03, 0.2), (0, 3, 5)
STEPS = 6


def schedule():
    """A rate that falls, rises, and is warmed up to."""
    return Steps(RATES, BOUNDARIES, warmup_steps=2, warmup_start=0.04)


def initial():
    """Distinct values for each variable."""
    random = np.random.default_rng(0)
    return {path: random.standard_normal(shape) for path, shape in SHAPES.items()}


def gradients(step):
    """Distinct gradients for each step and variable."""
    random = np.random.default_rng(1 + step)
    return {path: random.standard_normal(shape) for path, shape in SHAPES.items()}


def make_variables():
    variables = []
    for path, value in initial().items():
        scope, name = path.split("/")
        with keras.name_scope(scope):
            variables.append(keras.Variable(value, dtype="float32", name=name))
    return variables


def run(optimizer, steps=STEPS, grads=gradients):
    """Gives the values after each call, as a list of `{path: array}`."""
    variables = make_variables()
    optimizer.build(variables)
    stateless = None
    if keras.backend.backend() == "jax":
        import jax

        # As `fit` does it.
        stateless = jax.jit(optimizer.stateless_apply)
    history = []
    for step in range(steps):
        given = [keras.ops.convert_to_tensor(g, "float32") for g in grads(step).values()]
        if stateless:
            model, own = [v.value for v in variables], [v.value for v in optimizer.variables]
            model, own = stateless(own, given, model)
            both = zip((*variables, *optimizer.variables), (*model, *own), strict=True)
            for variable, value in both:
                variable.assign(value)
        else:
            optimizer.apply(given, variables)
        history.append({v.path: keras.ops.convert_to_numpy(v) for v in variables})
    return history


FACTORS = {"^head/": 3.0, "norm/gamma": 0.0, "^norm": 0.5}

CASES = {
    "sgd": lambda: SGD(schedule(), l2=0.1),
    "sgd_corrected": lambda: SGD(schedule(), l2=0.1, momentum_correction=True),
    "sgd_decoupled": lambda: SGD(schedule(), nesterov=False, weight_decay=0.1),
    "sgd_clipped": lambda: SGD(schedule(), l2=0.1, global_clipnorm=1.5),
    "sgd_factors": lambda: SGD(schedule(), l2=0.1, rate_factors=FACTORS, momentum_correction=True),
    "sgd_accumulated": lambda: SGD(
        schedule(),
        l2=0.1,
        momentum_correction=True,
        clipnorm=1.0,
        gradient_accumulation_steps=3,
        use_ema=True,
    ),
    "sgd_averaged": lambda: SGD(
        schedule(), l2=0.1, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=3
    ),
    "sgd_scaled": lambda: LossScaleOptimizer(
        SGD(schedule(), weight_decay=0.1, clipvalue=0.01), initial_scale=64.0
    ),
    "adamw": lambda: AdamW(HalfCosine(0.1, STEPS), rate_factors=FACTORS, clipvalue=0.5),
    "adamw_accumulated": lambda: AdamW(HalfCosine(0.1, STEPS), gradient_accumulation_steps=2),
}


def everything():
    """SGD with all that a recipe may turn on."""
    return SGD(
        schedule(),
        l2=0.1,
        rate_factors={"^a/": 0.5},
        momentum_correction=True,
        global_clipnorm=1.5,
        use_ema=True,
        gradient_accumulation_steps=2,
    )


def small_model():
    """A model with a norm, always the same weights in it."""
    inputs = keras.Input((6,))
    # A bias before a norm would have rounding alone for a gradient.
    x = keras.layers.Dense(5, use_bias=False, name="a")(inputs)
    x = keras.layers.BatchNormalization(synchronized=True, name="norm")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="b")(x))
    random = np.random.default_rng(3)
    for variable in model.weights:
        variable.assign(random.uniform(0.1, 0.6, variable.shape))
    return model


def batches(count, size=8):
    """What `small_model` trains on, every batch another."""
    import tensorflow as tf

    random = np.random.default_rng(4)
    x, y = (random.standard_normal((count * size, n)).astype("float32") for n in (6, 3))
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(size).with_options(options)


def answers():
    """Gives `{case/variable: its last value}`, those of the optimizer among them."""
    found = {}
    for name, make in CASES.items():
        optimizer = make()
        for path, value in run(optimizer)[-1].items():
            found[f"{name}/{path}"] = value
        for variable in optimizer.variables:
            found[f"{name}/own/{variable.name}"] = keras.ops.convert_to_numpy(variable)
    return found


if __name__ == "__main__":
    if keras.backend.backend() != "jax":
        raise SystemExit("Set KERAS_BACKEND=jax.")
    np.savez(sys.argv[1], **answers())

"""Every layer, and a tiny form of each network, for the tests that hold for all of them."""

import functools

import keras
import numpy as np
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal import layers

CLIP = (4, 8, 8, 6)

# name: (factory, shape of one example)
LAYERS = {
    "non_local_1d": (lambda **k: knl.NonLocal1D(**k), (24, 6)),
    "non_local_2d": (lambda **k: knl.NonLocal2D(**k), (8, 8, 6)),
    "non_local_3d": (lambda **k: knl.NonLocal3D(**k), CLIP),
    "gaussian": (lambda **k: knl.NonLocal3D(mode="gaussian", **k), CLIP),
    "dot_product": (lambda **k: knl.NonLocal3D(mode="dot_product", **k), CLIP),
    "concatenation": (lambda **k: knl.NonLocal3D(mode="concatenation", **k), CLIP),
    "pool_after": (lambda **k: knl.NonLocal3D(pool_position="after", norm=None, **k), CLIP),
    "space": (lambda **k: knl.NonLocal3D(axes="space", **k), CLIP),
    "time": (lambda **k: knl.NonLocal3D(axes="time", **k), CLIP),
    "groups": (lambda **k: knl.NonLocal3D(frames_per_group=2, pool_size=None, **k), CLIP),
    "convolution": (lambda **k: layers.Conv3D(5, 3, 2, use_bias=True, **k), CLIP),
    "convolution_over_space": (lambda **k: layers.Conv3D(5, (1, 3, 3), (1, 2, 2), **k), CLIP),
    "convolution_over_time": (lambda **k: layers.Conv3D(5, (3, 1, 1), **k), CLIP),
    "batch_normalization": (lambda **k: layers.BatchNormalization(**k), CLIP),
    "frozen_normalization": (lambda **k: layers.BatchNormalization(frozen=True, **k), CLIP),
    "max_pooling": (
        lambda **k: layers.MaxPooling3D((2, 3, 3), (2, 2, 2), (0, 1, 1), **k),
        CLIP,
    ),
    "dropout": (lambda **k: layers.Dropout(0.3, seed=1, **k), CLIP),
    "sliding_average": (lambda **k: layers.SlidingWindowAveragePooling(3, **k), CLIP),
}

# Of normalized clips, as the examples are.
_TINY = {"depth": (1, 1, 1, 1), "width": 8, "classes": 5, "dropout": 0.0}
_TINY["include_preprocessing"] = False

NETWORKS = {
    "c2d": lambda shape=(4, 48, 48, 3): knl.C2D(input_shape=shape, **_TINY),
    "i3d": lambda shape=(4, 48, 48, 3): knl.I3D(input_shape=shape, **_TINY),
    "nlc2d": lambda shape=(4, 48, 48, 3): knl.NLC2D(input_shape=shape, **_TINY),
    "nli3d": lambda shape=(4, 48, 48, 3): knl.NLI3D(input_shape=shape, **_TINY),
}


def fill(model, seed=0):
    """Gives every variable of a layer or model distinct random values that keep signals alive."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        values = random.standard_normal(variable.shape)
        if variable.name in ("moving_variance", "gamma"):
            values = random.uniform(0.5, 1.5, variable.shape)
        elif variable.name == "kernel":
            values /= np.sqrt(np.prod(variable.shape[:-1]))
        variable.assign(values)
    return model


def example(shape, batch=2, seed=1, dtype="float32"):
    """Random input that is nowhere negative, as behind a ReLU."""
    random = np.random.default_rng(seed)
    return np.abs(random.standard_normal((batch, *shape))).astype(dtype)


@functools.cache
def two_replicas():
    """One strategy for all tests, as TensorFlow numbers the exchanges of each from the start."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def wrap(factory, shape, **layer_arguments):
    """A functional model of one layer, every weight set."""
    inputs = keras.Input(shape)
    return fill(keras.Model(inputs, factory(**layer_arguments)(inputs)))

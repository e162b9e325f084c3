"""One training with all that the recipes use, on any number of devices: for test_replicas.py.

As a program, `replica_runs.py FILE`, it writes the run on four devices, which need a process of
their own.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.training.norms import synchronize_norms
from keras_nonlocal.training.optimizers import SGD
from keras_nonlocal.training.schedules import HalfCosine

STEPS, BATCH, CLASSES, CLIP = 20, 8, 5, (4, 32, 32, 3)


def small():
    """A network that is traced fast, of all kinds of layers that look at their batch."""
    inputs = keras.Input(CLIP)
    x = knl.layers.Conv3D(4, (3, 7, 7), (1, 4, 4), name="conv")(inputs)
    x = knl.layers.BatchNormalization(name="conv_norm")(x)
    x = keras.layers.Activation("relu")(x)
    # As in a network under way: at first the zero gamma of a block leaves it out.
    block = knl.NonLocal3D(kernel_initializer="he_normal", name="block")
    x = block(x)
    block.norm.gamma.assign(np.full(4, 0.5))
    x = keras.layers.GlobalAveragePooling3D()(x)
    x = knl.layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES, "softmax", name="predictions")(x))


def train(strategy=None):
    """Trains the small network for 20 steps.

    Args:
        strategy: a `tf.distribute.Strategy`; `None` for one device.

    Returns:
        A dict: `"losses"` of all steps, how far the replicas' copies of a weight lie apart at
        most (`"spread"`), and every variable of the model and the optimizer.
    """
    keras.utils.set_random_seed(1)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = small()
        synchronize_norms(model)
        everything = {
            "l2": 1e-4,
            "momentum_correction": True,
            "global_clipnorm": 1.0,
            "gradient_accumulation_steps": 2,
            "use_ema": True,
            "ema_momentum": 0.9,
        }
        schedule = HalfCosine(0.01, STEPS, warmup_steps=4, warmup_start=0.001)
        model.compile(
            SGD(schedule, **everything),
            keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        )
    losses = _LossOfEachStep()
    model.fit(clips(), epochs=1, shuffle=False, verbose=0, callbacks=[losses])
    copies = model.distribute_strategy.experimental_local_results
    spreads = [np.ptp(copies(v.value), axis=0).max() for v in model.weights]
    values = {"losses": np.array(losses.losses), "spread": max(spreads)}
    for variable in model.weights:
        values[f"model/{variable.path}"] = np.array(variable)
    for variable in model.optimizer.variables:
        # The first part counts the optimizers of the process.
        values[f"optimizer/{variable.path.split('/', 1)[1]}"] = np.array(variable)
    return values


def clips():
    """Twenty batches whose examples lie far apart, so that shares of a batch differ."""
    random = np.random.default_rng(0)
    x = random.standard_normal((STEPS * BATCH, *CLIP)).astype(keras.config.floatx())
    x += random.standard_normal((STEPS * BATCH, 1, 1, 1, 3))
    y = np.eye(CLASSES)[random.integers(CLASSES, size=STEPS * BATCH)]
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH, drop_remainder=True)


class _LossOfEachStep(keras.callbacks.Callback):
    """Takes the losses of the steps out of their running mean."""

    def on_train_begin(self, logs=None):
        self.losses = []
        self.total = 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = logs["loss"] * (batch + 1)
        self.losses.append(total - self.total)
        self.total = total


if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    four = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(4)])
    np.savez(sys.argv[1], **train(four))

"""Run by test_norms.py with Keras on JAX: precise statistics and training on one device and two."""

import logging
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_nonlocal.layers import BatchNormalization
from keras_nonlocal.training import distribution
from keras_nonlocal.training.fitting import train
from keras_nonlocal.training.norms import freeze_norms, synchronize_norms, update_norm_statistics

folder = pathlib.Path(sys.argv[1])

# Kept for a model that moves on to TensorFlow, and without effect here.
norm = BatchNormalization(synchronized=True)
assert BatchNormalization.from_config(norm.get_config()).get_config()["synchronized"] is True
plain = BatchNormalization()
clip = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32")
np.testing.assert_array_equal(norm(clip, training=True), plain(clip, training=True))
with np.load(folder / "clips.npz") as file:
    batches = [file[name] for name in file.files]


def write_statistics(name):
    model = keras.models.load_model(folder / "model.keras", compile=False)
    synchronize_norms(model)
    update_norm_statistics(model, batches)
    norms = [model.get_layer("norm"), model.get_layer("block").norm]
    means = {f"mean_{i}": norm.moving_mean for i, norm in enumerate(norms)}
    variances = {f"variance_{i}": norm.moving_variance for i, norm in enumerate(norms)}
    np.savez(folder / f"{name}.npz", **means, **variances)
    return model, norms


def write_training(name):
    """Trains for two epochs, with validation on 4 examples and then on 3, which no 2 divide."""
    model = keras.models.load_model(folder / "model.keras", compile=False)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    targets = np.random.default_rng(1).normal(size=(8, 3))
    examples = tf.data.Dataset.from_tensor_slices((np.concatenate(batches), targets))
    history = train(
        model, examples.batch(2), examples.take(7).batch(4), epochs=2, run=folder / f"run_{name}"
    )
    values = {f"weight_{i}": weight for i, weight in enumerate(model.get_weights())}
    np.savez(folder / f"trained_{name}.npz", loss=history.history["val_loss"], **values)
    return model


told = []
handler = logging.Handler()
handler.emit = lambda record: told.append(record.getMessage())
logging.getLogger("keras_nonlocal").addHandler(handler)

model, norms = write_statistics("one_device")
write_training("one_device")
assert any("One of 2 devices is used" in line for line in told), told
told.clear()

# A traced training step forgets its moving statistics here too.
model.compile("sgd", "mse")
targets = np.zeros((4, 3), "float32")
model.train_on_batch(batches[0], targets)
freeze_norms(model)
before = [np.array(norm.moving_mean) for norm in norms]
model.train_on_batch(batches[0], targets)
for norm, mean in zip(norms, before, strict=True):
    np.testing.assert_array_equal(norm.moving_mean, mean)

assert len(distribution.join(1).local_devices) == 2
write_statistics("two_devices")
model = write_training("two_devices")
assert len(model.trainable_variables[0].value.sharding.device_set) == 2
assert not any("devices" in line for line in told), told

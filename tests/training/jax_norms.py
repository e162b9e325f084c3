"""Run by test_norms.py with Keras on JAX: precise statistics on one device and on two."""

import pathlib
import sys

import keras
import numpy as np

from keras_nonlocal.layers import BatchNormalization
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


model, norms = write_statistics("one_device")

# A traced training step forgets its moving statistics here too.
model.compile("sgd", "mse")
targets = np.zeros((4, 3), "float32")
model.train_on_batch(batches[0], targets)
freeze_norms(model)
before = [np.array(norm.moving_mean) for norm in norms]
model.train_on_batch(batches[0], targets)
for norm, mean in zip(norms, before, strict=True):
    np.testing.assert_array_equal(norm.moving_mean, mean)

keras.distribution.set_distribution(keras.distribution.DataParallel())
write_statistics("two_devices")

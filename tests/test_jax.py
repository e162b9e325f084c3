"""The JAX backend gives TensorFlow's answers and gradients, for every layer and network."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from tests import subjects
from tests.checkpoints import networks

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Answers and slopes on both backends, by name."""
    folder = tmp_path_factory.mktemp("jax")
    expected = {}
    models = {name: subjects.wrap(*s) for name, s in subjects.LAYERS.items()}
    factory, shape = subjects.LAYERS["non_local_3d"]
    models["in_chunks"] = subjects.wrap(factory, shape, memory_budget=3000)
    models["concatenation_sorted"] = subjects.wrap(factory, shape, mode="concatenation")
    models |= {name: subjects.fill(subjects.NETWORKS[name]()) for name in NETWORKS}
    for name, model in models.items():
        # Mostly below zero, so that padding with zeros would show.
        x = subjects.example(model.input_shape[1:]) - 2
        model.save(folder / f"{name}.keras")
        np.save(folder / f"{name}.npy", x)
        with tf.GradientTape() as tape:
            tape.watch(x_tensor := tf.constant(x))
            y = model(x_tensor)
            loss = tf.reduce_sum(y**2)
        expected[name] = (y.numpy(), tape.gradient(loss, x_tensor).numpy())
    for name in CHECKPOINTS:
        model, path = networks.save(name, folder)
        path.rename(folder / f"{name}.{model.source}.{model.clip}{path.suffix}")
        x = networks.clip_for(model)
        np.save(folder / f"{name}.npy", x)
        expected[name] = np.array(model(x))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), "uint8")
    np.save(folder / "pixels.npy", pixels)
    expected["pixels"] = knl.preprocess_input(pixels, "mmaction2")
    keras.backend.clear_session()
    subprocess.run(
        [sys.executable, HERE / "jax_answers.py", folder],
        # Compiled with less care, which takes longer than what is computed.
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "PYTHONPATH": str(HERE.parent),
        },
        check=True,
    )
    return expected, {name: np.load(folder / f"{name}.npz") for name in expected}


# Between them they have every layer of the four.
NETWORKS = ("c2d", "nli3d")
CHECKPOINTS = ("psf_nli3d_caffe2", "vnl_nli3d_affine", "mma_c2d", "gcv_nli3d")
NAMES = [
    *subjects.LAYERS,
    "in_chunks",
    "concatenation_sorted",
    *NETWORKS,
]


@pytest.mark.parametrize("name", NAMES)
def test_jax_gives_the_numbers_of_tensorflow(name, answers):
    (y, slope), other = answers[0][name], answers[1][name]
    np.testing.assert_allclose(other["answer"], y, rtol=0, atol=2e-5 * np.abs(y).max())
    np.testing.assert_allclose(other["slope"], slope, rtol=0, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_loaded_on_jax_give_the_numbers_of_tensorflow(name, answers):
    y, other = answers[0][name], answers[1][name]["answer"]
    np.testing.assert_allclose(other, y, rtol=0, atol=2e-5 * np.abs(y).max())


def test_pixels_are_normalized_in_datasets_on_jax(answers):
    pixels, other = answers[0]["pixels"], answers[1]["pixels"]["answer"]
    np.testing.assert_allclose(other, pixels, rtol=0, atol=1e-6)

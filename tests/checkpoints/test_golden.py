"""Published networks answer as the implementations that they come from, and go back unchanged."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.checkpoints import registry
from keras_nonlocal.checkpoints.state_dict import read_state_dict
from tests.checkpoints import golden

ROOT = pathlib.Path(__file__).parents[2]
QUICK = "vnl_i3d_nl_r50_8x8"
# Published checkpoints of these networks.
RECORDS = {
    "gcv_i3d_nl5_r50_32x2": "nl_i3d_r50_32x2.kinetics400_gcv",
    "gcv_i3d_nl10_r50_32x2": "nl_i3d_r50_32x2_nl10.kinetics400_gcv",
    "vnl_i3d_nl_r50_8x8": "nl_i3d_r50_8x8.kinetics400_vnl",
    "vnl_i3d_nl_r50_32x4_affine": "nl_i3d_r50_32x4_affine.kinetics400_vnl",
    "psf_c2d_nopool_r50_8x8": "c2d_r50_8x8_nopool.kinetics400_psf",
    "ptv_c2d_r50_8x8": "c2d_r50_8x8.kinetics400_ptv",
    "mma_i3d_heavy_r50_32x2": "i3d_r50_32x2_heavy.kinetics400_mma",
    "mma_i3d_nl_dot_product_r50_32x2": "nl_i3d_r50_32x2_dot_product.kinetics400_mma",
    "mma_slowonly_nl_r50_4x16": "nl_slowonly_r50_4x16.kinetics400_mma",
    "mma_c2d_nopool_r50_8x8": "c2d_r50_8x8_nopool.kinetics400_mma",
}
NAMES = [
    name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in golden.NAMES
]


@pytest.fixture(scope="module", params=NAMES)
def network(request, tmp_path_factory):
    """What is golden of a network, and the model that its file gives."""
    described = golden.read(request.param)
    path = golden.write(described, tmp_path_factory.mktemp("golden"))
    yield described, golden.load(described, path)
    path.unlink()


def test_answers_are_golden(network):
    described, model = network
    expected = golden.answer(described["name"])
    # Not by `predict`, whose tracing takes longer than the answer.
    answer = np.asarray(model(golden.clip(described)))
    assert np.abs(answer - expected).max() <= 2e-5 * np.abs(expected).max()
    if described["name"] in RECORDS:
        # So it is what builders make for `weights=`: they take the configuration of the record.
        published = registry.CHECKPOINTS[RECORDS[described["name"]]].config.to_dict()
        others = ("weights", "classifier_activation", "input_shape", "include_preprocessing")
        assert published | dict.fromkeys(others) == model.config | dict.fromkeys(others)


def test_tensors_return_bit_for_bit(network, tmp_path):
    described, model = network
    suffix = ".pkl" if described["container"].startswith("pickle") else ".pth"
    knl.save_checkpoint(model, tmp_path / f"saved{suffix}")
    saved = read_state_dict(tmp_path / f"saved{suffix}").tensors
    expected = golden.tensors(described)
    assert saved.keys() == expected.keys()
    differing = [
        key
        for key, array in expected.items()
        if saved[key].shape != array.shape or not np.array_equal(saved[key], array)
    ]
    assert differing == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["vnl_i3d_nl_r50_32x4_affine", "mma_c2d_r50_8x8", "gcv_i3d_nl5_r50_32x2"]
)
def test_answers_on_jax_are_golden(name, tmp_path):
    described = golden.read(name)
    path = golden.write(described, tmp_path)
    subprocess.run(
        [sys.executable, "-m", "tests.checkpoints.golden", name, path, tmp_path / "answer.npy"],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=ROOT,
        check=True,
    )
    expected = golden.answer(name)
    answer = np.load(tmp_path / "answer.npy")
    assert np.abs(answer - expected).max() <= 2e-5 * np.abs(expected).max()

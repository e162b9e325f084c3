"""Many replicas take the steps that one device takes, with all that the recipes use."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.subjects import two_replicas
from tests.training import replica_runs
from tests.training.replica_runs import train

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def one_device():
    return train()


def check_equal(run, expected):
    assert run.keys() == expected.keys()
    assert len(run["losses"]) == replica_runs.STEPS
    assert run["spread"] == 0
    for name, values in expected.items():
        # Optimizers hold gradients; of biases before a norm these are nothing but rounding.
        tolerance = 1e-3 if name.startswith("optimizer/") else 1e-5
        np.testing.assert_allclose(run[name], values, rtol=0, atol=tolerance, err_msg=name)


def test_two_replicas_train_as_one_device_does(one_device):
    check_equal(train(two_replicas()), one_device)


@pytest.mark.slow
def test_four_replicas_train_as_one_device_does(one_device, tmp_path):
    subprocess.run(
        [sys.executable, HERE / "replica_runs.py", tmp_path / "four.npz"],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        check=True,
    )
    with np.load(tmp_path / "four.npz") as file:
        check_equal(dict(file), one_device)

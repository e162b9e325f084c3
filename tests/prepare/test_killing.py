"""A preparation that is killed, whenever it is, ends in the next run as if nothing had happened."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def kill(source, work, overwriting=""):
    """Runs killing.py; returns for each way to kill a list of dictionaries, one per killed run."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.prepare.killing", source, work, overwriting],
        cwd=ROOT,
        # Threads of NumPy's would forbid it to fork.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def killed(source, tmp_path_factory):
    return kill(source, tmp_path_factory.mktemp("killed"))


def check(runs):
    """Shards are complete or missing; the next run completes them and leaves nothing behind."""
    assert all(run["whole"] for run in runs)
    assert all(run["equal"] for run in runs)
    assert all(run["tidy"] for run in runs)


def test_four_random_moments(killed):
    runs = killed["random"]
    check(runs)
    assert [run["killed"] for run in runs] == [True] * 4
    # The moments were moments of the work.
    assert any(run["parts"] for run in runs)


def test_every_change_of_a_name(killed):
    runs = killed["every"]
    check(runs)
    assert [run["killed"] for run in runs] == [True] * (len(runs) - 1) + [False]
    assert {run["shards"] for run in runs} == {0, 1, 2}
    assert len(runs) > 20


@pytest.mark.slow
def test_every_change_of_a_name_when_overwriting(source, tmp_path):
    runs = kill(source, tmp_path, "overwriting")["every"]
    check(runs)
    assert {run["shards"] for run in runs} == {0, 1, 2, 3}

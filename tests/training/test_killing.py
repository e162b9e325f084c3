"""A training that SIGKILL ends at any moment ends, started again, as one that was never killed."""

import json
import os
import pathlib
import random
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_killed_trainings_end_as_undisturbed_ones(tmp_path):
    # Some kills are always the same, and some others each time: the seed is told.
    seed = random.SystemRandom().randrange(10**6)
    finished = subprocess.run(
        [sys.executable, pathlib.Path(__file__).parent / "killing.py", tmp_path, str(seed)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, f"seed {seed}: {finished.stderr}"
    dense, non_local = json.loads(finished.stdout.splitlines()[-1])
    for told in (dense, non_local):
        assert told["differing"] == [] and told["curves"], f"seed {seed}: {told}"
        assert told["starts"] == len(told["ended"]) > 1 and told["ended"][-1], (
            f"seed {seed}: {told}"
        )
    # Those that died in writing left a half file, which the next start has removed; the training
    # may be faster than the kill at a random time.
    assert dense["halves"][:3] == [0, 1, 1] and dense["halves"][-1] == 0, f"seed {seed}: {dense}"
    assert dense["ended"][:3] == [False] * 3, f"seed {seed}: {dense}"
    assert non_local["ended"] == [False, True], f"seed {seed}: {non_local}"

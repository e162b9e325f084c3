"""Several processes train as one, and stop and go on as one. See process_run.py."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from keras_nonlocal.training.lifeline import TRY_AGAIN
from tests.made_videos import write

PROGRAM = pathlib.Path(__file__).with_name("process_run.py")
ROOT = PROGRAM.parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for runs, with sixteen videos of two classes, no two alike."""
    place = tmp_path_factory.mktemp("processes")
    noise = np.random.default_rng(0).integers(0, 60, (16, 8, 40, 56, 3))
    for number in range(16):
        folder = place / "videos" / ("dark", "light")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        frames = (noise[number] + 80 * (number % 2) + 4 * number).astype(np.uint8)
        write(folder / f"{number:02}.mp4", frames, "mpeg4")
    return place


def start(place, run, count, die=(None, None)):
    """Runs all processes to their ends. Gives (exit status, printed, errors) of each."""
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(ROOT),
        # Most of the time is compiling. It need not be good, and the next run reads what this had.
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "JAX_COMPILATION_CACHE_DIR": str(place / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    options = {"folder": str(place / "videos"), "run": str(place / run), "count": count}
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                PROGRAM,
                json.dumps({**options, "index": i, "port": port, "die": die}),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for i in range(count)
    ]
    try:
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *output) for p, output in zip(processes, outputs, strict=True)]


def finish(place, run, count):
    """Trains to the end. Gives the running losses of each process, and the final weights."""
    losses = []
    for status, printed, errors in start(place, run, count):
        assert status == 0, errors
        losses.append(json.loads(printed.splitlines()[-1]))
    with np.load(place / f"{run}.npz") as file:
        return losses, dict(file)


def interrupt(place, run, count, die):
    """Has one process die; the others must say so and ask to be started again."""
    for index, (status, _, errors) in enumerate(start(place, run, count, die)):
        if index == die[0]:
            assert status == -signal.SIGKILL, errors
        else:
            assert status == TRY_AGAIN, errors
            assert errors.rstrip().splitlines()[-1].removeprefix("ConnectionError: ") == (
                f"Process {die[0]} of {count} is lost (its connection closed). This one, number "
                f"{index}, stops. The same command goes on."
            )


@pytest.mark.slow
def test_processes_that_are_killed_end_as_one_that_was_not(place):
    """One process dies after two steps, then the first of two, then the second, after two more."""
    (expected_losses,), expected = finish(place, "alone", 1)
    interrupt(place, "several", 1, die=(0, 3))
    interrupt(place, "several", 2, die=(0, 3))
    interrupt(place, "several", 2, die=(1, 3))
    losses, weights = finish(place, "several", 2)
    for some in losses:
        # From the last checkpoint on; the losses are means since the epoch began.
        assert 0 < len(some) < 6
        np.testing.assert_allclose(some, expected_losses[-len(some) :], rtol=1e-5)
    for name, values in expected.items():
        np.testing.assert_allclose(weights[name], values, rtol=0, atol=1e-5, err_msg=name)

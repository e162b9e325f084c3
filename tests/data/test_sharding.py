"""Several processes, or several replicas, see each video once between them."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.data import clip_dataset, read_folder, sharding
from tests.made_videos import write

SMALL = {"clip": "4x2", "crop": 32, "short_side": 36}


@pytest.fixture(scope="module")
def eleven(tmp_path_factory):
    """A folder of eleven videos; the brightness of each is its number times twenty."""
    root = tmp_path_factory.mktemp("eleven")
    for number in range(11):
        folder = root / f"class{number:02}"
        folder.mkdir()
        write(folder / "a.mp4", np.full((8, 40, 56, 3), 20 * number, np.uint8), "mpeg4")
    return root


def numbers_of(clips):
    """The videos that clips come from, by their brightness."""
    brightness = np.asarray(clips).mean((-4, -3, -2, -1))
    return np.round(brightness / 20).astype(int).reshape(-1).tolist()


def test_one_process_alone_reads_everything():
    assert sharding.find_shard() == (0, 1)


@pytest.mark.parametrize("count", [2, 3])
def test_shares_make_the_whole_in_testing(eleven, count):
    videos, seen = read_folder(eleven), []
    for index in range(count):
        for clips, _ in clip_dataset(videos, **SMALL, batch_size=2, shard=(index, count)):
            seen += numbers_of(clips)
    assert sorted(seen) == list(range(11))


def test_shares_of_training_make_equally_many_steps(eleven):
    videos, seen = read_folder(eleven), []
    options = {**SMALL, "short_side": (36, 40), "training": True, "seed": 1}
    for index in range(2):
        dataset = clip_dataset(videos, **options, batch_size=1, shard=(index, 2))
        # Six videos and five: both take five steps.
        assert dataset.cardinality() == 5
        batches = [numbers_of(clips) for clips, _ in dataset]
        assert len(batches) == 5
        seen += sum(batches, [])
    assert len(set(seen)) == 10


def test_a_batch_must_fill_a_share(eleven):
    message = r"`batch_size` must lie between 1 and the number of clips \(5\)"
    with pytest.raises(ValueError, match=message):
        clip_dataset(read_folder(eleven), **SMALL, batch_size=6, training=True, shard=(1, 2))


def test_shares_of_training_need_a_seed_in_common(eleven):
    options = {**SMALL, "short_side": (36, 40), "training": True, "batch_size": 1}
    with pytest.raises(ValueError, match="`seed` must be given, the same in all processes"):
        clip_dataset(read_folder(eleven), **options, shard=(0, 2))


def test_replicas_share_batches(eleven):
    dataset = clip_dataset(read_folder(eleven), **SMALL, batch_size=4)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    seen = []
    for clips, _ in strategy.experimental_distribute_dataset(dataset):
        parts = [part for part in strategy.experimental_local_results(clips) if len(part)]
        seen += [numbers_of(part) for part in parts]
    assert [len(part) for part in seen] == [2, 2, 2, 2, 2, 1]
    assert sorted(sum(seen, [])) == list(range(11))


# One process of several; prints the numbers of the videos that it sees, batch by batch.
WORKER = """
import json, os, sys
index, ports, folder = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
addresses = [f"localhost:{port}" for port in ports]
if os.environ["KERAS_BACKEND"] == "jax":
    import keras
    keras.distribution.initialize(addresses[0], len(ports), index)
    def divide(auto):
        way = keras.distribution.DataParallel(auto_shard_dataset=auto)
        keras.distribution.set_distribution(way)
else:
    task = {"type": "worker", "index": index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    import tensorflow as tf
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    strategy.scope().__enter__()
import keras_nonlocal as knl
from tests.data.test_sharding import SMALL, numbers_of
videos = knl.data.read_folder(folder)
def read():
    options = {**SMALL, "short_side": (36, 40), "batch_size": 4, "training": True, "seed": 1}
    return knl.data.clip_dataset(videos, **options)
refusal = None
if os.environ["KERAS_BACKEND"] == "jax":
    divide(True)
    try:
        read()
    except ValueError as error:
        refusal = str(error)
    divide(False)
    dataset = read()
else:
    dataset = read()
    dataset = strategy.experimental_distribute_dataset(dataset)
    dataset = [
        (clips, labels)
        for batch in dataset
        for clips, labels in [[strategy.experimental_local_results(part)[0] for part in batch]]
    ]
print(json.dumps([[numbers_of(clips) for clips, _ in dataset], refusal]))
"""


def run_two(backend, folder):
    """Gives what the processes saw, and how each was told that Keras must not divide once more."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            ports.append(free.getsockname()[1])
    root = pathlib.Path(__file__).parents[2]
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(root),
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(index), json.dumps(ports), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=root,
        )
        for index in range(2)
    ]
    try:
        outputs = [worker.communicate(timeout=180) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for printed, errors in outputs:
        assert printed, errors
    return zip(*(json.loads(printed.splitlines()[-1]) for printed, _ in outputs), strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_two_processes_share_the_videos(eleven, backend):
    (first, second), refusals = run_two(backend, eleven)
    # A batch of four is two in each process; five videos make two such batches.
    assert [len(batch) for batch in first] == [len(batch) for batch in second] == [2, 2]
    # Each reads videos of its own: none is decoded for nothing.
    assert len(set(sum(first + second, []))) == 8
    for refusal in refusals:
        if backend == "jax":
            assert "`auto_shard_dataset` must be off for datasets of clips" in refusal

"""One process on one core beside two processes on one core each: `scale.py --measure`.

Each process does the same work a step. Three forms take turns, round by round: one alone; two that
know nothing of each other, which shows what the cores share; and two that train together over
loopback. The prediction for the last is the time of one of the former, and the measured time of the
exchange of as many bytes as there are gradients and norms.
"""

import contextlib
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time

NETWORK = {"input_shape": (4, 32, 32, 3), "depth": (1, 1, 1, 1), "width": 32, "classes": 10}
CLIPS, STEPS = 4, 5
# Before each line that is meant for the other side; libraries print too.
ANSWER = "answer:"


def serve(index, count, port, core):
    """One process: answers each line that it reads with seconds."""
    os.sched_setaffinity(0, {core})
    from keras_nonlocal.training import distribution

    distribution.join(count, index, f"localhost:{port}")
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_nonlocal as knl

    keras.utils.set_random_seed(0)
    model = knl.NLI3D(**NETWORK)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    clips = np.random.default_rng(index).normal(size=(CLIPS, *NETWORK["input_shape"]))
    data = tf.data.Dataset.from_tensors((clips.astype("float32"), np.arange(CLIPS))).repeat()
    timer = _Timer(keras.callbacks.Callback)

    def train():
        model.fit(
            data,
            steps_per_epoch=STEPS + 1,
            shuffle=False,
            verbose=0,
            callbacks=[timer.callback],
        )
        return timer.seconds / STEPS

    sizes = [math.prod(variable.shape) for variable in model.trainable_variables]
    norms = sum("norm" in layer.name for layer in model._flatten_layers(include_self=False))
    answers = {"train": train}
    if count > 1:
        answers["gradients"] = _exchange(sizes)
        # A mean and a mean of squares, forward and backward.
        answers["norms"] = _exchange([2 * 128] * (2 * norms))
    print(ANSWER, json.dumps({"bytes": 4 * sum(sizes), "norms": norms}), flush=True)
    for line in sys.stdin:
        print(ANSWER, json.dumps(answers[line.strip()]()), flush=True)


class _Timer:
    """Seconds from the end of the first step of an epoch to the end of the last."""

    def __init__(self, base):
        class Callback(base):
            def on_train_batch_end(callback, batch, logs=None):
                float(logs["loss"])
                if batch == 0:
                    self.begin = time.perf_counter()

            def on_epoch_end(callback, epoch, logs=None):
                self.seconds = time.perf_counter() - self.begin

        self.callback = Callback()


def _exchange(sizes):
    """A function that sums arrays of so many values over all processes, one after the other."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(jax.devices()), ("process",))
    parts = NamedSharding(mesh, PartitionSpec("process"))
    arrays = [
        jax.make_array_from_process_local_data(parts, np.ones((1, size), "float32"))
        for size in sizes
    ]
    whole = NamedSharding(mesh, PartitionSpec())
    add = jax.jit(lambda arrays: [array.sum(0) for array in arrays], out_shardings=whole)
    jax.block_until_ready(add(arrays))

    def run():
        begin = time.perf_counter()
        for _ in range(STEPS):
            jax.block_until_ready(add(arrays))
        return (time.perf_counter() - begin) / STEPS

    return run


def measure(rounds):
    """Prints the table."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("Two processes need two cores. This process may use one.")
    with contextlib.ExitStack() as stack:
        alone = [_start(stack, 0, 1, 0, core) for core in cores[:2]]
        with socket.create_server(("", 0)) as free:
            port = free.getsockname()[1]
        pair = [_start(stack, index, 2, port, cores[index]) for index in range(2)]
        facts = [_read(process) for process in (*alone, *pair)][0]
        for processes in (alone, pair):
            _ask(processes, "train")  # compiles
        times = {name: [] for name in ("one", "apart", "together", "gradients", "norms")}
        for _ in range(rounds):
            times["one"].append(_ask(alone[:1], "train"))
            times["apart"].append(_ask(alone, "train"))
            times["together"].append(_ask(pair, "train"))
            for name in ("gradients", "norms"):
                times[name].append(_ask(pair, name))
        # All before any is waited for: those of a pair end together.
        for process in (*alone, *pair):
            process.stdin.close()
    t = {name: statistics.median(values) for name, values in times.items()}
    exchange = t["gradients"] + t["norms"]
    print(
        f"NLI3D of {facts['bytes'] / 4e6:.1f} M parameters and {facts['norms']} norms, {CLIPS} "
        f"clips of 4x32x32 a process and step; median of {rounds} rounds of {STEPS} steps.\n"
    )
    rows = [
        ("one process on one core", t["one"]),
        ("two, one core each, without each other", t["apart"]),
        (f"sum of {facts['bytes'] / 1e6:.1f} MB of gradients over loopback", t["gradients"]),
        (f"{2 * facts['norms']} sums of the norms", t["norms"]),
        ("predicted for two together, from one", t["one"] + exchange),
        ("predicted for two together, from two apart", t["apart"] + exchange),
        ("measured: two together", t["together"]),
    ]
    print("| | s a step |\n|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.3f} |")
    ratios = [
        times["together"][i] / (times["apart"][i] + times["gradients"][i] + times["norms"][i])
        for i in range(rounds)
    ]
    print(
        f"\nLoopback sums {facts['bytes'] / t['gradients'] / 1e9:.2f} GB/s. Measured to "
        f"predicted from two apart: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}). "
        f"Clips a second, two together to one: {2 * t['one'] / t['together']:.2f}."
    )


def _start(stack, *arguments):
    return stack.enter_context(
        subprocess.Popen(
            [sys.executable, __file__, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    )


def _ask(processes, what):
    for process in processes:
        process.stdin.write(what + "\n")
        process.stdin.flush()
    return statistics.mean(_read(process) for process in processes)


def _read(process):
    for line in process.stdout:
        if line.startswith(ANSWER):
            return json.loads(line.removeprefix(ANSWER))
    sys.exit("A process ended early; what it printed says why.")


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))

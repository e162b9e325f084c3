"""Loads published-size files, beside what reads them without this package.

    python benchmarks/loading.py                       # TensorFlow
    KERAS_BACKEND=jax python benchmarks/loading.py

For a non-local I3D R50 in each format: seconds and peak memory of `load_checkpoint`, from file to
a model that is ready; and of `torch.load`, `safetensors` or `pickle.load`, which return tensors
without a network and, in the case of pickle, run whatever the file says. Every run is a process of
its own, whose packages are warm; memory is the largest resident size above the start.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from machine import describe_machine

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FILES = {
    "nl_i3d.pkl": "pyslowfast",
    "nl_i3d.pyth": "pyslowfast",
    "nl_i3d.pth": "mmaction2",
    "before_1.6.pyth": "pyslowfast",
    "nl_i3d.safetensors": "pyslowfast",
}
WAYS = ("load_checkpoint", "plain")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*arguments.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        prepare(folder)
        print(describe_machine("keras", "tensorflow", "jax", "numpy", "torch"))
        print(f"{'file':18} {'MB':>5}  {'way':16} {'seconds':>8} {'peak MB':>8} {'of file':>8}")
        for file in FILES:
            size = (folder / file).stat().st_size / 2**20
            for way in WAYS:
                runs = [run(way, folder, file) for _ in range(arguments.runs)]
                seconds = statistics.median(run["seconds"] for run in runs)
                peak = statistics.median(run["peak"] for run in runs)
                figures = f"{seconds:8.2f} {peak:8.0f} {peak / size:7.2f}x"
                print(f"{file:18} {size:5.0f}  {way:16} {figures}")


def prepare(folder):
    """Writes the files, and a tiny one of each kind to warm up with."""
    import safetensors.torch
    import torch

    import keras_nonlocal as knl

    for file, source in list(FILES.items())[:3]:
        clip = "32x2" if source == "mmaction2" else "8x8"
        model = knl.NLI3D(clip=clip, source=source)
        knl.save_checkpoint(model, folder / file)
        tiny = knl.NLI3D(
            clip=clip, source=source, depth=(1, 1, 1, 1), width=4, input_shape=(32, 32, 32, 3)
        )
        knl.save_checkpoint(tiny, folder / f"tiny_{file}")
    for tiny in ("", "tiny_"):
        content = torch.load(folder / f"{tiny}nl_i3d.pyth")
        old, state = folder / f"{tiny}before_1.6.pyth", content["model_state"]
        torch.save(content, old, _use_new_zipfile_serialization=False)
        path = folder / f"{tiny}nl_i3d.safetensors"
        safetensors.torch.save_file(state, path, {"cfg": content["cfg"]})


def run(way, folder, file):
    command = [sys.executable, __file__, "--child", way, str(folder), file]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def measure(way, folder, file):
    """Seconds and peak memory of one way to load a file, in this process."""
    import keras

    import keras_nonlocal as knl

    source, folder = FILES[file], pathlib.Path(folder)
    clip = "32x2" if source == "mmaction2" else "8x8"

    def load(path):
        if way == "load_checkpoint":
            return knl.load_checkpoint(path, source, clip=clip)
        return load_plain(path)

    load(folder / f"tiny_{file}")
    keras.backend.clear_session()
    base, peak, done = resident(), [0.0], threading.Event()

    def watch():
        while not done.wait(0.005):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    loaded = load(folder / file)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    del loaded
    return {"seconds": seconds, "peak": peak[0] - base}


def load_plain(path):
    """What a script does that wants the tensors alone."""
    if path.suffix == ".pkl":
        import pickle

        return pickle.loads(path.read_bytes())
    if path.suffix == ".safetensors":
        import safetensors.numpy

        return safetensors.numpy.load_file(path)
    import torch

    return torch.load(path, weights_only=True)


def resident():
    """Resident memory of this process, in MB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()

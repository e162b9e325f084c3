"""Times NL-I3D R50 8x8 at 224x224 beside PyTorch and beside plain Keras layers.

    python benchmarks/networks.py [--dtypes float32 bfloat16] [--rounds 5] [--batch 2]

Every contender lives in a process of its own. All are warmed up, then take turns, round by
round, so that a machine whose speed drifts drifts for all of them; a ratio is the median of the
rounds' ratios. PyTorch runs the network of the `pytorchvideo` package with its own non-local
layer at the same places (the extra `[benchmarks]`); without these packages its rows are
left out, and the benchmark says so. With `KERAS_BACKEND=jax` it runs on a GPU as it stands.
"""

import argparse
import importlib.util
import json
import multiprocessing
import pathlib
import statistics
import sys
import time
import types

from machine import describe_machine

CLIP = (8, 224, 224, 3)
PLACES = ((3, 1), (3, 3), (4, 1), (4, 3), (4, 5))


def keras_network(include_preprocessing=False):
    import keras_nonlocal

    return keras_nonlocal.NLI3D(
        source="pytorchvideo",
        classifier_activation=None,
        include_preprocessing=include_preprocessing,
    )


def plain_keras_network():
    """The same network out of Keras' own layers, as one would write it down."""
    from plain_keras import nl_i3d_r50

    return nl_i3d_r50(CLIP, PLACES)


def keras_steps(build, dtype, batch):
    """Gives functions that run one prediction and one training step."""
    import keras
    import numpy as np

    if dtype != "float32":
        keras.config.set_dtype_policy(f"mixed_{dtype}")
    model = build()
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    random = np.random.default_rng(0)
    clips = keras.ops.convert_to_tensor(random.normal(size=(batch, *CLIP)).astype("float32"))
    labels = keras.ops.convert_to_tensor(random.integers(400, size=batch))
    return (
        lambda: model.predict_on_batch(clips),
        lambda: float(model.train_on_batch(clips, labels)),
    )


def torch_steps(dtype, batch, channels_last):
    import torch

    # The package's builders import torchvision for a detection head that is not used here.
    if importlib.util.find_spec("torchvision") is None:
        ops = types.ModuleType("torchvision.ops")
        ops.RoIAlign = None
        sys.modules.update({"torchvision": types.ModuleType("torchvision"), "torchvision.ops": ops})
    from pytorchvideo.layers.nonlocal_net import create_nonlocal
    from pytorchvideo.models.resnet import create_resnet

    network = create_resnet(
        stem_conv_kernel_size=(5, 7, 7),
        stage1_pool=torch.nn.MaxPool3d,
        stage_conv_a_kernel_size=(
            (3, 1, 1),
            [(3, 1, 1), (1, 1, 1)],
            [(3, 1, 1), (1, 1, 1)],
            [(1, 1, 1), (3, 1, 1)],
        ),
    )
    for stage, block in PLACES:
        channels = 64 * 2**stage
        blocks = network.blocks[stage].res_blocks
        non_local = create_nonlocal(
            dim_in=channels, dim_inner=channels // 2, pool_size=(1, 2, 2), instantiation="softmax"
        )
        blocks[block] = torch.nn.Sequential(blocks[block], non_local)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    network = network.to(device, memory_format=layout)
    clips = torch.randn(batch, 3, *CLIP[:3], device=device).to(memory_format=layout)
    labels = torch.randint(400, (batch,), device=device)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    half = torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16")

    def predict():
        network.eval()
        with torch.inference_mode(), half:
            return network(clips).float().cpu()

    def train():
        network.train()
        optimizer.zero_grad()
        with half:
            loss = torch.nn.functional.cross_entropy(network(clips), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return predict, train


CONTENDERS = {
    "keras_nonlocal": lambda dtype, batch: keras_steps(keras_network, dtype, batch),
    "keras_nonlocal, from pixels": lambda dtype, batch: keras_steps(
        lambda: keras_network(include_preprocessing=True), dtype, batch
    ),
    "plain Keras": lambda dtype, batch: keras_steps(plain_keras_network, dtype, batch),
    "PyTorch, contiguous": lambda dtype, batch: torch_steps(dtype, batch, False),
    "PyTorch, channels_last_3d": lambda dtype, batch: torch_steps(dtype, batch, True),
}


def leave_out_missing(names):
    """The contenders whose packages are installed; says which are not."""
    missing = [p for p in ("torch", "pytorchvideo") if importlib.util.find_spec(p) is None]
    if missing:
        print(f"Without PyTorch: not installed: {', '.join(missing)}")
        names = [name for name in names if not name.startswith("PyTorch")]
    return names


def serve(name, dtype, batch, pipe):
    """Runs in the contender's process: times the step it is asked for, until told to stop."""
    steps = dict(zip(("predict", "train"), CONTENDERS[name](dtype, batch), strict=True))
    pipe.send("ready")
    while (step := pipe.recv()) is not None:
        start = time.perf_counter()
        steps[step]()
        pipe.send(time.perf_counter() - start)


def measure(names, dtype, batch, rounds, serve=serve, steps=("predict", "train")):
    """Gives `{step: {name: [seconds a clip, round by round]}}`.

    Args:
        names: of the contenders.
        dtype, batch, rounds: see the command line.
        serve: what runs in each contender's process.
        steps: what is timed.
    """
    context = multiprocessing.get_context("spawn")
    workers = {}
    for name in names:
        pipe, other = context.Pipe()
        process = context.Process(target=serve, args=(name, dtype, batch, other), daemon=True)
        process.start()
        other.close()
        pipe.recv()
        workers[name] = (pipe, process)
    seconds = {step: {name: [] for name in names} for step in steps}
    for step, rows in seconds.items():
        for turn in range(2 + rounds):
            for name in names:
                time.sleep(0.5)  # The threads of the one before come to rest.
                workers[name][0].send(step)
                taken = workers[name][0].recv() / batch
                if turn >= 2:
                    rows[name].append(taken)
            print(f"  {dtype} {step}: round {turn + 1} of {2 + rounds}", file=sys.stderr)
    for pipe, process in workers.values():
        pipe.send(None)
        process.join()
    return seconds


def report(dtype, seconds):
    print(f"\n{dtype}: seconds a clip (clips a second); how many times ours the peer takes")
    for step, rows in seconds.items():
        ours = rows["keras_nonlocal"]
        for name, taken in rows.items():
            ratios = [theirs / mine for theirs, mine in zip(taken, ours, strict=True)]
            print(
                f"  {step:8}{name:31}{statistics.median(taken):7.3f}"
                f" ({1 / statistics.median(taken):6.2f})"
                f"  x{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2, help="clips a step")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--json", type=pathlib.Path, help="also write the seconds there")
    arguments = parser.parse_args()
    names = leave_out_missing(arguments.only)
    print(describe_machine("keras", "tensorflow", "jax", "torch", "pytorchvideo", "numpy"))
    print(f"NL-I3D R50, clips of {CLIP}, batch {arguments.batch}")
    everything = {}
    for dtype in arguments.dtypes:
        everything[dtype] = measure(names, dtype, arguments.batch, arguments.rounds)
        report(dtype, everything[dtype])
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()

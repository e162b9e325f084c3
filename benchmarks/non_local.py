"""Times non-local blocks, and their memory, beside the direct form that builds all weights.

    python benchmarks/non_local.py [--positions 1024 ... 100352] [--channels 64] [--plot FILE]

Each measurement runs in a process of its own: seconds of a forward and backward pass, and the
growth of its peak memory over that of the loaded libraries. "direct" is the same layer with the
N x M weights built whole, as other implementations do. Where that would not fit into
`--memory` gigabytes it is left out, and the table says so. "eager" is the layer under a tape
without a `tf.function`.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time

MODES = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
FORMS = ("graph", "direct", "eager")
POSITIONS = (1024, 4096, 12544, 25088, 50176, 100352)


def measure(mode, positions, channels, form):
    """Runs in a process of its own; returns seconds and megabytes."""
    import numpy as np
    import tensorflow as tf

    import keras_nonlocal as knl
    from keras_nonlocal.layers import pairwise

    direct = form == "direct"
    if direct:
        pairwise.SORTING_PAYS_ABOVE_KEYS = float("inf")
        pairwise.dot_product_mean = _direct_dot_product
    # Square maps of 8 frames, and keys pooled by two in space, as in the networks.
    side = round((positions / 8) ** 0.5)
    layer = knl.NonLocal3D(mode=mode, memory_budget=2**62 if direct else 2**28)
    x = np.random.default_rng(0).standard_normal((1, 8, side, side, channels)).astype("float32")

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True))
        return tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])[0]

    if form != "eager":
        step = tf.function(step)
    # A small clip traces and loads what any size needs.
    layer(x[:, :, :4, :4])
    step(tf.constant(x[:, :, :4, :4]))
    x = tf.constant(x)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        step(x).numpy()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds[1], (peak - before) / 1024


def _direct_dot_product(theta, phi, g):
    import tensorflow as tf

    weights = tf.matmul(theta, phi, transpose_b=True) / phi.shape[1]
    return tf.matmul(weights, g)


def fits(positions, memory):
    # The weights, their gradient and two steps between, in float32, keys a quarter of queries.
    return 4 * 4 * positions * positions / 4 < memory * 2**30


def run(mode, positions, channels, form):
    request = json.dumps([mode, positions, channels, form])
    output = subprocess.run(
        [sys.executable, __file__, "--one", request], check=True, capture_output=True, text=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def plot(rows, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    modes = list(dict.fromkeys(row[0] for row in rows))
    figure, panels = plt.subplots(
        2, len(modes), figsize=(3.5 * len(modes), 6), sharex=True, sharey="row", squeeze=False
    )
    for column, mode in enumerate(modes):
        for form, style in (("direct", "o--"), ("graph", "o-")):
            mine = [row for row in rows if row[0] == mode and row[2] == form]
            label, color = (
                ("all weights", "tab:red") if form == "direct" else ("this layer", "tab:blue")
            )
            for panel, value in ((panels[0, column], 3), (panels[1, column], 4)):
                panel.loglog([r[1] for r in mine], [r[value] for r in mine], style, c=color)
                panel.lines[-1].set_label(label)
                panel.grid(alpha=0.3)
        panels[0, column].set_title(mode.replace("_", " "))
        panels[1, column].set_xlabel("positions")
    panels[0, 0].set_ylabel("seconds, forward and backward")
    panels[1, 0].set_ylabel("peak memory, MB")
    panels[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", type=int, nargs="+", default=POSITIONS)
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--channels", type=int, default=64, help="channels of the input")
    parser.add_argument("--memory", type=float, default=8, help="gigabytes for the direct form")
    parser.add_argument("--plot", type=pathlib.Path, help="PNG to draw")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*json.loads(arguments.one))))
        return
    from machine import describe_machine

    print(describe_machine("keras", "tensorflow", "jax", "numpy"))
    print(f"one clip of 8 frames, {arguments.channels} channels, float32, keys pooled by 2x2")
    print(f"{'mode':20}{'positions':>10}  {'seconds':>9}{'MB':>8}", end="")
    print("".join(f"  {form:>9}{'MB':>8}" for form in FORMS[1:]))
    rows = []
    for mode in arguments.modes:
        for positions in arguments.positions:
            print(f"{mode:20}{positions:10}", end="", flush=True)
            for form in FORMS:
                if form == "direct" and not fits(positions, arguments.memory):
                    print(f"  {'no room':>9}{'':8}", end="", flush=True)
                    continue
                seconds, megabytes = run(mode, positions, arguments.channels, form)
                rows.append((mode, positions, form, seconds, megabytes))
                print(f"  {seconds:9.3f}{megabytes:8.0f}", end="", flush=True)
            print()
    if arguments.plot:
        plot(rows, arguments.plot)
        print(f"drawn: {arguments.plot}")


if __name__ == "__main__":
    main()

"""What one training step moves and computes, and where the limit sits on many GPUs.

    python benchmarks/scale.py [--teraflops 60] [--nvlink 200] [--network 25] [--cores 12] ...
    python benchmarks/scale.py --measure

The first is arithmetic: counted from the networks, divided by the rates that the arguments state.
`--measure` is an experiment on this machine that takes some minutes and needs JAX: one process on
one core beside two processes on one core each, with what the same arithmetic predicts for them.
"""

import argparse
import math
import os

from machine import describe_machine

# Frames that the network sees; and clips a second of one core (README.md, `data.py`: half of what
# two cores read). A clip of 128 frames was not measured: half of 32x2, which spans 64.
CLIPS = {
    "8x8": (8, {"mp4": 19.8, "records": 104.0}),
    "32x2": (32, {"mp4": 15.6, "records": 30.3}),
    "128x1": (128, {"mp4": 7.8, "records": 15.1}),
}
CROP, CHANNELS, FLOAT = 224, 3, 4


def count(depth, clip):
    """Counts NLI3D: multiply-adds and held values a clip, parameters, and norms."""
    import keras_nonlocal as knl
    from keras_nonlocal.models import flops

    model = knl.NLI3D(depth=depth, input_shape=(CLIPS[clip][0], CROP, CROP, CHANNELS))
    values = 0
    for layer in model.layers:
        values += math.prod(layer.output.shape[1:])
        if hasattr(layer, "g"):  # A non-local block: theta, phi, g, the mean, and the weights.
            _, queries, keys = layer.compute_output_shape(layer.input.shape, True)[1]
            values += 2 * (queries + keys) * layer.g.filters
            values += min(queries * keys, layer.memory_budget // FLOAT)
    return {
        "multiply_adds": flops.count_multiply_adds(model),
        "values": values,
        "parameters": flops.count_parameters(model),
        "norms": sum("norm" in layer.name for layer in model._flatten_layers(include_self=False)),
    }


def print_step(counted):
    print("One training step, for each clip of it:\n")
    print("| NLI3D | GFLOPs forward | GFLOPs in all | activations, float32 (bf16) | input |")
    print("|---|---|---|---|---|")
    for (depth, clip), c in counted.items():
        forward = 2 * c["multiply_adds"] / 1e9
        pixels = CLIPS[clip][0] * CROP * CROP * CHANNELS
        held = FLOAT * c["values"] / 1e9
        print(
            f"| R{depth}, {clip} | {forward:,.0f} | {3 * forward:,.0f} | "
            f"{held:.1f} GB ({held / 2:.1f} GB) | {FLOAT * pixels / 1e6:.0f} MB |"
        )
    print("\nand once, whatever the batch:\n")
    print("| NLI3D | parameters | gradients, float32 | a GPU of 8, of 64, of 1024 sends |")
    print("|---|---|---|---|")
    for depth in sorted({depth for depth, _ in counted}):
        c = counted[depth, "8x8"]
        size = FLOAT * c["parameters"]
        sent = ", ".join(f"{ring_bytes(n, size) / 1e6:.0f}" for n in (8, 64, 1024))
        print(f"| R{depth} | {c['parameters'] / 1e6:.1f} M | {size / 1e6:.0f} MB | {sent} MB |")


def ring_bytes(count, size):
    """Bytes that each of `count` sends to sum `size` bytes over all of them in a ring."""
    return 2 * (count - 1) / count * size


def exchange_seconds(gpus, size, o):
    """Sums inside each node, then between nodes, whose GPUs share its network."""
    inside, nodes = min(gpus, o.gpus_a_node), math.ceil(gpus / o.gpus_a_node)
    seconds = ring_bytes(inside, size) / (o.nvlink * 1e9) + ring_bytes(nodes, size) / (
        o.network * 1e9
    )
    return seconds + 2 * math.log2(gpus) * o.latency * 1e-6


def print_limits(counted, o):
    print(
        f"\nAssumed: {o.teraflops:g} TFLOP/s sustained a GPU; {o.clips_a_gpu} clips a GPU at 8x8, "
        f"as many frames at the others, 1 clip at least; {o.gpus_a_node} GPUs a node; {o.cores} "
        f"cores a GPU that read; {o.nvlink:g} GB/s between the GPUs of a node, {o.network:g} GB/s "
        f"between nodes, {o.latency:g} microseconds a hop; nothing overlaps.\n"
    )
    print(
        "| NLI3D | GPUs | global batch | computing | gradients | norms | reading mp4 (records) "
        "| efficiency | limit |"
    )
    print("|---" * 9 + "|")
    for (depth, clip), c in counted.items():
        frames, rates = CLIPS[clip]
        clips = max(o.clips_a_gpu * 8 // frames, 1)
        for gpus in (8, 64, 1024):
            computing = clips * 6 * c["multiply_adds"] / (o.teraflops * 1e12)
            gradients = exchange_seconds(gpus, FLOAT * c["parameters"], o)
            # One small sum forward and one backward for each, one after the other.
            norms = 2 * c["norms"] * exchange_seconds(gpus, FLOAT * 512, o)
            reading = {kind: clips / (o.cores * rate) for kind, rate in rates.items()}
            step = computing + gradients + norms
            limit = "computing"
            if computing < gradients + norms:
                limit = "exchange"
            if reading["mp4"] > step:
                limit = "reading mp4" if reading["records"] <= step else "reading"
            ms = [f"{1000 * t:.0f}" for t in (computing, gradients, norms, *reading.values())]
            print(
                f"| R{depth}, {clip} | {gpus} | {clips * gpus} | {ms[0]} ms | {ms[1]} ms | "
                f"{ms[2]} ms | {ms[3]} ms ({ms[4]}) | {computing / step:.0%} | {limit} |"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--teraflops", type=float, default=60, help="that a GPU sustains; 60 (assumed)")
    add("--clips-a-gpu", type=int, default=8, help="of 8 frames; 8, as the paper")
    add("--gpus-a-node", type=int, default=8, help="8")
    add("--nvlink", type=float, default=200, help="GB/s of a sum inside a node; 200")
    add("--network", type=float, default=25, help="GB/s of a node, both ways; 25, 200 Gbit/s")
    add("--latency", type=float, default=10, help="microseconds a hop; 10")
    add("--cores", type=int, default=12, help="that read clips, a GPU; 12")
    add("--measure", action="store_true", help="one process and two, on this machine")
    add("--rounds", type=int, default=5, help="of the measurement; 5")
    options = parser.parse_args()
    if options.measure:
        from scale_measured import measure

        os.environ["KERAS_BACKEND"] = "jax"
        print(describe_machine("keras", "jax", "jaxlib"), "\n")
        measure(options.rounds)
        return
    print(describe_machine("keras"), "\n")
    counted = {(depth, clip): count(depth, clip) for depth in (50, 101) for clip in CLIPS}
    print_step(counted)
    print_limits(counted, options)


if __name__ == "__main__":
    main()

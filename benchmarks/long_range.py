"""Trains small networks on a made task that needs two far places at once: the paper's Table 2 axes.

    python benchmarks/long_range.py [--seeds 1 2 3] [--steps 500 1500] [--rows C2D I3D ...]

A clip is noise. For two of its eight frames it shows a patch in one of eight colours; from five
frames after that one began, a second patch, half the picture away along both axes. Do both have
the same colour? Either patch alone says nothing: its colour, place and time have the same
distribution under both answers, and no frame holds both patches.

All networks share their depth, width, optimizer, rate, steps and clips, which are made as training
goes on and never repeat; the test clips are drawn apart. Each result is appended to `--results` as
soon as it is there, and what is there is not trained again: a run may be cut and started again, or
shared by processes with different `--rows`. The table and the picture are made of the whole file;
delete it after changes to the task.
"""

import argparse
import csv
import itertools
import os
import pathlib
import statistics
import time

import keras
import numpy as np

import keras_nonlocal as knl

FRAMES, SIDE, PATCH = 8, 24, 8
SHOWN, GAP = 2, 5  # frames that a patch is shown for, and from the first one's start to the other's
NOISE = 0.5  # half the width of the uniform noise; colours are -1 or 1 in each channel
COLORS = np.array([[2 * (n >> bit & 1) - 1 for bit in range(3)] for n in range(8)], "float32")

BATCH, RATE, TEST_CLIPS = 16, 4e-3, 2048

# Where each network gets non-local blocks, and their arguments.
ROWS = {
    "C2D": ("C2D", (), {}),
    "I3D": ("I3D", (), {}),
    "NL C2D": ("C2D", ("res3_0",), {}),
    "NL I3D": ("I3D", ("res3_0",), {}),
    "gaussian": ("C2D", ("res3_0",), {"mode": "gaussian"}),
    "dot product": ("C2D", ("res3_0",), {"mode": "dot_product"}),
    "concatenation": ("C2D", ("res3_0",), {"mode": "concatenation"}),
    "res2": ("C2D", ("res2_0",), {}),
    "res4": ("C2D", ("res4_0",), {}),
    "res5": ("C2D", ("res5_0",), {}),
    "2 blocks": ("C2D", ("res3_0", "res4_0"), {}),
    "5 blocks": ("C2D", ("res2_0", "res3_0", "res4_0", "res4_1", "res5_0"), {}),
    "5 blocks I3D": ("I3D", ("res2_0", "res3_0", "res4_0", "res4_1", "res5_0"), {}),
    "space": ("C2D", ("res3_0",), {"axes": "space"}),
    "time": ("C2D", ("res3_0",), {"axes": "time"}),
}
# The parts of the table: what a line is called there, and its row above.
TABLE = {
    "network": {
        "C2D": "C2D",
        "I3D": "I3D",
        "C2D, 1 block": "NL C2D",
        "I3D, 1 block": "NL I3D",
        "C2D, 5 blocks": "5 blocks",
        "I3D, 5 blocks": "5 blocks I3D",
    },
    "pairwise function": {
        "gaussian": "gaussian",
        "embedded gaussian": "NL C2D",
        "dot product": "dot product",
        "concatenation": "concatenation",
    },
    "stage": {"res2": "res2", "res3": "NL C2D", "res4": "res4", "res5": "res5"},
    "blocks": {"none": "C2D", "1": "NL C2D", "2": "2 blocks", "5": "5 blocks"},
    "axes": {"space": "space", "time": "time", "spacetime": "NL C2D"},
}


def draw_facts(rng, count):
    """Draws what the clips show, apart from noise.

    Args:
        rng: `numpy.random.Generator`.
        count: number of clips.

    Returns:
        labels, `(count,)`: 1 where both patches have one colour, in half of the clips; colors,
        `(count, 2)`: numbers of the colours of the first and the second patch; frames,
        `(count, 2)`: where they begin; corners, `(count, 2, 2)`: upper row and left column.
    """
    labels = rng.permutation(count) % 2
    first = rng.integers(len(COLORS), size=count)
    other = (first + rng.integers(1, len(COLORS), size=count)) % len(COLORS)
    colors = np.stack([first, np.where(labels == 1, first, other)], axis=1)
    begin = rng.integers(FRAMES - GAP - SHOWN + 1, size=count)
    half = SIDE // 2
    place = rng.integers(half - PATCH + 1, size=(count, 1, 2))
    quarter = rng.integers(2, size=(count, 1, 2))
    corners = place + half * np.concatenate([quarter, 1 - quarter], axis=1)
    return labels, colors, np.stack([begin, begin + GAP], axis=1), corners


def render(rng, colors, frames, corners):
    """Gives float32 clips, `(count, frames, height, width, channels)`, that show these facts."""
    clips = rng.random((len(colors), FRAMES, SIDE, SIDE, 3), dtype="float32")
    clips *= 2 * NOISE
    clips -= NOISE
    for clip, *patches in zip(clips, colors, frames, corners, strict=True):
        for color, begin, (row, column) in zip(*patches, strict=True):
            clip[begin : begin + SHOWN, row : row + PATCH, column : column + PATCH] += COLORS[color]
    return clips


def make_clips(seed, count):
    """Gives clips and labels, always the same ones for a seed (an int or several)."""
    rng = np.random.default_rng(seed)
    labels, *facts = draw_facts(rng, count)
    return render(rng, *facts), labels


class TrainingClips(keras.utils.PyDataset):
    """Batches that never repeat within a training."""

    def __init__(self, seed, steps):
        super().__init__()
        self.seed, self.steps = seed, steps

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        return make_clips((0, self.seed, step), BATCH)


def build(row):
    """Builds the small network of a row, the same for all rows but for what the row says."""
    network, places, options = ROWS[row]
    model = getattr(knl, network)(
        depth=(1, 1, 2, 1),
        width=8,
        input_shape=(FRAMES, SIDE, SIDE, 3),
        classes=2,
        classifier_activation=None,
        source="pyslowfast",
        dropout=0.0,
        include_preprocessing=False,
    )
    if not places:
        return model
    # No pooling of keys: the map of res5 is one place wide. From the authors' small kernels, normal
    # with 0.01, blocks wake up later.
    return knl.insert_non_local(
        model,
        after=[f"{place}_out" for place in places],
        pool_size=None,
        kernel_initializer="he_normal",
        **options,
    )


def train(row, seed, steps):
    """Gives the trained network of a row."""
    keras.utils.set_random_seed(seed)
    model = build(row)
    warmup = steps // 10
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=RATE, warmup_steps=warmup
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(TrainingClips(seed, steps), shuffle=False, verbose=0)
    return model


def measure(row, seed, steps):
    """Trains and tests once; gives one line of the file of results."""
    keras.backend.clear_session()
    start = time.process_time()
    model = train(row, seed, steps)
    loss, accuracy = model.evaluate(*make_clips((1,), TEST_CLIPS), batch_size=64, verbose=0)
    return {
        "row": row,
        "seed": seed,
        "steps": steps,
        "accuracy": round(accuracy, 4),
        "loss": round(loss, 4),
        "parameters": model.count_params(),
        "cpu_seconds": round(time.process_time() - start, 1),
    }


def read_results(path):
    """Gives `{(row, steps, seed): line}` of the trainings so far."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {
            (line["row"], int(line["steps"]), int(line["seed"])): line
            for line in csv.DictReader(file)
        }


def append_result(path, line):
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, line, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(line)


def accuracies(results):
    """Gives `{(row, steps): accuracies in percent, a seed each}`."""
    found = {}
    for (row, steps, _), line in sorted(results.items()):
        found.setdefault((row, steps), []).append(100 * float(line["accuracy"]))
    return found


def format_table(found):
    """Gives the table as markdown: the mean over seeds, the lowest and the highest."""
    budgets = sorted({steps for _, steps in found})
    heads = "".join(f" {steps} steps |" for steps in budgets)
    lines = [f"| | |{heads}", "|---|---|" + "---|" * len(budgets)]
    for part, names in TABLE.items():
        for name, row in names.items():
            cells = [_describe(found.get((row, steps), [])) for steps in budgets]
            lines.append(f"| {part} | {name} | {' | '.join(cells)} |")
            part = ""
    return "\n".join(lines)


def _describe(accuracies):
    if not accuracies:
        return "-"
    low, high = min(accuracies), max(accuracies)
    return f"{statistics.mean(accuracies):.1f} ({low:.1f} to {high:.1f})"


def plot(found, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        1,
        len(TABLE),
        figsize=(13, 4.2),
        sharey=True,
        width_ratios=[len(names) for names in TABLE.values()],
    )
    budgets = sorted({steps for _, steps in found})
    width = 0.8 / len(budgets)
    for panel, (part, names) in zip(panels, TABLE.items(), strict=True):
        for number, steps in enumerate(budgets):
            for place, row in enumerate(names.values()):
                mine = found.get((row, steps), [])
                x = [place + (number - (len(budgets) - 1) / 2) * width] * len(mine)
                # A bar up to the mean, and a dot for each seed.
                mean = [statistics.mean(mine)] if mine else []
                panel.bar(x[: len(mean)], mean, width, color=f"C{number}", alpha=0.35)
                panel.plot(x, mine, "o", color=f"C{number}", markersize=4)
            panel.plot([], [], "o", color=f"C{number}", label=f"{steps} steps")
        panel.axhline(50, color="tab:red", linestyle="--", linewidth=1)
        panel.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
        panel.set_title(part)
        panel.grid(axis="y", alpha=0.3)
    panels[0].set_ylim(40, 102)
    panels[0].set_ylabel("test accuracy, %  (red: chance)")
    figure.tight_layout()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2, 3))
    parser.add_argument("--steps", type=int, nargs="+", default=(500, 1500), help="of a training")
    parser.add_argument("--rows", nargs="+", default=tuple(ROWS), choices=ROWS, metavar="ROW")
    parser.add_argument("--results", type=pathlib.Path, default=here / "long_range.csv")
    parser.add_argument("--plot", type=pathlib.Path, default=here / "long_range.png")
    arguments = parser.parse_args()
    from machine import describe_machine

    # These networks are too small for more cores; several processes may share the rows instead.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    print(describe_machine("keras", "tensorflow", "jax", "numpy"), flush=True)
    # Rows innermost: a run that is cut has compared all of them on the seeds that it finished.
    for steps, seed, row in itertools.product(arguments.steps, arguments.seeds, arguments.rows):
        if (row, steps, seed) not in read_results(arguments.results):
            line = measure(row, seed, steps)
            append_result(arguments.results, line)
            print(*line.values(), sep="  ", flush=True)
    results = read_results(arguments.results)
    minutes = sum(float(line["cpu_seconds"]) for line in results.values()) / 60
    found = accuracies(results)
    print(f"\n{format_table(found)}\n\n{len(results)} trainings, {minutes:.0f} minutes of one core")
    plot(found, arguments.plot)
    print(f"drawn: {arguments.plot}")


if __name__ == "__main__":
    main()

"""Learning curves and confusion matrices as PNG files."""

from matplotlib.figure import Figure

COLORS = ("#00798c", "#d1495b", "#edae49", "#66a182")


def draw_curves(curves, path):
    """Draws loss and accuracy over the epochs.

    Args:
        curves: dictionary from a network's name to what `workflow.fit` gives for it.
        path: PNG file to write.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axis, key in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for color, (name, epochs) in zip(COLORS, curves.items(), strict=False):
            x = range(1, len(epochs) + 1)
            validation = [epoch[f"val_{key}"] for epoch in epochs]
            axis.plot(x, [epoch[key] for epoch in epochs], ":", color=color)
            axis.plot(x, validation, "o-", ms=4, color=color, label=name)
        axis.set(xlabel="epoch", title=key)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        if key == "accuracy":
            axis.set_ylim(0, 1)
    title = "solid: held out, dotted: training (with its dropout and jitter)"
    figure.legend(
        *axis.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(curves),
        frameon=False,
        title=title,
        title_fontsize=9,
    )
    figure.savefig(path, dpi=110, format="png")


def draw_confusion(confusions, classes, path):
    """Draws confusion matrices side by side.

    Args:
        confusions: dictionary from a network's name to its counts `(classes, classes)`.
        classes: names of the classes.
        path: PNG file to write.
    """
    names = [name.replace("_", " ") for name in classes]
    side = 2.2 + 0.42 * len(classes)
    figure = Figure(figsize=(side * len(confusions), side), layout="constrained")
    grid = figure.subplots(1, len(confusions), sharey=True, squeeze=False)[0]
    for axis, (title, counts) in zip(grid, confusions.items(), strict=True):
        shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
        axis.imshow(shares, cmap="GnBu", vmin=0, vmax=1)
        for row in range(len(classes)):
            for column in range(len(classes)):
                if counts[row, column]:
                    color = "white" if shares[row, column] > 0.6 else "0.25"
                    text = f"{counts[row, column]}"
                    axis.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
        axis.set_xticks(range(len(classes)), names, rotation=45, ha="right", fontsize=8)
        axis.set_yticks(range(len(classes)), names, fontsize=8)
        axis.set(title=title, xlabel="network's answer")
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    grid[0].set_ylabel("what the video shows")
    figure.savefig(path, dpi=110, format="png")

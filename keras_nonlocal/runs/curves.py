"""The curves of a training: as CSV, as a picture, and for TensorBoard.

All three are made anew from the rows of the epochs, which checkpoints hold: after a kill they are
those of a training that was never killed, without a row twice.
"""

import csv
import importlib.util
import io
import os

from keras_nonlocal.files import atomic_write

# `DataClass.DATA_CLASS_SCALAR` of TensorFlow's summary.proto.
_SCALAR = 1


def write_csv(path, rows):
    """Writes one line an epoch, whole or not at all.

    Args:
        path: of the file.
        rows: list of dicts, one an epoch, of names to numbers. Numbers are written so that reading
            them gives the same bits.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, ["epoch", *names], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(rows, 1))
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def read_csv(path):
    """Gives back the rows of `write_csv`."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: float(v) for k, v in row.items() if k != "epoch" and v} for row in rows]


def can_draw():
    """Whether matplotlib, of the extra `viz`, is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_png(path, rows):
    """Draws each metric over the epochs, that of the training data and of validation together.

    Args:
        path: of the file.
        rows: as for `write_csv`.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    if not can_draw():
        raise ImportError(
            "Drawing needs matplotlib. Install it with `pip install keras_nonlocal[viz]`."
        )
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(name.removeprefix("val_") for row in rows for name in row))
    figure = Figure(figsize=(4 * len(names), 3), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            points = [(epoch, row[key]) for epoch, row in enumerate(rows, 1) if key in row]
            if points:
                # Points, as one epoch alone makes no line.
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if any(f"val_{name}" in row for row in rows):
            axes.legend()
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=100)


class TensorBoardCurves:
    """Event files for TensorBoard, with one point an epoch.

    TensorBoard draws the points of all files of a folder, and those of an epoch that ran twice
    would stand there twice. So the files of an earlier start are replaced by one with its rows.
    The package `tensorboard` is needed to look at them, not to write them.

    Args:
        folder: path, made if missing.
        rows: as for `write_csv`: of the epochs before.
    """

    def __init__(self, folder, rows=()):
        import tensorflow as tf

        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(folder):
            if "tfevents" in name:
                os.remove(os.path.join(folder, name))
        self._writer = tf.summary.create_file_writer(str(folder))
        for epoch, row in enumerate(rows, 1):
            self.add(epoch, row)

    def add(self, epoch, row):
        """Adds the row of an epoch, counted from 1, and brings it to the disk."""
        import tensorflow as tf

        # `tf.summary.scalar` would need the package tensorboard for these three lines.
        kind = tf.compat.v1.SummaryMetadata
        plugin = kind.PluginData(plugin_name="scalars")
        metadata = kind(plugin_data=plugin, data_class=_SCALAR)
        with self._writer.as_default():
            for name, value in row.items():
                tf.summary.write(name, tf.constant(value, tf.float32), epoch, metadata)
        self._writer.flush()

    def close(self):
        """Closes the file."""
        self._writer.close()

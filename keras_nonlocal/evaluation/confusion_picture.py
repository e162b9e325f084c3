"""A picture of a confusion matrix that can be read for 2 classes and for 400."""

import contextlib
import io
import warnings

import numpy as np

# Classes up to which each cell has the number of its videos, and each row is well apart.
_FEW, _SOME = 24, 80
# Pixels of a cell, and of its name's letters.
_CELLS = {"few": (54, 13), "some": (26, 12), "many": (12, 9)}
_MARGIN, _HEAD, _BAR, _LEAST = 16, 46, 90, 130
_LETTERS_KEPT = 32


def draw_confusion(confusion, classes):
    """Draws which class was taken for which.

    A row is a class as it is, a column what it was taken for, a colour the share of the row's
    videos; up to 24 classes have the number of videos in each cell. The names of 400 classes can
    be read where the picture is shown pixel by pixel.

    Args:
        confusion: integers `(classes, classes)`, right class first.
        classes: names.

    Returns:
        The bytes of a PNG file.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    confusion = np.asarray(confusion)
    count = len(classes)
    kind = "few" if count <= _FEW else "some" if count <= _SOME else "many"
    cell, letters = _CELLS[kind]
    texts = [_shorten(name) for name in classes]
    side = max(count * cell, _LEAST)
    # At 72 dots an inch a point is a pixel.
    with _boxes_for_missing_glyphs():
        names = _widest(Figure(dpi=72), texts, letters) + 8
    width = _MARGIN + names + side + _BAR + _MARGIN
    height = _MARGIN + _HEAD + names + side + _MARGIN
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="white")
    left, bottom = _MARGIN + names, _MARGIN
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    videos = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, videos, out=np.zeros(confusion.shape), where=videos > 0)
    # Drawn by its root, a share of a few hundredths can be seen.
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    axes.set_axis_off()
    # Lines between the cells lead the eye from a name to its cells.
    edges = np.arange(count + 1) - 0.5
    for draw in (axes.hlines, axes.vlines):
        draw(edges, -0.5, count - 0.5, colors="0.9", linewidth=0.5 if kind == "many" else 1)
    # As ticks, 400 names take longer to draw.
    for number, text in enumerate(texts):
        middle = (number + 0.5) * side / count
        x, y = (left - 5) / width, (bottom + side - middle) / height
        figure.text(x, y, text, ha="right", va="center", fontsize=letters)
        x, y = (left + middle) / width, (bottom + side + 5) / height
        figure.text(x, y, text, ha="center", va="bottom", rotation=90, fontsize=letters)
    if kind == "few":
        for row, column in np.argwhere(confusion):
            ink = "white" if shares[row, column] > 0.4 else "black"
            text = f"{confusion[row, column]}"
            axes.text(column, row, text, color=ink, ha="center", va="center", fontsize=13)
    told = "rows: what a video shows\ncolumns: what it was taken for"
    figure.text(_MARGIN / width, 1 - _MARGIN / height, told, va="top", fontsize=13, color="0.25")
    place = (left + side + 14) / width, bottom / height, 12 / width, min(side, 220) / height
    bar = figure.add_axes(place)
    figure.colorbar(image, cax=bar, format="{x:.0%}", ticks=(0, 0.05, 0.25, 0.5, 1))
    bar.tick_params(labelsize=11, length=0)
    file = io.BytesIO()
    with _boxes_for_missing_glyphs():
        figure.savefig(file, format="png")
    return file.getvalue()


def _widest(figure, texts, letters):
    """Pixels that the widest of some texts takes."""
    line = figure.text(0, 0, "", fontsize=letters)
    widths = []
    # The letters of a name differ in width, but not that much.
    for text in sorted(texts, key=len)[-20:]:
        line.set_text(text)
        widths.append(line.get_window_extent().width)
    return max(widths)


# Names in a script that the font lacks become boxes; the tables have them.
@contextlib.contextmanager
def _boxes_for_missing_glyphs():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def _shorten(name):
    name = "".join(each if each.isprintable() else "?" for each in name)
    name = name if len(name) <= _LETTERS_KEPT else f"{name[: _LETTERS_KEPT - 1]}…"
    # A dollar sign in a name begins no formula.
    return name.replace("$", r"\$")

"""A picture of clips as the network will see them: a row a clip, its frames in order."""

import contextlib
import dataclasses
import importlib.util
import io
import warnings

import numpy as np

from keras_nonlocal import transforms
from keras_nonlocal.data.samplers import RandomClipSampler
from keras_nonlocal.prepare.survey import class_names, open_listed

# Frames in a row, of which a clip may have more, and the least pixels that a cell is given: three
# lines of text stand beside it.
_COLUMNS = 16
_CELL = 64
_LABEL, _HEAD, _MARGIN, _GAP, _ROW_GAP = 250, 50, 12, 2, 10
_LINE = 20
_SMALL = {"fontsize": 13, "color": "0.35"}


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnClip:
    """A clip as a training step would be given it, before normalisation.

    Args:
        number: of the video in its list.
        indices: int64 `(frames,)`, the numbers of its frames in the video.
        frames: uint8 `(frames, crop, crop, 3)`, RGB.
    """

    number: int
    indices: np.ndarray
    frames: np.ndarray


def check_matplotlib():
    """Raises an `ImportError` that tells the way out if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError(
            "Drawing needs matplotlib. Install it with `pip install keras_nonlocal[viz]`."
        )


def spread_over_classes(videos, numbers, count, seed=0):
    """Draws videos of as many classes as there is room for, and as evenly as they come.

    Args:
        videos: a `VideoList`.
        numbers: numbers of the videos to draw from.
        count: how many to draw; all are taken if there are no more.
        seed: integer; the same seed draws the same videos.

    Returns:
        A list of numbers, those of the first class first.
    """
    generator = np.random.default_rng(seed)
    numbers = np.asarray(numbers, np.int64)
    labels = videos.labels[numbers]
    waiting = []
    for label in range(len(videos.class_names)):
        shown = labels[:, label] > 0 if videos.multi_label else labels == label
        waiting.append(generator.permutation(numbers[shown]).tolist())
    drawn = {}
    while len(drawn) < count and any(waiting):
        for label in generator.permutation(len(videos.class_names)).tolist():
            if waiting[label] and len(drawn) < count:
                # A video of several classes stands for the first that draws it.
                drawn.setdefault(waiting[label].pop(), label)
    return sorted(drawn, key=lambda number: (drawn[number], number))


def draw_clips(videos, numbers, clip, crop=224, seed=0):
    """Takes a clip of each video as training does: at a random time, scale and place.

    Args:
        videos: a `VideoList`.
        numbers: of the videos to take clips of.
        clip: a `ClipSpec`, or a string such as `"8x8"`.
        crop: side of the square that the network sees, in pixels.
        seed: integer; the same seed draws the same clips.

    Returns:
        A list of `DrawnClip`, and a dictionary of number and reason of the videos that cannot be
        decoded.
    """
    sample = RandomClipSampler(clip)
    low, high = transforms.short_sides_of(crop)
    cut = transforms.random_crop(crop)
    clips, faults = [], {}
    for number in numbers:
        # Seeds of its own, so that a video's clip does not depend on which others are drawn.
        generator = np.random.default_rng((seed, number))
        try:
            video = open_listed(videos, number)
            info = video.info
            (indices,) = sample(info.frames, info.fps, generator, video.times)
            frames = video.decode(indices, int(generator.integers(low, high + 1)))
        except (OSError, ValueError) as fault:
            faults[number] = " ".join(str(fault).splitlines())
            continue
        seed_of_crop = generator.integers(2**31, size=2)
        clips.append(DrawnClip(number, indices, np.asarray(cut(frames, seed_of_crop))))
    return clips, faults


def draw_contact_sheet(videos, clips, title):
    """Draws clips below each other, each with its class, its file and its place in it.

    The frames stand there pixel by pixel, or each pixel several times where they are tiny. Of
    clips with more than 16 frames, at most 16 evenly spaced ones are shown.

    Args:
        videos: the `VideoList` that the clips are of.
        clips: list of `DrawnClip`, all of one size.
        title: text above them.

    Returns:
        The bytes of a PNG file.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if there are no clips.

    Example:

    ```python
    clips, _ = draw_clips(videos, spread_over_classes(videos, range(len(videos)), 12), "8x8")
    pathlib.Path("sheet.png").write_bytes(draw_contact_sheet(videos, clips, "8x8 clips"))
    ```
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    if not clips:
        raise ValueError("`clips` must hold a clip. Received: an empty list. Draw one or more.")
    num_frames, crop = clips[0].frames.shape[:2]
    shown = range(0, num_frames, -(-num_frames // _COLUMNS))
    times = -(-_CELL // crop)
    cell = crop * times
    left, top = _MARGIN + _LABEL, _MARGIN + _HEAD
    width = left + len(shown) * (cell + _GAP) + _MARGIN
    height = top + len(clips) * (cell + _ROW_GAP) + _MARGIN
    # At 72 dots an inch a point is a pixel.
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="white")

    def write(x, y, text, room, keep_end=False, **style):
        """Writes a line whose upper left corner is (x, y), in pixels from that of the sheet."""
        # A dollar sign in a name begins no formula.
        line = figure.text(x / width, 1 - y / height, "", va="top", parse_math=False, **style)
        _fill(line, text, room, keep_end)

    write(_MARGIN, _MARGIN, title, width - 2 * _MARGIN, fontsize=18)
    for column, frame in enumerate(shown):
        write(left + column * (cell + _GAP), top - 18, f"{frame + 1}", cell, **_SMALL)
    for row, clip in enumerate(clips):
        y = top + row * (cell + _ROW_GAP)
        names, path, place = _describe(videos, clip, room=(cell - 2 * _LINE) // _LINE)
        for line, name in enumerate(names):
            write(_MARGIN, y + line * _LINE, name, _LABEL - _MARGIN, fontsize=15, weight="bold")
        below = y + len(names) * _LINE
        write(_MARGIN, below, path, _LABEL - _MARGIN, keep_end=True, **_SMALL)
        write(_MARGIN, below + _LINE, place, _LABEL - _MARGIN, **_SMALL)
        for column, frame in enumerate(shown):
            picture = clip.frames[frame].repeat(times, axis=0).repeat(times, axis=1)
            x = left + column * (cell + _GAP)
            figure.figimage(picture, x, height - y - cell, origin="upper")
    return _as_png(figure)


def _describe(videos, clip, room):
    """The classes of a clip, in at most `room` texts; its file; its place in it."""
    names = class_names(videos, clip.number) or ["no class"]
    if len(names) > room:
        names = [*names[: room - 1], ", ".join(names[room - 1 :])]
    place = f"frames {clip.indices[0]} to {clip.indices[-1]}"
    if (np.diff(clip.indices) <= 0).any():
        place += ", some of them again"
    return names, videos.paths[clip.number], place


# Names in a script that the font lacks become boxes; the file's name tells them apart.
@contextlib.contextmanager
def _boxes_for_missing_glyphs():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


@_boxes_for_missing_glyphs()
def _fill(line, text, room, keep_end):
    """Gives a line of a figure as much of a text as there is room for, in pixels."""
    text = "".join(each if each.isprintable() else "?" for each in text)
    line.set_text(text)
    kept = len(text)
    while kept and line.get_window_extent().width > room:
        kept -= 1
        line.set_text(f"…{text[len(text) - kept :]}" if keep_end else f"{text[:kept]}…")


@_boxes_for_missing_glyphs()
def _as_png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()

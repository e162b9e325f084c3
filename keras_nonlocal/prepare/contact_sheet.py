"""A picture of clips as the model will see them: one row per clip, its frames in order."""

import dataclasses
import importlib.util
import io

import numpy as np

from keras_nonlocal import transforms
from keras_nonlocal.data.samplers import RandomClipSampler
from keras_nonlocal.data.source import ClipSource
from keras_nonlocal.prepare.inspect import class_names, open_listed

# Pixels, but for the columns: frames shown per clip.
_COLUMNS = 16
_LEAST_CELL = 64
_TEXT_WIDTH, _LINE = 250, 20
_HEADER, _MARGIN, _GAP, _ROW_GAP = 50, 12, 2, 10
_GRAY = (90, 90, 90)


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnClip:
    """A clip of the video `index` in a list: indices of its frames, and these as uint8 RGB."""

    index: int
    indices: np.ndarray
    frames: np.ndarray


def check_pillow():
    """Raises an `ImportError` that names the extra if Pillow is not installed."""
    if importlib.util.find_spec("PIL") is None:
        raise ImportError(
            'A contact sheet needs Pillow. Install it with `pip install "keras_nonlocal[viz]"`.'
        )


def spread_over_classes(videos, indices, count, seed=0):
    """Draws at most `count` of the videos with these indices, of as many classes as possible.

    Returns their indices, those of the first class first.
    """
    generator = np.random.default_rng(seed)
    indices = np.asarray(indices, np.int64)
    labels = videos.labels[indices]
    waiting = []
    for label in range(len(videos.class_names)):
        chosen = labels[:, label] > 0 if videos.multi_label else labels == label
        waiting.append(generator.permutation(indices[chosen]).tolist())
    drawn = {}
    while len(drawn) < count and any(waiting):
        for label in generator.permutation(len(videos.class_names)).tolist():
            if waiting[label] and len(drawn) < count:
                # A video of several classes counts for the first that draws it.
                drawn.setdefault(waiting[label].pop(), label)
    return sorted(drawn, key=lambda index: (drawn[index], index))


def draw_clips(videos, indices, clip, crop=224, seed=0):
    """Takes a clip of each video as training does: at a random time, scale and position.

    Args:
        videos: a `VideoList`.
        indices: of the videos to take clips of.
        clip: a `ClipSpec`, or a string such as `"8x8"`.
        crop: side of the square that the model sees, in pixels.
        seed: integer; the same seed draws the same clips.

    Returns:
        A list of `DrawnClip`, and a dictionary from the indices of videos that cannot be decoded to
        the reasons.
    """
    source = ClipSource(videos, RandomClipSampler(clip))
    low, high = transforms.short_sides_of(crop)
    cut = transforms.random_crop(crop)
    clips, faults = [], {}
    for index in indices:
        # A video's clip does not depend on which others are drawn.
        generator = np.random.default_rng((seed, index))
        try:
            video = open_listed(videos, index)
            (places,) = source.choose_frames(index, video, generator)
            frames = video.decode(places, int(generator.integers(low, high + 1)))
        except (OSError, ValueError) as fault:
            faults[index] = " ".join(str(fault).splitlines())
            continue
        seed_of_crop = generator.integers(2**31, size=2)
        clips.append(DrawnClip(index, places, np.asarray(cut(frames, seed_of_crop))))
    return clips, faults


def draw_contact_sheet(videos, clips, title):
    """Draws clips below each other, each with its classes, its file and its frames.

    Each pixel of a frame is one pixel of the sheet, or a square of them if the frames are tiny. Of
    clips with more than 16 frames, at most 16 evenly spaced ones are shown.

    Args:
        videos: the `VideoList` of the clips.
        clips: list of `DrawnClip`, all of one size.
        title: text above them.

    Returns:
        The bytes of a PNG file.

    Raises:
        ImportError: if Pillow is not installed.
        ValueError: if there are no clips.

    Example:

    ```python
    clips, _ = draw_clips(videos, spread_over_classes(videos, range(len(videos)), 12), "8x8")
    pathlib.Path("sheet.png").write_bytes(draw_contact_sheet(videos, clips, "8x8 clips"))
    ```
    """
    check_pillow()
    from PIL import Image, ImageDraw, ImageFont

    if not clips:
        raise ValueError("`clips` must hold a clip. Received: an empty list. Draw one or more.")
    num_frames, crop = clips[0].frames.shape[:2]
    shown = range(0, num_frames, -(-num_frames // _COLUMNS))
    times = -(-_LEAST_CELL // crop)
    cell = crop * times
    left, top = _MARGIN + _TEXT_WIDTH, _MARGIN + _HEADER
    width = left + len(shown) * (cell + _GAP) + _MARGIN
    height = top + len(clips) * (cell + _ROW_GAP) + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)

    def write(x, y, text, room, size=13, fill=_GRAY, keep_end=False):
        font = ImageFont.load_default(size)
        draw.text((x, y), _shorten(text, font, room, keep_end), fill, font)

    write(_MARGIN, _MARGIN, title, width - 2 * _MARGIN, 18, "black")
    for column, frame in enumerate(shown):
        write(left + column * (cell + _GAP), top - 18, f"{frame + 1}", cell)
    for row, clip in enumerate(clips):
        y = top + row * (cell + _ROW_GAP)
        names = class_names(videos, clip.index) or ["no class"]
        # The file and the frames take two more lines.
        lines = (cell - 2 * _LINE) // _LINE
        if len(names) > lines:
            names = [*names[: lines - 1], ", ".join(names[lines - 1 :])]
        for name in names:
            write(_MARGIN, y, name, _TEXT_WIDTH - _MARGIN, 15, "black")
            y += _LINE
        write(_MARGIN, y, videos.paths[clip.index], _TEXT_WIDTH - _MARGIN, keep_end=True)
        write(_MARGIN, y + _LINE, describe_frames(clip.indices), _TEXT_WIDTH - _MARGIN)
        for column, frame in enumerate(shown):
            picture = Image.fromarray(clip.frames[frame]).resize((cell, cell), Image.NEAREST)
            y = top + row * (cell + _ROW_GAP)
            sheet.paste(picture, (left + column * (cell + _GAP), y))
    file = io.BytesIO()
    sheet.save(file, "png")
    return file.getvalue()


def describe_frames(indices):
    """Returns which frames of a video a clip shows, such as `"frames 0 to 32, some repeated"`."""
    text = f"frames {min(indices)} to {max(indices)}"
    if len(set(indices)) < len(indices):
        return f"{text}, some repeated"
    return text if (np.diff(indices) > 0).all() else f"{text}, wrapped around"


def _shorten(text, font, room, keep_end):
    """Returns as much of a text as fits, in pixels, with an ellipsis for the rest."""
    text = "".join(each if each.isprintable() else "?" for each in text)
    shortened, kept = text, len(text)
    while kept and font.getlength(shortened) > room:
        kept -= 1
        shortened = f"…{text[len(text) - kept :]}" if keep_end else f"{text[:kept]}…"
    return shortened

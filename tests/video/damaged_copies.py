"""Damages copies of a video, and tells what reading each of them gives: a line of JSON a copy.

    python damaged_copies.py FIRST_SEED END_SEED VIDEO...

A process of its own, as a decoder that crashes takes its process along.
"""

import json
import os
import sys
import tempfile

import numpy as np

from keras_nonlocal.video.open import open_video

SHORT_SIDE = 96


def flip_bits(content, start, end, generator):
    for place in generator.integers(64, len(content), int(generator.integers(1, 20))):
        content[place] ^= 1 << int(generator.integers(8))


def overwrite_headers(content, start, end, generator):
    # Some formats have theirs in front, some at the end.
    edges = np.r_[: min(2048, len(content)), max(len(content) - 8192, 0) : len(content)]
    for place in generator.choice(edges, int(generator.integers(1, 12))):
        content[place] = int(generator.integers(256))


def zero_range(content, start, end, generator):
    content[start:end] = bytes(end - start)


def cut_tail(content, start, end, generator):
    del content[int(len(content) * generator.uniform(0.05, 0.99)) :]


def cut_head(content, start, end, generator):
    del content[: end - start]


def remove_middle(content, start, end, generator):
    del content[start:end]


def swap_blocks(content, start, end, generator):
    middle = (start + end) // 2
    content[start:end] = content[middle:end] + content[start:middle]


def duplicate_range(content, start, end, generator):
    content[start:start] = content[start:end]


def append_garbage(content, start, end, generator):
    content += generator.bytes(end - start)


DAMAGES = (
    flip_bits,
    overwrite_headers,
    zero_range,
    cut_tail,
    cut_head,
    remove_middle,
    swap_blocks,
    duplicate_range,
    append_garbage,
)


def damage_copy(content, seed):
    """The damage that a seed stands for, done to a copy of `content`."""
    generator = np.random.default_rng(seed)
    damage = DAMAGES[seed % len(DAMAGES)]
    copy = bytearray(content)
    length = int(len(copy) * generator.uniform(0.002, 0.05)) + 2
    start = int(generator.integers(len(copy) - length))
    damage(copy, start, start + length, generator)
    return damage.__name__, bytes(copy)


def read_copy(path, seed):
    """Reads a clip, as training does, then all frames in turn; gives both and the error."""
    frames, error = {"clip": [], "all": []}, None
    video = open_video(path)
    try:
        count = video.info.frames
        start = int(np.random.default_rng(seed).integers(max(count - 15, 0) + 1))
        indices = (start + 2 * np.arange(8)) % count
        frames["clip"] = list(zip(indices.tolist(), video.decode(indices, SHORT_SIDE), strict=True))
    except (OSError, ValueError) as caught:
        error = str(caught)
    try:
        for number, frame in enumerate(video.iterate(SHORT_SIDE)):
            frames["all"].append((number, frame))
    except (OSError, ValueError) as caught:
        error = str(caught)
    return frames, error


def likeness(frame, originals, number):
    """PSNR in dB (100: equal), and the share of 8x8 blocks that turned a flat middle grey."""
    if number >= len(originals) or frame.shape != originals[number].shape:
        return 0.0, 1.0
    original = originals[number]
    if np.array_equal(frame, original):
        return 100.0, 0.0
    error = np.square(frame.astype(float) - original).mean()
    psnr = min(100.0, 10 * np.log10(255**2 / max(error, 1e-6)))
    return float(psnr), float((is_grey(frame) & ~is_grey(original)).mean())


def is_grey(frame):
    height, width = (side // 8 * 8 for side in frame.shape[:2])
    blocks = frame[:height, :width].astype(float).reshape(height // 8, 8, width // 8, 8, 3)
    mean, spread = blocks.mean((1, 3)), blocks.std((1, 3))
    return ((abs(mean - 128) < 8) & (spread < 2)).all(-1)


def report_copy(path, content, originals, seed, folder):
    """Damages a copy of a video, reads it and prints how its frames compare to the original's."""
    print(f"{path} seed {seed}", flush=True)
    damage, copy = damage_copy(content, seed)
    damaged = os.path.join(folder, f"{seed}{os.path.splitext(path)[1]}")
    with open(damaged, "wb") as file:
        file.write(copy)
    frames, error = read_copy(damaged, seed)
    likenesses = {
        part: [likeness(frame, originals, number) for number, frame in pairs]
        for part, pairs in frames.items()
    }
    report = {
        "video": path,
        "seed": seed,
        "damage": damage,
        "error": error,
        "names_file": error is None or damaged in error,
        "frames": len(originals),
        "grey": max((grey for pairs in likenesses.values() for _, grey in pairs), default=0.0),
        **{part: [psnr for psnr, _ in pairs] for part, pairs in likenesses.items()},
    }
    print(json.dumps(report), flush=True)


def main(first, end, *paths):
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            with open(path, "rb") as file:
                content = file.read()
            originals = list(open_video(path).iterate(SHORT_SIDE))
            for seed in range(int(first), int(end)):
                report_copy(path, content, originals, seed, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])

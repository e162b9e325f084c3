"""No damage makes a crash, a hang, or frames that the video does not hold."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.made_videos import REAL_CLIPS, moving_bars, write

from . import damaged_copies

ROOT = pathlib.Path(__file__).parents[2]
KINDS = {
    "h264.mp4": ("libx264", {"g": 12, "bf": 2}),
    "h264.mkv": ("libx264", {"g": 12, "bf": 2}),
    "mpeg4.avi": ("mpeg4", {"g": 12, "bf": 2}),
    "vp9.webm": ("libvpx-vp9", {"g": 12, "deadline": "realtime", "cpu-used": 8}),
}
# Damage that leaves all where it was may read as other valid pixels, which no decoder can tell. It
# is measured: a frame below 30 dB no longer looks like its original.
SAME_LENGTHS = ("flip_bits", "overwrite_headers", "zero_range", "swap_blocks")
# They are allowed in one copy of ten of tiny videos, where most flips hit something that matters.
ALIKE = 30
UNLIKE = 0.1


def read_copies(paths, seeds, limit):
    """What became of damaged copies; fails where reading one crashes or does not end."""
    numbers = [str(seeds.start), str(seeds.stop)]
    try:
        done = subprocess.run(
            [sys.executable, damaged_copies.__file__, *numbers, *map(str, paths)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired as hang:
        pytest.fail(f"reading does not end: {hang.stdout.decode().splitlines()[-1]}")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, f"{lines[-1:]} ended with {done.returncode}: {done.stderr[-999:]}"
    return [json.loads(line) for line in lines if line.startswith("{")]


def check_copies(copies, damages):
    """What must be true of all copies of a video; they are `damages` many."""
    assert len(copies) == damages
    for copy in copies:
        told = {key: copy[key] for key in ("seed", "damage", "error")}
        assert copy["names_file"], told
        # A header may say that a frame is hidden, and FFmpeg hides it.
        as_told = len(copy["all"]) == copy["frames"] or copy["damage"] == "overwrite_headers"
        assert copy["error"] or as_told, f"frames are missing: {told}"
        assert copy["grey"] < 0.02, f"a frame is grey: {told}"
        if copy["damage"] not in SAME_LENGTHS:
            assert worst_frame(copy) == 100, f"frames are others: {told}"
        if copy["damage"] == "append_garbage":
            assert not copy["error"], f"nothing is missing: {told}"
    unlike = [copy["seed"] for copy in copies if worst_frame(copy) < ALIKE]
    assert len(unlike) <= UNLIKE * damages, f"too many damaged frames pass, of seeds {unlike}"


def worst_frame(copy):
    return min(copy["clip"] + copy["all"], default=100)


@pytest.fixture(scope="module")
def small_copies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    for name, (codec, options) in KINDS.items():
        write(folder / name, moving_bars(24, 48, 64), codec, **options)
    return read_copies([folder / name for name in KINDS], range(36), limit=120)


@pytest.mark.parametrize("name", KINDS)
def test_damaged_copies_are_refused_or_read_alike(small_copies, name):
    copies = [copy for copy in small_copies if copy["video"].endswith(name)]
    check_copies(copies, damages=36)


@pytest.mark.slow
@pytest.mark.parametrize("path", REAL_CLIPS, ids=[path.name for path in REAL_CLIPS])
def test_damaged_copies_of_real_clips_are_refused_or_read_alike(path):
    check_copies(read_copies([path], range(50), limit=550), damages=50)


def test_no_file_stays_open(tmp_path, video):
    before = os.listdir("/proc/self/fd")
    for seed in range(200):
        path = tmp_path / f"{seed}.mp4"
        path.write_bytes(damaged_copies.damage_copy(video.read_bytes(), seed)[1])
        damaged_copies.read_copy(path, seed)
    assert os.listdir("/proc/self/fd") == before

"""What `prepare` writes, what it says of it, and how it ends."""

import os
import re

import pytest
import tensorflow as tf

from keras_nonlocal.commands import prepare
from keras_nonlocal.data.record_lists import read_records
from keras_nonlocal.video.open import probe_video
from tests.made_videos import moving_bars, write

from .conftest import run


@pytest.fixture(autouse=True)
def _gpus_stay(monkeypatch):
    """Leaves GPUs to the tests that come after."""
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda devices, kind: None)


@pytest.fixture
def source(folder):
    """Twelve videos in two classes."""
    for number in range(12):
        path = folder / "videos" / ("run", "jump")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, moving_bars(6, 48, 64))
    return folder / "videos"


def break_one(source):
    os.truncate(source / "run" / "2.mp4", 300)


def test_it_says_what_there_is_and_how_to_read_it(source, capsys):
    code, printed, noise = run(capsys, "prepare", "videos", "out")
    assert code == 0
    assert (
        re.sub(r"[\d.]+ kB", "SIZE", printed)
        == """\
Wrote out
  videos      12 of 2 classes
  frames      72
  files       12, SIZE
  left out    none

Clips of them in Python:

import keras_nonlocal as knl

videos = knl.data.read_records("out")
clips = knl.data.training_clips(videos, "8x8")
"""
    )
    assert noise.splitlines()[0] == "0 of 12 videos"
    assert noise.splitlines()[-1] == "12 of 12 videos"
    assert len(noise.splitlines()) <= 11


def test_the_python_that_it_prints_runs(source, capsys):
    _, printed, _ = run(capsys, "prepare", "videos", "out")
    names = {}
    exec(printed[printed.index("import") :].replace('"8x8"', '"2x2", size=32'), names)
    clips, labels = next(iter(names["clips"].dataset()))
    assert clips.shape == (8, 2, 32, 32, 3)
    assert names["videos"].class_names == ("jump", "run")


def test_options_decide_what_is_stored(source, capsys):
    words = ("--short-side", "24", "--shards", "3", "--quality", "50", "--fps", "12.5")
    assert run(capsys, "prepare", "videos", "out", *words)[0] == 0
    assert len(list((source.parent / "out").glob("*.tfrecord"))) == 3
    info = probe_video(read_records("out").paths[0])
    assert (info.height, info.width, info.frames, info.fps) == (24, 32, 3, 12.5)


def test_a_short_side_of_zero_keeps_the_size(source, capsys):
    assert run(capsys, "prepare", "videos", "out", "--short-side", "0")[0] == 0
    assert '"short_side": null' in (source.parent / "out" / "manifest.json").read_text()


def test_a_finished_folder_is_complete_already(source, capsys):
    _, first, _ = run(capsys, "prepare", "videos", "out")
    code, printed, noise = run(capsys, "prepare", "videos", "out")
    assert (code, noise) == (0, "")
    assert printed == first.replace("Wrote out", "Complete: out")


def test_other_options_are_refused_in_one_line(source, capsys):
    run(capsys, "prepare", "videos", "out")
    code, printed, noise = run(capsys, "prepare", "videos", "out", "--short-side", "24")
    assert (code, printed) == (1, "")
    assert re.fullmatch(r"keras-nonlocal: error: .*short_side was 256, is 24.*\n", noise)
    assert run(capsys, "prepare", "videos", "out", "--short-side", "24", "--overwrite")[0] == 0


def test_broken_videos_are_counted_and_named(source, capsys):
    break_one(source)
    code, printed, noise = run(capsys, "prepare", "videos", "out", "--max-broken", "0.1")
    assert code == 0
    assert "  videos      11 of 2 classes\n" in printed
    assert "  left out    1 broken\n" in printed
    assert re.search(r"\n  The video file 'run/2.mp4' cannot be read: ", printed)
    assert noise.splitlines()[-1] == "12 of 12 videos, 1 broken"


def test_many_broken_videos_are_not_all_printed(source, capsys, monkeypatch):
    monkeypatch.setattr(prepare, "_LINES", 1)
    break_one(source)
    os.truncate(source / "run" / "4.mp4", 300)
    _, printed, _ = run(capsys, "prepare", "videos", "out", "--max-broken", "1")
    assert printed.count("cannot be read") == 1
    assert "  and 1 more; out/manifest.json has all\n" in printed


def test_too_many_broken_videos_are_an_error(source, capsys):
    break_one(source)
    code, printed, noise = run(capsys, "prepare", "videos", "out")
    assert (code, printed) == (1, "")
    assert "keras-nonlocal: error: No more than `max_broken` (5%)" in noise


def test_raising_stops_at_the_first(source, capsys):
    break_one(source)
    code, _, noise = run(capsys, "prepare", "videos", "out", "--max-broken", "0")
    assert code == 1
    assert "2.mp4' cannot be read" in noise


@pytest.mark.parametrize("out", ["videos/out", "videos/run", "videos", "videos/../videos/x"])
def test_records_among_the_videos_are_refused(out, source, capsys):
    before = sorted(source.rglob("*"))
    code, _, noise = run(capsys, "prepare", "videos", out)
    assert code == 1
    assert "OUT must not be inside SOURCE." in noise
    assert sorted(source.rglob("*")) == before


def test_a_list_is_prepared_as_well(source, capsys):
    (source.parent / "list.csv").write_text("videos/run/0.mp4,0\nvideos/jump/1.mp4,1\n")
    assert run(capsys, "prepare", "list.csv", "out")[0] == 0
    assert len(read_records("out")) == 2


def test_an_array_job_ends_with_a_merge(source, capsys):
    run(capsys, "prepare", "videos", "expected", "--shards", "3")
    for index in range(2):
        code, printed, _ = run(
            capsys, "prepare", "videos", "out", "--shards", "3", "--shard", f"{index}/2"
        )
        assert code == 0
        assert printed.startswith(f"Wrote {2 - index} of 3 files to out\nAfter the last task: ")
        if not index:
            code, _, noise = run(capsys, "prepare", "videos", "out", "--shards", "3", "--merge")
            assert code == 1
            assert "1 of 3 shards are missing" in noise
    code, printed, _ = run(capsys, "prepare", "videos", "out", "--shards", "3", "--merge")
    assert code == 0
    assert printed.startswith("Complete: out\n  videos      12 of 2 classes\n")
    out, expected = (source.parent / name for name in ("out", "expected"))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in expected.iterdir()
    }


WRONG = {
    "out of range": (["--shard", "3/3"], 2, "must be I/N with 0 <= I < N, such as 0/64"),
    "no number": (["--shard", "3"], 2, "must be I/N"),
    "two ways": (["--shard", "0/3", "--merge"], 2, "not allowed with"),
    "overwriting a task": (["--shard", "0/3", "--overwrite"], 1, "--overwrite must not be given"),
    "overwriting a merge": (["--merge", "--overwrite"], 1, "--overwrite must not be given"),
}


@pytest.mark.parametrize("words, code, message", WRONG.values(), ids=WRONG)
def test_wrong_words_of_an_array_job_are_named(words, code, message, source, capsys):
    ended, _, noise = run(capsys, "prepare", "videos", "out", *words)
    assert ended == code
    assert message in noise
    assert not (source.parent / "out").exists()


def test_a_stop_by_hand_says_how_to_go_on(source, capsys, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "prepare_videos", stop)
    code, printed, noise = run(capsys, "prepare", "videos", "out")
    assert (code, printed) == (130, "")
    assert noise == "keras-nonlocal: error: Stopped. Run the same command again to continue.\n"


def test_a_terminal_gets_a_bar(source, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    break_one(source)
    _, _, noise = run(capsys, "prepare", "videos", "out", "--max-broken", "1")
    assert "12/12" in noise
    assert "1 broken" in noise
    assert "of 12 videos" not in noise


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0.0 kB"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (3e12, "3.0 TB")]
)
def test_sizes_are_in_units_that_fit(count, text):
    assert prepare._size(int(count)) == text

"""What `inspect` says of videos, what it writes, and how it ends."""

import csv
import dataclasses
import json
import os
import pathlib
import re

import numpy as np
import pytest

from keras_nonlocal.commands import inspect, sources
from keras_nonlocal.lists.path_lists import read_list
from keras_nonlocal.prepare import contact_sheet
from tests.made_videos import moving_bars, write

from .conftest import run


@pytest.fixture
def source(folder):
    """Five readable videos in two classes: three of 30 frames and two of 12, upright."""
    for name, frames in (
        ("run/1", 30),
        ("run/2", 30),
        ("run/3", 30),
        ("jump/1", 12),
        ("jump/2", 12),
    ):
        path = folder / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, moving_bars(frames, *((48, 64) if frames == 30 else (64, 48))))
    return folder / "videos"


def break_one(source):
    (source / "run" / "2.mp4").write_text("no video")


def test_the_facts_are_printed_in_columns(source, capsys):
    code, printed, noise = run(capsys, "inspect", "videos", "--clip", "4x4")
    assert (code, noise) == (0, "")
    assert (
        printed
        == """\
videos
  videos      5 of 2 classes
  unreadable  none
  too short   2 for a clip of 4x4, which repeats frames of them
  uneven      largest : smallest class = 3 : 2 videos; fewest: jump

                     least  median  most
  videos per class       2     2.5     3
  frames                12      30    30
  seconds             0.48     1.2   1.2
  frames per second     25      25    25

  height x width  videos
  48x64                3
  64x48                2

  codec  videos
  h264        5

  class  videos
  run         3
  jump        2

  too short
  videos/jump/1.mp4
  videos/jump/2.mp4
"""
    )


def test_a_broken_video_ends_with_one_and_is_named_in_a_line(source, capsys):
    break_one(source)
    code, printed, noise = run(capsys, "inspect", "videos", "--clip", "1x1")
    assert (code, noise) == (1, "")
    assert "  unreadable  1\n" in printed
    *_, heading, line = printed.splitlines()
    assert heading == "  unreadable"
    assert re.fullmatch(r"  .*'videos/run/2\.mp4' cannot be read: .+", line)
    assert "too short" not in printed


def test_the_json_holds_everything(source, capsys):
    break_one(source)
    code, printed, noise = run(capsys, "inspect", "videos", "--clip", "4x4", "--json")
    assert (code, noise) == (1, "")
    facts = json.loads(printed)
    assert facts["source"] == "videos"
    assert (facts["listed"], facts["looked_at"], facts["clip"]) == (5, 5, "4x4")
    assert facts["classes"] == {"jump": 2, "run": 3}
    assert facts["fewest"] == ["jump"]
    assert facts["videos_per_class"]["maximum"] == 3
    assert facts["frames"] == {"minimum": 12, "median": 21, "maximum": 30, "unknown": 0}
    assert facts["sizes"] == [
        {"height": 64, "width": 48, "videos": 2},
        {"height": 48, "width": 64, "videos": 2},
    ]
    assert facts["codecs"] == {"h264": 4}
    assert facts["shorter_than_clip"] == ["videos/jump/1.mp4", "videos/jump/2.mp4"]
    (fault,) = facts["broken"]
    assert fault["path"] == "videos/run/2.mp4"
    assert fault["path"] in fault["reason"]
    assert [video["path"] for video in facts["readable"]] == [
        f"videos/{name}.mp4" for name in ("jump/1", "jump/2", "run/1", "run/3")
    ]
    assert facts["readable"][2] == {
        "path": "videos/run/1.mp4",
        "classes": ["run"],
        "frames": 30,
        "fps": 25.0,
        "height": 48,
        "width": 64,
        "codec": "h264",
        "duration": pytest.approx(1.2),
        "pixel_aspect": 1.0,
    }


def test_nothing_in_a_name_moves_the_cursor(source, capsys):
    folder = source / "\x1b[2Jrun\r"
    folder.mkdir()
    (folder / "a\n\x07.mp4").write_text("no video")
    (source / "jump" / "1.mp4").rename(folder / "too short\b.mp4")
    code, printed, noise = run(capsys, "inspect", "videos")
    assert (code, noise) == (1, "")
    assert r"  \x1b[2Jrun\r  " in printed
    assert r"\x1b[2Jrun\r/too short\x08.mp4" in printed
    assert all(each.isprintable() for line in printed.split("\n") for each in line)


def test_long_lists_are_cut_and_counted(folder, capsys):
    for number in range(57):
        (folder / "videos" / f"{number:02}").mkdir(parents=True)
        (folder / "videos" / f"{number:02}" / "a.mp4").write_text("no video")
    code, printed, _ = run(capsys, "inspect", "videos")
    assert code == 1
    assert printed.count("\n  and 37 more; --json has all\n") == 2
    assert "frames                \n" not in printed
    _, printed, _ = run(capsys, "inspect", "videos", "--json")
    assert len(json.loads(printed)["broken"]) == 57


def test_the_smallest_classes_are_named_and_counted(folder, capsys):
    for number in range(9):
        (folder / "videos" / f"{number}").mkdir(parents=True)
        (folder / "videos" / f"{number}" / "a.mp4").write_text("no video")
    _, printed, _ = run(capsys, "inspect", "videos")
    assert "uneven" not in printed
    (folder / "videos" / "4" / "b.mp4").write_text("no video")
    (folder / "videos" / "4" / "c.mp4").write_text("no video")
    _, printed, _ = run(capsys, "inspect", "videos")
    line = "largest : smallest class = 3 : 1 videos; fewest: 0, 1, 2, 3, 5 and 3 more"
    assert f"  uneven      {line}\n" in printed


def test_videos_whose_pixels_are_not_square_are_counted_and_named(source, capsys, monkeypatch):
    survey_videos = inspect.survey_videos

    def survey(videos, *arguments):
        found = survey_videos(videos, *arguments)
        infos = list(found.infos)
        infos[1] = dataclasses.replace(infos[1], pixel_aspect=16 / 11)
        return dataclasses.replace(found, infos=tuple(infos))

    monkeypatch.setattr(inspect, "survey_videos", survey)
    code, printed, _ = run(capsys, "inspect", "videos", "--clip", "1x1")
    assert code == 0
    assert "  not square  1 have pixels that are not square; frames are not stretched\n" in printed
    assert "  not square: width / height of a pixel\n  1.455  videos/jump/2.mp4\n" in printed
    facts = json.loads(run(capsys, "inspect", "videos", "--json")[1])
    assert facts["non_square"] == [{"path": "videos/jump/2.mp4", "pixel_aspect": 16 / 11}]


def test_files_that_were_skipped_are_counted_and_named(source, capsys, monkeypatch):
    read_folder = sources.read_source

    def read_source(chosen):
        videos = read_folder(chosen)
        skipped = {".MTS": ["videos/run/a.MTS", "videos/run/b.MTS"], "no ending": ["videos/x"]}
        return dataclasses.replace(videos, skipped=skipped)

    monkeypatch.setattr(sources, "read_source", read_source)
    code, printed, _ = run(capsys, "inspect", "videos", "--clip", "1x1")
    assert code == 0
    text = "2 (.MTS), 1 (no ending); to read a file, name it in a list"
    assert f"  skipped     {text}\n" in printed
    assert "  skipped\n  videos/run/a.MTS\n  videos/run/b.MTS\n  videos/x\n" in printed
    facts = json.loads(run(capsys, "inspect", "videos", "--json")[1])
    assert facts["skipped"][".MTS"] == ["videos/run/a.MTS", "videos/run/b.MTS"]


def test_a_sample_is_drawn_by_its_seed(source, capsys):
    drawn = []
    for seed in "0", "0", "1":
        words = ["--sample", "2", "--seed", seed, "--json"]
        facts = json.loads(run(capsys, "inspect", "videos", *words)[1])
        assert (facts["listed"], facts["looked_at"], len(facts["readable"])) == (5, 2, 2)
        assert facts["classes"] == {"jump": 2, "run": 3}
        drawn.append([video["path"] for video in facts["readable"]])
    assert drawn[0] == drawn[1] != drawn[2]
    _, printed, _ = run(capsys, "inspect", "videos", "--sample", "2")
    assert "videos      5 of 2 classes, 2 of them opened\n" in printed


def test_deep_finds_what_a_probe_does_not(source, capsys):
    path = source / "run" / "1.mp4"
    content = bytearray(path.read_bytes())
    first, length = len(content) // 2, len(content) // 10
    content[first : first + length] = np.random.default_rng(0).bytes(length)
    path.write_bytes(content)
    assert run(capsys, "inspect", "videos")[0] == 0
    assert run(capsys, "inspect", "videos", "--deep")[0] == 1


def test_a_sheet_is_written_whole(source, capsys):
    words = ["--sheet", "sheet.png", "--rows", "3", "--crop", "64", "--clip", "4x2"]
    code, printed, noise = run(capsys, "inspect", "videos", *words)
    assert (code, noise) == (0, "")
    assert printed.endswith("\nWrote sheet.png, 3 clips\n")
    from PIL import Image

    with Image.open("sheet.png") as sheet:
        width, height = sheet.size
    # A margin, a head and three rows; a margin, the labels and four frames.
    assert height > 3 * 64
    assert width > 4 * 64
    assert sorted(path.name for path in source.parent.iterdir()) == ["sheet.png", "videos"]


def test_the_sheet_shows_the_clips_of_its_seed(source, capsys):
    sheets = []
    for seed in "0", "0", "1":
        words = ["--sheet", "sheet.png", "--crop", "64", "--clip", "4x2", "--seed", seed]
        run(capsys, "inspect", "videos", *words, "--overwrite")
        sheets.append((source.parent / "sheet.png").read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]


def test_a_sheet_of_nothing_is_told_and_not_written(folder, capsys):
    (folder / "videos" / "run").mkdir(parents=True)
    (folder / "videos" / "run" / "1.mp4").write_text("no video")
    code, printed, noise = run(capsys, "inspect", "videos", "--sheet", "sheet.png")
    assert code == 1
    assert "unreadable  1" in printed
    assert noise == (
        "keras-nonlocal: warning: sheet.png is not written, since no video can be read.\n"
    )
    assert not (folder / "sheet.png").exists()


def test_what_only_drawing_finds_broken_counts(source, capsys, monkeypatch):
    monkeypatch.setattr(contact_sheet, "draw_clips", lambda *_: ([], {4: "gone meanwhile"}))
    code, printed, _ = run(capsys, "inspect", "videos", "--sheet", "sheet.png")
    assert code == 1
    assert printed.endswith("  unreadable\n  gone meanwhile\n")


def test_a_full_disk_leaves_nothing(source, capsys, monkeypatch):
    def fail(path, data):
        with open(path, "wb") as file:
            file.write(data[:9])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", fail)
    words = ["--sheet", "sheet.png", "--crop", "32", "--clip", "2x2"]
    code, _, noise = run(capsys, "inspect", "videos", *words)
    assert (code, noise) == (1, "keras-nonlocal: error: [Errno 28] No space left on device\n")
    assert os.listdir() == ["videos"]


def test_the_list_holds_the_readable_videos(source, capsys):
    break_one(source)
    code, printed, noise = run(capsys, "inspect", "videos", "--write-list", "lists/good.csv")
    assert (code, noise) == (1, "")
    assert printed.endswith("\nWrote lists/good.csv, 4 videos\n")
    names = ["jump/1", "jump/2", "run/1", "run/3"]
    with open("lists/good.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "label"],
            *([str(source / f"{name}.mp4"), name[:-2]] for name in names),
        ]
    again = read_list("lists/good.csv")
    assert again.class_names == ("jump", "run")
    assert again.labels.tolist() == [0, 0, 1, 1]
    assert run(capsys, "inspect", "lists/good.csv")[0] == 0


def test_classes_that_lose_all_videos_are_told(source, capsys):
    for number in 1, 2:
        (source / "jump" / f"{number}.mp4").write_text("no video")
    code, _, noise = run(capsys, "inspect", "videos", "--write-list", "good.csv", "--json")
    assert code == 1
    assert re.fullmatch(
        r"keras-nonlocal: warning: good\.csv numbers the classes anew.*class_names=.*\n", noise
    )
    assert read_list("good.csv", class_names=["jump", "run"]).labels.tolist() == [1, 1, 1]


@pytest.mark.parametrize("option, name", [("--sheet", "a.png"), ("--write-list", "a.csv")])
def test_what_exists_is_kept_unless_overwriting_is_asked_for(option, name, source, capsys):
    (source.parent / name).write_text("mine")
    words = ["inspect", "videos", "--crop", "32", "--clip", "2x2", option, name]
    code, printed, noise = run(capsys, *words)
    assert (code, printed, (source.parent / name).read_text()) == (1, "", "mine")
    assert f"{name} exists already. Add --overwrite" in noise
    assert run(capsys, *words, "--overwrite")[0] == 0
    assert (source.parent / name).read_bytes() != b"mine"


FAILURES = {
    "no source": (["nowhere"], "nowhere"),
    "no clip": (["videos", "--clip", "8"], "must be written as frames x stride"),
    "no picture": (["videos", "--sheet", "a.jpg"], "--sheet must end in .png"),
    "no table": (["videos", "--write-list", "a.txt"], "--write-list must end in .csv"),
    "a list of a sample": (["videos", "--write-list", "a.csv", "--sample", "1"], "leave out"),
}


@pytest.mark.parametrize("words, message", FAILURES.values(), ids=FAILURES)
def test_failures_end_in_one_line_before_a_video_is_opened(
    words, message, source, capsys, monkeypatch
):
    monkeypatch.setattr(inspect, "survey_videos", lambda *_: pytest.fail("opened"))
    code, printed, noise = run(capsys, "inspect", *words)
    assert (code, printed) == (1, "")
    assert re.fullmatch(rf"(?i)keras-nonlocal: error: .*{re.escape(message)}.*\n", noise)


def test_without_pillow_nothing_is_begun(source, capsys, monkeypatch):
    def lack():
        raise ImportError("A contact sheet needs Pillow.")

    monkeypatch.setattr(contact_sheet, "check_pillow", lack)
    monkeypatch.setattr(inspect, "survey_videos", lambda *_: pytest.fail("opened"))
    code, _, noise = run(capsys, "inspect", "videos", "--sheet", "a.png")
    assert (code, noise) == (1, "keras-nonlocal: error: A contact sheet needs Pillow.\n")


WRONG = {"workers": "0", "sample": "-1", "rows": "many", "crop": "any", "seed": "-1"}


@pytest.mark.parametrize("option, value", WRONG.items(), ids=WRONG)
def test_wrong_numbers_end_with_two(option, value, capsys):
    code, printed, noise = run(capsys, "inspect", "videos", f"--{option}", value)
    assert (code, printed) == (2, "")
    assert re.fullmatch(rf"keras-nonlocal: error: argument --{option}: must be .*\n", noise)

"""The facts of a list of videos are those with which the videos were made."""

import os
import pathlib

import fsspec
import numpy as np
import pytest

from keras_nonlocal.data import VideoList, read_list
from keras_nonlocal.prepare import inspect
from tests.made_videos import moving_bars, write


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Readable videos: two of h264 and 25 fps, one lying and one upright; one of mpeg4."""
    root = tmp_path_factory.mktemp("made")
    write(root / "lying.mp4", moving_bars(50, 48, 64), g=10)
    write(root / "upright.mp4", moving_bars(20, 64, 48))
    write(root / "other.mkv", moving_bars(10, 48, 64), "mpeg4")
    return root


def listed(*paths, **fields):
    return VideoList(paths, [0] * len(paths), ["any"], **fields)


@pytest.fixture(scope="module")
def facts(made):
    paths = [made / name for name in ("lying.mp4", "upright.mp4", "other.mkv")]
    return inspect.survey_videos(listed(*paths), workers=2)


def test_each_video_is_probed_in_its_place(facts):
    frames = [(info.frames, info.height, info.width) for info in facts.infos]
    assert frames == [(50, 48, 64), (20, 64, 48), (10, 48, 64)]
    assert facts.readable == (0, 1, 2)
    assert facts.broken == ()


def test_sizes_and_codecs_are_counted_the_most_frequent_first(facts):
    assert list(facts.sizes.items()) == [((48, 64), 2), ((64, 48), 1)]
    assert list(facts.codecs.items()) == [("h264", 2), ("mpeg4", 1)]


SPREADS = {"frames": (10, 20, 50), "duration": (0.4, 0.8, 2.0), "fps": (25, 25, 25)}


@pytest.mark.parametrize("fact, expected", SPREADS.items(), ids=SPREADS)
def test_spreads_are_those_of_the_videos(fact, expected, facts):
    minimum, median, maximum, unknown = facts.spread(fact).values()
    assert (minimum, median, maximum) == pytest.approx(expected)
    assert unknown == 0


def test_what_a_folder_of_frames_does_not_tell_is_unknown(made, tmp_path):
    frame_folder(tmp_path / "frames", 5)
    facts = inspect.survey_videos(listed(made / "lying.mp4", tmp_path / "frames"))
    assert facts.spread("fps") == {"minimum": 25, "median": 25, "maximum": 25, "unknown": 1}
    assert facts.spread("frames") == {"minimum": 5, "median": 27.5, "maximum": 50, "unknown": 0}


def test_what_the_list_tells_of_a_folder_counts(tmp_path):
    frame_folder(tmp_path / "frames", 5)
    facts = inspect.survey_videos(listed(tmp_path / "frames", num_frames=[5], fps=10.0))
    assert (facts.infos[0].fps, facts.infos[0].duration) == (10, 0.5)


@pytest.mark.parametrize("num_frames, expected", [(None, 0), ([3, 7], 7)], ids=["none", "some"])
def test_a_listed_video_is_opened_with_what_the_list_tells(num_frames, expected, monkeypatch):
    monkeypatch.setattr(inspect, "open_video", lambda *arguments: arguments)
    videos = listed("a", "b", num_frames=num_frames, fps=12.0)
    assert inspect.open_listed(videos, 1) == ("b", expected, 12.0)


def frame_folder(path, frames):
    from PIL import Image

    path.mkdir()
    for number, picture in enumerate(moving_bars(frames, 48, 64)):
        Image.fromarray(picture).save(path / f"{number:05d}.jpg")


CLIPS = {"8x2": (2,), "8x3": (1, 2), "8x7": (1, 2), "8x8": (0, 1, 2), "1x1": ()}


@pytest.mark.parametrize("clip, expected", CLIPS.items(), ids=CLIPS)
def test_videos_shorter_than_a_clip_are_found(clip, expected, facts):
    # Clips of 8x2 span 15 frames, of 8x3 22, of 8x7 50, of 8x8 57; the videos have 50, 20 and 10.
    assert facts.shorter_than(clip) == expected


def test_a_target_rate_counts_in_what_is_too_short(facts):
    # At 50 frames a second a video of 25 is stepped through half as fast: 8x7 spans 25.5 frames.
    assert facts.shorter_than("8x7@50") == (1, 2)
    assert facts.shorter_than("8x7@12.5") == (0, 1, 2)


def _break_off(path, whole):
    path.write_bytes(whole.read_bytes()[:-400])


BREAKS = {
    "missing": lambda path, whole: None,
    "empty": lambda path, whole: path.write_bytes(b""),
    "no video": lambda path, whole: path.write_text("no video\n" * 100),
    "truncated": _break_off,
    "a pipe": lambda path, whole: os.mkfifo(path),
    "an empty folder": lambda path, whole: path.mkdir(),
}


@pytest.mark.parametrize("how", BREAKS.values(), ids=BREAKS)
def test_a_broken_video_is_named_and_the_others_are_surveyed(how, made, tmp_path):
    path = tmp_path / "broken.mp4"
    how(path, made / "lying.mp4")
    facts = inspect.survey_videos(listed(made / "lying.mp4", path, made / "other.mkv"))
    assert facts.readable == (0, 2)
    assert facts.infos[1] is None
    ((named, reason),) = facts.broken
    assert named == str(path)
    assert str(path) in reason
    assert facts.spread("frames")["maximum"] == 50


def test_reasons_take_one_line(made, monkeypatch):
    def fail(*_):
        raise ValueError("one\ntwo")

    monkeypatch.setattr(inspect, "open_listed", fail)
    facts = inspect.survey_videos(listed(made / "lying.mp4"))
    assert facts.faults == {0: "one two"}


def damage(whole, path):
    """Copies a file with noise in place of a tenth of its frames' bytes."""
    content = bytearray(whole.read_bytes())
    first, length = len(content) // 2, len(content) // 10
    content[first : first + length] = np.random.default_rng(0).bytes(length)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("deep", [False, True], ids=["probed", "deep"])
def test_damage_within_a_file_is_found_by_decoding_it(deep, made, tmp_path):
    path = damage(made / "lying.mp4", tmp_path / "damaged.mp4")
    facts = inspect.survey_videos(listed(path, made / "lying.mp4"), deep=deep)
    assert facts.readable == ((1,) if deep else (0, 1))


def test_more_faults_keep_the_order_and_the_others(facts):
    more = facts.with_faults({2: "gone"}).with_faults({0: "gone too"})
    assert more.readable == (1,)
    assert [pathlib.Path(path).name for path, _ in more.broken] == ["lying.mp4", "other.mkv"]
    assert facts.readable == (0, 1, 2)


def test_every_video_is_reported_once(made):
    calls = []
    paths = [made / "lying.mp4", made / "missing.mp4"] * 3
    inspect.survey_videos(listed(*paths), on_video=lambda: calls.append(1))
    assert len(calls) == 6


def test_more_videos_than_are_looked_at_at_a_time_stay_in_order(made):
    paths = [made / ("missing.mp4" if n % 700 else "other.mkv") for n in range(1402)]
    facts = inspect.survey_videos(listed(*paths))
    assert facts.readable == (0, 700, 1400)
    assert list(facts.faults) == [n for n in range(1402) if n % 700]


def test_classes_are_counted():
    videos = VideoList("abc", [2, 0, 2], ["jump", "run", "walk"])
    assert inspect.count_classes(videos) == (1, 0, 2)
    videos = VideoList("abc", [-1, 0, -1], ["jump", "run", "walk"])
    assert inspect.count_classes(videos) == (1, 0, 0)
    assert [inspect.class_names(videos, n) for n in range(3)] == [[], ["jump"], []]


def test_a_video_of_several_classes_counts_in_each():
    labels = [[1, 0, 1], [0, 0, 0], [1, 0, 0]]
    videos = VideoList("abc", labels, ["jump", "run", "walk"])
    assert inspect.count_classes(videos) == (2, 0, 1)
    assert inspect.class_names(videos, 0) == ["jump", "walk"]
    assert inspect.class_names(videos, 1) == []


def test_numbers_of_none_have_no_spread():
    assert inspect.spread_of([], unknown=3) == {
        "minimum": None,
        "median": None,
        "maximum": None,
        "unknown": 3,
    }


WRONG = {
    "no videos": ({"videos": VideoList([], [], [])}, "`videos` must hold a video"),
    "no workers": ({"videos": listed("a"), "workers": 0}, "`workers` must be at least 1"),
}


@pytest.mark.parametrize("arguments, message", WRONG.values(), ids=WRONG)
def test_unusable_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        inspect.survey_videos(**arguments)


def videos_at(folder, names, labels, classes):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return VideoList([folder / name for name in names], labels, classes)


LISTED_NAMES = {
    "plain": "a.mp4",
    "a comma": "a, b.mp4",
    "quotes": 'the "a".mp4',
    "spaces": "a b  c.mp4",
    "numbers": "a 1 2.mp4",
    "a number sign": "# a.mp4",
    "another script": "跑步.mp4",
}


@pytest.mark.parametrize("name", LISTED_NAMES.values(), ids=LISTED_NAMES)
def test_the_list_is_read_back(name, tmp_path):
    videos = videos_at(tmp_path, [name, "z.mp4"], [0, 1], ["jump, high", "run"])
    assert inspect.write_list(tmp_path / "list.csv", videos)
    again = read_list(tmp_path / "list.csv")
    assert again.paths == videos.paths
    assert again.class_names == videos.class_names
    assert again.labels.tolist() == [0, 1]


def test_relative_paths_are_written_from_the_root(tmp_path, monkeypatch):
    videos_at(tmp_path, ["a.mp4"], [0], ["run"])
    (tmp_path / "lists").mkdir()
    monkeypatch.chdir(tmp_path)
    assert inspect.write_list("lists/list.csv", VideoList(["a.mp4"], [0], ["run"]))
    assert read_list("lists/list.csv").paths == (str(tmp_path / "a.mp4"),)


OTHER_CLASSES = {
    "a class without videos": ([0, 2], ["a", "b", "c"]),
    "not by the alphabet": ([0, 1], ["b", "a"]),
}


@pytest.mark.parametrize("labels, classes", OTHER_CLASSES.values(), ids=OTHER_CLASSES)
def test_classes_that_are_read_otherwise_are_told(labels, classes, tmp_path):
    videos = videos_at(tmp_path, ["a.mp4", "b.mp4"], labels, classes)
    assert not inspect.write_list(tmp_path / "list.csv", videos)
    assert read_list(tmp_path / "list.csv", class_names=classes).labels.tolist() == labels


IMPOSSIBLE = {
    "spaces at an end": (["a.mp4 "], [0], ["run"]),
    "a line break": (["a\nb.mp4"], [0], ["run"]),
    "spaces around a class": (["a.mp4"], [0], ["run "]),
    "no UTF-8": ([os.fsdecode(b"a\xff.mp4")], [0], ["run"]),
    "several classes": (["a.mp4"], [[1, 1]], ["run", "jump"]),
}


@pytest.mark.parametrize("names, labels, classes", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_a_list_cannot_say_is_refused(names, labels, classes, tmp_path):
    videos = videos_at(tmp_path, names, labels, classes)
    with pytest.raises(ValueError, match="`videos` (cannot|must have)"):
        inspect.write_list(tmp_path / "list.csv", videos)


@pytest.mark.parametrize("unit", ["seconds", "frames"])
def test_a_written_list_keeps_segments_and_videos_without_labels(unit, tmp_path):
    (tmp_path / "a.mp4").touch()
    fsspec.filesystem("memory").pipe("/written/b.mp4", b"")
    videos = VideoList(
        [tmp_path / "a.mp4", tmp_path / "a.mp4", "memory://written/b.mp4"],
        [0, -1, 0],
        ["run"],
        segments=[(0, 4), (4, 9), (2, np.inf)],
        time_unit=unit,
    )
    assert inspect.write_list(tmp_path / "list.csv", videos)
    again = read_list(tmp_path / "list.csv")
    assert (again.paths, again.time_unit) == (videos.paths, unit)
    assert again.labels.tolist() == [0, -1, 0]
    np.testing.assert_array_equal(again.segments, videos.segments)


def test_events_are_refused_by_a_list(tmp_path):
    videos = VideoList([tmp_path / "a.mp4"], [0], ["run"], events=[[(0, 0, 1)]])
    with pytest.raises(ValueError, match="must have no events"):
        inspect.write_list(tmp_path / "list.csv", videos)


def test_records_are_refused(tmp_path):
    (tmp_path / "a.tfrecord").write_text("")
    videos = VideoList([f"{tmp_path}/a.tfrecord@0"], [0], ["run"])
    with pytest.raises(ValueError, match="`videos` cannot be written as a list"):
        inspect.write_list(tmp_path / "list.csv", videos)

"""Lists of a path and a label a row, in the forms of many projects."""

import functools
import http.server
import logging
import os
import threading

import fsspec
import numpy as np
import pytest

from keras_nonlocal.data import read_list
from tests.lists.annotation_files import (
    PATH_LABEL_LISTS,
    frame_list,
    frames,
    one_hot,
    touch,
    write,
)


@pytest.fixture
def root(tmp_path):
    """A folder with videos and folders of frames."""
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4", "my video.mp4", "x, y.mp4", "sub/d.webm")
    return frames(tmp_path, "clip1", "clip two")


def read(folder, text, **options):
    return read_list(write(folder / "list.txt", text), **options)


def names(videos, root):
    return [os.path.relpath(path, root) for path in videos.paths]


@pytest.mark.parametrize("text", PATH_LABEL_LISTS.values(), ids=PATH_LABEL_LISTS)
def test_read_list_knows_the_forms_of_others(root, text):
    videos = read(root, text)
    assert names(videos, root) == ["a.mp4", "b.mp4", "c.mp4"]
    assert videos.labels.tolist() == [1, 1, 0]
    assert videos.class_names == ("0", "1")
    assert videos.num_frames is None


def test_read_list_reads_raw_frames(root):
    videos = read(root, "clip1 2 1\nclip two 1 0\n")
    assert names(videos, root) == ["clip1", "clip two"]
    assert videos.num_frames.tolist() == [2, 1]
    assert videos.labels.tolist() == [1, 0]


def test_read_list_reads_folders_of_frames_without_their_length(root):
    videos = read(root, "clip1,1\nclip two/,0\n")
    assert names(videos, root) == ["clip1", "clip two"]
    assert videos.num_frames is None


@pytest.mark.parametrize(
    "text", ["my video.mp4 1\na.mp4 0\n", '"my video.mp4" 1\na.mp4 0\n', "my video.mp4,1\na.mp4,0"]
)
def test_read_list_reads_paths_with_spaces(root, text):
    videos = read(root, text)
    assert names(videos, root) == ["my video.mp4", "a.mp4"]
    assert videos.labels.tolist() == [1, 0]


@pytest.mark.parametrize("text", ['"x, y.mp4",1\na.mp4,0\n', "x, y.mp4\t1\n", "x, y.mp4 1"])
def test_read_list_reads_paths_with_commas(root, text):
    separator = " " if text.endswith(" 1") else None
    assert names(read(root, text, separator=separator), root)[0] == "x, y.mp4"


def test_read_list_keeps_names_that_begin_with_a_hash(root):
    touch(root, "#122_walk.avi")
    assert names(read(root, "# HMDB51\n#122_walk.avi 0\n"), root) == ["#122_walk.avi"]


def test_read_list_takes_relative_paths_from_its_folder_or_root(root):
    text = f"d.webm 0\n{root / 'a.mp4'} 0\n"
    expected = ["sub/d.webm", "a.mp4"]
    assert names(read(root / "sub", text), root) == expected
    assert names(read(root, text, root=root / "sub"), root) == expected


def test_read_list_works_from_the_current_folder(root, monkeypatch):
    write(root / "list.txt", "a.mp4 0\nsub/d.webm 0\n")
    monkeypatch.chdir(root)
    assert read_list("list.txt").paths == ("a.mp4", "sub/d.webm")


def test_read_list_numbers_names_in_alphabetical_order(root):
    videos = read(root, "a.mp4,riding a bike\nb.mp4,air drumming\nc.mp4,riding a bike\n")
    assert videos.class_names == ("air drumming", "riding a bike")
    assert videos.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "text", ["a.mp4 run\nb.mp4 jump", "a.mp4 2\nb.mp4 0"], ids=["name", "number"]
)
def test_read_list_takes_classes_as_given(root, text):
    write(root / "classes.txt", "jump\nfall\nrun\n")
    for classes in (["jump", "fall", "run"], root / "classes.txt"):
        videos = read(root, text, class_names=classes)
        assert videos.class_names == ("jump", "fall", "run")
        assert videos.labels.tolist() == [2, 0]


def test_read_list_takes_a_number_of_classes(root):
    videos = read(root, "a.mp4 3\n", class_names=400)
    assert len(videos.class_names) == 400
    assert videos.class_names[3] == "3"
    assert read(root, "b.mp4 5\n", class_names=videos.class_names).labels.tolist() == [5]


@pytest.mark.parametrize(
    ("columns", "text", "labels"),
    [
        ("path labels", "a.mp4 1\nb.mp4 0 2\nmy video.mp4 1 2", ([1], [0, 2], [1, 2])),
        ("path labels", "a.mp4,1\nb.mp4,0,2\nmy video.mp4,1,2", ([1], [0, 2], [1, 2])),
        ("path labels", 'a.mp4,1\nb.mp4,0;2\nmy video.mp4,""', ([1], [0, 2], [])),
        ("path labels", "a.mp4\t1\nb.mp4\t0 2\nmy video.mp4\t1,2", ([1], [0, 2], [1, 2])),
        (None, 'path,labels\na.mp4,1\nb.mp4,"0,2"\nmy video.mp4,2', ([1], [0, 2], [2])),
        (None, 'path,labels,x\na.mp4,1,y\nb.mp4,"0,2",y\nmy video.mp4,,y', ([1], [0, 2], [])),
        ("labels path", "1 a.mp4\n0,2 b.mp4\n2 my video.mp4", ([1], [0, 2], [2])),
    ],
    ids=["spaces", "commas", "semicolons", "tab", "header", "column", "first"],
)
def test_read_list_reads_several_labels(root, columns, text, labels):
    videos = read(root, text, columns=columns)
    assert names(videos, root) == ["a.mp4", "b.mp4", "my video.mp4"]
    assert videos.labels.tolist() == one_hot(*labels, classes=3)
    assert videos.labels.dtype == np.float32


def test_read_list_reads_several_names(root):
    videos = read(root, "a.mp4,run,air drumming\nb.mp4,jump\n", columns="path labels")
    assert videos.class_names == ("air drumming", "jump", "run")
    assert videos.labels.tolist() == one_hot([0, 2], [1], classes=3)


def test_read_list_reads_raw_frames_with_several_labels(root):
    videos = read(root, "clip1 2 1 2\nsub 5 0\n", columns="path length labels")
    assert videos.labels.tolist() == one_hot([1, 2], [0], classes=3)
    assert videos.num_frames.tolist() == [2, 5]


def test_read_list_follows_columns(root):
    videos = read(root, "a.mp4 300 1\nb.mp4 2 0\n", columns="path length label")
    assert videos.labels.tolist() == [1, 0]
    assert videos.num_frames is None
    assert read(root, "0,x,a.mp4\n", columns="label _ path").labels.tolist() == [0]


@pytest.mark.parametrize("text", ["a.mp4 3 5\nb.mp4 2 1", "a.mp4,3,5\nb.mp4,2,1"])
def test_read_list_reads_two_numbers_as_columns_say(root, text):
    assert read(root, text, columns="path length label").labels.tolist() == [5, 1]
    assert read(root, text, columns="path labels").labels[0].nonzero()[0].tolist() == [3, 5]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a.mp4 1\nb.mp4 0 2\n", 2),
        ("a.mp4 3 5\nb.mp4 2 1\n", 1),
        ("a.mp4 x 1\nb.mp4 y 1\n", 1),
        ("a.mp4,x,1\nb.mp4,y,1\n", 1),
        ("a.mp4 1\n\nb.mp4\n", 3),
        ("clip1 run\n", 1),
        ("clip1 2 1\nclip1 2 1 3\n", 2),
        ("clip1 0 2 1\nclip1 0 2 1\n", 1),
        ("a.mp4,1,2,3\nb.mp4,1,2,3", 1),
    ],
    ids=[
        "videos",
        "two_numbers",
        "name",
        "comma_name",
        "one_field",
        "folder_name",
        "frames",
        "offsets",
        "commas",
    ],
)
def test_read_list_does_not_guess_columns(root, text, line):
    with pytest.raises(ValueError, match=f"list.txt', line {line}: must be .*by `columns`"):
        read(root, text)


@pytest.mark.parametrize("columns", [None, "path label"], ids=["guessed", "named"])
@pytest.mark.parametrize("sign", [",", " "], ids=["comma", "space"])
def test_read_list_takes_no_unknown_header_for_a_video(root, sign, columns):
    text = "clip,verb\na.mp4,run\nb.mp4,jump\n".replace(",", sign)
    message = r"line 1: must .*Pass `columns` .*\{'clip': 'path', 'verb': 'label'\}"
    with pytest.raises(ValueError, match=message):
        read(root, text, missing="drop", columns=columns)
    videos = read(root, text, columns={"clip": "path", "verb": "label"})
    assert videos.class_names == ("jump", "run") and videos.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "a.mp4 1\nb.mp4 4oo\n",
            {"class_names": 400},
            "line 2, field 'label': must be a class number in \\[0, 400\\). Received: '4oo'",
        ),
        ("a.mp4 1\nb.mp4 400\n", {"class_names": 400}, "line 2.*\\[0, 400\\). Received: '400'"),
        ("a.mp4 1\nb.mp4 -2\n", {}, "line 2.*must be a class number.*Received: '-2'"),
        ("a.mp4,''\nb.mp4,''\n", {}, "line 1, field 'label': must name a class. Received: \"''\""),
        ("a.mp4 -1\n", {"columns": "path labels"}, "line 1.*class number.*Received: '-1'"),
        ("a.mp4 1\nb.mp4 1.0\n", {}, "line 2.*must be a class number.*Received: '1.0'"),
        ("a.mp4 1\nb.mp4 1600000000\n", {}, "line 2.*must be a class number in"),
        (
            "a.mp4 run\nb.mp4 jmp\n",
            {"class_names": ["jump", "run"]},
            "line 2.*must be the name of one of the 2 classes. Received: 'jmp'. .* is 'jump'",
        ),
        (
            "a.mp4 run\nb.mp4 xyz\n",
            {"class_names": ["jump", "run"]},
            "line 2.*Received: 'xyz'. The classes are 'jump', 'run'.",
        ),
        ("a.mp4,1\nb.mp4,\n", {}, "line 2, field 'label': must name a class. Received: ''"),
        ("a.mp4,1\n,1\n", {}, "line 2, field 'path': must name a video. Received: ''"),
        (f"clip1 {10**30} 1\n", {}, "line 1, field 'length': must be a number of frames"),
        ("a.mp4,1\nb.mp4,1,2\n", {}, "line 2: must have 2 fields, 'path label'. Received: 3"),
        (
            "clip1 x 1\n",
            {"columns": "path length label"},
            "line 1, field 'length': must be a number of frames. Received: 'x'",
        ),
        ('a.mp4,1\n"b.mp4,1\n', {}, "line 2: a field that begins with a double quote must end"),
    ],
    ids=[
        "text",
        "too_great",
        "negative",
        "quotes",
        "several_negative",
        "fraction",
        "time",
        "misspelled",
        "unknown",
        "empty_label",
        "empty_path",
        "endless",
        "three_fields",
        "length",
        "quote",
    ],
)
def test_read_list_names_line_and_field(root, text, options, message):
    with pytest.raises(ValueError, match=f"^'.*list.txt', {message}"):
        read(root, text, **options)


def test_read_list_counts_lines_as_an_editor_does(root):
    with pytest.raises(ValueError, match="line 6, field 'label'"):
        read(root, "\ufeff# videos\r\n\r\npath,label\r\na.mp4,1\r\n\r\nb.mp4,x\r\n")


@pytest.mark.parametrize(
    "data", [b"a.mp4 1\nb\xe9.mp4 1\n", b"a.mp4 1\nb\0.mp4 1\n"], ids=["latin1", "binary"]
)
def test_read_list_must_be_text(root, data):
    (root / "list.txt").write_bytes(data)
    with pytest.raises(ValueError, match="list.txt', line 2: must be text in UTF-8"):
        read_list(root / "list.txt")


def test_read_list_reads_text_of_windows(root):
    touch(root, "pel\u00edcula.mp4")
    (root / "list.txt").write_bytes("pel\u00edcula.mp4\t1\r\nb.mp4\t0\r\n".encode("utf-16"))
    videos = read_list(root / "list.txt")
    assert names(videos, root) == ["pel\u00edcula.mp4", "b.mp4"]
    assert videos.labels.tolist() == [1, 0]


def test_read_list_reads_names_of_all_languages(root):
    touch(root, "película.mp4")
    assert names(read(root, "película.mp4 0\n"), root) == ["película.mp4"]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "path,label\n"], ids=repr)
def test_read_list_needs_rows(root, text):
    with pytest.raises(ValueError, match="must list a video or more. Received: no rows"):
        read(root, text)


@pytest.mark.parametrize(("label", "alike"), [(1, "the same label"), (0, "another label")])
@pytest.mark.parametrize("again", ["a.mp4", "./a.mp4", "a"])
def test_read_list_refuses_a_video_a_second_time(root, again, label, alike):
    with pytest.raises(
        ValueError, match=f"line 3, field 'path'.*second time, and line 1 .*{alike}"
    ):
        read(root, f"a.mp4 1\nb.mp4 0\n{again} {label}\n")


def test_read_list_names_missing_videos(root):
    text = "a.mp4 0\n" + "".join(f"gone{n}.mp4 0\n" for n in range(4)) + "nowhere/e.mp4 0\n"
    with pytest.raises(
        FileNotFoundError,
        match="5 of the 6 videos that '.*list.txt' lists are not in .*: 'gone0.mp4', 'gone1.mp4', "
        "'gone2.mp4', ... .from line 2.*missing=\"drop\"",
    ):
        read(root, text)


def test_read_list_drops_missing_videos_and_says_so(root, caplog):
    with caplog.at_level(logging.WARNING, "keras_nonlocal"):
        videos = read(root, "gone.mp4 1\na.mp4 0\nb.mp4 2\n", missing="drop")
    assert names(videos, root) == ["a.mp4", "b.mp4"]
    assert videos.labels.tolist() == [0, 2]
    assert "1 of the 3 videos" in caplog.text
    assert "'gone.mp4' (from line 1). They are left out." in caplog.text


def test_read_list_drops_with_all_that_belongs_to_a_video(root):
    videos = read(root, "gone 7 1\nclip1 2 0\n", missing="drop")
    assert videos.num_frames.tolist() == [2]


def test_read_list_does_not_drop_all(root):
    with pytest.raises(FileNotFoundError, match="2 of the 2.*Give the folder that holds them"):
        read(root, "gone1.mp4 1\ngone2.mp4 0\n", missing="drop")


def test_read_list_looks_into_each_folder_once(root, monkeypatch):
    listed = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    monkeypatch.setattr(os.path, "exists", None)
    read(root, "a.mp4 0\nb.mp4 0\nsub/d.webm 0\nc.mp4 0\n")
    assert sorted(listed) == [str(root), str(root / "sub")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"missing": "ignore"},
            '`missing` must be "raise" or "drop". Received: missing=\'ignore\'',
        ),
        ({"separator": ", "}, "`separator` must be one character. Received: separator=', '"),
        ({"columns": "label"}, "`columns` must be 'path' and perhaps.*Received: columns=.'label'."),
        ({"columns": "path label labels"}, "Received: columns=\\['path', 'label', 'labels'\\]"),
        ({"columns": "path duration label"}, "Received: columns=\\['path', 'duration', 'label'\\]"),
        (
            {"class_names": ["x", "x"]},
            "`class_names` must not name a class twice. Received: 'x' twice",
        ),
    ],
    ids=["missing", "separator", "no_path", "label_and_labels", "unknown_word", "twice"],
)
def test_read_list_checks_its_arguments(root, options, message):
    with pytest.raises(ValueError, match=message):
        read(root, "a.mp4 0\n", **options)


def test_read_list_names_a_missing_list(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file '.*nowhere.csv'"):
        read_list(tmp_path / "nowhere.csv")


SEGMENTS = {
    "fractions": ("path,start,end,label\na.mp4,0.0,4.0,run\na.mp4,4.0,9.5,jump", {}, "seconds"),
    "names": ("path,start_sec,end_sec,label\na.mp4,0,4,run\na.mp4,4,9.5,jump", {}, "seconds"),
    "frames": ("video_id,start_frame,stop_frame,label\na,0,4,run\na,4,9,jump", {}, "frames"),
    "argument": ("path,start,end,label\na.mp4,0,4,run\na.mp4,4,9,jump", {"time_unit": "frames"}, 0),
    "columns": (
        "a.mp4 0 4 run\na.mp4 4 9 jump",
        {"columns": ("path", "start", "end", "label"), "time_unit": "seconds"},
        0,
    ),
    "dict": (
        "clip,from_,to,verb\na.mp4,0,4,run\na.mp4,4,9,jump",
        {
            "columns": {"clip": "path", "from_": "start", "to": "end", "verb": "label"},
            "time_unit": "frames",
        },
        0,
    ),
    "lengths": ("a.mp4 0 4 run\na.mp4 4 5 jump", {"columns": "path start length label"}, "frames"),
}


@pytest.mark.parametrize(("text", "options", "unit"), SEGMENTS.values(), ids=SEGMENTS)
def test_read_list_reads_segments(root, text, options, unit):
    videos = read(root, text, **options)
    assert names(videos, root) == ["a.mp4", "a.mp4"]
    assert [videos.class_names[n] for n in videos.labels] == ["run", "jump"]
    assert videos.segments.tolist() == [[0, 4], [4, 9.5 if "9.5" in text else 9]]
    assert videos.time_unit == (unit or options["time_unit"])
    assert videos.num_frames is None


def test_read_list_reads_segments_without_an_end(root):
    videos = read(root, "path,start,end\na.mp4,2.5,\nb.mp4,,3\nc.mp4,,\n", time_unit="seconds")
    assert videos.segments.tolist() == [[2.5, np.inf], [0, 3], [0, np.inf]]
    assert videos.labels.tolist() == [-1, -1, -1]


NO_SEGMENTS = {
    "unit": ("path,start,end\na.mp4,0,4", {}, "seconds or frames. Received: the unit is not said"),
    "contrary": (
        "path,start_frame,end_frame\na.mp4,0,4",
        {"time_unit": "seconds"},
        "must be known.*time_unit='seconds'",
    ),
    "two_units": ("path,start_frame,end_sec\na.mp4,0,4", {}, "the unit is frames and seconds"),
    "length": ("path,start_sec,length\na.mp4,0,4", {}, "must be known"),
    "end": ("path,start_frame,end_frame\na.mp4,4,4", {}, "line 2, field 'start'.*Received: '4 4'"),
    "text": ("path,start_sec,end_sec\na.mp4,0:10,0:20", {}, "line 2, field 'start'.*'0:10 0:20'"),
    "twice": (
        "path,start_sec,end_sec\na.mp4,1,4\na.mp4,2,4\na.mp4,1,4",
        {},
        "line 4.*a segment a second time, and line 2",
    ),
    "header": (
        "path,verb\na.mp4,run",
        {"missing": "drop"},
        "line 1: must name the column of the la",
    ),
    "word": ("a.mp4 1", {"time_unit": "ms"}, "`time_unit` must be"),
    "key": ("path,x\na.mp4,1", {"columns": {"clip": "path"}}, "keys of `columns`.*without 'clip'"),
}


@pytest.mark.parametrize(("text", "options", "message"), NO_SEGMENTS.values(), ids=NO_SEGMENTS)
def test_read_list_does_not_guess_segments(root, text, options, message):
    with pytest.raises(ValueError, match=message):
        read(root, text, **options)


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4\nmy video.mp4\nx, y.mp4\n",
        'path\na.mp4\nmy video.mp4\n"x, y.mp4"\n',
        ',path\n0,a.mp4\n1,my video.mp4\n2,"x, y.mp4"\n',
        "a.mp4\t-1\nmy video.mp4\t-1\nx, y.mp4\t-1\n",
    ],
    ids=["paths", "header", "pandas", "minus_1"],
)
def test_read_list_reads_videos_without_labels(root, text):
    videos = read(root, text)
    assert names(videos, root) == ["a.mp4", "my video.mp4", "x, y.mp4"]
    assert videos.labels.tolist() == [-1, -1, -1]
    assert videos.class_names == ()
    assert read(root, text, class_names=["x", "y"]).class_names == ("x", "y")


def test_read_list_reads_labels_of_some_videos(root):
    videos = read(root, "a.mp4 run\nb.mp4 -1\nc.mp4 jump\n")
    assert (videos.class_names, videos.labels.tolist()) == (("jump", "run"), [1, -1, 0])


def test_read_list_asks_for_the_separator_where_two_are_possible(root):
    text = 'path;labels,x\na.mp4;"0,2"\nb.mp4;"1,1"\n'
    with pytest.raises(ValueError, match="must have one separator. Received: ';' and ','"):
        read(root, text)


def test_read_list_keeps_names_with_backslashes(root):
    touch(root, "sub\\e.mp4", "sub/e.mp4")
    assert names(read(root, "sub\\e.mp4 0\nsub\\d.webm 1\n"), root) == ["sub\\e.mp4", "sub/d.webm"]


def test_read_list_reads_urls():
    system = fsspec.filesystem("memory")
    for name in ("a.mp4", "sub/d.webm"):
        system.pipe(f"/lists/videos/{name}", b"")
    system.pipe(
        "/lists/list.csv", b"path,label\na.mp4,run\nsub/d,jump\nmemory://lists/gone.mp4,run\n"
    )
    videos = read_list("memory://lists/list.csv", "memory://lists/videos", missing="drop")
    assert videos.paths == ("memory://lists/videos/a.mp4", "memory://lists/videos/sub/d.webm")
    assert videos.labels.tolist() == [1, 0]


def test_read_list_asks_web_servers_for_each_video(root):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            write(root / "list.txt", "sub/d.webm 1\ngone.mp4 0\n")
            videos = read_list(f"{url}/list.txt", missing="drop")
        finally:
            server.shutdown()
    assert videos.paths == (f"{url}/sub/d.webm",)


def test_frame_list_gives_folders_with_the_labels_of_all_frames(tmp_path):
    videos = read_list(frame_list(tmp_path))
    assert names(videos, tmp_path) == ["AO8RW", "YSKX3"]
    assert videos.labels.tolist() == one_hot([1, 3], [0], classes=4)
    assert videos.num_frames.tolist() == [3, 1]
    assert videos.time_unit == "frames"
    assert videos.events == (((1, 1, 3), (3, 2, 3)), ((0, 0, 1),))


def test_frame_list_events_are_the_labels_of_the_frames_of_a_clip(tmp_path):
    frames(tmp_path, "v")
    generator = np.random.default_rng(3)
    sizes = generator.integers(0, 4, 30)
    rows = [sorted(generator.choice(5, size, False).tolist()) for size in sizes]
    lines = [f'v 0 {n} v/{n}.jpg "{",".join(map(str, row))}"' for n, row in enumerate(rows)]
    header = "original_vido_id video_id frame_id path labels"
    text = "\n".join([header, *lines])
    videos = read_list(write(tmp_path / "list.csv", text), class_names=5)
    for first in range(30):
        for last in range(first, 30):
            expected = {label for row in rows[first : last + 1] for label in row}
            events = {n for n, start, end in videos.events[0] if start <= last and end > first}
            assert events == expected


def test_frame_list_takes_classes_and_root(tmp_path):
    path = frame_list(tmp_path / "frames")
    videos = read_list(path.rename(tmp_path / "list.csv"), tmp_path / "frames", class_names=157)
    assert videos.labels.shape == (2, 157)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("AO8RW 0 3 AO8RW/4.jpg", "line 6: must have the 5 fields .*Received: 4"),
        ('AO8RW 0 4 AO8RW/5.jpg "1"', "line 6, field 'frame_id': must count .*Received: '4'"),
        ('AO8RW 0 3 other/4.jpg "1"', "line 6, field 'path': must lie in the folder"),
        ('YSKX3 1 1 YSKX3/2.jpg "x"', "line 5, field 'labels'.*Received: 'x'"),
        ('GONE 2 0 GONE/1.jpg "1"', "1 of the 3 videos .*'GONE' .from line 6"),
    ],
    ids=["fields", "order", "folder", "label", "missing"],
)
def test_frame_list_names_what_is_wrong(tmp_path, row, message):
    path = frame_list(tmp_path)
    path.write_text(f"{path.read_text()}{row}\n")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_list(path)


def test_frame_list_without_labels_says_where_they_are(tmp_path):
    path = frame_list(tmp_path)
    path.write_text(
        path.read_text().replace('"1,3"', '""').replace('"1"', "''").replace('"0"', "''")
    )
    with pytest.raises(ValueError, match="Received: none in any row.*read_something_something"):
        read_list(path)

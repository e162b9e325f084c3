"""The report says what the scores say, for programs and for people."""

import csv
import html.parser
import io
import json
import re

import matplotlib.image
import numpy as np
import pytest

from keras_nonlocal.evaluation import Scores, fuse_scores, summarize, write_report
from keras_nonlocal.evaluation.confusion_picture import draw_confusion
from keras_nonlocal.evaluation.summary import confused_pairs, worst_mistakes

CLASSES = ("jump", 'run & "hide" <b>', "$x$ sit")


@pytest.fixture
def scores():
    """Right for videos 0, 2 and 5, wrong for 1 and 3; 4 was not read."""
    probabilities = np.array(
        [
            [0.7, 0.2, 0.1],
            [0.1, 0.5, 0.4],
            [0.2, 0.7, 0.1],
            [0.25, 0.6, 0.15],
            [np.nan, np.nan, np.nan],
            [0.1, 0.2, 0.7],
        ]
    )
    return Scores(
        [f"<{n}>.mp4" for n in range(6)],
        [0, 0, 1, 2, 2, 2],
        CLASSES,
        probabilities,
        unreadable={4: "<4>.mp4 has no frames & no end"},
        settings={"clip": "8x8"},
        made_of={"model": "12ab"},
        versions={"keras": "3.15"},
    )


@pytest.fixture
def several():
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0]])
    probabilities = np.array([[0.9, 0.1, 0.3], [0.8, 0.1, 0.7], [0.2, 0.1, 0.9], [np.nan] * 3])
    return Scores(list("abcd"), labels, CLASSES, probabilities, unreadable={3: "d is broken"})


def test_unreadable_videos_are_left_out_of_the_numbers_and_counted(scores):
    assert summarize(scores, top=(1, 2, 9)) == {
        "videos": 6,
        "unreadable": 1,
        "counted": 5,
        "top_1": 0.6,
        "top_2": 0.6,
        "mean_class_accuracy": pytest.approx((0.5 + 1 + 0.5) / 3),
    }


def test_unreadable_videos_may_count_as_wrong(scores):
    found = summarize(scores, top=(1, 3), unreadable="count_as_wrong")
    assert (found["counted"], found["top_1"], found["top_3"]) == (6, 0.5, pytest.approx(5 / 6))
    assert found["mean_class_accuracy"] == pytest.approx((0.5 + 1 + 1 / 3) / 3)


def test_several_classes_a_video_are_summed_up_by_average_precision(several):
    found = summarize(several)
    assert found["mean_average_precision"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    assert found["mean_average_precision_unlabelled_last"] == 1.0
    # The unreadable one shows class 0, and stands last.
    wrong = summarize(several, unreadable="count_as_wrong")["mean_average_precision"]
    assert wrong == pytest.approx(((1 + 2 / 4) / 2 + (1 / 2 + 2 / 3) / 2) / 2)


def test_pairs_and_mistakes_come_in_their_order(scores):
    assert confused_pairs([[5, 1, 0], [3, 9, 0], [0, 2, 1]], most=2) == [(1, 0, 3), (2, 1, 2)]
    assert worst_mistakes(scores) == [3, 1]


def test_tables_have_a_line_each(scores, tmp_path):
    write_report(tmp_path, scores)
    classes = list(csv.DictReader(io.StringIO((tmp_path / "per_class.csv").read_text())))
    assert [row["class"] for row in classes] == list(CLASSES)
    assert [row["videos"] for row in classes] == ["2", "1", "2"]
    assert [float(row["recall"]) for row in classes] == [0.5, 1.0, 0.5]
    videos = list(csv.DictReader(io.StringIO((tmp_path / "videos.csv").read_text())))
    assert [row["right"] for row in videos] == ["True", "False", "True", "False", "", "True"]
    assert videos[3]["predicted"] == CLASSES[1]
    assert float(videos[3]["probability"]) == pytest.approx(0.6)


def test_the_json_has_all_numbers_and_reasons(scores, tmp_path):
    returned = write_report(tmp_path, scores, title="Mine", unreadable="count_as_wrong")
    report = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert report["numbers"] == returned
    assert report["numbers"] == summarize(scores, unreadable="count_as_wrong")
    assert report["unreadable"] == [{"path": "<4>.mp4", "reason": "<4>.mp4 has no frames & no end"}]
    assert report["unreadable_videos_are"] == "count_as_wrong"
    assert report["confused"][0] == {"class": "jump", "predicted": CLASSES[1], "videos": 1}
    assert [row["path"] for row in report["mistakes"]] == ["<3>.mp4", "<1>.mp4"]
    assert (report["settings"], report["versions"]) == ({"clip": "8x8"}, {"keras": "3.15"})


def test_a_share_of_nothing_is_null(tmp_path):
    write_report(tmp_path, Scores(["a"], [0], ["jump", "run"], [[0.9, 0.1]]))
    text = (tmp_path / "report.json").read_text()
    row = json.loads(text, parse_constant=pytest.fail)["classes"][1]
    assert (row["recall"], row["precision"], row["videos"]) == (None, None, 0)


class Page(html.parser.HTMLParser):
    """The words of a page, its tags, and whether these are closed in their order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.links = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_needs_nothing_else(scores, tmp_path):
    write_report(tmp_path, scores, title="<script>alert(1)</script>")
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert page.tags.count("b") == 2  # the numbers, and no class
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)


def test_the_page_says_what_is_to_be_known(scores, tmp_path):
    write_report(tmp_path, scores)
    words = " ".join(Page((tmp_path / "report.html").read_text()).words)
    for expected in (
        "Over 5 of 6 videos, 3 classes",
        "1 of 6 videos could not be read and are left out of every number here",
        "60.0%",
        'run & "hide" <b>',
        "<3>.mp4",
        "<4>.mp4 has no frames & no end",
        "8x8",
        "3.15",
    ):
        assert expected in words


def test_the_page_of_several_classes_has_no_confusion(several, tmp_path):
    write_report(tmp_path, several)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "per_class.csv",
        "report.html",
        "report.json",
        "videos.csv",
    ]
    words = " ".join(Page((tmp_path / "report.html").read_text()).words)
    assert "mean average precision" in words
    assert "Confusion" not in words


def test_fused_scores_are_reported(scores, tmp_path):
    assert write_report(tmp_path, fuse_scores([scores, scores])) == summarize(scores)


@pytest.mark.parametrize("count, cell", [(1, 130), (2, 65), (24, 54), (80, 26), (150, 12)])
def test_the_picture_gives_each_class_its_room(count, cell):
    confusion = np.diag(np.arange(1, count + 1))
    picture = draw_confusion(confusion, [f"class {n}" for n in range(count)])
    pixels = matplotlib.image.imread(io.BytesIO(picture), format="png")[..., :3]
    # Of the darkest blue of the map, as every video of each class is right.
    dark = np.abs(pixels - [0.031, 0.188, 0.42]).max(axis=-1) < 0.02
    rows = np.flatnonzero(dark[:, :-90].sum(axis=1) > cell / 2)
    assert len(rows) == pytest.approx(count * cell, rel=0.12)


def test_names_of_any_script_and_length_are_drawn():
    names = ["走る", "\u202e\n$x^$", "a very long name of a class that says nothing" * 9]
    assert draw_confusion(np.eye(3, dtype=int), names).startswith(b"\x89PNG")


def test_other_ways_to_count_are_refused(scores):
    with pytest.raises(ValueError, match="`unreadable` must be one of 'leave_out', 'count_as_wr"):
        summarize(scores, unreadable="ignore")


def test_drawing_names_the_extra(scores, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install keras_nonlocal\[viz\]"):
        write_report(tmp_path, scores)

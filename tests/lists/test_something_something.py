"""The JSON files of Something-Something v2."""

import json
import os

import pytest

from keras_nonlocal.data import read_something_something
from tests.lists.annotation_files import something_something


def test_templates_are_classes_by_their_numbers(tmp_path):
    annotations, folder = something_something(tmp_path)
    videos = read_something_something(annotations, folder)
    assert [os.path.relpath(path, folder) for path in videos.paths] == ["78687.webm", "42326"]
    assert videos.class_names == ("Holding something", "Pushing something so that it spins")
    assert videos.labels.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["labels.json", "elsewhere.json"])
def test_labels_are_found_or_given(tmp_path, name):
    annotations, folder = something_something(tmp_path)
    (tmp_path / "something-something-v2-labels.json").rename(tmp_path / name)
    labels = None if name == "labels.json" else tmp_path / name
    assert len(read_something_something(annotations, folder, labels)) == 2


def test_labels_that_are_not_there_are_told(tmp_path):
    annotations, folder = something_something(tmp_path)
    (tmp_path / "something-something-v2-labels.json").unlink()
    with pytest.raises(FileNotFoundError, match="no something-something-v2-labels.json or labels"):
        read_something_something(annotations, folder)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [{"id": "78687"}],
            r"entry 1 \(id '78687'\), field 'template'.*test videos were published",
        ),
        (
            [{"id": "78687", "template": "Holding [somethin]"}],
            r"entry 1 \(id '78687'\), field 'template'.*nearest class is 'Holding something'",
        ),
        ([{"template": "Holding [something]"}], "entry 1, field 'id': must name a video"),
        (["78687"], "entry 1, field 'id': must name a video"),
        ({"Holding something": "0"}, "must hold a list of videos. Received: a dict"),
        ([], "must list a video or more"),
    ],
    ids=["test_set", "template", "no_id", "no_object", "labels", "empty"],
)
def test_entries_name_what_is_wrong(tmp_path, entries, message):
    annotations, folder = something_something(tmp_path)
    annotations.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=f"v2-train.json'.*{message}"):
        read_something_something(annotations, folder)


def test_broken_json_names_its_line(tmp_path):
    annotations, folder = something_something(tmp_path)
    annotations.write_text('[{"id": "1",\n "template" "x"}]')
    with pytest.raises(ValueError, match="v2-train.json', line 2: must be JSON.*delimiter.*column"):
        read_something_something(annotations, folder)


@pytest.mark.parametrize("labels", [["x"], {"x": "0", "y": "2"}, {"x": "zero"}], ids=str)
def test_labels_must_number_templates(tmp_path, labels):
    annotations, folder = something_something(tmp_path)
    (tmp_path / "something-something-v2-labels.json").write_text(json.dumps(labels))
    with pytest.raises(ValueError, match="labels.json' must number each template, from 0"):
        read_something_something(annotations, folder)


def test_missing_videos_are_dropped(tmp_path):
    annotations, folder = something_something(tmp_path)
    (folder / "78687.webm").unlink()
    with pytest.raises(FileNotFoundError, match=r"'78687' \(from entry 1 \(id '78687'\)\)"):
        read_something_something(annotations, folder)
    assert len(read_something_something(annotations, folder, missing="drop")) == 1

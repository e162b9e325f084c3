"""What stands at the final name is whole, whatever happens on the way."""

import os

import pytest

from keras_nonlocal.exporting.destination import check_destination, written_beside


def write(path, text):
    with written_beside(path) as written:
        written.write_text(text)


def test_a_file_takes_its_name_and_leaves_nothing_beside(tmp_path):
    write(tmp_path / "new" / "model.tflite", "whole")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.tflite"]
    assert (tmp_path / "new" / "model.tflite").read_text() == "whole"


def test_a_failure_keeps_what_stood_there(tmp_path):
    write(tmp_path / "model.tflite", "old")
    with (
        pytest.raises(OSError, match="disk full"),
        written_beside(tmp_path / "model.tflite") as new,
    ):
        new.write_text("half")
        raise OSError("disk full")
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]
    assert (tmp_path / "model.tflite").read_text() == "old"


def test_nothing_has_the_final_name_before_the_end(tmp_path):
    with written_beside(tmp_path / "model.tflite") as written:
        written.write_text("half")
        assert not (tmp_path / "model.tflite").exists()


def test_a_folder_replaces_a_folder(tmp_path):
    for name in ("saved_model.pb", "model.xml"):
        with written_beside(tmp_path / "model") as written:
            written.mkdir()
            (written / name).touch()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["model.xml"]


@pytest.mark.parametrize("name", ["thesis.txt", "1", "assets"])
def test_a_folder_that_is_no_export_is_never_replaced(name, tmp_path):
    path = tmp_path / "served"
    (path / name).mkdir(parents=True)
    if name != "assets":
        (path / "saved_model.pb").touch()
    held = set(os.listdir(path))
    message = rf"`path` must be an export, and nothing else.*holds '{name}', which would be lost"
    with pytest.raises(FileExistsError, match=message):
        check_destination(path, overwrite=True)
    with pytest.raises(FileExistsError, match=message), written_beside(path) as written:
        written.write_text("new")
    assert set(os.listdir(path)) == held
    assert [each.name for each in tmp_path.iterdir()] == ["served"]


def test_folders_made_for_an_export_that_fails_go_with_it(tmp_path):
    (tmp_path / "there").mkdir()
    for path in ("there/new/newer/model", "there/model"):
        with pytest.raises(OSError, match="disk full"), written_beside(tmp_path / path) as written:
            written.mkdir()
            raise OSError("disk full")
        assert [each.name for each in tmp_path.iterdir()] == ["there"]
        assert not list((tmp_path / "there").iterdir())


def test_a_link_that_leads_nowhere_stands_there(tmp_path):
    (tmp_path / "model").symlink_to("nowhere")
    with pytest.raises(FileExistsError, match="`path` must not exist yet"):
        check_destination(tmp_path / "model", overwrite=False)
    write(tmp_path / "model", "whole")
    assert (tmp_path / "model").read_text() == "whole" and not (tmp_path / "nowhere").exists()


def test_a_path_where_nothing_can_stand_is_refused(tmp_path):
    (tmp_path / "video.mp4").touch()
    with pytest.raises(NotADirectoryError, match=r"`path` must lie in a folder.*video.mp4' is a f"):
        check_destination(tmp_path / "video.mp4" / "new" / "x.tflite", overwrite=False)
    with pytest.raises(ValueError, match="`path` must name what is to be written"):
        check_destination("", overwrite=False)


@pytest.mark.parametrize("fault", [PermissionError(13, "in use"), KeyboardInterrupt("in use")])
@pytest.mark.parametrize("name", ["served", "replaced"])
def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(name, fault, tmp_path, monkeypatch):
    path = tmp_path / name
    path.mkdir()
    (path / "model.xml").touch()
    rename = os.replace

    def fail(source, target):
        if target == path and (source / "new").exists():
            raise fault
        rename(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(fault), match="in use"), written_beside(path) as written:
        written.mkdir()
        (written / "new").touch()
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert [each.name for each in path.iterdir()] == ["model.xml"]


def test_a_folder_may_have_any_name(tmp_path):
    for _ in range(2):
        with written_beside(tmp_path / "replaced") as written:
            written.mkdir()
    assert [each.name for each in tmp_path.iterdir()] == ["replaced"]


def test_a_taken_path_is_refused_unless_told(tmp_path):
    with pytest.raises(FileExistsError, match=r"`path` must not exist yet.*overwrite=True"):
        check_destination(tmp_path, overwrite=False)
    check_destination(tmp_path, overwrite=True)
    check_destination(tmp_path / "free", overwrite=False)


def test_a_report_never_stands_beside_a_file_that_it_does_not_tell_of(tmp_path, monkeypatch):
    replace, seen = os.replace, []

    def note(source, target):
        seen.append((target.name, (tmp_path / "x.json").exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)
    for text in ("old", "new"):
        with written_beside(tmp_path / "x") as written:
            written.write_text(text)
            written.with_name("x.json").write_text(f"of the {text} one")
    assert seen == [("x", False), ("x.json", False)] * 2
    assert (tmp_path / "x.json").read_text() == "of the new one"

"""What Beam's workers write is what this machine writes, wherever the videos and the shards are."""

import dataclasses
import io
import os
import re
import shutil
import sys

import pytest

from keras_nonlocal.cli import main
from keras_nonlocal.prepare import beam, remote_folder, shards
from keras_nonlocal.prepare.beam import prepare_videos_on_beam
from keras_nonlocal.prepare.conversion import prepare_videos
from keras_nonlocal.prepare.plan import make_plan

from .conftest import files_in
from .elsewhere import Elsewhere

ELSEWHERE = "elsewhere://out/records"


@pytest.fixture
def plan(videos):
    return make_plan(videos, shards=4, short_side=16)


@pytest.fixture
def expected(plan, tmp_path):
    """What `prepare_videos` writes."""
    prepare_videos(plan, tmp_path / "expected", workers=1)
    return files_in(tmp_path / "expected")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The folder of what is elsewhere, and nowhere else."""
    monkeypatch.setattr(Elsewhere, "root", str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere"


@pytest.fixture
def made(monkeypatch):
    """The numbers of the shards that are made, in the order in which they are begun."""
    numbers, convert_shard = [], shards.convert_shard

    def convert_and_note(plan, number, *arguments, **options):
        numbers.append(number)
        return convert_shard(plan, number, *arguments, **options)

    monkeypatch.setattr(shards, "convert_shard", convert_and_note)
    return numbers


def with_broken_videos(plan, tmp_path):
    """The plan, with a video that is none and another that is not there."""
    paths = list(plan.videos.paths)
    copies = tmp_path / "copies"
    shutil.copytree(os.path.dirname(os.path.dirname(paths[0])), copies)
    paths = [str(copies / path.split("/")[-2] / path.split("/")[-1]) for path in paths]
    (copies / "a" / "00.mp4").write_bytes(b"no video")
    (copies / "b" / "04.mp4").unlink()
    return dataclasses.replace(plan, videos=dataclasses.replace(plan.videos, paths=paths))


def moved_elsewhere(plan, source, elsewhere):
    """The plan, with its videos elsewhere."""
    shutil.copytree(source, elsewhere / "films")
    names = (f"elsewhere://films/{os.path.relpath(path, source)}" for path in plan.videos.paths)
    return dataclasses.replace(plan, videos=dataclasses.replace(plan.videos, paths=list(names)))


def fail_at(number, monkeypatch):
    """Lets the shard of a number fail, as if the disk was full."""
    convert_shard = shards.convert_shard

    def convert_or_fail(plan, shard, *arguments, **options):
        if shard == number:
            raise OSError("no room")
        return convert_shard(plan, shard, *arguments, **options)

    monkeypatch.setattr(shards, "convert_shard", convert_or_fail)


def test_files_are_those_of_this_machine(plan, expected, tmp_path):
    prepare_videos_on_beam(plan, tmp_path / "out")
    assert files_in(tmp_path / "out") == expected


@pytest.mark.slow
def test_workers_in_processes_write_the_same(plan, expected, tmp_path):
    options = ["--direct_running_mode=multi_processing", "--direct_num_workers=1"]
    prepare_videos_on_beam(plan, tmp_path / "out", options)
    assert files_in(tmp_path / "out") == expected


@pytest.mark.parametrize("folders", [True, False], ids=["folders", "bucket"])
def test_files_elsewhere_are_those_of_this_machine(folders, plan, expected, elsewhere, monkeypatch):
    monkeypatch.setattr(Elsewhere, "folders", folders)
    prepare_videos_on_beam(plan, ELSEWHERE + "/")
    assert files_in(elsewhere / "out" / "records") == expected
    assert not (folders and (elsewhere / "out" / "records" / ".preparing").exists())


def test_videos_are_fetched_from_elsewhere(plan, expected, source, elsewhere, tmp_path):
    plan = moved_elsewhere(plan, source, elsewhere)
    prepare_videos_on_beam(plan, tmp_path / "out")
    assert files_in(tmp_path / "out") == expected


def test_a_plan_names_videos_elsewhere_by_their_paths(plan, source, elsewhere):
    plan = moved_elsewhere(plan, source, elsewhere)
    again = make_plan(plan.videos, shards=4, short_side=16)
    assert (again.names, again.settings) == (plan.names, plan.settings)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_broken_videos_are_noted_as_on_this_machine(where, plan, elsewhere, tmp_path):
    broken = with_broken_videos(plan, tmp_path)
    expected = prepare_videos(broken, tmp_path / "expected", max_broken=0.2)
    if where == "elsewhere":
        broken = moved_elsewhere(broken, tmp_path / "copies", elsewhere)
    manifest = prepare_videos_on_beam(broken, tmp_path / "out", max_broken=0.2)
    assert sorted(failure["path"] for failure in manifest["failures"]) == ["a/00.mp4", "b/04.mp4"]
    assert manifest == expected


def test_too_many_broken_videos_are_an_error(plan, tmp_path):
    with pytest.raises(ValueError, match=r"`max_broken` \(10%\) of the 12 .* Received: 2, such as"):
        prepare_videos_on_beam(with_broken_videos(plan, tmp_path), tmp_path / "out", max_broken=0.1)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("directory", ["out", ELSEWHERE])
def test_a_second_run_does_nothing(directory, plan, elsewhere, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = prepare_videos_on_beam(plan, directory)
    assert sorted(made) == [0, 1, 2, 3]
    assert prepare_videos_on_beam(plan, directory) == first
    assert len(made) == 4


@pytest.mark.parametrize("directory", ["out", ELSEWHERE])
def test_a_run_that_failed_is_taken_up(
    directory, plan, expected, elsewhere, made, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as trouble:
        fail_at(2, trouble)
        with pytest.raises(OSError, match="no room"):
            prepare_videos_on_beam(plan, directory)
    folder = tmp_path / "out" if directory == "out" else elsewhere / "out" / "records"
    assert {path.name for path in folder.glob("*.tfrecord")} == {
        plan.shard_name(number) for number in made
    }
    prepare_videos_on_beam(plan, directory)
    # None was made twice.
    assert sorted(made) == [0, 1, 2, 3]
    assert files_in(folder) == expected


def test_a_truncated_shard_elsewhere_is_made_anew(plan, expected, elsewhere, monkeypatch):
    with monkeypatch.context() as trouble:
        fail_at(3, trouble)
        with pytest.raises(OSError, match="no room"):
            prepare_videos_on_beam(plan, ELSEWHERE)
    shard = next((elsewhere / "out" / "records").glob("*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-1])
    prepare_videos_on_beam(plan, ELSEWHERE)
    assert files_in(elsewhere / "out" / "records") == expected


def test_a_file_elsewhere_appears_whole_or_not_at_all(elsewhere):
    class Breaking(io.BytesIO):
        def read(self, *arguments):
            if self.tell():
                raise OSError("gone")
            return super().read(3)

    with pytest.raises(OSError, match="gone"):
        remote_folder.write_file(Breaking(b"whole"), "file", "elsewhere://out")
    assert not (elsewhere / "out" / "file").exists()


def test_a_shard_handed_out_again_is_not_made_again(plan, made, tmp_path):
    os.makedirs(tmp_path / "out")
    path = beam._write_plan(plan, str(tmp_path / "out"))
    for _ in range(2):
        beam._make_shard(1, path, str(tmp_path / "out"))
    assert made == [1]


def test_begins_anew_if_asked_to(plan, expected, videos, elsewhere):
    other = make_plan(videos, shards=5, short_side=16)
    prepare_videos_on_beam(other, ELSEWHERE)
    (elsewhere / "out" / "records" / "notes.txt").write_text("mine")
    prepare_videos_on_beam(plan, ELSEWHERE, overwrite=True)
    assert files_in(elsewhere / "out" / "records") == {**expected, "notes.txt": b"mine"}


def test_another_plan_elsewhere_is_an_error(plan, videos, elsewhere):
    prepare_videos_on_beam(plan, ELSEWHERE)
    other = make_plan(videos, shards=4, short_side=24)
    with pytest.raises(FileExistsError, match="short_side 16 then, 24 now.*`overwrite`"):
        prepare_videos_on_beam(other, ELSEWHERE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.txt", "must be new, empty.*elsewhere://out/records/notes.txt.*Give another"),
        ("manifest.json", "elsewhere://out/records/manifest.json' is of something else"),
    ],
)
def test_a_folder_of_something_else_is_an_error(name, message, plan, elsewhere):
    (elsewhere / "out" / "records").mkdir(parents=True)
    (elsewhere / "out" / "records" / name).write_text("mine")
    with pytest.raises(FileExistsError, match=message):
        prepare_videos_on_beam(plan, ELSEWHERE)
    assert list(files_in(elsewhere)) == [f"out/records/{name}"]


def test_workers_that_do_not_see_the_folder_are_an_error(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "convert_shard", lambda *arguments, **options: None)
    with pytest.raises(FileNotFoundError, match="'videos-00000-of-00004.tfrecord' is not in .*out"):
        prepare_videos_on_beam(plan, tmp_path / "out")


@pytest.mark.parametrize(
    ("directory", "options", "message"),
    [
        ("elsewhere://out/*", {}, r"`directory` must be a path without `\*`.*'elsewhere://out/\*'"),
        ("nowhere://out", {}, "nowhere://out"),
        ("out", {"max_broken": 2}, "`max_broken` must be a share.*Received: max_broken=2"),
        ("out", {"options": ["--runner=Walker"]}, "Walker"),
    ],
    ids=["pattern", "unknown system", "share", "unknown runner"],
)
def test_arguments_are_checked(directory, options, message, plan, elsewhere, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        prepare_videos_on_beam(plan, directory, **options)


def test_the_command_hands_options_on(source, elsewhere, capsys):
    words = ["prepare", str(source), ELSEWHERE, "--shards=4", "--beam", "--runner=FnApiRunner"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "Complete: elsewhere://out/records" in told and "12 of 3 classes" in told
    # They cannot be read from there.
    assert "read_records" not in told
    assert main([*words[:-1], "--runner=Walker"]) == 1
    assert "Walker" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([ELSEWHERE], "OUT must be a folder of this machine. Received: elsewhere://.*Add --beam"),
        (["out", "--workers=2", "--beam"], "--workers and --on-error=raise are for this machine"),
        (["out", "--on-error=raise", "--beam"], "--workers and --on-error=raise are for this"),
    ],
    ids=["remote", "workers", "raise"],
)
def test_the_command_needs_beam_for_what_is_its_own(words, message, source, capsys):
    assert main(["prepare", str(source), *words]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_without_beam_the_error_names_the_extra(plan, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"pip install keras_nonlocal\[beam\]"):
        prepare_videos_on_beam(plan, tmp_path / "out")

"""Beam's workers write what this machine writes, wherever the folder is."""

import dataclasses
import os
import re
import shutil
import sys

import fsspec
import pytest

from keras_nonlocal.cli import main
from keras_nonlocal.prepare import beam
from keras_nonlocal.prepare.beam import prepare_videos_on_beam
from keras_nonlocal.prepare.convert import make_plan, prepare_videos

from .conftest import files_in

URL = "memory://beam/records"


@pytest.fixture
def plan(videos):
    return make_plan(videos, shards=4, short_side=16)


@pytest.fixture
def expected(plan, tmp_path):
    """What `prepare_videos` writes."""
    prepare_videos(plan, tmp_path / "expected", workers=1)
    return files_in(tmp_path / "expected")


@pytest.fixture(autouse=True)
def memory():
    """What is at `URL`, a bucket of this process."""
    system = fsspec.filesystem("memory")
    system.makedirs("/beam")
    yield lambda: {
        path.removeprefix("/beam/records/"): system.cat_file(path) for path in system.find("/beam")
    }
    system.rm("/beam", recursive=True)


@pytest.fixture
def made(monkeypatch):
    """The indices of the shards that are written, in order."""
    numbers, convert_shard = [], beam.convert_shard

    def convert_and_note(plan, number, *arguments, **options):
        numbers.append(number)
        return convert_shard(plan, number, *arguments, **options)

    monkeypatch.setattr(beam, "convert_shard", convert_and_note)
    return numbers


def test_files_are_those_of_this_machine(plan, expected, tmp_path):
    prepare_videos_on_beam(plan, tmp_path / "out")
    assert files_in(tmp_path / "out") == expected


@pytest.mark.slow
def test_workers_in_processes_write_the_same(plan, expected, tmp_path):
    options = ["--direct_running_mode=multi_processing", "--direct_num_workers=1"]
    prepare_videos_on_beam(plan, tmp_path / "out", options)
    assert files_in(tmp_path / "out") == expected


def test_files_at_a_url_are_those_of_this_machine(plan, expected, memory):
    first = prepare_videos_on_beam(plan, URL)
    assert memory() == expected
    assert prepare_videos_on_beam(plan, URL) == first


def test_broken_videos_are_listed_as_on_this_machine(plan, source, tmp_path):
    shutil.copytree(source, tmp_path / "copies")
    (tmp_path / "copies" / "a" / "00.mp4").write_bytes(b"no video")
    (tmp_path / "copies" / "b" / "04.mp4").unlink()
    paths = [tmp_path / "copies" / os.path.relpath(each, source) for each in plan.videos.paths]
    broken = dataclasses.replace(plan, videos=dataclasses.replace(plan.videos, paths=paths))
    message = r"`max_broken` \(10%\) of the 12 .* Received: 2, such as"
    with pytest.raises(ValueError, match=message):
        prepare_videos_on_beam(broken, tmp_path / "out", max_broken=0.1)
    assert not (tmp_path / "out" / "manifest.json").exists()
    manifest = prepare_videos_on_beam(broken, tmp_path / "out", max_broken=0.2)
    assert sorted(failure["path"] for failure in manifest["failures"]) == ["a/00.mp4", "b/04.mp4"]
    assert manifest == prepare_videos(broken, tmp_path / "expected", max_broken=0.2)


def test_a_run_that_failed_is_continued(plan, expected, made, memory, monkeypatch):
    convert_shard = beam.convert_shard

    def convert_or_fail(plan, number, *arguments, **options):
        if number == 2:
            raise OSError("no room")
        return convert_shard(plan, number, *arguments, **options)

    with monkeypatch.context() as trouble:
        trouble.setattr(beam, "convert_shard", convert_or_fail)
        with pytest.raises(OSError, match="no room"):
            prepare_videos_on_beam(plan, URL)
    written = {plan.shard_name(number) for number in made}
    assert {name for name in memory() if name.endswith(".tfrecord")} == written
    prepare_videos_on_beam(plan, URL)
    # None was written twice.
    assert sorted(made) == [0, 1, 2, 3]
    assert memory() == expected


def test_workers_that_do_not_see_the_folder_are_an_error(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(beam, "convert_shard", lambda *arguments, **options: None)
    message = "4 of 4 shards are missing in .*out'.*'videos-00000-of-00004.tfrecord'.*all machines"
    with pytest.raises(FileNotFoundError, match=message):
        prepare_videos_on_beam(plan, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_broken": 2}, "`max_broken` must be a share.*Received: max_broken=2"),
        ({"options": ["--runner=Walker"]}, "Walker"),
    ],
    ids=["share", "unknown runner"],
)
def test_arguments_are_checked(options, message, plan, tmp_path):
    with pytest.raises(ValueError, match=message):
        prepare_videos_on_beam(plan, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_command_passes_the_options(source, memory, capsys):
    words = ["prepare", str(source), URL, "--shards=4", "--beam", "--runner=FnApiRunner"]
    assert main(words) == 0
    assert re.search(f"Complete: {URL}\n.*12 of 3 classes", capsys.readouterr().out)
    assert sum(name.endswith(".tfrecord") for name in memory()) == 4
    assert main([*words[:-1], "--runner=Walker"]) == 1
    assert "Walker" in capsys.readouterr().err


def test_the_command_refuses_what_beam_decides(source, capsys):
    assert main(["prepare", str(source), "out", "--workers=2", "--beam"]) == 1
    assert "--workers must not be given with --beam" in capsys.readouterr().err


def test_without_beam_the_error_names_the_extra(plan, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r'pip install "keras_nonlocal\[beam\]"'):
        prepare_videos_on_beam(plan, tmp_path / "out")

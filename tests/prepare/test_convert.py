"""A preparation is complete and repeatable, does no damage, and says what is wrong."""

import concurrent.futures
import functools
import http.server
import json
import os
import resource
import shutil
import sys
import threading
import time

import fsspec
import numpy as np
import pytest

from keras_nonlocal import files
from keras_nonlocal.data.record_lists import read_records
from keras_nonlocal.lists.video_list import VideoList
from keras_nonlocal.prepare import convert
from keras_nonlocal.prepare.convert import (
    convert_shard,
    make_plan,
    merge_shards,
    prepare_videos,
)
from keras_nonlocal.video.open import probe_video

from .conftest import files_in


@pytest.fixture
def plan(videos):
    return make_plan(videos, shards=4)


@pytest.fixture(scope="session")
def _prepared(source, tmp_path_factory):
    paths = sorted(source.glob("*/*.mp4"), key=lambda path: path.name)
    videos = VideoList(paths, [number % 3 for number in range(12)], list("abc"))
    folder = tmp_path_factory.mktemp("prepared") / "out"
    prepare_videos(make_plan(videos, shards=4), folder)
    return folder


@pytest.fixture
def prepared(_prepared, tmp_path):
    """A finished folder by `plan`, of one's own."""
    return shutil.copytree(_prepared, tmp_path / "prepared")


@pytest.fixture
def broken(videos, tmp_path):
    """The list of `videos`, two of whose files are cut."""
    paths = [shutil.copy(path, tmp_path) for path in videos.paths]
    for number in (2, 7):
        os.truncate(paths[number], 300)
    return VideoList(paths, videos.labels, videos.class_names)


def note_settings(plan, folder):
    """Makes a folder with shards look as if a run was killed in it."""
    (folder / ".preparing" / "settings.json").write_text(json.dumps(plan.settings))


def test_each_video_is_read_back_with_its_label(plan, prepared, monkeypatch):
    videos = read_records(prepared)
    manifest = json.loads((prepared / "manifest.json").read_text())
    names = {
        f"{prepared / shard}@{record['offset']}": record["path"]
        for shard, entry in manifest["shards"].items()
        for record in entry["records"]
    }
    assert videos.class_names == ("a", "b", "c")
    assert sorted(names[path] for path in videos.paths) == sorted(plan.names)
    # The manifest and the indexes tell all that reading needs.
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for path, label in zip(videos.paths, videos.labels, strict=True):
        number = plan.names.index(names[path])
        assert (label, probe_video(path).frames) == (number % 3, 8 + number)


def test_the_folder_holds_shards_and_manifest_alone(prepared):
    assert sorted(files_in(prepared)) == [
        "manifest.json",
        *(
            f"videos-{number:05}-of-00004.tfrecord{suffix}"
            for number in range(4)
            for suffix in ("", ".idx")
        ),
    ]
    assert not (prepared / ".preparing").exists()


def test_the_manifest_counts_and_sums_what_is_there(plan, prepared):
    manifest = json.loads((prepared / "manifest.json").read_text())
    files = files_in(prepared)
    assert manifest["settings"] == plan.settings
    assert manifest["classes"] == ["a", "b", "c"]
    assert manifest["videos_per_class"] == [4, 4, 4]
    assert (manifest["videos"], manifest["frames"]) == (12, sum(range(8, 20)))
    assert manifest["failures"] == []
    sizes = {name: len(data) for name, data in files.items() if name.endswith(".tfrecord")}
    assert {name: entry["bytes"] for name, entry in manifest["shards"].items()} == sizes
    assert manifest["bytes"] == sum(sizes.values())


@pytest.mark.parametrize("workers", [1, 5])
def test_bytes_do_not_depend_on_the_workers(workers, plan, prepared, tmp_path):
    prepare_videos(plan, tmp_path / "out", workers=workers)
    assert files_in(tmp_path / "out") == files_in(prepared)


def test_a_finished_folder_is_left_as_it_is(plan, prepared):
    before = {path: path.stat().st_mtime_ns for path in prepared.iterdir()}
    told = []
    manifest = prepare_videos(plan, prepared, report=lambda *counts: told.append(counts))
    assert manifest == json.loads((prepared / "manifest.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in prepared.iterdir()} == before
    assert told == []


def test_what_is_there_is_not_made_again(plan, tmp_path):
    convert_shard(plan, 1, tmp_path / "out")
    (shard,) = (tmp_path / "out").glob("*.tfrecord")
    note_settings(plan, tmp_path / "out")
    made, told = shard.stat().st_mtime_ns, []
    prepare_videos(plan, tmp_path / "out", report=lambda *counts: told.append(counts))
    assert shard.stat().st_mtime_ns == made
    assert told == [(done, 0, 12) for done in range(3, 13)]


def test_many_labels_and_events_are_read_back(videos, tmp_path):
    labels = np.zeros((12, 3))
    labels[np.arange(12), np.arange(12) % 3] = 1
    labels[0] = 0
    labels[1, 2] = 1
    events = [((number % 3, 0.1, 0.2 + number),) for number in range(12)]
    listed = VideoList(videos.paths, labels, videos.class_names, events=events)
    plan = make_plan(listed)
    prepare_videos(plan, tmp_path / "out")
    again = read_records(tmp_path / "out")
    order = [video for shard in plan.shards for video in shard]
    np.testing.assert_array_equal(again.labels, labels[order])
    assert again.events == tuple(events[video] for video in order)


def test_one_label_in_a_table_stays_a_table(videos, tmp_path):
    labels = np.eye(3)[np.arange(12) % 3]
    prepare_videos(make_plan(VideoList(videos.paths, labels, videos.class_names)), tmp_path / "out")
    assert read_records(tmp_path / "out").labels.shape == (12, 3)


def test_a_class_without_videos_keeps_its_place(videos, tmp_path):
    listed = VideoList(videos.paths[:2], [0, 2], ["a", "nobody", "c"])
    prepare_videos(make_plan(listed), tmp_path / "out")
    again = read_records(tmp_path / "out")
    assert again.class_names == ("a", "nobody", "c")
    assert sorted(again.labels) == [0, 2]


@pytest.mark.parametrize("gone", [False, True], ids=["truncated", "missing"])
def test_a_shard_unlike_the_manifest_is_named(gone, prepared):
    shard = prepared / "videos-00002-of-00004.tfrecord"
    os.remove(shard) if gone else os.truncate(shard, 100)
    there = "is missing" if gone else "is truncated or changed, it has 100 bytes"
    with pytest.raises(FileNotFoundError if gone else ValueError, match=f"00002.*' {there}"):
        read_records(prepared)


def test_broken_videos_are_left_out_and_named(broken, tmp_path):
    told = []
    manifest = prepare_videos(
        make_plan(broken),
        tmp_path / "out",
        max_broken=0.2,
        report=lambda *counts: told.append(counts),
    )
    assert manifest["videos"] == len(read_records(tmp_path / "out")) == 10
    assert sorted(failure["path"] for failure in manifest["failures"]) == ["02.mp4", "07.mp4"]
    assert all("cannot be read" in failure["reason"] for failure in manifest["failures"])
    assert told[-1] == (12, 2, 12)


def test_too_many_broken_videos_are_an_error(broken, tmp_path):
    with pytest.raises(ValueError, match=r"`max_broken` \(10%\) of the 12 .*Received: 2, such as"):
        prepare_videos(make_plan(broken), tmp_path / "out", max_broken=0.1)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_higher_share_of_broken_videos_goes_on(broken, tmp_path):
    plan = make_plan(broken)
    with pytest.raises(ValueError, match="max_broken"):
        prepare_videos(plan, tmp_path / "out", max_broken=0.1)
    prepare_videos(plan, tmp_path / "out", max_broken=0.2)
    prepare_videos(plan, tmp_path / "other", max_broken=1.0)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "other")


def test_mended_videos_are_stored_in_the_next_run(broken, videos, tmp_path):
    plan = make_plan(broken)
    with pytest.raises(ValueError, match="max_broken"):
        prepare_videos(plan, tmp_path / "out", max_broken=0.1)
    for number in (2, 7):
        shutil.copy(videos.paths[number], broken.paths[number])
    assert prepare_videos(plan, tmp_path / "out", max_broken=0.1)["videos"] == 12


def test_no_broken_videos_stop_at_the_first(broken, tmp_path):
    with pytest.raises(ValueError, match=r"Received: 1, such as: .*0[27].mp4' cannot be read"):
        prepare_videos(make_plan(broken), tmp_path / "out", max_broken=0, workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_an_error_stops_the_other_workers(plan, tmp_path):
    told = []

    def report(done, failed, total):
        told.append(done)
        if done == 2:
            raise RuntimeError("enough")
        time.sleep(0.1)  # Or a worker is done before it can notice.

    with pytest.raises(RuntimeError, match="enough"):
        prepare_videos(plan, tmp_path / "out", workers=2, report=report)
    assert len(told) < 7
    assert threading.active_count() == 1 or not any(
        "ThreadPool" in thread.name for thread in threading.enumerate()
    )


def test_a_file_that_cannot_grow_is_said(plan, prepared, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python leaves the signal aside that comes with it, so that writing fails.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(
            OSError, match="tfrecord' cannot be written: File too large.*Free space"
        ):
            prepare_videos(plan, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(files_in(tmp_path / "out")) == [".preparing/settings.json"]
    prepare_videos(plan, tmp_path / "out")
    assert files_in(tmp_path / "out") == files_in(prepared)


def test_a_file_in_place_of_the_folder_stays(plan, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileExistsError, match="out' must be a folder. Received: a file"):
        prepare_videos(plan, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_below_a_file_is_an_error(plan, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="Not a directory: '.*file/out"):
        prepare_videos(plan, tmp_path / "file" / "out")
    assert files_in(tmp_path) == {"file": b"mine"}


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no file system that none may write")
def test_a_folder_that_cannot_be_made_is_an_error(plan):
    with pytest.raises(OSError, match="'/proc/self/out"):
        prepare_videos(plan, "/proc/self/out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_error(plan, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="Permission denied: '.*out/.preparing'"):
        prepare_videos(plan, tmp_path / "out")


def test_a_folder_of_something_else_is_refused(plan, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(FileExistsError, match="must be new, empty, .* 'thesis.tex' in it"):
        prepare_videos(plan, tmp_path)
    assert files_in(tmp_path) == {"thesis.tex": b"years"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_manifest_of_something_else_stays(overwrite, plan, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(FileExistsError, match="manifest.json' was not written by keras_nonlocal"):
        prepare_videos(plan, tmp_path, overwrite=overwrite)
    assert files_in(tmp_path) == {"manifest.json": b"{}"}


def test_another_plan_is_refused_when_finished(videos, prepared):
    before = files_in(prepared)
    with pytest.raises(
        FileExistsError, match="prepared with other settings: quality was 90, is 50"
    ):
        prepare_videos(make_plan(videos, shards=4, quality=50), prepared)
    assert files_in(prepared) == before


def test_another_plan_is_refused_when_begun(broken, tmp_path):
    with pytest.raises(ValueError, match="max_broken"):
        prepare_videos(make_plan(broken), tmp_path / "out", max_broken=0)
    before = files_in(tmp_path / "out")
    with pytest.raises(FileExistsError, match="prepared with other settings: seed was 0, is 1"):
        prepare_videos(make_plan(broken, seed=1), tmp_path / "out")
    assert files_in(tmp_path / "out") == before


def test_shards_of_nobody_are_refused(plan, tmp_path):
    (tmp_path / ".preparing").mkdir()
    (tmp_path / "videos-00000-of-00009.tfrecord").write_text("old")
    with pytest.raises(FileExistsError, match="shards of another preparation, such as 'videos-0"):
        prepare_videos(plan, tmp_path)
    assert (tmp_path / "videos-00000-of-00009.tfrecord").read_text() == "old"


def test_overwriting_removes_what_was_prepared_and_nothing_else(videos, prepared):
    (prepared / "notes.txt").write_text("mine")
    (prepared / "videos.tfrecord").write_text("mine, too")
    prepare_videos(make_plan(videos, shards=2), prepared, overwrite=True)
    assert sorted(files_in(prepared)) == [
        "manifest.json",
        "notes.txt",
        "videos-00000-of-00002.tfrecord",
        "videos-00000-of-00002.tfrecord.idx",
        "videos-00001-of-00002.tfrecord",
        "videos-00001-of-00002.tfrecord.idx",
        "videos.tfrecord",
    ]
    assert len(read_records(prepared)) == 12


def test_two_processes_do_not_prepare_at_a_time(plan, tmp_path):
    (tmp_path / "out" / ".preparing").mkdir(parents=True)
    with files.locked(tmp_path / "out" / ".preparing" / "lock"):
        with pytest.raises(
            BlockingIOError, match="Another process prepares videos into this folder: '.*out'"
        ):
            prepare_videos(plan, tmp_path / "out")
    prepare_videos(plan, tmp_path / "out")


@pytest.fixture
def url():
    """A folder in memory, which fsspec opens."""
    system = fsspec.filesystem("memory")
    system.makedirs("/prepared")
    yield "memory://prepared/records"
    system.rm("/prepared", recursive=True)


def files_at(url):
    """All files below a URL, as `files_in` gives them."""
    system, root = fsspec.url_to_fs(url)
    return {path.removeprefix(f"{root}/"): system.cat_file(path) for path in system.find(root)}


def test_files_at_a_url_are_those_of_a_folder(plan, prepared, url):
    prepare_videos(plan, f"{url}/")
    assert files_at(url) == files_in(prepared)
    assert not fsspec.filesystem("memory").exists(f"{url}/.preparing")
    assert prepare_videos(plan, url) == json.loads((prepared / "manifest.json").read_text())
    records = read_records(url)
    assert records.labels.tolist() == read_records(prepared).labels.tolist()
    assert [probe_video(path).frames for path in records.paths] == [
        probe_video(path).frames for path in read_records(prepared).paths
    ]


def test_a_run_at_a_url_is_continued(plan, prepared, url, monkeypatch):
    with monkeypatch.context() as trouble:
        fail_at(2, trouble)
        with pytest.raises(OSError, match="no room"):
            prepare_videos(plan, url, workers=1)
    kept = [name for name in files_at(url) if name.endswith(".tfrecord")]
    assert kept == [plan.shard_name(0), plan.shard_name(1)]
    # A shard of another size is written again.
    fsspec.filesystem("memory").pipe_file(f"{url}/{plan.shard_name(1)}", b"cut")
    made = note_shards(monkeypatch)
    prepare_videos(plan, url)
    assert sorted(made) == [1, 2, 3]
    assert files_at(url) == files_in(prepared)


def test_a_url_of_something_else_is_refused(plan, url):
    fsspec.filesystem("memory").pipe_file(f"{url}/notes.txt", b"mine")
    with pytest.raises(FileExistsError, match="memory:.*must be new, empty, .* 'notes.txt' in it"):
        prepare_videos(plan, url)
    assert files_at(url) == {"notes.txt": b"mine"}


def test_another_plan_at_a_url_is_refused_or_overwrites(videos, plan, prepared, url):
    prepare_videos(make_plan(videos.select(range(3)), shards=3), url)
    fsspec.filesystem("memory").pipe_file(f"{url}/notes.txt", b"mine")
    with pytest.raises(FileExistsError, match="with other settings: videos was 3, is 12"):
        prepare_videos(plan, url)
    prepare_videos(plan, url, overwrite=True)
    assert files_at(url) == {**files_in(prepared), "notes.txt": b"mine"}


def test_a_url_with_a_pattern_is_refused(plan):
    with pytest.raises(ValueError, match=r"must not contain `\*`.*'memory://out/\*'"):
        prepare_videos(plan, "memory://out/*")


@pytest.fixture(scope="session")
def server(source):
    """The URL of an HTTP server of the videos of `source`."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=source)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("at", ["memory", "http"])
def test_videos_at_urls_give_the_same_files(at, plan, prepared, source, url, tmp_path, request):
    root = request.getfixturevalue("server") if at == "http" else "memory://prepared/videos"
    if at == "memory":
        fsspec.filesystem("memory").put(str(source), "/prepared/videos", recursive=True)
    urls = [f"{root}/{name}" for name in plan.names]
    videos = VideoList(urls, plan.videos.labels, plan.videos.class_names)
    prepare_videos(make_plan(videos, shards=4), url)
    assert files_at(url) == files_in(prepared)


def test_missing_videos_at_urls_are_listed_and_tried_again(source, url):
    system = fsspec.filesystem("memory")
    system.put(str(source), "/prepared/videos", recursive=True)
    gone = system.cat_file("/prepared/videos/b/01.mp4")
    videos = VideoList(
        ["memory://prepared/videos/a/00.mp4", "memory://prepared/videos/b/01.mp4"], [0, 1], "ab"
    )
    system.pipe_file("/prepared/videos/b/01.mp4", b"no video")
    plan = make_plan(videos, shards=2)
    with pytest.raises(ValueError, match="`max_broken`.*Received: 1, such as: .*b/01.mp4"):
        prepare_videos(plan, url)
    system.pipe_file("/prepared/videos/b/01.mp4", gone)
    assert prepare_videos(plan, url)["videos"] == 2


def fail_at(number, monkeypatch):
    """Lets the shard of a number fail, as if the disk was full."""
    convert_shard = convert.convert_shard

    def convert_or_fail(plan, shard, *arguments, **options):
        if shard == number:
            raise OSError("no room")
        return convert_shard(plan, shard, *arguments, **options)

    monkeypatch.setattr(convert, "convert_shard", convert_or_fail)


def note_shards(monkeypatch):
    """Returns a list that gets the index of each shard that is written."""
    numbers, convert_shard = [], convert.convert_shard

    def convert_and_note(plan, number, *arguments, **options):
        numbers.append(number)
        return convert_shard(plan, number, *arguments, **options)

    monkeypatch.setattr(convert, "convert_shard", convert_and_note)
    return numbers


@pytest.mark.parametrize("at", ["folder", "url"])
def test_an_array_job_writes_the_same_files(at, plan, prepared, tmp_path, url, monkeypatch):
    out = tmp_path / "out" if at == "folder" else url
    made, told = note_shards(monkeypatch), []
    # Tasks run in any order; of more tasks than shards, some have nothing to do.
    for index in (2, 4, 0):
        report = None if index else lambda *counts: told.append(counts)
        assert prepare_videos(plan, out, shard=(index, 5), report=report) is None
    assert made == [2, 0]
    assert told == [(done, 0, 3) for done in range(4)]
    message = f"2 of 4 shards are missing in '.*', such as '{plan.shard_name(1)}'"
    with pytest.raises(FileNotFoundError, match=message):
        merge_shards(plan, out)
    if at == "folder":
        with pytest.raises(ValueError, match="not complete"):
            read_records(out)
    prepare_videos(plan, out, shard=(1, 5))
    prepare_videos(plan, out, shard=(3, 5))
    manifest = merge_shards(plan, out)
    assert sorted(made) == [0, 1, 2, 3]
    assert (files_in(out) if at == "folder" else files_at(out)) == files_in(prepared)
    assert prepare_videos(plan, out, shard=(3, 5)) == manifest == merge_shards(plan, out)


def test_tasks_run_beside_each_other_and_a_run_without_shard_completes_them(
    plan, prepared, tmp_path
):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        tasks = [
            # Twice the same task, too.
            pool.submit(prepare_videos, plan, tmp_path / "out", shard=(index, 4))
            for index in (0, 1, 1)
        ]
        assert [task.result() for task in tasks] == [None] * 3
    prepare_videos(plan, tmp_path / "out")
    assert files_in(tmp_path / "out") == files_in(prepared)


def test_an_early_merge_does_no_harm_to_running_tasks(plan, prepared, tmp_path):
    out = tmp_path / "out"

    def merge_early(done, failed, total):
        if done == 1:
            with pytest.raises(FileNotFoundError, match="4 of 4 shards are missing"):
                merge_shards(plan, out)

    prepare_videos(plan, out, shard=(0, 2), workers=1, report=merge_early)
    prepare_videos(plan, out, shard=(1, 2))
    merge_shards(plan, out)
    assert files_in(out) == files_in(prepared)


def test_a_task_of_another_plan_is_refused(videos, plan, tmp_path):
    prepare_videos(plan, tmp_path, shard=(0, 4))
    with pytest.raises(FileExistsError, match="quality was 90, is 50"):
        prepare_videos(make_plan(videos, shards=4, quality=50), tmp_path, shard=(1, 4))


def test_shards_that_another_plan_has_written_are_missing(videos, plan, tmp_path):
    # As when two tasks of different settings begin at the same moment.
    prepare_videos(plan, tmp_path, shard=(0, 4))
    convert_shard(make_plan(videos, shards=4, quality=50), 1, tmp_path)
    with pytest.raises(FileNotFoundError, match="3 of 4 shards"):
        merge_shards(plan, tmp_path)


def test_a_task_counts_broken_videos_in_the_whole_list(broken, tmp_path):
    plan = make_plan(broken, shards=12)
    for number in range(12):
        prepare_videos(plan, tmp_path / "out", shard=(number, 12), max_broken=0.1)
    with pytest.raises(ValueError, match=r"`max_broken` \(10%\) of the 12 .*Received: 2, such as"):
        merge_shards(plan, tmp_path / "out", max_broken=0.1)
    assert merge_shards(plan, tmp_path / "out", max_broken=0.2)["videos"] == 10


ERRORS = {
    "workers": ({"workers": 0}, "`workers` must be at least 1. Received: workers=0"),
    "max_broken": ({"max_broken": 5}, "`max_broken` must be a share between 0 and 1.*=5"),
    "shard": ({"shard": (4, 4)}, "`shard` must be .index, count. .*shard=.4, 4"),
    "overwrite": (
        {"shard": (0, 4), "overwrite": True},
        "`overwrite` must not be given with `shard`",
    ),
}


@pytest.mark.parametrize(("options", "message"), ERRORS.values(), ids=ERRORS)
def test_options_out_of_range_are_errors(options, message, plan, tmp_path):
    with pytest.raises(ValueError, match=message):
        prepare_videos(plan, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()

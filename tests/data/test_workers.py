"""How many threads read, and that they end."""

import os
import subprocess
import sys

import pytest

from keras_nonlocal.data import workers
from tests.data.made_clips import MADE, loader_of, noise, videos_of  # noqa: F401

# What launchers may have set here.
LAUNCHERS = workers._PROCESSES_HERE


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host of 64 cores, all of them allowed; folders of cgroups are written below the root."""
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    write.root = tmp_path
    return write


def test_all_cores_count_where_nothing_limits_them(host):
    assert workers.count_cores(host.root) == 64
    host("proc/self/cgroup", "0::/a/b\n")
    host("sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
    assert workers.count_cores(host.root) == 64


def test_affinity_counts(host, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(3))
    assert workers.count_cores(host.root) == 3


def test_systems_without_affinity_have_all_cores(host, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert workers.count_cores(host.root) == 64


@pytest.mark.parametrize("folder", ["a/b", "a", ""], ids=["own", "above", "root"])
def test_quotas_of_containers_count(folder, host):
    host("proc/self/cgroup", "12:cpuset:/x\n0::/a/b\n")
    host(f"sys/fs/cgroup/{folder}/cpu.max", "250000 100000\n")
    assert workers.count_cores(host.root) == 2


def test_quotas_of_older_kernels_count(host):
    host("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n")
    host("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert workers.count_cores(host.root) == 4
    host("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    assert workers.count_cores(host.root) == 64


@pytest.mark.parametrize("name", LAUNCHERS)
def test_processes_of_a_host_share_its_cores(name, host, monkeypatch):
    monkeypatch.setenv(name, "8(x2),4" if "SLURM" in name else "8")
    assert workers.count_cores(host.root) == 8
    # Cores that are bound to each process are not divided again.
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8))
    assert workers.count_cores(host.root) == 8
    # A quota is that of all of them; and one core is left in any case.
    host("proc/self/cgroup", "0::/\n")
    host("sys/fs/cgroup/cpu.max", "400000 100000\n")
    assert workers.count_cores(host.root) == 1


def test_no_more_videos_than_workers_are_read_at_a_time():
    lock, running, most = workers.threading.Lock(), [0], [0]

    def decode(path, indices, short_side):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        workers.time.sleep(0.02)
        with lock:
            running[0] -= 1
        return noise(path, indices, short_side)

    for count in (1, 3):
        most[0] = 0
        list(loader_of(decoder=decode, workers=count).dataset(0))
        assert most[0] == count


SCRIPT = """
import time
import keras
from tests.data.made_clips import loader_of, noise

def decode(path, indices, short_side):
    if path == "5":
        raise OSError("gone")
    time.sleep(0.05)
    return noise(path, indices, short_side)

loader = loader_of(40, decoder=decode, clips_per_video=2)
layers = [keras.Input((4, 16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
model = keras.Sequential(layers)
model.compile("sgd", "mse")
model.fit(loader.dataset(), verbose=0)
"""


@pytest.mark.slow
def test_a_broken_video_in_fit_ends_the_process():
    # Videos are being fetched ahead when the error comes; without the wait it hangs forever.
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 1
    assert "The video '5' cannot be read: gone" in ended.stderr


@pytest.mark.slow
def test_epochs_keep_no_memory_and_no_files():
    loader, sizes = loader_of(clips_per_video=2), []
    for number in range(30):
        assert len(list(loader.dataset(number))) == 11
        pages = int(workers.pathlib.Path("/proc/self/statm").read_text().split()[1])
        files = len(os.listdir("/proc/self/fd"))
        sizes.append((pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files))
    # A dataset of its own for each epoch: were one kept, twenty would add more than this.
    assert sizes[-1][0] - sizes[10][0] < 40
    assert sizes[-1][1] <= sizes[10][1]

"""How many threads read videos, and how they end with the interpreter."""

import atexit
import contextlib
import os
import pathlib
import re
import threading
import time

# Seconds without a call after which no call is pending; longest wait for a running call.
_QUIET, _LONGEST_WAIT = 0.5, 30.0
# Where launchers tell how many processes they started on this host.
_PROCESSES_HERE = (
    "LOCAL_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "SLURM_STEP_TASKS_PER_NODE",
)


def count_cores(root="/"):
    """Returns the number of cores that this process may use.

    It is limited by the CPU affinity, by the quotas of cgroups (containers), and by the number of
    processes that a launcher (torchrun, MPI, Slurm) started on this host.

    Args:
        root: folder below which `proc` and `sys` are mounted.
    """
    cores = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    shared = min([cores, *_read_quotas(pathlib.Path(root))])
    # What a launcher bound to this process alone shows in the affinity.
    return max(min(affinity, int(shared // _count_processes_here())), 1)


def _count_processes_here():
    for name in _PROCESSES_HERE:
        # Slurm writes "8(x2),4" for two hosts of 8 processes and one of 4.
        if match := re.match(r"[1-9]\d*", os.environ.get(name, "")):
            return int(match[0])
    return 1


def _read_quotas(root):
    """Yields the cores that each cgroup of this process may use, of those with a quota."""
    mount = root / "sys/fs/cgroup"
    with contextlib.suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        # The only line of version 2 is "0::/path"; quotas of all folders above hold as well.
        below = next(line[3:] for line in [*lines, "0::/"] if line.startswith("0::"))
        for folder in (mount / below.strip("/"), *(mount / below.strip("/")).parents):
            if folder.is_relative_to(mount) and (folder / "cpu.max").is_file():
                quota, period = (folder / "cpu.max").read_text().split()
                if quota != "max":
                    yield int(quota) / int(period)
    with contextlib.suppress(OSError):
        quota, period = (
            int((mount / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period")
        )
        if quota > 0:
            yield quota / period


class _Calls:
    """The running calls from `tf.data` into Python, and when the last one ended."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = 0
        self.last = -_QUIET
        self.refused = False


_CALLS = _Calls()


@contextlib.contextmanager
def shutdown_guard():
    """Keeps the interpreter from shutting down within.

    Where a training ends with an error, `tf.data` still fetches ahead, and a thread of TensorFlow
    that calls Python while the interpreter shuts down waits forever, and the process with it.

    Raises:
        RuntimeError: if the interpreter is shutting down.
    """
    with _CALLS.lock:
        # Of a refused call too: what is fetched ahead is still being asked for.
        _CALLS.last = time.monotonic()
        if _CALLS.refused:
            raise RuntimeError("The interpreter is shutting down; not reading further videos.")
        _CALLS.running += 1
    try:
        yield
    finally:
        with _CALLS.lock:
            _CALLS.running -= 1
            _CALLS.last = time.monotonic()


@atexit.register
def _wait_for_calls():
    _CALLS.refused = True
    began = time.monotonic()
    while _CALLS.running or time.monotonic() - _CALLS.last < _QUIET:
        if time.monotonic() - began > _LONGEST_WAIT:
            return
        time.sleep(0.02)

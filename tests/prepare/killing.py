"""Kills preparations at chosen moments, and tells what each left behind. A script: see its end.

It forks a process for each preparation, which only a process without threads may do, and pytest's
has threads as soon as TensorFlow has done anything in it. TensorFlow is imported here and not used;
each fork then begins its preparation at once.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import sys
import time

from keras_nonlocal.lists.folders import read_folder
from keras_nonlocal.prepare.convert import make_plan, prepare_videos

# Of Python's audit events: all that changes which files there are, and under which names.
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fork(work):
    """Starts a process that does the work and ends; gives its number."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    finally:
        # Only reached by way of an error, which Python prints by itself in no fork.
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def wait(child):
    """Waits for a process; gives how it ended: 0, or the signal that has killed it."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code > 0:
        sys.exit("a preparation that nobody has killed has failed")
    return -code


def kill_before_change(number, out):
    """Lets this process die just before its `number`-th change in a folder."""
    count = 0

    def hook(event, arguments):
        nonlocal count
        changes = event in CHANGES or (event == "open" and arguments[2] & os.O_CREAT)
        if changes and str(arguments[0]).startswith(str(out)):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def whole(out, complete):
    """Whether every file that has its name is one of the undisturbed run, byte by byte."""
    names = [path for path in out.glob("*") if path.is_file()]
    return all(path.read_bytes() == complete.get(path.name) for path in names)


def kill_at_random(plan, out, complete, count, seed):
    """Kills `count` runs after random times, up to what a whole run takes."""
    begun = time.monotonic()
    wait(fork(lambda: prepare_videos(plan, out)))
    duration = time.monotonic() - begun
    generator = random.Random(seed)
    while count:
        shutil.rmtree(out)
        child = fork(lambda: prepare_videos(plan, out))
        time.sleep(generator.uniform(0.1, 1.0) * duration)
        os.kill(child, signal.SIGKILL)
        if killed := wait(child):
            count -= 1
            yield tell(plan, out, complete, killed)
        else:
            # It was faster than the first, as the machine has less to do now.
            duration *= 0.9


def kill_at_every_change(plan, out, complete, before=None):
    """Kills runs before the first, the second, ... change of a file name, until one survives."""
    number, killed = 0, signal.SIGKILL
    while killed:
        number += 1
        shutil.rmtree(out, ignore_errors=True)
        if before is not None:
            shutil.copytree(before, out)

        def work(number=number):
            kill_before_change(number, out)
            prepare_videos(plan, out, workers=1, overwrite=before is not None)

        killed = wait(fork(work))
        yield tell(plan, out, complete, killed, overwrite=before is not None)


def tell(plan, out, complete, killed, overwrite=False):
    """What a run left behind, and what the next one makes of it."""
    there = files_in(out) if out.exists() else {}
    left = {
        "killed": bool(killed),
        "shards": sum(name.endswith(".tfrecord") for name in there),
        "parts": sum(name.endswith(".part") for name in there),
        "whole": overwrite or whole(out, complete),
    }
    wait(fork(lambda: prepare_videos(plan, out, overwrite=overwrite)))
    return left | {"equal": files_in(out) == complete, "tidy": not (out / ".preparing").exists()}


def main(source, work, overwriting):
    source, work = pathlib.Path(source), pathlib.Path(work)
    videos = read_folder(source)
    # The changes of names are as many with fewer videos.
    plan = make_plan(videos.select(range(0, len(videos), 3)), shards=2)
    wait(fork(lambda: prepare_videos(plan, work / "complete")))
    complete = files_in(work / "complete")
    if overwriting == "overwriting":
        other = make_plan(plan.videos, shards=3, quality=50)
        wait(fork(lambda: prepare_videos(other, work / "before")))
        told = {"every": kill_at_every_change(plan, work / "out", complete, work / "before")}
    else:
        told = {
            "random": kill_at_random(plan, work / "random", complete, count=4, seed=0),
            "every": kill_at_every_change(plan, work / "out", complete),
        }
    print(json.dumps({how: list(runs) for how, runs in told.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])

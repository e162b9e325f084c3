"""No file runs code, takes long, takes much memory, or ends in another error than ours."""

import json
import pathlib
import pickle
import re
import subprocess
import sys

import pytest

from keras_nonlocal.archives.readers import CheckpointError, read_arrays
from tests.archives import hostile, weight_files

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 2
MEGABYTES = 200


@pytest.fixture(autouse=True)
def _clean_state():
    """Nothing here touches Keras, and clearing its state would take most of the time."""


def _skip_without(name):
    for package in ("torch", "safetensors"):
        if name.startswith(package):
            pytest.importorskip(package)


@pytest.mark.parametrize("name", hostile.FILES)
def test_hostile_files_are_refused(name, tmp_path):
    _skip_without(name)
    make, word = hostile.FILES[name]
    canary = tmp_path / "canary"
    path = tmp_path / "weights.pkl"
    path.write_bytes(make(str(canary)))
    with pytest.raises(CheckpointError, match=re.escape(word)) as caught:
        read_arrays(path)
    assert str(caught.value).startswith(f"The file of weights {str(path)!r} cannot be used: it ")
    assert not canary.exists()


def test_the_canary_shows_when_code_runs(tmp_path):
    canary = tmp_path / "canary"
    pickle.loads(hostile.FILES["os.system"][0](str(canary)))
    assert canary.exists()


WHOLE = {
    "pickle": weight_files.pickled,
    "pickle, protocol 0": lambda: weight_files.pickled(0),
    "pickle, protocol 5": lambda: weight_files.pickled(5),
    "torch": weight_files.torch_saved,
    "torch, before 1.6": lambda: weight_files.torch_saved(zipped=False),
    "safetensors": weight_files.safetensors_saved,
}


@pytest.mark.parametrize("name", WHOLE)
def test_files_cut_short_are_refused(name, tmp_path):
    _skip_without(name)
    content = WHOLE[name]()
    for part in range(100):
        path = tmp_path / f"{part}.pkl"
        path.write_bytes(content[: len(content) * part // 100])
        with pytest.raises(CheckpointError):
            read_arrays(path)


def test_repacked_torch_files_are_read(tmp_path):
    """So that the files of the corpus that are packed anew are refused for what they say."""
    pytest.importorskip("torch")
    content = weight_files.torch_saved()
    path = tmp_path / "weights.pth"
    body = weight_files.record(content, "/data.pkl")
    path.write_bytes(weight_files.with_record(weight_files.with_pickle(content, body), "/more"))
    assert set(read_arrays(path).arrays) == set(weight_files.arrays())


# Reads the files of a folder, and says what each took. Reads the good ones first, so that the
# packages are in memory already; writing 5 to clear_refs forgets the highest memory so far.
MEASURE = """
import json, pathlib, sys, time
from keras_nonlocal.archives.readers import CheckpointError, read_arrays

def megabytes(what):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024

folder = pathlib.Path(sys.argv[1])
for path in folder.glob("good*"):
    read_arrays(path)
taken = {}
for path in folder.glob("bad*"):
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    memory, start = megabytes("VmRSS"), time.process_time()
    try:
        read_arrays(path)
    except CheckpointError:
        taken[path.name] = time.process_time() - start, megabytes("VmHWM") - memory
print(json.dumps(taken))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by Linux")
def test_hostile_files_take_neither_time_nor_memory(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "good.pth").write_bytes(weight_files.torch_saved())
    (tmp_path / "good.safetensors").write_bytes(weight_files.safetensors_saved())
    for index, (make, _) in enumerate(hostile.FILES.values()):
        (tmp_path / f"bad{index}").write_bytes(make("canary"))
    child = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert child.returncode == 0, child.stderr[-2000:]
    taken = json.loads(child.stdout.splitlines()[-1])
    taken = {name: taken[f"bad{index}"] for index, name in enumerate(hostile.FILES)}
    # Of the processor, as a wall clock would measure the machine's other work as well.
    assert {name: cost for name, cost in taken.items() if cost[0] > SECONDS} == {}
    assert {name: cost for name, cost in taken.items() if cost[1] > MEGABYTES} == {}

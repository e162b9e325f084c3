"""Nothing grows while epochs go by."""

import gc
import os
import pathlib

import numpy as np
import pytest

from keras_nonlocal.data import clip_dataset, read_folder
from tests.made_videos import write


def resident():
    """Resident memory of this process, in MB."""
    gc.collect()
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_thirty_epochs_keep_memory_and_files(tmp_path, on_error):
    (tmp_path / "noise").mkdir()
    for number in range(12):
        pictures = np.random.default_rng(number).integers(0, 255, (24, 72, 96, 3), np.uint8)
        write(tmp_path / "noise" / f"{number}.mp4", pictures, "mpeg4")
    if on_error == "skip":
        (tmp_path / "noise" / "broken.mp4").write_bytes(b"this is no video")
    dataset = clip_dataset(
        read_folder(tmp_path),
        "4x2",
        crop=64,
        batch_size=4,
        training=True,
        on_error=on_error,
        max_broken=0.1,
    )
    sizes = []
    for _ in range(30):
        assert sum(1 for _ in dataset) == 3
        sizes.append((resident(), open_files()))
    memory, files = np.array(sizes).T
    # An epoch is 4 MB of clips. Were one kept each time, twenty epochs would add 80 MB.
    assert memory[25:].mean() - memory[5:10].mean() < 20
    assert files[-1] <= files[5]

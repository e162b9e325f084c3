"""The CSV files of Charades."""

import os

import numpy as np
import pytest

from keras_nonlocal.data import read_charades
from tests.lists.annotation_files import CHARADES_COLUMNS, charades, frames, one_hot


def test_charades_gives_labels_and_their_times(tmp_path):
    annotations, folder = charades(tmp_path)
    videos = read_charades(annotations, folder)
    assert [os.path.basename(path) for path in videos.paths] == ["46GP8.mp4", "N11GT.mp4"]
    assert videos.labels.shape == (2, 157)
    assert videos.labels.dtype == np.float32
    assert videos.labels.tolist() == one_hot([92, 147], [], classes=157)
    assert videos.events == (((92, 11.9, 21.2), (147, 0.0, 12.6), (92, 25.0, 30.0)), ())
    assert videos.class_names[0] == "c000"
    assert videos.class_names[156] == "c156"


def test_charades_takes_names_of_classes(tmp_path):
    annotations, folder = charades(tmp_path)
    videos = read_charades(annotations, folder, tmp_path / "Charades_v1_classes.txt")
    assert videos.class_names[92] == "Doing thing 92"


def test_charades_needs_all_classes(tmp_path):
    annotations, folder = charades(tmp_path)
    with pytest.raises(ValueError, match="`class_names` must be the 157 names.*Received: 2"):
        read_charades(annotations, folder, ["x", "y"])


def test_charades_reads_folders_of_frames_at_their_rate(tmp_path):
    annotations, _ = charades(tmp_path)
    folder = frames(tmp_path / "Charades_v1_rgb", "46GP8", "N11GT")
    assert read_charades(annotations, folder).fps == 24.0
    assert read_charades(annotations, folder, fps=12.0).fps == 12.0


@pytest.mark.parametrize(
    "action",
    ["c157 0.00 12.60", "c147 12.60 0.00", "c147 0.00", "c147 a 12.60", "147x 0 1", "c147 0 inf"],
)
def test_charades_names_line_and_field(tmp_path, action):
    annotations, folder = charades(tmp_path)
    annotations.write_text(annotations.read_text().replace("c147 0.00 12.60", action))
    with pytest.raises(ValueError, match=f"train.csv', line 2, field 'actions'.*'{action}'"):
        read_charades(annotations, folder)


def test_charades_needs_an_id(tmp_path):
    annotations, folder = charades(tmp_path)
    annotations.write_text(f"{CHARADES_COLUMNS}\n,,,,,,,,,,\n46GP8{',' * 10}\n,x{',' * 9}\n")
    with pytest.raises(ValueError, match="line 4, field 'id': must name a video"):
        read_charades(annotations, folder)


def test_charades_drops_missing_videos_with_their_events(tmp_path):
    annotations, folder = charades(tmp_path)
    (folder / "46GP8.mp4").unlink()
    with pytest.raises(FileNotFoundError, match="1 of the 2 .*'46GP8' .from line 2"):
        read_charades(annotations, folder)
    videos = read_charades(annotations, folder, missing="drop")
    assert videos.events == ((),)
    assert videos.labels.shape == (1, 157)

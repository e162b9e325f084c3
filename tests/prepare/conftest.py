"""What tests of preparations share: a few tiny videos, and what is in a folder."""

import pytest

from keras_nonlocal.lists.video_list import VideoList
from tests.made_videos import moving_bars, write


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A folder of three classes of four videos, of 8 to 19 frames of 48x32 pixels."""
    root = tmp_path_factory.mktemp("source")
    for number in range(12):
        path = root / "abc"[number % 3] / f"{number:02}.mp4"
        path.parent.mkdir(exist_ok=True)
        write(path, moving_bars(8 + number, 32, 48))
    return root


@pytest.fixture
def videos(source):
    """The videos of `source`, in the order of their numbers."""
    paths = sorted(source.glob("*/*.mp4"), key=lambda path: path.name)
    return VideoList(paths, [number % 3 for number in range(12)], list("abc"))


def files_in(folder):
    """All files below a folder, by their relative paths, with their bytes."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

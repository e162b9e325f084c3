"""What tests of commands share: an empty folder, and a way to run a command line."""

import pytest

from keras_nonlocal import cli


@pytest.fixture(autouse=True)
def _clean_state():
    """Nothing here leaves a state behind, and clearing it would take most of the time."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, and a home without published files."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def run(capsys, *words):
    """Gives the exit code, stdout, and stderr."""
    try:
        code = cli.main(list(words))
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()

"""The bar of a long command appears on a terminal, and nowhere else."""

import io
import sys

import pytest

from keras_nonlocal.commands.progress import progress_bar


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def draw(monkeypatch, stream):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("[videos]", 3) as advance:
        for _ in range(3):
            advance()
    return stream.getvalue()


def test_a_terminal_shows_how_many_are_done_and_the_rate(monkeypatch):
    drawn = draw(monkeypatch, _Terminal())
    assert "[videos]" in drawn
    assert "3/3" in drawn
    assert "/s" in drawn


@pytest.mark.parametrize("force", [False, True], ids=["plain", "colours asked for"])
def test_a_pipe_gets_nothing(force, monkeypatch):
    if force:
        monkeypatch.setenv("FORCE_COLOR", "1")
    assert draw(monkeypatch, io.StringIO()) == ""

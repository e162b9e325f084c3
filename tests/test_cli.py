"""The command line: it finds its commands, and refuses what is none."""

import configparser
import importlib
import os
import pathlib
import re
import signal
import time

import pytest

import keras_nonlocal as knl
from keras_nonlocal import cli
from keras_nonlocal.exporting.destination import written_beside

ROOT = pathlib.Path(__file__).parents[1]


def run(capsys, *words):
    """Gives the exit code, stdout, and stderr."""
    try:
        code = cli.main(list(words))
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name, capsys):
    code, printed, noise = run(capsys, name, "--help")
    assert (code, noise) == (0, "")
    assert f"usage: keras-nonlocal {name}" in printed


def test_every_command_has_a_file_and_every_file_of_one_is_a_command():
    files = (ROOT / "keras_nonlocal" / "commands").glob("*.py")
    assert set(cli.COMMANDS) == {path.stem for path in files if "def run(" in path.read_text()}


def test_the_help_imports_no_command(capsys, monkeypatch):
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(name))
    code, printed, _ = run(capsys, "--help")
    assert code == 0
    for name, purpose in cli.COMMANDS.items():
        assert re.search(rf"^ +{name} +{re.escape(purpose)}$", printed, re.MULTILINE), name


WRONG = {
    "nothing": [],
    "an unknown command": ["train"],
    "no file": ["convert"],
    "no output": ["convert", "a.pkl"],
    "an unknown source": ["convert", "a.pkl", "--to", "b.keras", "--source", "slowfast"],
    "no classes": ["convert", "a.pkl", "--to", "b.keras", "--classes", "0"],
    "no size": ["convert", "a.pkl", "--to", "b.keras", "--crop", "large"],
}


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_wrong_arguments_end_with_two(words, capsys):
    code, printed, noise = run(capsys, *words)
    assert (code, printed) == (2, "")
    assert re.fullmatch(r"keras-nonlocal: error: .+\. See keras-nonlocal.* --help\.\n", noise)


ENDS = {
    "Ctrl-C": (KeyboardInterrupt(), 130, "Stopped."),
    "memory": (MemoryError(), 1, "The memory is full."),
    "memory, with words": (MemoryError("9 GiB for an array"), 1, "9 GiB for an array"),
    "a file": (OSError("a is not there"), 1, "a is not there"),
    "several lines": (ValueError("a.\nThese:\n  b\nc."), 1, "a; These: b; c."),
    "bold": (ValueError("\x1b[1mA layer\x1b[0m failed"), 1, "A layer failed"),
}


@pytest.mark.parametrize("fault, code, message", ENDS.values(), ids=ENDS)
def test_an_end_before_the_end_is_one_line(fault, code, message, capsys, monkeypatch):
    def stop(chosen):
        raise fault

    monkeypatch.setattr("keras_nonlocal.commands.weights.run", stop)
    line = f"keras-nonlocal: error: {message}\n"
    assert run(capsys, "weights") == (code, "", line)


def test_termination_leaves_nothing_half_written(tmp_path, capsys, monkeypatch):
    def write(chosen):
        with written_beside(tmp_path / "new" / "model.tflite") as written:
            written.write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)
            # The handler runs at the latest here.
            time.sleep(10)

    monkeypatch.setattr("keras_nonlocal.commands.weights.run", write)
    before = signal.getsignal(signal.SIGTERM)
    assert run(capsys, "weights") == (143, "", "keras-nonlocal: error: Stopped.\n")
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


def test_whoever_ignores_termination_goes_on(capsys, monkeypatch):
    def go_on(chosen):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        raise ValueError("went on")

    monkeypatch.setattr("keras_nonlocal.commands.weights.run", go_on)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert run(capsys, "weights") == (1, "", "keras-nonlocal: error: went on\n")
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_termination_does_not_cut_short_what_tidies_up(capsys, monkeypatch):
    tidied = []

    def tidy(chosen):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            tidied.append(True)

    monkeypatch.setattr("keras_nonlocal.commands.weights.run", tidy)
    assert run(capsys, "weights")[0] == 143 and tidied


def test_the_version_is_the_packages(capsys):
    assert run(capsys, "--version") == (0, f"{knl.__version__}\n", "")


def test_setup_names_the_entry_point():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"]
    name, module, function = re.fullmatch(r"\s*(\S+) = (\S+):(\S+)", scripts).groups()
    assert name == "keras-nonlocal"
    assert getattr(importlib.import_module(module), function) is cli.main

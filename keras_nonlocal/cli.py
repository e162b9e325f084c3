"""The command line: finds the command, and tells how it ended. What each does: `commands/`."""

import argparse
import contextlib
import importlib
import signal
import sys
import threading

import keras_nonlocal
from keras_nonlocal.commands import printing

# With what `--help` says of each, so that only the file of the one that is run is imported.
COMMANDS = {
    "inspect": "say what videos there are and which are broken",
    "prepare": "make records of videos, which are read faster",
    "train": "train a network on videos, by a recipe",
    "evaluate": "test a network on videos, and report",
    "fuse": "join what several networks said, and report",
    "export": "write a network for servers and phones, and compare it",
    "predict": "say what a network, exported or not, sees in videos",
    "convert": "make a Keras file of a published file",
    "weights": "list the weights that are known by name",
    "verify": "say what is in a file, and how to load it",
}


def main(arguments=None):
    """Runs the command line.

    Args:
        arguments: list of words; `None` takes those of the process.

    Returns:
        The exit code: 0, 1 after an error, or 128 and the number of the signal that stopped it. The
        error stands on stderr in one line.

    Raises:
        SystemExit: with code 2, on arguments that are none.

    Example:

    >>> main(["weights", "camera_motion"])  # doctest: +ELLIPSIS
    camera_motion
      load        model = knl.NLI3D(weights="camera_motion")
    ...
    0
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        chosen = _build_parser(arguments).parse_args(arguments)
        with _termination_raised():
            return chosen.run(chosen)
    except (ValueError, OSError, ImportError) as fault:
        printing.complain("error", fault)
    except MemoryError as fault:
        printing.complain("error", str(fault) or "The memory is full.")
    except KeyboardInterrupt as stop:
        printing.complain("error", str(stop) or "Stopped.")
        # What raised it says which signal it was.
        return 128 + getattr(stop, "signal", signal.SIGINT)
    return 1


@contextlib.contextmanager
def _termination_raised():
    """Has SIGTERM end the block like Ctrl-C, so that nothing half-written stays."""
    # Python hands signals to the main thread alone, and cannot restore what it did not set.
    before = signal.getsignal(signal.SIGTERM)
    own = threading.current_thread() is threading.main_thread()
    if not own or before in (None, signal.SIG_IGN):
        yield
        return

    def stop(number, frame):
        # The next one is not to cut short what tidies up.
        signal.signal(number, signal.SIG_IGN)
        interrupt = KeyboardInterrupt()
        interrupt.signal = number
        raise interrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        printing.complain("error", f"{message}. See {self.prog} --help.")
        sys.exit(2)


def _build_parser(arguments):
    """A parser that knows all commands by name, and those that the arguments name in full."""
    parser = _Parser(
        prog="keras-nonlocal",
        description="Videos: what there are and what is broken. Published weights of video "
        "networks: what there are, what is in a file, and files of others as files of Keras.",
    )
    parser.add_argument("--version", action="version", version=keras_nonlocal.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose)
        if name in arguments:
            module = importlib.import_module(f"keras_nonlocal.commands.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())

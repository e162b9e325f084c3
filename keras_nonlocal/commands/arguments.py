"""Arguments that several commands take, and kinds of them for `add_argument(type=...)`."""

import argparse

from keras_nonlocal.implementations import IMPLEMENTATIONS


def count(text):
    """Reads a positive number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return int(text)


def seed(text):
    """Reads a number from 0 to 4294967295, the seeds that NumPy takes."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {2**32 - 1}, not {text!r}")
    return int(text)


def pixels(text):
    """Reads a positive number of pixels, or `"any"`, which gives `None`."""
    return None if text == "any" else count(text)


def add_network_arguments(group):
    """Adds what a network's name or file may not tell: whose pixels it takes, and which clips."""
    group.add_argument(
        "--clip", metavar="FRAMESxSTRIDE", help="of its clips, if MODEL does not tell: 8x8, 8x8@30"
    )
    group.add_argument(
        "--source-of-weights",
        choices=IMPLEMENTATIONS,
        metavar="SOURCE",
        help=f"whose, if MODEL does not tell: {', '.join(IMPLEMENTATIONS)}",
    )

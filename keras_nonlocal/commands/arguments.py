"""Kinds of arguments that several commands take, for `add_argument(type=...)`."""

import argparse


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

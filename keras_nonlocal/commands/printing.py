"""How commands print: complaints in one line, facts under headings, and no moving of the cursor."""

import contextlib
import logging
import re
import sys
import textwrap
import warnings


def complain(kind, fault):
    """Prints an error or a warning on stderr as one line, however many it has.

    Args:
        kind: `"error"` or `"warning"`.
        fault: an exception, or a text.
    """
    # Keras prints some of its own in bold.
    plain = re.sub(r"\x1b\[[\d;]*m", "", str(fault))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    # A line that ends in a colon goes on in the next one.
    joined = [line + " " if line.endswith(":") else line.rstrip(".") + "; " for line in lines[:-1]]
    text = "".join([*joined, *lines[-1:]]) or type(fault).__name__
    sys.stdout.flush()
    print(f"keras-nonlocal: {kind}: {printable(text)[:4000]}", file=sys.stderr)


def in_words_of_the_command(text, words):
    """Gives an error's text with the options of a command in place of arguments in Python.

    Args:
        text: of the error.
        words: dict, from the words of Python to those of the command.
    """
    for python, option in words.items():
        # Not inside another word, such as the path of a file.
        begins = r"(?<![^\s(])" if python[0].isalnum() else ""
        text = re.sub(begins + re.escape(python), lambda _, to=option: to, text)
    return text


def reason_of(fault):
    """Gives the reason for an error of `tf.data`, which TensorFlow tells among its own affairs."""
    told = re.findall(r"^\w*Error: (.+)$", str(fault), re.MULTILINE)
    return told[-1] if told else str(fault)


@contextlib.contextmanager
def told_in_words_of_the_command(words):
    """Has errors of arguments speak of the options that a command has for them.

    Args:
        words: see `in_words_of_the_command`.

    Raises:
        ValueError: in place of any `ValueError`, or `OSError` of the package's own.
    """
    try:
        yield
    except ValueError as fault:
        raise ValueError(in_words_of_the_command(str(fault), words)) from fault
    except OSError as fault:
        if fault.errno is not None:
            raise
        raise ValueError(in_words_of_the_command(str(fault), words)) from fault


@contextlib.contextmanager
def warnings_told():
    """Prints warnings in a line each, without the code that they come from."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for warning in caught:
                complain("warning", warning.message)


@contextlib.contextmanager
def log_told(translate=str):
    """Prints what the package logs: warnings as complaints, the rest as lines on stdout.

    Args:
        translate: function of a text, from the words of Python to those of the command.
    """
    log = logging.getLogger("keras_nonlocal")
    handler, before = _Teller(translate), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(before)
        log.removeHandler(handler)


class _Teller(logging.Handler):
    def __init__(self, translate):
        super().__init__()
        self.translate = translate

    def emit(self, record):
        text = self.translate(record.getMessage())
        if record.levelno >= logging.WARNING:
            complain("warning", text)
        else:
            print(printable(text), flush=True)


def print_pairs(pairs):
    """Prints facts below a heading of their own.

    Args:
        pairs: pairs of a heading and a text. What stands under `"load"`, `"loads"` and `""` is
            Python, which is not broken into lines, so that it can be pasted.
    """
    for heading, text in pairs:
        width = 10_000 if heading in ("load", "loads", "") else 100
        indents = {"initial_indent": f"  {heading:<12}", "subsequent_indent": " " * 14}
        lines = textwrap.wrap(
            printable(text), width, break_long_words=False, break_on_hyphens=False, **indents
        )
        print("\n".join(lines))


def printable(text):
    """Gives a text with whatever a file may have put in to move the cursor written as escapes."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )

"""Scores as they come, kept in a file that only grows, so that a killed evaluation goes on."""

import base64
import contextlib
import json
import logging
import os
import zlib

import numpy as np

from keras_nonlocal.evaluation.identity import check_identity
from keras_nonlocal.files import locked, sync_folder

_LOG = logging.getLogger("keras_nonlocal")


class Journal:
    """Scores of a list of videos, a line a batch, each with its checksum.

    A line that was not written whole is the sign of a process that was killed: it is cut off when
    the journal is opened, with all that may follow. A journal without scores is begun anew,
    whatever it was of.

    Args:
        path: of the file.
        file: the file, open for reading and writing.
        identity: dictionary for JSON of what the scores depend on.

    Attributes:
        views_per_batch: of the last batch, `None` before the first.
        scores: dictionary from the number of a video to its probabilities.
        unreadable: dictionary from the number of a video to the reason.

    Raises:
        ValueError: if the file is of another evaluation, with what differs.
    """

    def __init__(self, path, file, identity):
        self.views_per_batch = None
        self.scores, self.unreadable = {}, {}
        self._file = file
        lines, whole = _read_lines(file)
        if not any(line["numbers"] for line in lines[1:]):
            lines, whole = [], 0
        if lines:
            check_identity(path, lines[0], identity)
        for line in lines[1:]:
            self._take(line)
        rest = file.seek(0, os.SEEK_END) - whole
        if rest and lines:
            _LOG.info("%s ends in %d bytes of a line that was not finished.", path, rest)
        file.truncate(whole)
        if not lines:
            self._write(identity)

    def add(self, numbers, scores, unreadable, views_per_batch):
        """Keeps a batch, and brings it to the disk.

        Args:
            numbers: of the videos in it.
            scores: float32 `(batch, classes)`.
            unreadable: dictionary from number to reason, of videos before or behind these.
            views_per_batch: how many views went through the network at a time.
        """
        scores = np.ascontiguousarray(scores, "<f4")
        line = {
            "numbers": [int(number) for number in numbers],
            "scores": base64.b64encode(scores.tobytes()).decode(),
            "unreadable": {str(number): reason for number, reason in unreadable.items()},
            "views_per_batch": views_per_batch,
        }
        self._write(line)
        self._take(line)

    def _write(self, line):
        text = json.dumps(line).encode()
        self._file.write(b"%08x %s\n" % (zlib.crc32(text), text))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _take(self, line):
        scores = np.frombuffer(base64.b64decode(line["scores"]), "<f4").astype(np.float32)
        numbers = line["numbers"]
        if numbers:
            self.scores.update(zip(numbers, scores.reshape(len(numbers), -1), strict=True))
        self.unreadable.update({int(k): reason for k, reason in line["unreadable"].items()})
        # They are tried again in every run, and may have been mended.
        for number in numbers:
            self.unreadable.pop(number, None)
        self.views_per_batch = line["views_per_batch"]


@contextlib.contextmanager
def folder_locked(journal_path):
    """Keeps other processes from evaluating into the folder of a journal.

    Args:
        journal_path: of its file, in a folder that is there.

    Raises:
        BlockingIOError: if another process evaluates into it.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(f"{journal_path}.lock"))
        except BlockingIOError as error:
            raise BlockingIOError(
                error.errno, "Another process is evaluating into the same folder", str(journal_path)
            ) from error
        yield


@contextlib.contextmanager
def opened_journal(path, identity):
    """Opens a journal, or begins one, in a folder that this process has locked.

    Args:
        path, identity: as in `Journal`.

    Yields:
        A `Journal`.

    Raises:
        ValueError: if the file is of another evaluation, with what differs.
    """
    with open(path, "a+b") as file:
        sync_folder(os.path.dirname(path))
        file.seek(0)
        yield Journal(path, file, identity)


def _read_lines(file):
    """The lines that are whole and sound, from the first on, and where they end."""
    lines, whole = [], 0
    for raw in file:
        checksum, _, text = raw.rstrip(b"\n").partition(b" ")
        if not raw.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
            break
        lines.append(json.loads(text))
        whole += len(raw)
    return lines, whole

"""What becomes of videos that cannot be read: an error at once, or a count and names at the end."""

import logging
import threading

_LOG = logging.getLogger("keras_nonlocal")
# A night's training must not drown its log in names.
_NAMES_TOLD = 20


def check_max_broken(max_broken):
    """Raises a `ValueError` unless `max_broken` is a share."""
    if not 0 <= max_broken <= 1:
        raise ValueError(
            "`max_broken` must be a share between 0 and 1. "
            f"Received: max_broken={max_broken}. 0.05 goes on with up to 5 % broken videos."
        )


class Failures:
    """The videos of an epoch that could not be read, told when it ends.

    One serves one dataset; its threads may all report at a time.

    Args:
        total: number of videos in an epoch.
        max_broken: share of them that may be broken.

    Attributes:
        names: dictionary from path to reason, of the epoch that runs or of the last one.
    """

    def __init__(self, total, max_broken):
        check_max_broken(max_broken)
        self.total = total
        self.max_broken = max_broken
        self.names = {}
        self._told = True
        self._lock = threading.Lock()

    def begin_epoch(self):
        """Forgets the videos of the last epoch, once they were told."""
        self.end_epoch()
        with self._lock:
            self.names = {}

    def add(self, path, reason):
        """Notes a video that could not be read.

        Args:
            path: of the video.
            reason: the error.

        Raises:
            ValueError: if more than the stated share of the videos is broken by now.
        """
        with self._lock:
            self.names[path] = str(reason)
            self._told = False
            if len(self.names) > self.max_broken * self.total:
                raise ValueError(
                    f"More than `max_broken` ({self.max_broken:.0%}) of {self.total} videos "
                    f"cannot be read:\n{self._list_names()}\n"
                    "Mend or leave out these videos, or raise `max_broken`."
                )

    def end_epoch(self):
        """Logs how many videos could not be read, and which, unless that was done."""
        with self._lock:
            if not self._told:
                self._told = True
                _LOG.warning(
                    "%d of %d videos could not be read and were left out of this epoch:\n%s",
                    len(self.names),
                    self.total,
                    self._list_names(),
                )

    def _list_names(self):
        lines = [f"  {reason}" for reason in self.names.values()]
        more = len(lines) - _NAMES_TOLD
        return "\n".join(lines[:_NAMES_TOLD] + ([f"  and {more} more"] if more > 0 else []))

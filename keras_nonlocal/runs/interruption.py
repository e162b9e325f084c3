"""Ctrl-C, and the signal that cluster schedulers send a while before they kill."""

import contextlib
import signal
import threading


class TrainingInterrupted(KeyboardInterrupt):
    """A training that a signal has stopped, after it had written a checkpoint.

    Attributes:
        signal: int, its number. Commands exit with 128 and this.
    """

    def __init__(self, message, signal):
        super().__init__(message)
        self.signal = signal


class Interruption:
    """Whether a signal to stop has come.

    Attributes:
        signal: its number, or None.
    """

    def __init__(self):
        self.signal = None

    @contextlib.contextmanager
    def noticed(self):
        """Lets SIGINT and SIGTERM be noted in the block, in place of ending the process.

        The second one does what it did before, for those who do not want to wait. Python hands
        signals to the main thread alone; in another one, nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {}

        def note(number, frame):
            self.signal = number
            for each, handler in before.items():
                signal.signal(each, handler)

        for each in (signal.SIGINT, signal.SIGTERM):
            # None: of a handler that was not set from Python, and cannot be set back from it.
            if (handler := signal.getsignal(each)) is not None:
                before[each] = handler
        try:
            for each in before:
                signal.signal(each, note)
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

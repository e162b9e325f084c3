"""Lets decoding come to rest before Python ends.

Where a training ends with an error, `tf.data` still fetches ahead, and a thread of TensorFlow that
calls Python while the interpreter is taken down waits for ever, and the process with it.
"""

import atexit
import contextlib
import threading
import time

# Seconds without a call after which none is on its way any more, on a busy machine too; and after
# which a video that takes so long is not waited for.
_QUIET = 0.5
_PATIENCE = 30.0


class _Calls:
    """The calls of Python functions by `tf.data` that go on, and when the last one ended."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = 0
        self.last = -_QUIET
        self.refused = False


_CALLS = _Calls()


@contextlib.contextmanager
def waited_for():
    """Marks what Python must not end within.

    Raises:
        RuntimeError: if Python is about to end.
    """
    with _CALLS.lock:
        # What is fetched ahead would go on being fetched.
        refused = _CALLS.refused
        _CALLS.running += not refused
        _CALLS.last = time.monotonic()
    if refused:
        raise RuntimeError("Python ends: no more videos are read.")
    try:
        yield
    finally:
        with _CALLS.lock:
            _CALLS.running -= 1
            _CALLS.last = time.monotonic()


@atexit.register
def _come_to_rest():
    _CALLS.refused = True
    began = time.monotonic()
    while _CALLS.running or time.monotonic() - _CALLS.last < _QUIET:
        if time.monotonic() - began > _PATIENCE:
            return
        time.sleep(0.02)

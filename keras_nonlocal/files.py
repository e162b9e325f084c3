"""Atomic writes and locks, for local files and, by fsspec, for URLs such as `gs://bucket/name`."""

import contextlib
import errno
import os
import re
import secrets

import filelock
import fsspec

PART = ".part"
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def is_url(path):
    """Returns whether a path names a file system, as `gs://bucket/name` does."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", os.fspath(path)) is not None


@contextlib.contextmanager
def atomic_write(path, folder=None):
    """Writes a file under a temporary name, and renames it after its last byte is on the disk.

    Args:
        path: final path or URL. A file that exists is replaced.
        folder: where the temporary file is written, in the same file system (default: the folder
            of `path`).

    Yields:
        A binary file to write to. If the block raises, nothing of it is kept.

    Raises:
        OSError: if it cannot be written, with the path in the message.
    """
    path = os.fspath(path)
    name = os.path.basename(path)
    folder = path[: -len(name)] if folder is None else f"{os.fspath(folder)}/"
    # Two machines that write the same file at the same time need two temporary names.
    temporary = f"{folder}{name}.{secrets.token_hex(4)}{PART}"
    write = _write_url if is_url(path) else _write_local
    try:
        with write(path, temporary) as file:
            yield file
    except OSError as error:
        if error.errno in _FULL:
            raise OSError(
                f"{path!r} cannot be written: {os.strerror(error.errno)}. Completed files are "
                "kept. Free space and run the same command again to continue."
            ) from error
        raise


@contextlib.contextmanager
def _write_local(path, temporary):
    file = open(temporary, "xb")
    try:
        with file:
            yield file
            file.flush()
            # Otherwise a power cut may keep the name and lose the bytes.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
    sync_folder(os.path.dirname(path))


@contextlib.contextmanager
def _write_url(path, temporary):
    system, path = fsspec.url_to_fs(path)
    _, temporary = fsspec.url_to_fs(temporary)
    try:
        with system.open(temporary, "wb") as file:
            yield file
        # Not every file system renames onto an existing file.
        if system.exists(path):
            system.rm_file(path)
        system.mv(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            system.rm_file(temporary)
        raise


def sync_folder(path):
    """Flushes the names in a folder to the disk, where the system can open folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path or os.curdir, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(path):
    """Holds a lock, which the system releases when the process ends, however it ends.

    Args:
        path: of the lock file. It is made, and removed at the end.

    Raises:
        BlockingIOError: if the lock is held already; nothing waits.
    """
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise BlockingIOError(errno.EAGAIN, "Another process holds the lock", str(path)) from error
    try:
        yield
    finally:
        # While it is held, so that no other process can have locked it. Windows refuses that, and
        # removes the file when the lock is released.
        with contextlib.suppress(OSError):
            os.remove(path)
        lock.release()

"""Files that appear whole or not at all, and one process at a time."""

import contextlib
import errno
import fcntl
import os
import secrets

PART = ".part"


@contextlib.contextmanager
def written_whole(path, folder):
    """Lets a file be written under another name, and gives it its own once it is on the disk.

    Args:
        path: where the file shall appear, in place of one that is there.
        folder: where it is written, in the same file system.

    Yields:
        A binary file to write to. If the block raises, nothing stays of it.

    Raises:
        OSError: if it cannot be written, with the path in the message.
    """
    # Of two that write the same file at a time, on two machines, each has a name of its own.
    name = f"{os.path.basename(path)}.{secrets.token_hex(4)}{PART}"
    temporary = os.path.join(folder, name)
    file = open(temporary, "xb")
    try:
        with file:
            yield file
            file.flush()
            # Without it, a power cut may leave the name and lose the bytes.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(
                f"{path!r} cannot be written: {os.strerror(error.errno)}. What was complete stays. "
                "Make room, and run the same again: it goes on where it was."
            ) from error
        raise
    sync_folder(os.path.dirname(path))


def write_whole(path, text, folder):
    """Writes a text file; see `written_whole`."""
    with written_whole(path, folder) as file:
        file.write(text.encode())


def sync_folder(path):
    """Brings the names in a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path):
    """Keeps a lock that the system takes back when the process ends, however it does.

    Args:
        path: of the lock file, which is made. The block may remove it.

    Raises:
        BlockingIOError: if another process has the lock.
    """
    while True:
        with open(path, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had the lock may have removed the file between the two lines above.
            if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                yield
                return

"""Files and folders that appear whole or not at all."""

import contextlib
import errno
import os
import pathlib
import tempfile


def check_destination(path, overwrite):
    """Refuses a path that is taken.

    Args:
        path: where the export is to stand.
        overwrite: whether what stands there may be replaced.

    Raises:
        FileExistsError: if something stands there and may not be replaced.
    """
    if pathlib.Path(path).exists() and not overwrite:
        raise FileExistsError(
            f"`path` must not exist yet. Received: path={str(path)!r}. Pass overwrite=True to "
            "replace it, or another path."
        )


@contextlib.contextmanager
def written_beside(path, overwrite=True):
    """Gives a path to write to, which takes its final name once everything succeeded.

    Whoever reads the final name finds the old state or the new one, never half of it, and an
    export that fails leaves nothing behind. Files written beside it, such as a report, follow it.

    Args:
        path: final name of the file or folder. Its folder is made where it is missing.
        overwrite: whether to replace what stands there in the end, which another process may
            have written meanwhile.

    Yields:
        `pathlib.Path` in the same folder, so that renaming it moves no data.

    Raises:
        FileExistsError: if something stands there then and may not be replaced.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as room:
        written = pathlib.Path(room) / path.name
        yield written
        check_destination(path, overwrite)
        followers = [each for each in pathlib.Path(room).iterdir() if each != written]
        for follower in followers:
            # Never one that tells of another file than stands there.
            path.with_name(follower.name).unlink(missing_ok=True)
        replaced = None
        if path.is_dir() or (path.exists() and written.is_dir()):
            # Renaming replaces a file by a file in one step, and nothing else.
            replaced = pathlib.Path(room) / f"replaced.{path.name}"
            os.replace(path, replaced)
        try:
            os.replace(written, path)
        except OSError as error:
            if replaced is not None and not path.exists():
                os.replace(replaced, path)
            # A folder that appeared since the lines above: only an empty one would be replaced.
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                check_destination(path, overwrite=False)
            raise
        for follower in followers:
            os.replace(follower, path.with_name(follower.name))

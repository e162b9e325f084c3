"""Files and folders that appear whole or not at all."""

import contextlib
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
def written_beside(path):
    """Gives a path to write to, which takes its final name once everything succeeded.

    Whoever reads the final name finds the old state or the new one, never half of it, and an
    export that fails leaves nothing behind.

    Args:
        path: final name of the file or folder. Its folder is made where it is missing.

    Yields:
        `pathlib.Path` in the same folder, so that renaming it moves no data.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as room:
        written = pathlib.Path(room) / path.name
        yield written
        if path.is_dir() or (path.exists() and written.is_dir()):
            # Renaming replaces a file by a file in one step, and nothing else.
            os.replace(path, pathlib.Path(room) / "replaced")
        os.replace(written, path)

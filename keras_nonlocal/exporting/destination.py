"""Files and folders that appear whole or not at all."""

import contextlib
import errno
import os
import pathlib
import tempfile

# What makes a folder an export, and what else lies in one.
_MARKS = {"saved_model.pb", "saved_model.pbtxt", "model.xml"}
_IN_FOLDERS = {
    *_MARKS,
    *("variables", "assets", "assets.extra", "fingerprint.pb", "keras_metadata.pb"),
    *("model.bin", "facts.json", "classes.txt", "report.json"),
}


def check_destination(path, overwrite):
    """Refuses a path that is taken, or at which nothing can be written.

    Args:
        path: where the export is to stand.
        overwrite: whether what stands there may be replaced; never a folder that is no export,
            with all that lies in it.

    Raises:
        FileExistsError: if something stands there and may not be replaced.
        NotADirectoryError: if a file stands where its folder should.
        ValueError: if the path has no name.
    """
    path = pathlib.Path(path)
    if not path.name:
        raise ValueError(
            f"`path` must name what is to be written. Received: path={str(path)!r}. Pass for "
            "example 'network'."
        )
    taken = next((each for each in path.parents if each.exists() and not each.is_dir()), None)
    if taken is not None:
        raise NotADirectoryError(
            f"`path` must lie in a folder. Received: path={str(path)!r}, where '{taken}' is a "
            "file. Pass another path."
        )
    # Of a link that leads nowhere, the link itself stands there.
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(
            f"`path` must not exist yet. Received: path={str(path)!r}. Pass overwrite=True to "
            "replace it, or another path."
        )
    held = sorted(os.listdir(path)) if path.is_dir() else []
    foreign = [name for name in held if name not in _IN_FOLDERS or _MARKS.isdisjoint(held)]
    if foreign:
        raise FileExistsError(
            "`path` must be an export, and nothing else, to be replaced. Received: "
            f"path={str(path)!r}, a folder that holds {foreign[0]!r}, which would be lost. Pass "
            f"another path, such as '{path / 'network'}'; versions for TF Serving have numbers, "
            f"such as '{path / '1'}'."
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
    with (
        _folder_made(path.parent),
        tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as room,
    ):
        written = pathlib.Path(room) / path.name
        yield written
        check_destination(path, overwrite)
        followers = [each for each in pathlib.Path(room).iterdir() if each != written]
        for follower in followers:
            # Never one that tells of another file than stands there.
            path.with_name(follower.name).unlink(missing_ok=True)
        replaced = pathlib.Path(room) / f"replaced.{path.name}"
        try:
            if path.is_dir() or (path.exists() and written.is_dir()):
                # Renaming replaces a file by a file in one step, and nothing else.
                os.replace(path, replaced)
            os.replace(written, path)
        except BaseException as error:
            if os.path.lexists(replaced) and not os.path.lexists(path):
                os.replace(replaced, path)
            # A folder that appeared since the lines above: only an empty one would be replaced.
            if getattr(error, "errno", None) in (errno.ENOTEMPTY, errno.EEXIST):
                check_destination(path, overwrite=False)
            raise
        for follower in followers:
            os.replace(follower, path.with_name(follower.name))


@contextlib.contextmanager
def _folder_made(folder):
    """Makes a folder for what is to lie in it, and removes it if nothing came to lie there."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for each in missing:
            # Another process may have written there meanwhile.
            with contextlib.suppress(OSError):
                each.rmdir()
        raise

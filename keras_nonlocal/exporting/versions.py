"""Numbered folders, of which TF Serving serves the highest."""

import os
import pathlib


def next_version(folder):
    """Gives the folder of the version after those that are there.

    Args:
        folder: the folder that holds the versions, which need not exist.

    Returns:
        `pathlib.Path` of `folder/N`, where N is one more than the highest number there, or 1.

    Example:

    >>> next_version("not there yet").name
    '1'
    """
    folder = pathlib.Path(folder)
    return folder / str(max(_versions_in(folder), default=0) + 1)


def find_version(path):
    """Gives the SavedModel that a path means.

    Args:
        path: a SavedModel folder, or a folder of numbered ones, which means the highest.

    Returns:
        `pathlib.Path` of the SavedModel.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = pathlib.Path(path)
    if _is_saved_model(path):
        return path
    versions = _versions_in(path)
    if versions and _is_saved_model(versions[max(versions)]):
        return versions[max(versions)]
    raise FileNotFoundError(
        "`path` must be a SavedModel folder, with a file saved_model.pb, or hold such folders "
        f"under their version numbers. Received: path={str(path)!r}. Write one with "
        "keras_nonlocal.export."
    )


def _versions_in(folder):
    """What is named by a number, as TF Serving looks for it, by that number."""
    if not folder.is_dir():
        return {}
    names = [name for name in os.listdir(folder) if name.isascii() and name.isdecimal()]
    return {int(name): folder / name for name in names}


def _is_saved_model(path):
    return (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file()

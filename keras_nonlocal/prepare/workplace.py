"""The folder of a preparation while it is under way: whose it is, and what is left from before."""

import contextlib
import json
import os
import re

from keras_nonlocal import files
from keras_nonlocal.data.record_lists import MANIFEST, UNFINISHED, read_manifest
from keras_nonlocal.prepare.plan import describe_difference

_SHARD_NAME = re.compile(r"videos-\d{5,}-of-\d{5,}\.tfrecord")
_LOCK = "lock"
_SETTINGS = "settings.json"


@contextlib.contextmanager
def workplace(plan, directory, overwrite=False):
    """Makes a folder ready for shards, or takes up one that was begun, and keeps others out of it.

    What a killed run has left half-written is removed at the beginning; what is only needed while
    the work is under way, at the end.

    Args:
        plan: a `Plan`.
        directory: absolute path of the folder.
        overwrite: whether to remove what an earlier preparation has made.

    Yields:
        `None`; in the block the shards and the manifest are to be made. Or the manifest, if the
        plan is done already.

    Raises:
        FileExistsError: if the folder holds something else, another plan, or shards of another one.
        BlockingIOError: if another process is at work in the folder.
        OSError: if it cannot be made or written.
    """
    unfinished = os.path.join(directory, UNFINISHED)
    if os.path.exists(directory) and not os.path.isdir(directory):
        raise FileExistsError(f"{directory!r} must be a folder. Received: a file. Give another.")
    manifest = find_manifest(directory)
    if manifest is not None and not overwrite:
        check_settings(plan, manifest["settings"], directory)
        if not os.path.isdir(unfinished):
            yield manifest
            return
    if manifest is None and not overwrite and not os.path.isdir(unfinished):
        _check_empty(directory)
    try:
        os.makedirs(unfinished, exist_ok=True)
    except OSError as error:
        # With the class of the error that it was.
        raise type(error)(
            f"{directory!r} cannot be written: {error.strerror}. Choose a folder that you may "
            "write to, or make it one."
        ) from error
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(os.path.join(unfinished, _LOCK)))
        except BlockingIOError:
            raise BlockingIOError(
                f"Another process prepares videos into {directory!r}. Wait until it has finished."
            ) from None
        if overwrite:
            _remove_finished(directory)
        _remove_parts(unfinished)
        # Whoever had the lock before may have finished the work meanwhile.
        manifest = find_manifest(directory)
        if manifest is None:
            _settle(plan, directory)
        yield manifest
        # Now the folder is finished. A run that is killed in the midst of this leaves a folder that
        # the next one tidies.
        _remove_unfinished(unfinished)
    # Without the lock, whose file some network file systems keep in the folder until it is closed.
    with contextlib.suppress(OSError):
        os.rmdir(unfinished)
    files.sync_folder(directory)


def find_manifest(directory):
    """Gives the manifest of a finished folder, or `None` if there is no such file.

    Raises:
        FileExistsError: if there is one of another program.
    """
    path = os.path.join(directory, MANIFEST)
    manifest = read_manifest(directory) if os.path.exists(path) else None
    if manifest is None and os.path.exists(path):
        raise FileExistsError(f"{path!r} is of something else. Give another folder.")
    return manifest


def check_settings(plan, settings, directory):
    """Raises if a folder was prepared, or begun, by another plan.

    Args:
        plan: a `Plan`.
        settings: what the folder's manifest says of the plan.
        directory: path of the folder.

    Raises:
        FileExistsError: that says in what the plans differ.
    """
    if settings != plan.settings:
        raise FileExistsError(
            f"{directory!r} was prepared otherwise: "
            f"{describe_difference(settings, plan.settings)}. "
            "Give the same settings, another folder, or begin anew with `overwrite`."
        )


def _settle(plan, directory):
    """Notes the settings of the plan, or compares them with those of the run before."""
    unfinished = os.path.join(directory, UNFINISHED)
    path = os.path.join(unfinished, _SETTINGS)
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            check_settings(plan, json.load(file), directory)
        return
    if shards := _list_shards(directory):
        raise FileExistsError(
            f"{directory!r} holds shards of another preparation, such as {shards[0]!r}. "
            "Give another folder, or begin anew with `overwrite`."
        )
    files.write_whole(path, json.dumps(plan.settings), unfinished)


def _check_empty(directory):
    names = sorted(os.listdir(directory)) if os.path.exists(directory) else []
    if names:
        raise FileExistsError(
            f"{directory!r} must be new, empty, or hold an earlier preparation. "
            f"Received: a folder with {names[0]!r} in it. Give another."
        )


def _list_shards(directory):
    return sorted(name for name in os.listdir(directory) if _SHARD_NAME.fullmatch(name))


def _remove_finished(directory):
    """Removes what an earlier preparation has made. The manifest goes first, so that at no moment
    it names shards that are gone, and then the settings, so that shards that are left when a run is
    killed in the midst of this are known to be of another one."""
    unfinished = os.path.join(directory, UNFINISHED)
    notes = [name for name in os.listdir(unfinished) if _is_note(name)]
    for path in (
        os.path.join(directory, MANIFEST),
        *(os.path.join(unfinished, name) for name in (_SETTINGS, *notes)),
        *(os.path.join(directory, name) for name in _list_shards(directory)),
    ):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def _remove_unfinished(unfinished):
    notes = [name for name in os.listdir(unfinished) if _is_note(name)]
    _remove_parts(unfinished)
    for name in (*notes, _SETTINGS, _LOCK):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(unfinished, name))


def _remove_parts(unfinished):
    for name in os.listdir(unfinished):
        if name.endswith(files.PART):
            os.remove(os.path.join(unfinished, name))


def _is_note(name):
    return name.endswith(".json") and _SHARD_NAME.fullmatch(name.removesuffix(".json"))

"""The output folder of a preparation: its settings, the finished shards, and `manifest.json`.

A run may be killed between any two steps of a shard, which are:

  1. its records are written to .preparing/NAME.HEX.part
  2. its metadata is written to .preparing/NAME.json.HEX.part, and renamed to .preparing/NAME.json
  3. its records are renamed to NAME

A shard is finished if both names exist and the size is the one in the metadata. Before step 3 it is
made again, with the same bytes. `atomic_write` flushes each file to the disk before renaming it. A
`.part` file is what a killed run left behind.
"""

import concurrent.futures
import contextlib
import json
import os
import re

import fsspec
from fsspec.implementations.local import LocalFileSystem

from keras_nonlocal.data.record_lists import FORMAT, MANIFEST, UNFINISHED
from keras_nonlocal.files import PART, atomic_write, is_url, locked, sync_folder

_SHARD = re.compile(r"videos-\d{5,}-of-\d{5,}\.tfrecord(\.json|\.idx)?")
_SETTINGS = f"{UNFINISHED}/settings.json"


class OutputFolder:
    """Files in the output folder of a preparation, on this machine or at a URL.

    Args:
        directory: path, or URL of a file system that fsspec knows.
    """

    def __init__(self, directory):
        path = os.fspath(directory)
        self.is_local = not is_url(path)
        if self.is_local:
            self.path, self._system = os.path.abspath(path), LocalFileSystem()
            return
        if re.search(r"[*?\[]", path):
            # fsspec expands these when it moves files.
            raise ValueError(
                "The URL of the output folder must not contain `*`, `?` or `[`. "
                f"Received: {path!r}. Choose another name."
            )
        self.path = path.rstrip("/")
        # Other machines write into the folder, so that a listing is soon out of date.
        self._system, _ = fsspec.url_to_fs(self.path, use_listings_cache=False)

    def list_sizes(self, folder=""):
        """Returns a dictionary from names to sizes in bytes; empty if there is no such folder."""
        try:
            files = self._system.ls(f"{self.path}/{folder}".rstrip("/"), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return {file["name"].rstrip("/").rpartition("/")[2]: file["size"] for file in files}

    def read(self, name):
        """Returns the bytes of a file."""
        return self._system.cat_file(f"{self.path}/{name}")

    def read_json(self, name):
        """Returns a dictionary: `None` if there is no such file, empty if it is another's."""
        try:
            content = json.loads(self.read(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, name):
        """Opens a file that appears when it is complete; see `atomic_write`."""
        return atomic_write(f"{self.path}/{name}", f"{self.path}/{UNFINISHED}")

    def write_json(self, name, content):
        """Writes a dictionary for `read_json`."""
        with self.write(name) as file:
            file.write(json.dumps(content).encode())

    def remove(self, names):
        """Removes files, those that exist."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self._system.rm_file(f"{self.path}/{name}")

    def begin(self):
        """Makes the folder of unfinished files."""
        self._system.makedirs(f"{self.path}/{UNFINISHED}", exist_ok=True)

    def finish(self):
        """Removes the folder of unfinished files."""
        # Buckets have no folders, and some network file systems keep open files in them.
        with contextlib.suppress(OSError):
            self._system.rmdir(f"{self.path}/{UNFINISHED}")
        if self.is_local:
            sync_folder(self.path)


@contextlib.contextmanager
def open_folder(plan, directory, overwrite=False, array=False, merge=False):
    """Opens the output folder of a plan, a new one or one in which the plan was begun.

    Args:
        plan: a `Plan`.
        directory: path or URL of the folder.
        overwrite: whether to remove the shards and the manifest of an earlier preparation.
        array: whether other processes may write shards of the plan at the same time. Otherwise a
            local folder is locked, and unfinished files are removed at the end.
        merge: whether nothing but the manifest is written. What killed runs left is then removed at
            the end alone, since tasks that still run may be writing it.

    Yields:
        An `OutputFolder`, and the manifest if the plan is finished, else `None`.

    Raises:
        FileExistsError: if the folder holds something else, or shards of another plan.
        BlockingIOError: if another process prepares videos into the folder.
        OSError: if it cannot be written.
    """
    folder = OutputFolder(directory)
    if folder.is_local and os.path.isfile(folder.path):
        raise FileExistsError(f"{folder.path!r} must be a folder. Received: a file.")
    names = folder.list_sizes()
    manifest = _read_manifest(folder)
    if not overwrite and UNFINISHED not in names:
        if manifest is not None:
            _check_settings(plan, manifest["settings"], folder)
            yield folder, manifest
            return
        if names:
            raise FileExistsError(
                f"{folder.path!r} must be new, empty, or hold an earlier preparation. "
                f"Received: a folder with {min(names)!r} in it. Choose another."
            )
    folder.begin()
    with contextlib.ExitStack() as stack:
        if folder.is_local and not array:
            try:
                stack.enter_context(locked(f"{folder.path}/{UNFINISHED}/lock"))
            except BlockingIOError as error:
                raise BlockingIOError(
                    error.errno, "Another process prepares videos into this folder", folder.path
                ) from error
            if not merge:
                _remove_unfinished(folder, lambda name: name.endswith(PART))
        if overwrite:
            _remove_finished(folder)
        # Listed before the settings are read: other processes write these before their shards.
        shards = sorted(filter(_SHARD.fullmatch, folder.list_sizes()))
        manifest = _read_manifest(folder)
        settings = manifest["settings"] if manifest else folder.read_json(_SETTINGS)
        if settings is not None:
            _check_settings(plan, settings, folder)
        elif shards:
            raise FileExistsError(
                f"{folder.path!r} holds shards of another preparation, such as {shards[0]!r}. "
                "Choose another folder, or pass `overwrite`."
            )
        else:
            folder.write_json(_SETTINGS, plan.settings)
        yield folder, manifest
        if not array:
            _remove_unfinished(folder, lambda name: name != "lock")
    if not array:
        folder.finish()


def load_shards(plan, folder, retry=True):
    """Returns the metadata of each shard of a plan, `None` for those that are not finished.

    With `retry` these include shards that lack a video which could not be read, and has changed.
    """
    sizes, notes = folder.list_sizes(), folder.list_sizes(UNFINISHED)

    def load(number):
        name = plan.shard_name(number)
        if name not in sizes or f"{name}.json" not in notes:
            return None
        shard = folder.read_json(f"{UNFINISHED}/{name}.json")
        if not shard or shard["settings"] != plan.settings or shard["bytes"] != sizes[name]:
            return None
        paths = {plan.names[video]: plan.videos.paths[video] for video in plan.shards[number]}
        changed = any(
            each["state"] != file_state(paths[each["path"]]) for each in shard["failures"]
        )
        return None if retry and changed else shard

    # There may be thousands, and a bucket takes a while for each.
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(pool.map(load, range(len(plan.shards))))


def save_shard(plan, number, folder, size, records, failures):
    """Writes the metadata of a shard of `size` bytes, whose file is about to appear.

    `records` has a dictionary for each video in it: `offset`, `path` (the video's name in the
    plan), `labels`, `frames` and, if it has any, `events`. `failures` has one for each video that
    cannot be read: `path`, `reason`, and `state`, see `file_state`.
    """
    shard = {"bytes": size, "records": records, "failures": failures, "settings": plan.settings}
    folder.write_json(f"{UNFINISHED}/{plan.shard_name(number)}.json", shard)
    return shard


def file_state(path):
    """Returns what changes when a file or folder changes; `None` if it does not exist."""
    try:
        if is_url(path):
            system, path = fsspec.url_to_fs(path, use_listings_cache=False)
            return [system.ukey(path), system.size(path)]
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size]


def write_manifest(plan, shards, folder):
    """Writes the manifest of a folder in which all shards are finished.

    It holds no times and no names of machines: equal plans give equal files, byte by byte.

    Args:
        plan: a `Plan`.
        shards: the metadata of its shards, in their order.
        folder: an `OutputFolder`.

    Returns:
        The manifest, a dictionary: `format`, `settings` of the plan, `classes`, `multi_label`,
        `videos`, `frames` and `bytes` (counts), `videos_per_class`, `failures` (`path` and `reason`
        of videos that are left out), and `shards`: from file names to `bytes` and `records`.
    """
    records = [record for shard in shards for record in shard["records"]]
    per_class = [0] * len(plan.videos.class_names)
    for record in records:
        for label in record["labels"]:
            per_class[label] += 1
    manifest = {
        "format": FORMAT,
        "settings": plan.settings,
        "classes": list(plan.videos.class_names),
        "multi_label": plan.videos.multi_label,
        "videos": len(records),
        "frames": sum(record["frames"] for record in records),
        "bytes": sum(shard["bytes"] for shard in shards),
        "videos_per_class": per_class,
        "failures": [
            {"path": failure["path"], "reason": failure["reason"]}
            for shard in shards
            for failure in shard["failures"]
        ],
        "shards": {
            plan.shard_name(number): {"bytes": shard["bytes"], "records": shard["records"]}
            for number, shard in enumerate(shards)
        },
    }
    # One line per key, so that the counts can be read.
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(manifest[key])}" for key in manifest)
    with folder.write(MANIFEST) as file:
        file.write(f"{{\n{lines}\n}}\n".encode())
    return manifest


def _read_manifest(folder):
    manifest = folder.read_json(MANIFEST)
    if manifest is not None and manifest.get("format") != FORMAT:
        raise FileExistsError(
            f"'{folder.path}/{MANIFEST}' was not written by keras_nonlocal. Choose another folder."
        )
    return manifest


def _check_settings(plan, settings, folder):
    if settings != plan.settings:
        differences = [
            f"{key} was {settings.get(key)}, is {value}"
            for key, value in plan.settings.items()
            if key != "list" and settings.get(key) != value
        ]
        raise FileExistsError(
            f"{folder.path!r} was prepared with other settings: "
            f"{'; '.join(differences) or 'other videos, labels or class names'}. "
            "Pass the same settings, choose another folder, or pass `overwrite`."
        )


def _remove_finished(folder):
    """Removes an earlier preparation: first the manifest, which names shards; then the settings,
    without which the shards that are left by a killed run are known to be of another plan."""
    folder.remove([MANIFEST, _SETTINGS])
    _remove_unfinished(folder, _SHARD.fullmatch)
    folder.remove(filter(_SHARD.fullmatch, folder.list_sizes()))


def _remove_unfinished(folder, chosen):
    names = filter(chosen, folder.list_sizes(UNFINISHED))
    folder.remove(f"{UNFINISHED}/{name}" for name in names)

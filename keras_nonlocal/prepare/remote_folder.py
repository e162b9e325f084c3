"""Folders that are in no file system of this machine, such as `gs://bucket/records`.

What is said elsewhere of a folder for shards holds here: `workplace`, `load_shard`, `convert_shard`
and `write_manifest` do what their namesakes do, by Beam's file systems. There is no lock, which
such a folder does not offer: of two runs of one plan at a time each may do all the work, and both
give the same bytes.
"""

import contextlib
import io
import json
import os
import re
import secrets
import shutil
import tempfile

from keras_nonlocal import files
from keras_nonlocal.data.record_lists import FORMAT, MANIFEST, UNFINISHED
from keras_nonlocal.prepare import manifest as manifests
from keras_nonlocal.prepare import shards
from keras_nonlocal.prepare.workplace import check_settings

_SETTINGS = f"{UNFINISHED}/settings.json"


def is_remote(path):
    """Tells whether a path has a scheme, as `gs://` is one."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None


@contextlib.contextmanager
def workplace(plan, directory, overwrite=False):
    """Makes a folder ready for shards, or takes up one that was begun; see the namesake."""
    if re.search(r"[*?\[]", directory):
        # Where they list and remove files, Beam's file systems read these as patterns.
        raise ValueError(
            f"`directory` must be a path without `*`, `?` and `[`. Received: {directory!r}. "
            "Give another."
        )
    if overwrite:
        # In this order; see `workplace._remove_finished`.
        for pattern in (MANIFEST, _SETTINGS, f"{UNFINISHED}/**", "videos-*-of-*.tfrecord"):
            _remove(f"{directory}/{pattern}")
    manifest = _read_json(f"{directory}/{MANIFEST}")
    settings = _read_json(f"{directory}/{_SETTINGS}")
    if manifest is not None:
        if manifest.get("format") != FORMAT:
            path = f"{directory}/{MANIFEST}"
            raise FileExistsError(f"{path!r} is of something else. Give another folder.")
        settings = manifest["settings"]
    if settings is not None:
        check_settings(plan, settings, directory)
    elif not overwrite and (others := _list(f"{directory}/**")):
        raise FileExistsError(
            f"{directory!r} must be new, empty, or hold an earlier preparation. "
            f"Received: a folder with {others[0]!r} in it. Give another."
        )
    else:
        write_file(io.BytesIO(json.dumps(plan.settings).encode()), _SETTINGS, directory)
    yield manifest
    unfinished = f"{directory}/{UNFINISHED}"
    _remove(f"{unfinished}/**")
    # Where there are folders at all, which buckets do not have.
    if _file_systems().get_filesystem(directory).has_dirs() and exists(unfinished):
        _file_systems().delete([unfinished])


def load_shard(plan, number, directory):
    """Gives what is known of a finished shard, or `None`; see the namesake."""
    name = plan.shard_name(number)
    path, note = f"{directory}/{name}", f"{UNFINISHED}/{name}.json"
    if not (exists(path) and exists(f"{directory}/{note}")):
        return None
    with _local_folder() as folder:
        fetch_file(f"{directory}/{note}", os.path.join(folder, note))
        # Of the shard itself its size is asked, which a file can have without any bytes.
        with open(os.path.join(folder, name), "wb") as file:
            file.truncate(_file_systems().get_filesystem(path).size(path))
        return shards.load_shard(plan, number, folder)


def convert_shard(plan, number, directory, report=None):
    """Makes one shard of a plan, which appears whole or not at all; see the namesake."""
    with _local_folder() as folder:
        shard = shards.convert_shard(plan, number, folder, report=report)
        # The note goes first; see the steps in `shards`.
        for name in (f"{UNFINISHED}/{shard.name}.json", shard.name):
            with open(os.path.join(folder, name), "rb") as file:
                write_file(file, name, directory)
    return shard


def write_manifest(plan, finished, directory):
    """Writes the manifest of a folder in which all shards are finished; see the namesake."""
    with _local_folder() as folder:
        manifest = manifests.write_manifest(plan, finished, folder)
        with open(os.path.join(folder, MANIFEST), "rb") as file:
            write_file(file, MANIFEST, directory)
    return manifest


def exists(path):
    """Tells whether there is a file, wherever it is."""
    return _file_systems().exists(path)


def open_file(path):
    """Opens a file, wherever it is, to read bytes."""
    from apache_beam.io.filesystem import CompressionTypes

    # If it is not said, the suffix decides whether the file is taken to be compressed.
    return _file_systems().open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def fetch_file(path, target):
    """Copies a file to this machine.

    Args:
        path: where it is.
        target: local path.

    Returns:
        Whether there is one.
    """
    if not exists(path):
        return False
    with open_file(path) as source, open(target, "wb") as file:
        shutil.copyfileobj(source, file)
    return True


def write_file(source, name, directory):
    """Writes a file, which appears whole or not at all, into a folder for shards.

    Args:
        source: binary file to copy.
        name: path in the folder. A file that is there is replaced.
        directory: path of the folder, wherever it is.
    """
    from apache_beam.io.filesystem import CompressionTypes

    file_systems = _file_systems()
    # Of two that write the same file at a time, on two machines, each has a name of its own.
    part = f"{os.path.basename(name)}.{secrets.token_hex(4)}{files.PART}"
    part, target = f"{directory}/{UNFINISHED}/{part}", f"{directory}/{name}"
    with file_systems.create(part, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        shutil.copyfileobj(source, file)
    # Not every file system renames onto another file.
    if exists(target):
        file_systems.delete([target])
    file_systems.rename([part], [target])


def _read_json(path):
    """What is in a JSON file: `None` if there is no such file, nothing if it is another's."""
    if not exists(path):
        return None
    with open_file(path) as file:
        try:
            content = json.loads(file.read())
        except ValueError:
            content = None
    return content if isinstance(content, dict) else {}


def _list(pattern):
    return [file.path for file in _file_systems().match([pattern])[0].metadata_list]


def _remove(pattern):
    if paths := _list(pattern):
        _file_systems().delete(paths)


@contextlib.contextmanager
def _local_folder():
    """A folder on this machine to make shards in, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, UNFINISHED))
        yield folder


def _file_systems():
    from apache_beam.io.filesystems import FileSystems

    return FileSystems

"""Lists of the videos in TFRecord files, ours and those of others."""

import itertools
import json
import os
import re

import numpy as np

from keras_nonlocal.lists.video_list import VideoList
from keras_nonlocal.video.records import INDEX_SUFFIX, scan_labels
from keras_nonlocal.video.tfrecord import file_system

MANIFEST = "manifest.json"
# The format of our manifests, and where a preparation keeps what is not finished.
FORMAT = "keras_nonlocal records 1"
UNFINISHED = ".preparing"


def read_records(paths, class_names=None):
    """Lists the videos in TFRecord files.

    Labels are read from the manifest that `keras-nonlocal prepare` wrote. Of other files in the
    layout of tf-models-official's video classification the labels of each record are read, and not
    its frames.

    Args:
        paths: a folder of TFRecord files, the path of one, or a sequence of paths; fsspec URLs such
            as `gs://bucket/records` as well.
        class_names: names of all classes. They fix the order, which matters where training and
            validation are two folders written by others (default: as the manifest or the records
            say; classes without a name are named by their index).

    Returns:
        A `VideoList` of addresses, in the order of the files. Its labels are class indices if every
        record has one label, else multi-hot.

    Raises:
        FileNotFoundError: if there is no such file or folder, or one that the manifest names.
        ValueError: if a file is truncated or of another kind, a record has no labels, a
            preparation is not finished, or names and indices of classes do not agree.

    Example:

    ```python
    videos = read_records("prepared")  # by keras-nonlocal prepare videos prepared
    clips = training_clips(videos, "8x8")
    ```
    """
    shards = _list_shards(paths)
    folders = {_parent(shard) for shard in shards}
    manifests = {folder: read_manifest(folder) for folder in folders}
    found = []
    for shard in shards:
        labels = _labels_in_manifest(shard, manifests[_parent(shard)])
        for offset, *own in scan_labels(shard) if labels is None else labels:
            found.append((f"{shard}@{offset}", *own))
    if not found:
        raise ValueError(
            f"The files must hold at least one record. Received: none in {', '.join(shards)}. "
            "Prepare them again."
        )
    known = [manifest for manifest in manifests.values() if manifest]
    if class_names is None and len(known) == len(manifests) == 1:
        class_names = known[0]["classes"]
    class_names, indices, events = _index_classes(found, class_names)
    if any(len(own) != 1 for own in indices) or any(m["multi_label"] for m in known):
        labels = np.zeros((len(indices), len(class_names)), np.float32)
        for row, own in zip(labels, indices, strict=True):
            row[list(own)] = 1
    else:
        labels = [label for (label,) in indices]
    addresses = [address for address, *_ in found]
    return VideoList(addresses, labels, class_names, events=events if any(events) else None)


def read_manifest(folder):
    """Reads what a preparation says about the records in a folder.

    Args:
        folder: path or URL of the folder.

    Returns:
        A dictionary, or `None` if there is no manifest of ours.

    Raises:
        ValueError: if a preparation into the folder is not finished.
    """
    folder = os.fspath(folder)
    system, name = file_system(_join(folder, MANIFEST))
    try:
        # Another program's file of this name may hold anything.
        manifest = json.loads(system.cat_file(name))
    except (FileNotFoundError, ValueError):
        manifest = None
    if isinstance(manifest, dict) and manifest.get("format") == FORMAT:
        return manifest
    system, name = file_system(_join(folder, UNFINISHED))
    if system.isdir(name):
        raise ValueError(
            f"The records in {folder or '.'!r} are not complete: their preparation was broken off. "
            "Run the same `keras-nonlocal prepare` again; it continues where it stopped."
        )
    return None


def is_shard(name):
    """Returns whether a file is one of records, by its name."""
    if name.startswith(".") or name.endswith(INDEX_SUFFIX):
        return False
    return ".tfrecord" in name or re.search(r"-\d+-of-\d+$", name) is not None


def _parent(path):
    return path[: len(path) - len(os.path.basename(path))]


def _join(folder, name):
    return f"{folder}/{name}" if folder and not folder.endswith(("/", os.sep)) else folder + name


def _list_shards(paths):
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    shards = []
    for path in map(os.fspath, paths):
        system, root = file_system(path)
        if not system.isdir(root):
            shards.append(path)
            continue
        manifest = read_manifest(path)
        names = map(os.path.basename, manifest["shards"] if manifest else system.ls(root, False))
        names = sorted(names if manifest else filter(is_shard, names))
        if not names and not manifest:
            raise ValueError(
                f"The folder {path!r} must hold TFRecord files. Received: no names with "
                "`.tfrecord` or ending in `-00000-of-00010`. Pass the paths of the files."
            )
        shards += [_join(path, name) for name in names]
    if not shards:
        raise ValueError(
            "`paths` must name at least one file. Received: none. Pass a folder of TFRecord files."
        )
    return shards


def _labels_in_manifest(shard, manifest):
    """Returns what `scan_labels` yields; `None` if the manifest does not have the file."""
    entry = manifest["shards"].get(os.path.basename(shard)) if manifest else None
    if entry is None:
        return None
    system, name = file_system(shard)
    size = system.size(name) if system.exists(name) else None
    if size != entry["bytes"]:
        there = "is missing" if size is None else f"is truncated or changed, it has {size} bytes"
        kind = FileNotFoundError if size is None else ValueError
        raise kind(
            f"The file {shard!r} {there}; the manifest beside it says {entry['bytes']}. "
            "Copy it again from its source, or prepare it again."
        )
    names = manifest["classes"]
    return [
        (
            record["offset"],
            record["labels"],
            [names[label] for label in record["labels"]],
            record.get("events", ()),
        )
        for record in entry["records"]
    ]


def _index_classes(found, class_names):
    """Brings all records to one order of the classes.

    Returns the names of the classes, and the class indices and the events of each record.
    """
    known = _names_of_indices(found)
    if class_names is None and known:
        class_names = [known.get(index) or str(index) for index in range(1 + max(known))]
    elif class_names is None:
        class_names = sorted({name for _, _, names, _ in found for name in names})
    places = {name: index for index, name in enumerate(class_names)}
    if len(places) < len(class_names):
        twice = next(name for index, name in enumerate(class_names) if places[name] != index)
        raise ValueError(
            f"`class_names` must be distinct. Received: {twice!r} twice. "
            "Pass `class_names` that differ."
        )

    def place_of(address, index, name=None):
        name = name or known.get(index)
        place = index if name is None else places.get(name)
        if place is None or place >= len(class_names):
            raise ValueError(
                "`class_names` must hold every class of the records. Received: "
                f"{index if name is None else name!r} of {address!r}, which is not among the "
                f"{len(class_names)}. Add it in its place."
            )
        return place

    own, events = [], []
    for address, indices, names, spans in found:
        # Either may be empty.
        pairs = itertools.zip_longest(indices, names)
        own.append(tuple(place_of(address, *pair) for pair in pairs))
        events.append(tuple((place_of(address, i), start, end) for i, start, end in spans))
    return tuple(class_names), own, tuple(events)


def _names_of_indices(found):
    """Returns the name of each class index, `None` if no record has it."""
    known = {}
    for address, indices, names, events in found:
        for index, name in itertools.zip_longest(indices, names):
            if None not in (index, name) and known.get(index) not in (None, name):
                raise ValueError(
                    f"Class {index} must have one name in all records. Received: {name!r} in "
                    f"{address!r}, {known[index]!r} before. Read files of one data set."
                )
            if index is not None:
                known[index] = name or known.get(index)
        for index, _, _ in events:
            known.setdefault(index, None)
    return known

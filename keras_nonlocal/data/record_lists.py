"""Lists the videos in TFRecord files, ours and those of others: `read_records`."""

import itertools
import json
import os
import re

import numpy as np

from keras_nonlocal.lists.video_list import VideoList
from keras_nonlocal.video.record_labels import Labels, scan_labels

MANIFEST = "manifest.json"
# By which a manifest is known to be ours, and where a preparation keeps what is not finished.
FORMAT = "keras_nonlocal records 1"
UNFINISHED = ".preparing"


def read_records(paths, class_names=None):
    """Lists the videos in TFRecord files, whoever wrote them.

    Next to what `keras-nonlocal prepare` wrote stands a manifest that tells everything. Of other
    files in the layout of tf-models-official's video classification the labels of each record are
    read, and not its frames.

    Args:
        paths: a folder of TFRecord files, the path of one, or a sequence of paths.
        class_names: names of all classes. They fix the order, which matters where training and
            validation lie in two folders written by others. If left out: what the manifest or the
            records say; classes without a name are called by their number.

    Returns:
        A `VideoList` of addresses, in the order of the files. Its labels are class numbers if every
        record has one label, else several a video.

    Raises:
        FileNotFoundError: if there is no such file or folder, or one that the manifest names.
        ValueError: if a file is truncated or of another kind, a record has no labels, a
            preparation is not finished, or names and numbers of classes do not go together.

    Example:

    ```python
    videos = read_records("prepared")  # by keras-nonlocal prepare videos prepared
    clips = training_clips(videos, "8x8")
    ```
    """
    shards = _list_shards(paths)
    folders = {os.path.dirname(shard) for shard in shards}
    manifests = {folder: read_manifest(folder) for folder in folders}
    addresses, labels = [], []
    for shard in shards:
        found = _labels_in_manifest(shard, manifests[os.path.dirname(shard)])
        for offset, label in scan_labels(shard) if found is None else found:
            addresses.append(f"{shard}@{offset}")
            labels.append(label)
    if not addresses:
        raise ValueError(
            f"The files must hold at least one record. Received: none in {', '.join(shards)}. "
            "Prepare them again."
        )
    known = [manifest for manifest in manifests.values() if manifest]
    if class_names is None and len(known) == len(manifests) == 1:
        class_names = known[0]["classes"]
    class_names, numbers, events = _number_classes(addresses, labels, class_names)
    several = any(len(own) != 1 for own in numbers) or any(m["multi_label"] for m in known)
    return VideoList(
        addresses,
        _multi_hot(numbers, len(class_names)) if several else [own[0] for own in numbers],
        class_names,
        events=events if any(events) else None,
    )


def read_manifest(folder):
    """Reads what a preparation says about the records in a folder.

    Args:
        folder: path of the folder.

    Returns:
        A dictionary, or `None` if there is no manifest of ours.

    Raises:
        ValueError: if a preparation into the folder is not finished.
    """
    try:
        # Another program's file of this name may hold anything.
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            manifest = json.load(file)
    except (FileNotFoundError, ValueError):
        manifest = None
    if isinstance(manifest, dict) and manifest.get("format") == FORMAT:
        return manifest
    if os.path.isdir(os.path.join(folder, UNFINISHED)):
        raise ValueError(
            f"The records in {folder or '.'!r} are not complete: their preparation was broken off. "
            "Run the same `keras-nonlocal prepare` again; it goes on where it was."
        )
    return None


def _list_shards(paths):
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    shards = []
    for path in map(os.fspath, paths):
        if not os.path.isdir(path):
            shards.append(path)
            continue
        names = sorted(name for name in os.listdir(path) if is_shard(name))
        manifest = read_manifest(path)
        if manifest is not None:
            names = sorted(manifest["shards"])
        elif not names:
            raise ValueError(
                f"The folder {path!r} must hold TFRecord files. Received: no names with "
                "`.tfrecord` or ending in `-00000-of-00010`. Give the paths of the files."
            )
        shards += [os.path.join(path, name) for name in names]
    if not shards:
        raise ValueError(
            "`paths` must name at least one file. Received: none. Give a folder of TFRecord files."
        )
    return shards


def is_shard(name):
    """Whether a file is one of records, by its name."""
    return name[0] != "." and (".tfrecord" in name or re.search(r"-\d+-of-\d+$", name) is not None)


def _labels_in_manifest(shard, manifest):
    """Pairs of offset and labels; None where the manifest does not know the file."""
    entry = manifest["shards"].get(os.path.basename(shard)) if manifest else None
    if entry is None:
        return None
    size = os.path.getsize(shard) if os.path.exists(shard) else None
    if size != entry["bytes"]:
        there = "is missing" if size is None else f"is truncated or changed, it has {size} bytes"
        kind = FileNotFoundError if size is None else ValueError
        raise kind(
            f"The file {shard!r} {there}; the manifest beside it says {entry['bytes']}. "
            "Copy it anew from where it came, or prepare it again."
        )
    names = manifest["classes"]
    return [
        (
            record["offset"],
            Labels(
                tuple(record["labels"]),
                tuple(names[number] for number in record["labels"]),
                tuple(map(tuple, record.get("events", ()))),
            ),
        )
        for record in entry["records"]
    ]


def _number_classes(addresses, labels, classes):
    """Brings all records to one numbering of the classes.

    Returns the names of the classes, the numbers of each record, and its events.
    """
    names = _names_of_numbers(addresses, labels)
    if classes is None and names:
        classes = [names.get(number) or str(number) for number in range(1 + max(names))]
    elif classes is None:
        classes = sorted({name for label in labels for name in label.names})
    places = {name: number for number, name in enumerate(classes)}
    if len(places) < len(classes):
        twice = next(name for number, name in enumerate(classes) if places[name] != number)
        raise ValueError(
            f"`class_names` must have names of their own. Received: {twice!r} twice. "
            "Give `class_names` that tell them apart."
        )

    def number_of(address, number, name=None):
        name = name or names.get(number)
        place = number if name is None else places.get(name)
        if place is None or place >= len(classes):
            raise ValueError(
                "`class_names` must hold every class of the records. Received: "
                f"{number if name is None else name!r} of {address!r}, which is not among the "
                f"{len(classes)}. Add it in its place."
            )
        return place

    numbers, events = [], []
    for address, label in zip(addresses, labels, strict=True):
        # Either may be empty.
        pairs = itertools.zip_longest(label.numbers, label.names)
        numbers.append(tuple(number_of(address, *pair) for pair in pairs))
        events.append(tuple((number_of(address, n), start, end) for n, start, end in label.events))
    return tuple(classes), numbers, tuple(events)


def _names_of_numbers(addresses, labels):
    """Which name each number goes by, `None` where no record tells."""
    names = {}
    for address, label in zip(addresses, labels, strict=True):
        for number, name in itertools.zip_longest(label.numbers, label.names):
            if None not in (number, name) and names.get(number) not in (None, name):
                raise ValueError(
                    f"Class {number} must have one name in all records. Received: {name!r} in "
                    f"{address!r}, {names[number]!r} before. Read files of one data set."
                )
            if number is not None:
                names[number] = name or names.get(number)
        for number, _, _ in label.events:
            names.setdefault(number, None)
    return names


def _multi_hot(numbers, count):
    labels = np.zeros((len(numbers), count), np.float32)
    for row, own in zip(labels, numbers, strict=True):
        row[list(own)] = 1
    return labels

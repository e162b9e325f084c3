"""What scores depend on, in few words, so that a folder's scores are taken for no others."""

import hashlib
import json
import os
import platform
import sys
from importlib import metadata

import keras
import numpy as np


def hash_videos(videos):
    """Returns the checksum of a list's paths, labels, classes and segments."""
    listed = [list(videos.paths), np.asarray(videos.labels).tolist(), *videos.class_names]
    if videos.segments is not None:
        listed.append([videos.time_unit, videos.segments.tolist()])
    text = json.dumps(listed)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_model(model):
    """Gives the checksum of a network: of how its layers are made and joined, and of its weights.

    Args:
        model: a `keras.Model`.

    Returns:
        Text; the same in each process, whatever the layers are called.

    Raises:
        ValueError: if the model or a layer in it does not give its configuration, without which
            two that compute different things cannot be told apart.
    """
    layers = model._flatten_layers()
    # Names come from a count of all layers and operations that a process has made.
    names = [one.name for layer in layers for one in (layer, *getattr(layer, "operations", ()))]
    numbers = {name: f"#{number}" for number, name in enumerate(dict.fromkeys(names))}
    digest = hashlib.sha256()
    for layer in layers:
        text = json.dumps(_config_of(layer, numbers), sort_keys=True)
        digest.update(f"{type(layer).__name__} {text}".encode())
    for weight in model.weights:
        array = keras.ops.convert_to_numpy(weight)
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _config_of(layer, numbers):
    try:
        config = keras.saving.serialize_keras_object(layer)["config"]
    except NotImplementedError as error:
        # Keras' word for arguments that it cannot write down by itself.
        raise ValueError(
            "`model` must give its configuration where scores are kept in a folder, by which "
            f"networks are told apart. Received: {type(layer).__name__!r}, a class without "
            "`get_config` whose arguments Keras cannot write down. Give it a `get_config`, or "
            "evaluate without `folder`."
        ) from error
    return _without_names(config, numbers)


def _without_names(value, numbers):
    """A configuration with numbers for the names of layers, also where it says how they join."""
    if isinstance(value, dict):
        # Which comes from the memory of a process.
        kept = {key: each for key, each in value.items() if key != "shared_object_id"}
        return {key: _without_names(each, numbers) for key, each in kept.items()}
    if isinstance(value, (list, tuple)):
        return [_without_names(each, numbers) for each in value]
    return numbers.get(value, value) if isinstance(value, str) else value


def shape_of_views(dataset):
    """Gives the shape of a video's clips as a dataset tells it beforehand, `None` if it does not.

    Args:
        dataset: a `tf.data.Dataset` of `(clips, labels)`, or anything that can be gone through.
    """
    spec = getattr(dataset, "element_spec", None)
    return None if spec is None else list(spec[0].shape[1:])


def package_versions():
    """Gives the versions of what scores are computed by, by name."""
    # This package may be used as it was checked out, of which no metadata tell.
    package = __name__.partition(".")[0]
    names = ("keras", "numpy", keras.backend.backend())
    return {
        package: sys.modules[package].__version__,
        **{name: metadata.version(name) for name in names},
        "python": platform.python_version(),
    }


def check_identity(path, found, expected):
    """Refuses a file whose scores depend on something else than these shall.

    Args:
        path: of the file, for the message.
        found, expected: dictionaries for JSON.

    Raises:
        ValueError: with what differs.
    """
    expected = json.loads(json.dumps(expected))
    names = sorted(set(found) | set(expected))
    faults = []
    for name in names:
        theirs, ours = found.get(name), expected.get(name)
        if theirs == ours:
            continue
        if isinstance(theirs, dict) and isinstance(ours, dict):
            keys = [k for k in sorted(set(theirs) | set(ours)) if theirs.get(k) != ours.get(k)]
            faults += [f"{k}: {theirs.get(k)!r} there, {ours.get(k)!r} here" for k in keys]
        else:
            faults.append(f"{name}: {theirs!r} there, {ours!r} here")
    if faults:
        raise ValueError(
            f"{os.fspath(path)!r} holds the scores of another evaluation: {'; '.join(faults)}. "
            "Evaluate into another folder, or in place of that one by `overwrite=True`, in the "
            "command --overwrite."
        )

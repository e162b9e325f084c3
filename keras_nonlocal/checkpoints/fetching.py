"""Published files: downloaded, checked, converted once, and kept below Keras' home folder.

Whatever is written, is written in a folder of its own beside and then renamed: nobody sees half
a file, and processes that start at once do not meet.
"""

import functools
import hashlib
import logging
import os
import pathlib
import tempfile
import urllib.error
import zipfile

import keras
import numpy as np

from keras_nonlocal.archives.errors import CheckpointError
from keras_nonlocal.checkpoints import assignment

_LOGGER = logging.getLogger("keras_nonlocal")


def folder():
    """Gives the folder that published files and their converted forms are kept in."""
    home = os.environ.get("KERAS_HOME")
    if not home:  # Then Keras looks here.
        user = os.path.expanduser("~")
        home = os.path.join(user if os.access(user, os.W_OK) else "/tmp", ".keras")
    return pathlib.Path(home).expanduser() / "models" / "keras_nonlocal"


def load_published(model, checkpoint):
    """Fills a network with published weights, which are fetched and converted the first time.

    Args:
        model: the network of the record.
        checkpoint: record of the weights.

    Raises:
        CheckpointError: if the weights cannot be had; it says what to do by hand.
    """
    tell_licence(checkpoint.name, checkpoint.licence)
    converted = folder() / f"{checkpoint.name}.npz"
    if converted.is_file():
        try:
            _assign(model, _read_converted(converted))
            return
        except CheckpointError as fault:
            _LOGGER.warning("%s is damaged (%s) and made again.", converted, fault)
    arrays = _convert(checkpoint, _find_original(checkpoint), model)
    _keep(arrays, checkpoint, converted)
    _assign(model, arrays)


@functools.cache
def tell_licence(name, licence):
    """Says once what a licence forbids."""
    if "-NC-" in licence:
        _LOGGER.warning(
            "The weights %s are under the licence %s, which forbids commercial use.", name, licence
        )


def _find_original(checkpoint):
    """Gives the path of the published file, downloaded unless it is there already."""
    path = folder() / checkpoint.file
    mirror = os.environ.get("KERAS_NONLOCAL_MIRROR")
    url = f"{mirror.rstrip('/')}/{checkpoint.path}" if mirror else checkpoint.url
    if path.is_file():
        try:
            _check_content(path, checkpoint)
        except CheckpointError as fault:
            raise CheckpointError(
                f"{path}, kept for weights={checkpoint.name!r}, is not the published file: {fault} "
                f"Delete it, or put {checkpoint.url} in its place."
            ) from fault
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as beside:
            got = keras.utils.get_file(path.name, url, cache_dir=beside, cache_subdir="")
            _check_content(got, checkpoint)
            os.replace(got, path)
    except Exception as fault:  # get_file raises bare ones.
        if isinstance(fault.__context__, urllib.error.HTTPError):
            fault.__context__.close()  # The server's answer, which it leaves open.
        raise CheckpointError(
            f"The file of weights={checkpoint.name!r} could not be fetched from {url}: "
            f"{str(fault).rstrip('.')}. Nothing was kept. Download "
            f"{checkpoint.url} by hand and put it at {path}: it is used from there."
        ) from fault
    return path


def _check_content(path, checkpoint):
    with open(path, "rb") as file:
        start = file.read(512)
        digest = hashlib.new(checkpoint.checksum[0], start) if checkpoint.checksum else None
        while digest and (block := file.read(2**20)):
            digest.update(block)
    if not start:
        raise CheckpointError("It is empty.")
    # Portals and error pages come with status 200, too.
    if start.lstrip().startswith(b"<"):
        raise CheckpointError(f"It is a web page, not weights; it begins with {start[:40]!r}.")
    if digest and not digest.hexdigest().startswith(checkpoint.checksum[1]):
        algorithm, beginning = checkpoint.checksum
        raise CheckpointError(
            f"Its {algorithm} begins with {digest.hexdigest()[: len(beginning)]}, "
            f"where the publisher's begins with {beginning}."
        )


def _convert(checkpoint, original, model):
    """Returns the arrays of a published file by the paths of the variables that they fill."""
    try:
        return assignment.arrays_for(model, original, checkpoint.source)
    except CheckpointError as fault:
        raise CheckpointError(
            f"weights={checkpoint.name!r} cannot be made of their file. {fault}\nIf it may be "
            f"damaged, delete {original}, and load again or put {checkpoint.url} in its place."
        ) from fault


def _keep(arrays, checkpoint, converted):
    """Writes an archive of NumPy, which has checksums inside.

    An HDF5 file has none, and where the disk is full h5py ends the whole process.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".convert-", dir=converted.parent) as beside:
            written = pathlib.Path(beside) / converted.name
            np.savez(written, **arrays)
            os.replace(written, converted)
    except OSError as fault:
        raise CheckpointError(
            f"weights={checkpoint.name!r} could not be kept at {converted}: {fault}. Make room "
            "there, or let the environment variable KERAS_HOME name another folder, and move "
            f"{converted.with_name(checkpoint.file)} (of {checkpoint.url}) to its models/"
            "keras_nonlocal."
        ) from fault


def _read_converted(path):
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(".npy"): np.lib.format.read_array(archive.open(name))
                for name in archive.namelist()
            }
    except Exception as fault:  # Damage shows in errors of many kinds.
        raise CheckpointError(f"{type(fault).__name__}: {fault}") from fault


def _assign(model, arrays):
    shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
    if shapes != {path: array.shape for path, array in arrays.items()}:
        raise CheckpointError("it is of another network")
    for variable in model.weights:
        variable.assign(arrays[variable.path])

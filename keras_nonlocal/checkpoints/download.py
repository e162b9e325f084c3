"""Published files: downloaded once, checked, and kept below Keras' home folder.

A file is downloaded into a folder of its own and then renamed, so that no process sees half of it.
"""

import os
import pathlib
import tempfile
import urllib.error

import keras

from keras_nonlocal.checkpoints import loading, registry
from keras_nonlocal.checkpoints.errors import CheckpointError


def folder():
    """Returns the folder in which published files are kept."""
    home = os.environ.get("KERAS_HOME")
    if not home:  # Then Keras looks here.
        user = os.path.expanduser("~")
        home = os.path.join(user if os.access(user, os.W_OK) else "/tmp", ".keras")
    return pathlib.Path(home).expanduser() / "models" / "keras_nonlocal"


def load_published(model, checkpoint, kept=()):
    """Loads published weights into a network, downloading their file the first time.

    Args:
        model: the network of the record, with its head, another or none.
        checkpoint: record of the weights.
        kept: names of layers that keep their values.

    Raises:
        CheckpointError: if the file cannot be downloaded or read; it says what to do by hand.
    """
    registry.warn_license(checkpoint.name, checkpoint.license)
    path = _fetch(checkpoint)
    try:
        loading.load_weights(model, path, checkpoint.source, kept)
    except CheckpointError as error:
        raise CheckpointError(
            f"weights={checkpoint.name!r} cannot be loaded from their file. {error}\nIf it may be "
            f"corrupt, delete {path}, and load again or put {checkpoint.url} in its place."
        ) from error


def _fetch(checkpoint):
    """Returns the path of the published file, which is downloaded unless it exists."""
    path = folder() / checkpoint.file
    mirror = os.environ.get("KERAS_NONLOCAL_MIRROR")
    url = f"{mirror.rstrip('/')}/{checkpoint.path}" if mirror else checkpoint.url
    if path.is_file():
        try:
            _check_content(path, checkpoint)
        except CheckpointError as error:
            raise CheckpointError(
                f"{path}, kept for weights={checkpoint.name!r}, is not the published file: {error} "
                f"Delete it, or put {checkpoint.url} in its place."
            ) from error
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as beside:
            got = keras.utils.get_file(path.name, url, cache_dir=beside, cache_subdir="")
            _check_content(got, checkpoint)
            os.replace(got, path)
    except Exception as error:  # get_file raises bare ones.
        if isinstance(error.__context__, urllib.error.HTTPError):
            error.__context__.close()  # The server's answer, which it leaves open.
        raise CheckpointError(
            f"The file of weights={checkpoint.name!r} could not be downloaded from {url}: "
            f"{str(error).rstrip('.')}. Nothing was kept. Download "
            f"{checkpoint.url} by hand and put it at {path}: it is used from there."
        ) from error
    return path


def _check_content(path, checkpoint):
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        raise CheckpointError("It is empty.")
    # Portals and error pages come with status 200, too.
    if start.lstrip().startswith(b"<"):
        raise CheckpointError(f"It is a web page, not weights; it begins with {start[:40]!r}.")
    if not registry.has_checksum(path, checkpoint):
        algorithm, published = checkpoint.checksum
        raise CheckpointError(
            f"Its {algorithm} begins with {registry.digest(path, checkpoint)}, "
            f"where the publisher's begins with {published}."
        )

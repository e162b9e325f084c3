"""The model that a name or a file stands for."""

import os
import re
import zipfile
import zlib

import keras

from keras_nonlocal import builders
from keras_nonlocal.checkpoints import registry
from keras_nonlocal.checkpoints.loading import load_checkpoint
from keras_nonlocal.exporting.graph import check_graph

_EXPORTED = (".tflite", ".onnx", ".xml")


def load_model(name, source=None, clip=None, input_shape=None):
    """Gives the model that a name or a file stands for.

    Args:
        name: a name of `list_weights`, a `.keras` file, or a published file.
        source: whose weights a published file holds, where it does not tell.
        clip: frames x stride, where a published file does not tell.
        input_shape: `(frames, height, width, 3)` of the model. `None`: what it was trained with.

    Returns:
        A `keras.Model`.

    Raises:
        FileNotFoundError: if there is no such name or file.
        ValueError: if it holds no network of videos, or something is missing that it does not tell.
    """
    if name in registry.CHECKPOINTS:
        return _load_known(registry.CHECKPOINTS[name], source, input_shape)
    if not os.path.exists(name):
        raise FileNotFoundError(
            "`model` must be a name that `keras-nonlocal weights` lists, or a file. Received: "
            f"{name!r}, which is neither."
        )
    if name.endswith(".keras"):
        model = read_keras_file(name)
        check_graph(model)
        return model
    if name.endswith(".h5"):
        raise ValueError(
            f"`model` must be a .keras file or a published one. Received: {name!r}. Load it in "
            "Python, weights alone into their network, and pass that, or save it as .keras."
        )
    if os.path.isdir(name) or name.endswith(_EXPORTED):
        raise ValueError(
            f"`model` must be a network that was not exported yet. Received: {name!r}. Give the "
            ".keras file, the published file or the name that it was made of."
        )
    return load_checkpoint(
        name,
        source=source,
        clip=clip and clip.partition("@")[0],
        crop=input_shape[1] if input_shape is not None else 224,
    )


def read_keras_file(path):
    """Gives the model of a `.keras` file, uncompiled.

    Args:
        path: the file.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: if it is none, or holds what is known where it was made alone.
    """
    damaged = (
        f"{str(path)!r} is no .keras file, or a damaged one. Write it anew, by "
        "model.save('network.keras')."
    )
    if not zipfile.is_zipfile(path):
        raise ValueError(damaged)
    try:
        return keras.saving.load_model(path, compile=False)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(damaged) from error
    except (TypeError, ValueError, KeyError) as error:
        unknown = re.search(r"Could not locate (?:class|function) '(\w+)'", str(error))
        if unknown is None:
            raise ValueError(f"{str(path)!r} cannot be loaded: {error}") from error
        raise ValueError(
            f"{str(path)!r} cannot be loaded: it holds {unknown[1]!r}, which is not Keras' or this "
            "package's. Load it where that is defined, in Python: "
            "keras.saving.load_model(path, custom_objects={...})."
        ) from error


def _load_known(checkpoint, source, input_shape):
    if checkpoint.builder is None:
        raise ValueError(
            f"`model` must be a network of videos. Received: {checkpoint.name!r}. {checkpoint.note}"
        )
    if source not in (None, checkpoint.source):
        raise ValueError(
            f"`source` must be {checkpoint.source!r} for {checkpoint.name!r}. Received: "
            f"source={source!r}. Leave it out."
        )
    options = {} if input_shape is None else {"input_shape": tuple(input_shape)}
    return getattr(builders, checkpoint.builder)(weights=checkpoint.name, **options)

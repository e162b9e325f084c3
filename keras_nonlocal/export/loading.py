"""The model that a name or a file stands for."""

import os

import keras

from keras_nonlocal import models
from keras_nonlocal.checkpoints import inspection, zoo
from keras_nonlocal.checkpoints.load import load_checkpoint
from keras_nonlocal.preprocessing import remember


def load_model(name, source=None, clip=None, input_shape=None):
    """Gives the model that a name or a file stands for.

    Args:
        name: a name of `list_weights`, a `.keras` file, or a published file.
        source: whose weights a published file holds, where it does not tell; whose range of pixels
            the model of a `.keras` file takes, which none tells.
        clip: frames x stride, where the name or file does not tell.
        input_shape: `(frames, height, width, 3)` of the model. `None`: what it was trained with.

    Returns:
        A `keras.Model`. It remembers its `source`, `clip` and `class_names`, as far as they are
        known.

    Raises:
        FileNotFoundError: if there is no such name or file.
        ValueError: if it holds no network of videos, or something is missing that it does not tell.
    """
    if name in zoo.CHECKPOINTS:
        return _load_known(zoo.CHECKPOINTS[name], input_shape)
    if not os.path.exists(name):
        raise FileNotFoundError(
            "`model` must be a name that `keras-nonlocal weights` lists, or a file. Received: "
            f"{name!r}, which is neither."
        )
    if name.endswith(".keras"):
        model = keras.saving.load_model(name, compile=False)
        return model if source is None else remember(model, source, clip)
    if name.endswith(".h5"):
        raise ValueError(
            f"`model` must hold a whole network. Received: {name!r}, weights alone. Build their "
            "network in Python, load them, and pass it."
        )
    findings = inspection.inspect_file(name)
    clip = clip or findings.clip
    if clip is None:
        raise ValueError(
            "`clip` must be given: neither the file nor its name tells what clips the network was "
            f"trained with, such as '8x8'. Received: {name!r} and clip=None."
        )
    return load_checkpoint(
        name,
        source=source or inspection.choose_source(findings),
        clip=clip.partition("@")[0],
        crop=input_shape[1] if input_shape is not None else 224,
    )


def _load_known(checkpoint, input_shape):
    if checkpoint.builder is None:
        raise ValueError(
            f"`model` must be a network of videos. Received: {checkpoint.name!r}. {checkpoint.note}"
        )
    options = {} if input_shape is None else {"input_shape": tuple(input_shape)}
    return getattr(models, checkpoint.builder)(weights=checkpoint.name, **options)

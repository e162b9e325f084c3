"""Input normalization and prediction decoding."""

import functools
import pathlib
import sys

import numpy as np
from keras import ops

from keras_nonlocal.implementations import IMPLEMENTATIONS, check_source


def preprocess_input(clip, source="video-nonlocal-net"):
    """Normalizes the pixels of clips as an implementation did in training.

    For networks that are built with `include_preprocessing=False`. Pixels must be in 0..255:
    inputs that are scaled to 0..1 already cannot be detected and give wrong predictions.

    Args:
        clip: RGB of shape `(frames, height, width, 3)`, a batch of it, or a batch of several
            views; NumPy array or tensor, integers or floats in 0..255.
        source: the implementation: "video-nonlocal-net", "pyslowfast", "pytorchvideo",
            "mmaction2", "gluoncv", "torchvision" or "keras-applications"; or a network of this
            package, whose pixels are returned as they are if it normalizes them itself.

    Returns:
        The normalized clip in float32, an array or a tensor as `clip` is.

    Raises:
        ValueError: if the clip has not three channels last, or the source is unknown.

    Example:

    >>> clip = np.full((8, 224, 224, 3), 255, "uint8")
    >>> print(f"{preprocess_input(clip).max():.3f}")
    2.444
    """
    normalizes_itself = False
    if hasattr(source, "normalization"):
        normalizes_itself = source.config["include_preprocessing"]
        source = source.normalization
    check_source("source", source)
    if isinstance(clip, (list, tuple)):
        clip = np.asarray(clip)
    shape = tuple(clip.shape)
    if len(shape) < 4 or shape[-1] != 3:
        raise ValueError(
            "`clip` must be RGB of shape (..., frames, height, width, 3). "
            f"Received: shape {shape}. Give one image as a clip of one frame, "
            "and put the channels last."
        )
    if normalizes_itself:
        return clip
    # Datasets of TensorFlow hold its tensors under every backend of Keras.
    tf = sys.modules.get("tensorflow")
    if isinstance(clip, np.ndarray):
        lib, x = np, clip.astype("float32")
    elif tf is not None and tf.is_tensor(clip):
        lib, x = tf, tf.cast(clip, "float32")
    else:
        lib, x = ops, ops.cast(clip, "float32")
    record = IMPLEMENTATIONS[source]
    mean, std = np.float32(record.mean), np.float32(record.std)
    if len({*record.mean}) == len({*record.std}) == 1:
        return (x - mean[0]) / std[0]
    if None in shape[1:]:
        return (x - mean) / std
    # Row by row, as arithmetic with three numbers along the last axis is five times as slow.
    mean, std = np.tile(mean, shape[-2]), np.tile(std, shape[-2])
    return lib.reshape((lib.reshape(x, (-1, len(mean))) - mean) / std, (-1, *shape[1:]))


@functools.cache
def kinetics400_classes():
    """Returns the names of the 400 classes of Kinetics-400 in index order, a tuple.

    Example:

    >>> kinetics400_classes()[:2]
    ('abseiling', 'air drumming')
    """
    path = pathlib.Path(__file__).parent / "checkpoints" / "kinetics400_classes.txt"
    return tuple(path.read_text(encoding="utf-8").splitlines())


def decode_predictions(probabilities, top=5, class_names=None):
    """Returns the most probable classes by name.

    Args:
        probabilities: output of a model with `classifier_activation="softmax"`, of shape
            `(batch, classes)`; array or tensor.
        top: how many classes to name.
        class_names: names in index order, or a model of this package. `None`: those of
            Kinetics-400, if there are 400 classes.

    Returns:
        For each clip a list of `(class_name, probability)`, the most probable first.

    Raises:
        ValueError: if the values are not probabilities, or the names do not fit them.

    Example:

    >>> probabilities = np.zeros((1, 400))
    >>> probabilities[0, :2] = 0.25, 0.75
    >>> decode_predictions(probabilities, top=2)
    [[('air drumming', 0.75), ('abseiling', 0.25)]]
    """
    probabilities = _check_probabilities(ops.convert_to_numpy(probabilities))
    if top < 1:
        raise ValueError(f"`top` must be at least 1. Received: top={top}. The default is 5.")
    names, classes = getattr(class_names, "class_names", class_names), probabilities.shape[1]
    if names is None and classes != 400:
        raise ValueError(
            f"`class_names` must be given for {classes} classes: only the names of the 400 classes "
            "of Kinetics-400 are known. Received: class_names=None. Pass the names in index order."
        )
    names = kinetics400_classes() if names is None else check_class_names(names, classes)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [
        [(names[index], float(row[index])) for index in indices]
        for row, indices in zip(probabilities, best, strict=True)
    ]


def _check_probabilities(values):
    if values.ndim != 2:
        raise ValueError(
            "`probabilities` must be of shape (batch, classes). Received: shape "
            f"{values.shape}. Give those of one clip as probabilities[None]."
        )
    values = values.astype("float32")
    sums = values.sum(axis=1)
    # Half precision and 8-bit outputs of phones round hundreds of small probabilities.
    if not (np.all(values >= -0.01) and np.all(np.abs(sums - 1.0) <= 0.2)):
        raise ValueError(
            "`probabilities` must be positive and sum to 1 for each clip. Received: values from "
            f"{values.min():.3g} to {values.max():.3g}, sums from {sums.min():.3g} to "
            f"{sums.max():.3g}. Apply keras.ops.softmax to logits, or build the model with "
            'classifier_activation="softmax". Scores of independent labels (sigmoid) have no '
            "ranking to decode: compare each with a threshold."
        )
    return values


def check_class_names(names, classes):
    """Returns the names of the classes as a tuple of strings, one for each class, or raises."""
    found = () if isinstance(names, str) else tuple(names)
    if len(found) != classes or not all(isinstance(name, str) for name in found):
        raise ValueError(
            f"`class_names` must be a list of one string for each of the {classes} classes. "
            f"Received: {names!r:.80}."
        )
    return found

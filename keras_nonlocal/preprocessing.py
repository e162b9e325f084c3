"""What stands around a network: from pixels to its input, from its output to names."""

import dataclasses
import functools
import pathlib

import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True)
class Normalization:
    """The range of pixels in which a source trained its networks, for RGB in 0..255.

    Attributes:
        mean: subtracted from each channel.
        deviation: divides each channel then.
        reverse: whether the channels are put into the order blue, green, red beforehand; the
            numbers above are in the order that results.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    reverse: bool = False


# PySlowFast and PyTorchVideo write the same numbers on 0..1, GluonCV and torchvision those of
# MMAction2.
_IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_ONE_GREY = Normalization((114.75,) * 3, (57.375,) * 3)
NORMALIZATIONS = {
    "video-nonlocal-net": _ONE_GREY,
    "pyslowfast": _ONE_GREY,
    "pytorchvideo": _ONE_GREY,
    "mmaction2": _IMAGENET,
    "gluoncv": _IMAGENET,
    "torchvision": _IMAGENET,
    "keras-applications": Normalization((103.939, 116.779, 123.68), (1.0,) * 3, reverse=True),
}


def normalization_of(source):
    """Gives the `Normalization` of a source.

    Args:
        source: a name in `NORMALIZATIONS`.

    Returns:
        A `Normalization`.

    Raises:
        ValueError: if the source is unknown.
    """
    if source in NORMALIZATIONS:
        return NORMALIZATIONS[source]
    raise ValueError(
        f"`source` must be one of {sorted(NORMALIZATIONS)}. Received: source={source!r}. "
        "Weights of your own need what they were trained with; this package's networks "
        'are trained with "video-nonlocal-net".'
    )


def preprocess_input(clip, source="video-nonlocal-net"):
    """Gives clips the range in which a source's networks were trained.

    It does what `keras_nonlocal.data.transforms.normalize` does inside `tf.data`, for clips
    that come from elsewhere. Pixels must lie in 0..255: values that were divided by 255, or
    normalised already, are not told from dark ones.

    Args:
        clip: RGB of shape `(frames, height, width, 3)`, or a batch of it; NumPy array or
            tensor, integers or floats in 0..255.
        source: whose networks, one of "video-nonlocal-net", "pyslowfast", "pytorchvideo",
            "mmaction2", "gluoncv", "torchvision", "keras-applications", or a model that
            remembers its source.

    Returns:
        The normalised clip in float32, an array or a tensor as `clip` is.

    Raises:
        ValueError: if the clip has not three channels last, or the source is unknown.

    Example:

    >>> clip = np.full((8, 224, 224, 3), 255, "uint8")
    >>> print(f"{preprocess_input(clip).max():.3f}")
    2.444
    """
    facts = normalization_of(getattr(source, "source", source))
    if isinstance(clip, (list, tuple)):
        clip = np.asarray(clip)
    shape = tuple(clip.shape)
    if len(shape) not in (4, 5) or shape[-1] != 3:
        raise ValueError(
            "`clip` must be RGB of shape (frames, height, width, 3) or (batch, frames, height, "
            f"width, 3). Received: shape {shape}. Give one image as a clip of one frame, "
            "and put the channels last."
        )
    mean, deviation = np.float32(facts.mean), np.float32(facts.deviation)
    if isinstance(clip, np.ndarray):
        clip = clip[..., ::-1] if facts.reverse else clip
        return (clip.astype("float32") - mean) / deviation
    clip = ops.cast(ops.flip(clip, axis=-1) if facts.reverse else clip, "float32")
    return (clip - ops.convert_to_tensor(mean)) / ops.convert_to_tensor(deviation)


@functools.cache
def kinetics400_classes():
    """Gives the names of the 400 classes of Kinetics-400, in index order.

    Returns:
        Tuple of strings.

    Example:

    >>> kinetics400_classes()[:2]
    ('abseiling', 'air drumming')
    """
    path = pathlib.Path(__file__).parent / "checkpoints" / "kinetics400_classes.txt"
    return tuple(path.read_text(encoding="utf-8").splitlines())


def decode_predictions(probabilities, top=5, class_names=None):
    """Puts names to the most probable classes.

    Args:
        probabilities: what a model with `classifier_activation="softmax"` gives, of shape
            `(batch, classes)`; array or tensor.
        top: how many classes to name.
        class_names: names in index order, or a model that remembers them. `None`: those of
            Kinetics-400, if there are 400 classes.

    Returns:
        For each clip a list of `(class_name, probability)`, the most probable first.

    Raises:
        ValueError: if the values are no probabilities, or the names do not fit them.

    Example:

    >>> probabilities = np.zeros((1, 400))
    >>> probabilities[0, :2] = 0.25, 0.75
    >>> decode_predictions(probabilities, top=2)
    [[('air drumming', 0.75), ('abseiling', 0.25)]]
    """
    probabilities = _check_probabilities(ops.convert_to_numpy(probabilities))
    if top < 1:
        raise ValueError(f"`top` must be at least 1. Received: top={top}. The default is 5.")
    names = _check_class_names(class_names, probabilities.shape[1])
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [
        [(names[index], float(row[index])) for index in indices]
        for row, indices in zip(probabilities, best, strict=True)
    ]


def remember(model, source, clip, class_names=None):
    """Attaches to a model what its users must know, and functions that know it.

    These are plain attributes of the Python object: `source`, `clip`, `class_names`, the
    `network_source` whose layers it has (the first `source` that it was given),
    `preprocess_input(clip)` and `decode_predictions(probabilities, top=5)`. Files and copies
    of the model do not carry them.

    Args:
        model: the model.
        source: whose pixel range it takes, see `preprocess_input`.
        clip: frames x stride of the clips that it is meant for, such as "8x8".
        class_names: names of its classes in index order, if they are known.

    Returns:
        The model.

    Example:

    >>> model = remember(keras_nonlocal.I3D(depth=(1, 1, 1, 1), width=8), "gluoncv", "8x8")
    >>> model.preprocess_input(np.zeros((8, 224, 224, 3), "uint8")).shape
    (8, 224, 224, 3)
    """
    normalization_of(source)
    names = None if class_names is None else tuple(class_names)
    model.source, model.clip, model.class_names = source, clip, names
    # Whose layers it has; with weights of another source it takes the pixels of that one.
    model.network_source = getattr(model, "network_source", source)
    model.preprocess_input = functools.partial(preprocess_input, source=source)
    model.decode_predictions = functools.partial(decode_predictions, class_names=names)
    return model


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


def _check_class_names(class_names, classes):
    names = getattr(class_names, "class_names", class_names)
    if names is None and classes == 400:
        return kinetics400_classes()
    if names is None:
        raise ValueError(
            f"`class_names` must be given for {classes} classes: only the names of the 400 classes "
            "of Kinetics-400 are known. Received: class_names=None. Pass the names in index order."
        )
    if isinstance(names, str) or len(names) != classes:
        raise ValueError(
            f"`class_names` must be a list of one name for each of the {classes} classes. "
            f"Received: {names!r:.80}."
        )
    return names

"""The network that `keras-nonlocal evaluate` tests: from a name or a file, at the size of the test.

What the network is comes with the Python that makes it, and with what its clips must be.
"""

import dataclasses
import os

import keras

import keras_nonlocal
from keras_nonlocal.checkpoints import registry
from keras_nonlocal.commands import calls, printing
from keras_nonlocal.evaluation import resize_input
from keras_nonlocal.exporting.loading import read_keras_file
from keras_nonlocal.lists.classes import read_classes
from keras_nonlocal.models.config import parse_clip
from keras_nonlocal.models.video_resnet import clip_of, config_of, find_input, takes_pixels

# Clips are spread as the source tests; PyTorchVideo tests by PySlowFast.
_CONVENTIONS = {
    "pyslowfast": "pyslowfast",
    "pytorchvideo": "pyslowfast",
    "mmaction2": "mmaction2",
    "tf-models-official": "tf-models-official",
}
_CONVERT = "Write a .keras file of it, by keras-nonlocal convert with"
# Of commands that have no option for what else a file may not tell.
CONVERT_WORDS = {
    "Pass mode='embedded_gaussian' or mode=": f"{_CONVERT} --mode 'embedded_gaussian' or --mode ",
    "Pass pool2=True or pool2=False": f"{_CONVERT} --pool2 or --no-pool2",
    "`mode`": "The mode",
    "`pool2`": "The pooling of frames after stage 2",
}
_WORDS = {
    **CONVERT_WORDS,
    "`source`": "--source-of-weights",
    "source=": "--source-of-weights ",
    "`clip`": "--clip",
    "clip=": "--clip ",
}


@dataclasses.dataclass(frozen=True)
class TestedNetwork:
    """A network, and what its clips must be.

    Args:
        model: the `keras.Model`, for clips of `crop` pixels.
        source: the implementation whose test views it takes.
        clip: frames x stride.
        crop: pixels.
        class_names: names of its classes, or `None`.
        lines: Python that makes `model`.
    """

    # pytest would take it for a test.
    __test__ = False

    model: keras.Model
    source: str
    clip: str
    crop: int
    class_names: tuple | None
    lines: str

    @property
    def convention(self):
        """How the network's source spreads clips over a video, see `UniformClipSampler`."""
        return convention_of(self.source, self.clip)


def check_takes_floats(facts, name):
    """Refuses models of integers, unless they are networks that normalize pixels."""
    if "float" not in facts.dtype and not facts.include_preprocessing:
        raise ValueError(
            "MODEL must take clips of floats, which a source of weights says how to prepare. "
            f"Received: {name}, which takes {facts.dtype}. Run it in Python: "
            "keras_nonlocal.exporting.artefacts.load_artefact opens it."
        )


def check_range_known(model, name):
    """Refuses models that normalize pixels behind other layers, as those change what pixels are."""
    config = config_of(model)
    if config is not None and config.include_preprocessing and not takes_pixels(model):
        raise ValueError(
            "MODEL must normalize pixels before all else. Received: "
            f"{name}, which does so behind other layers, so that the range of its clips is "
            "unknown. Run it in Python, on clips as it takes them."
        )


def convention_of(source, clip):
    """Tells how a source spreads clips over a video, see `UniformClipSampler`."""
    if "@" in clip:
        return "pyslowfast"
    return _CONVENTIONS.get(source, "video-nonlocal-net")


def load_network(name, source=None, clip=None, crop=None):
    """Gives the network that a test names.

    Args:
        name: a name of `list_weights`, a `.keras` file, or a published file.
        source: whose weights a file holds; of a name it is known.
        clip: frames x stride, with `@fps` behind it or not; of a name it is known.
        crop: pixels at which to test. `None`: the short side of the frames that the network's
            training crops were cut from, which is 256 for 224.

    Raises:
        ValueError: if something is missing that the name or the file does not tell.
        FileNotFoundError: if there is no such name or file.
    """
    if name in registry.CHECKPOINTS:
        return _load_known(registry.CHECKPOINTS[name], source, clip, crop)
    if not os.path.exists(name):
        raise FileNotFoundError(
            f"MODEL must be a name that `keras-nonlocal weights` lists, or a file. Received: "
            f"{name}, which is neither."
        )
    if name.endswith(".keras"):
        return _load_keras_file(name, source, clip, crop)
    if name.endswith(".h5"):
        raise ValueError(
            f"MODEL must hold a whole network. Received: {name}, weights alone. Build their "
            "network in Python, and call knl.evaluation.evaluate_videos, or save it as .keras."
        )
    return _load_published_file(name, source, clip, crop or 256)


def name_classes(network, file):
    """Gives a network the names of its classes, which a `.keras` file does not tell.

    Args:
        network: a `TestedNetwork`.
        file: of the names, see `read_classes`.

    Returns:
        A `TestedNetwork`.

    Raises:
        ValueError: if the network has names, or classes of another number.
    """
    names = read_classes(file)
    if network.class_names is not None:
        raise ValueError(
            f"--classes must be left out where MODEL and SOURCE both name their classes. Received: "
            f"--classes {file}."
        )
    classes = network.model.output_shape[-1]
    if classes != len(names):
        raise ValueError(
            f"--classes must name the {classes} classes of MODEL, in their order. "
            f"Received: {len(names)} names in {file}."
        )
    lines = (
        "from keras_nonlocal.lists.classes import read_classes\n\n"
        f"{network.lines}\nmodel.class_names = {calls.write_call('read_classes', file)}"
    )
    return dataclasses.replace(network, class_names=names, lines=lines)


def _load_known(checkpoint, source, clip, crop):
    if checkpoint.builder is None:
        raise ValueError(f"MODEL must be a network of videos. {checkpoint.name}: {checkpoint.note}")
    for option, given, known in (
        ("--source-of-weights", source, checkpoint.source),
        ("--clip", clip and clip.partition("@")[0], checkpoint.clip),
    ):
        if given not in (None, known):
            raise ValueError(
                f"{option} must be {known} for {checkpoint.name}. Received: {given}. Leave it out."
            )
    crop = crop or checkpoint.short_side
    frames, _ = parse_clip(checkpoint.clip)
    options = {"weights": checkpoint.name, "input_shape": (frames, crop, crop, 3)}
    model = getattr(keras_nonlocal, checkpoint.builder)(**options)
    lines = f"model = {calls.write_call(f'knl.{checkpoint.builder}', **options)}"
    names = model.class_names
    return TestedNetwork(model, checkpoint.source, clip or checkpoint.clip, crop, names, lines)


def _load_keras_file(path, source, clip, crop):
    model = read_keras_file(path)
    check_range_known(model, path)
    network = find_input(model)
    pixels = takes_pixels(model)
    known = (None if pixels is None else network.normalization, clip_of(model))
    for option, given, own, what in (
        ("--source-of-weights", source, known[0], "whose normalization its clips had"),
        ("--clip", clip and clip.partition("@")[0], known[1], "frames x stride of its clips"),
    ):
        if given is None and own is None:
            raise ValueError(f"{option} must be given: {path} does not tell {what}.")
        if given is not None and own not in (None, given):
            raise ValueError(f"{option} must be {own} for {path}. Received: {given}. Leave it out.")
    source, clip = source or known[0], clip or known[1]
    shape = model.input_shape
    frames, _ = parse_clip(clip.partition("@")[0])
    if len(shape) != 5 or shape[1] not in (None, frames):
        raise ValueError(
            f"--clip must have the frames that {path} takes: its input is {shape}. Received: "
            f"--clip {clip}."
        )
    crop = crop or (256 if shape[2] is None else round(shape[2] * 256 / 224))
    lines = f"model = {calls.write_call('keras.saving.load_model', path, compile=False)}"
    resized = resize_input(model, crop, crop)
    if resized is not model:
        lines += f"\nmodel = knl.evaluation.resize_input(model, {crop}, {crop})"
    if not pixels:
        inputs = keras.Input(resized.input_shape[1:], dtype=resized.inputs[0].dtype)
        resized = keras.Model(inputs, resized(keras_nonlocal.preprocess_input(inputs, source)))
        lines += (
            f"\nclips = keras.Input({resized.input_shape[1:]})"
            f'\nmodel = keras.Model(clips, model(knl.preprocess_input(clips, "{source}")))'
        )
    names = network and network.config.class_names
    return TestedNetwork(resized, source, clip, crop, names, lines)


def _load_published_file(path, source, clip, crop):
    with printing.told_in_words_of_the_command(_WORDS):
        model = keras_nonlocal.load_checkpoint(
            path, source, clip and clip.partition("@")[0], crop=crop
        )
    options = {"source": model.source, "clip": model.clip, "crop": crop}
    lines = f"model = {calls.write_call('knl.load_checkpoint', path, **options)}"
    return TestedNetwork(model, model.source, clip or model.clip, crop, model.class_names, lines)

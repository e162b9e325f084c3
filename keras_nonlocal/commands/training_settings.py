"""What the arguments of `keras-nonlocal train` come to."""

import contextlib
import os

import keras

from keras_nonlocal.checkpoints import zoo
from keras_nonlocal.models.architecture import parse_clip
from keras_nonlocal.training.recipe import Recipe
from keras_nonlocal.training.recipes import RECIPES

# Arguments of `data.read_videos`.
OF_VIDEOS = ("videos", "format", "classes", "separator", "layout", "split", "part")
# Arguments that take the place of what a recipe says.
CHANGES = ("clip", "crop", "epochs", "accumulation", "precision", "norms", "learning_rate")


def changes_of(chosen):
    """Returns the fields of the recipe that the arguments replace.

    Raises:
        ValueError: if the weights are of other clips than the recipe.
    """
    changes = {name: getattr(chosen, name) for name in CHANGES}
    changes = {name: value for name, value in changes.items() if value is not None}
    recipe = RECIPES[chosen.recipe]
    if changes.get("norms") == "frozen":
        changes["weights"] = "trained"
    record = record_of(chosen)
    if record is not None and record.clip is not None:
        clip = changes.get("clip", recipe.clip)
        if clip == Recipe.clip and "clip" not in changes:
            changes["clip"] = record.clip
        elif parse_clip(clip) != parse_clip(record.clip):
            of = "" if "clip" in changes else f" by --recipe {recipe.name}"
            raise ValueError(
                f"--weights {record.name} are of clips {record.clip}. Received: clips of {clip}"
                f"{of}. Give --clip {record.clip}, or begin with a .keras file, whose weights go "
                "into networks of other clips."
            )
        if recipe.crop == Recipe.crop:
            changes.setdefault("crop", record.crop)
    if "learning_rate" in changes:
        # Of the batch that is taken, so that nothing scales it.
        batch_size = chosen.batch_size or recipe.batch_size
        changes["batch_size"] = batch_size * changes.get("accumulation", recipe.accumulation)
    return {name: value for name, value in changes.items() if value != getattr(recipe, name)}


def record_of(chosen):
    """Returns the `Checkpoint` that `--weights` names, or None."""
    return zoo.CHECKPOINTS.get(chosen.weights)


def network_of(chosen):
    """Returns what the network is: the arguments, where left out those of the weights.

    Args:
        chosen: the parsed arguments.

    Returns:
        Dictionary of `network`, `depth`, `width`, and `layers_of` if it is known.
    """
    record = record_of(chosen)
    known = {} if record is None else record.arguments
    network = {
        "network": chosen.network or (record.builder if known else "NLI3D"),
        "depth": chosen.depth or known.get("depth", 50),
        "width": chosen.width or known.get("width", 64),
        "layers_of": chosen.layers_of or known.get("source"),
    }
    return {name: value for name, value in network.items() if value is not None}


def share_of(validation):
    """Gives the share that `--validation` names, or `None` if it names a source or nothing.

    Raises:
        ValueError: if it is a number, of no path, that is no share.
    """
    if validation is None or os.path.exists(validation):
        return None
    try:
        share = float(validation)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise ValueError(
            "--validation must be a source of videos, or a share of SOURCE between 0 and 1. "
            f"Received: {validation}, which is no path. A fifth is --validation 0.2."
        )
    return share


def settings_of(chosen, recipe, batch_size, devices):
    """Gives what must be the same for a run to go on, beside the recipe.

    Args:
        chosen: the parsed arguments.
        recipe: the `Recipe` that they make.
        batch_size: clips in a step.
        devices: names of `find_devices`.

    Returns:
        Dictionary from arguments to their values, without those that were left out.
    """
    names = ("source", *OF_VIDEOS, "validation", "weights", "seed")
    given = {name: getattr(chosen, name) for name in names} | network_of(chosen)
    # Norms have the statistics of each device's share, so that their number counts.
    given.update(batch_size=batch_size, replicas=max(len(devices), 1))
    given.update({"drop_missing": True} if chosen.drop_missing else {})
    return {name: value for name, value in given.items() if value is not None}


def settings_with_recipe(settings, recipe):
    """Adds what the recipe says, without its description, whose words may become better ones."""
    return settings | {"recipe": vars(recipe) | {"description": None}}


def is_model_file(weights):
    """Whether `--weights` is to be a file that holds a whole network."""
    return weights is not None and weights.endswith(".keras")


def network_options(chosen, recipe, classes):
    """Gives the arguments of the builder.

    Args:
        chosen: the parsed arguments.
        recipe: the `Recipe` that they make.
        classes: number of classes.

    Raises:
        ValueError: if `--weights` is of a kind that must be converted first, or damaged.
        FileNotFoundError: if it is not there.
    """
    weights = chosen.weights
    known = weights in (None, "imagenet", *zoo.CHECKPOINTS)
    if not known and not weights.endswith((".keras", ".weights.h5")):
        raise ValueError(
            "--weights must be a name that `keras-nonlocal weights` lists, imagenet, or a .keras "
            f"or .weights.h5 file. Received: {weights}. Published files become .keras by "
            f"keras-nonlocal convert {weights} --to OUT.keras."
        )
    if not known:
        _check_weights_file(weights)
    record = record_of(chosen)
    clip = recipe.clip.partition("@")[0]
    options = {
        "depth": chosen.depth,
        "width": chosen.width,
        "source": chosen.layers_of,
        # Named weights bring theirs, which `changes_of` has compared.
        "clip": None if record is not None else clip,
        "weights": None if is_model_file(weights) else weights,
        "classifier_activation": "sigmoid" if recipe.labels == "several" else None,
    }
    frames, _ = parse_clip(clip)
    return {
        **{key: value for key, value in options.items() if value is not None},
        "input_shape": (frames, recipe.crop, recipe.crop, 3),
        "classes": classes,
    }


def _check_weights_file(path):
    """Keras' own words are not of `--weights`."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"--weights must be a file that is there. Received: {path}. Name another."
        )
    with open(path, "rb") as file:
        begin = file.read(8)
    kind, expected = ("Keras", b"PK") if is_model_file(path) else ("HDF5", b"\x89HDF\r\n\x1a\n")
    if not begin.startswith(expected):
        raise ValueError(
            f"--weights must be a file of {kind}, by its name. Received: {path}, whose content is "
            "none. Copy it anew, or name another."
        )


def find_devices(replicas):
    """Gives the devices to divide batches among.

    Args:
        replicas: how many; `None` for all GPUs that there are.

    Returns:
        Names, such as `["GPU:0", "GPU:1"]`; empty for the one device that Keras takes anyway.

    Raises:
        ValueError: if there are not so many.
    """
    if keras.backend.backend() != "tensorflow":
        if replicas is not None:
            raise ValueError(
                "--replicas divides batches on TensorFlow. Received: it with KERAS_BACKEND="
                f"{keras.backend.backend()}, which takes all devices. Leave it out."
            )
        return []
    import tensorflow as tf

    found = len(tf.config.list_physical_devices("GPU"))
    kind = "GPU"
    if not found and replicas is not None and replicas > 1:
        kind, found = "CPU", _divide_processor(replicas)
    count = found if replicas is None else replicas
    if count > max(found, 1):
        raise ValueError(
            f"--replicas must not exceed the devices. Received: {replicas}, with {found} of kind "
            f"{kind}. Lower it."
        )
    return [f"{kind}:{number}" for number in range(count)] if count > 1 else []


def _divide_processor(count):
    """Makes the processor look like several devices, and gives how many there are."""
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    # TensorFlow refuses once it has begun to compute; then there are as many as there are.
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(processor, parts)
    return len(tf.config.list_logical_devices("CPU"))


def scope(devices):
    """Gives the context in which a network is made for these devices."""
    if not devices:
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices).scope()


def validation_options(chosen, batch_size):
    """Gives the batch of the dataset to validate with, and its share of the videos.

    Of several processes each reads all of them, in batches as large as its part of a training
    batch: their shares would differ in size, and the processes would wait for each other for ever.
    """
    if chosen.num_processes == 1:
        return {"batch_size": batch_size}
    return {"batch_size": max(batch_size // chosen.num_processes, 1), "shard": (0, 1)}

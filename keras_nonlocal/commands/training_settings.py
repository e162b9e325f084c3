"""What the arguments of `keras-nonlocal train` come to."""

import contextlib
import os

import keras

from keras_nonlocal.checkpoints import registry
from keras_nonlocal.commands import initial_weights
from keras_nonlocal.models.config import DEPTHS, ResNet3DConfig, parse_clip
from keras_nonlocal.training.recipe import Recipe
from keras_nonlocal.training.recipes import RECIPES

# Arguments of `data.read_videos`.
OF_VIDEOS = (
    "videos",
    "format",
    "class_names",
    "separator",
    "columns",
    "time_unit",
    "split",
    "part",
)
# Arguments that take the place of what a recipe says.
CHANGES = ("clip", "crop", "epochs", "accumulation", "precision", "norms", "learning_rate")


def changes_of(chosen):
    """Returns the fields of the recipe that the arguments replace.

    Clip and crop are those of the weights, where neither an argument nor the recipe says otherwise.

    Raises:
        ValueError: if the weights are of another network, or a name's of other clips, or if the
            stride of their clips is unknown.
        FileNotFoundError: if `--weights` names a file that is missing.
    """
    changes = {name: getattr(chosen, name) for name in CHANGES}
    changes = {name: value for name, value in changes.items() if value is not None}
    recipe = RECIPES[chosen.recipe]
    if changes.get("norms") == "frozen":
        changes["weights"] = "trained"
    known = initial_weights.known_of(chosen.weights)
    _check_network(chosen, known)
    if recipe.clip == Recipe.clip and "clip" not in changes:
        changes["clip"] = _clip_of(chosen.weights, known)
    elif chosen.weights in registry.CHECKPOINTS and "clip" in known:
        clip = changes.get("clip", recipe.clip)
        if parse_clip(clip.partition("@")[0]) != parse_clip(known["clip"]):
            of, out = f" by --recipe {recipe.name}", ""
            if "clip" in changes:
                of, out = "", " or leave it out"
            raise ValueError(
                f"--weights {chosen.weights} are of clips {known['clip']}. Received: clips of "
                f"{clip}{of}. Give --clip {known['clip']}{out}."
            )
    if recipe.crop == Recipe.crop and "crop" in known:
        changes.setdefault("crop", known["crop"])
    if "learning_rate" in changes:
        # Of the batch that is taken, so that nothing scales it.
        batch_size = chosen.batch_size or recipe.batch_size
        changes["batch_size"] = batch_size * changes.get("accumulation", recipe.accumulation)
    return {name: value for name, value in changes.items() if value != getattr(recipe, name)}


def _clip_of(weights, known):
    """Returns the clip that weights were trained on, or else that of most recipes."""
    frames, _ = parse_clip(Recipe.clip)
    if "clip" not in known and known.get("frames", frames) != frames:
        raise ValueError(
            f"--weights {weights} is of clips of {known['frames']} frames, and does not say their "
            f"stride. Received: no --clip. Give --clip {known['frames']}xSTRIDE."
        )
    return known.get("clip", Recipe.clip)


def _check_network(chosen, known):
    """Raises if an argument contradicts the network of the weights."""
    fixed = {name: known[name] for name in ("depth", "width") if name in known}
    # Weights of a file go into a network of more kinds of blocks.
    if known and chosen.weights in registry.CHECKPOINTS:
        source = known.get("layers_of", ResNet3DConfig.source)
        fixed = {"network": known["network"], **fixed, "layers_of": source}
    given = {name: getattr(chosen, name) for name in fixed}
    given = {name: value for name, value in given.items() if value is not None}
    blocks = DEPTHS.get(given.get("depth"), given.get("depth"))
    for name, value in given.items():
        same = value == fixed[name]
        if name == "depth":
            same = blocks == DEPTHS.get(fixed[name], fixed[name])
        if not same:
            raise ValueError(
                f"--weights {chosen.weights} is of {_write_options(fixed)}. Received: "
                f"{_write_options({name: value})}. Leave it out."
            )


def _write_options(options):
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in options.items()
    }
    return " ".join(f"--{name.replace('_', '-')} {text}" for name, text in texts.items())


def network_of(chosen):
    """Returns what the network is: the arguments, where left out those of the weights.

    Args:
        chosen: the parsed arguments.

    Returns:
        Dictionary of `network`, `depth`, `width`, and `layers_of` if it is known.
    """
    known = initial_weights.known_of(chosen.weights)
    network = {
        "network": chosen.network or known.get("network", "NLI3D"),
        "depth": chosen.depth or known.get("depth", ResNet3DConfig.depth),
        "width": chosen.width or known.get("width", ResNet3DConfig.width),
        "layers_of": chosen.layers_of or known.get("layers_of"),
    }
    return {name: value for name, value in network.items() if value is not None}


def batch_size_of(chosen, recipe, devices):
    """Returns the clips per step: `--batch-size`, or the recipe's raised to divide by the devices.

    Args:
        chosen: the parsed arguments.
        recipe: the `Recipe` that they make.
        devices: names of `find_devices`.

    Raises:
        ValueError: if `--batch-size` does not divide by the number of devices.
    """
    count = count_devices(devices)
    if chosen.batch_size is None:
        return -(-recipe.batch_size // count) * count
    if chosen.batch_size % count:
        below = chosen.batch_size // count * count
        near = f"{below} or {below + count}" if below else f"{count}"
        raise ValueError(
            f"--batch-size must divide by the number of devices ({count}). Received: --batch-size "
            f"{chosen.batch_size}, for all devices together. Take {near}."
        )
    return chosen.batch_size


def count_devices(devices):
    """Returns among how many devices, of all processes, each batch is divided."""
    distribution = keras.distribution.distribution()
    if devices or distribution is None:
        return max(len(devices), 1)
    return distribution.device_mesh.devices.size


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


def network_options(chosen, recipe, class_names):
    """Gives the arguments of the builder.

    Args:
        chosen: the parsed arguments.
        recipe: the `Recipe` that they make.
        class_names: names of the classes.

    Raises:
        ValueError: if `--weights` is of a kind that must be converted first, or damaged.
        FileNotFoundError: if it is not there.
    """
    weights = chosen.weights
    known = weights in (None, "imagenet", *registry.CHECKPOINTS)
    if not known and not weights.endswith((".keras", ".weights.h5")):
        raise ValueError(
            "--weights must be a name that `keras-nonlocal weights` lists, imagenet, or a .keras "
            f"or .weights.h5 file. Received: {weights}. Published files become .keras by "
            f"keras-nonlocal convert {weights} --to OUT.keras."
        )
    if not known:
        initial_weights.check_file(weights)
    clip = recipe.clip.partition("@")[0]
    options = {
        "depth": chosen.depth,
        "width": chosen.width,
        "source": chosen.layers_of,
        # Named weights bring theirs, which `changes_of` has compared.
        "clip": None if weights in registry.CHECKPOINTS else clip,
        "weights": weights,
        "classifier_activation": "sigmoid" if recipe.labels == "several" else None,
    }
    if initial_weights.is_model_file(weights):
        options |= _options_of_file(chosen)
    frames, _ = parse_clip(clip)
    return {
        **{key: value for key, value in options.items() if value is not None},
        "input_shape": (frames, recipe.crop, recipe.crop, 3),
        "class_names": class_names,
    }


def _options_of_file(chosen):
    """Returns the arguments of the builder that make the network of a `.keras` file."""
    network = network_of(chosen)
    options = initial_weights.known_of(chosen.weights).get("options", {})
    if "I3D" not in network["network"]:
        options = {k: v for k, v in options.items() if k not in ("inflation", "inflated")}
    if "NL" not in network["network"]:
        options = {k: v for k, v in options.items() if k not in ("non_local", "mode")}
    return {
        "depth": network["depth"],
        "width": network["width"],
        "source": network.get("layers_of"),
        "weights": None,
        **options,
    }


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
    """Returns the batch of the clips to validate with, and which share of them a process reads.

    Of several processes each reads a share, in batches as large as its part of a training batch.
    """
    if chosen.num_processes == 1:
        return {"batch_size": batch_size}
    return {"batch_size": max(batch_size // chosen.num_processes, 1), "shard": "auto"}

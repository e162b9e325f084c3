"""Writes the Python that arguments of `keras-nonlocal train` stand for."""

import keras

from keras_nonlocal.commands import calls, initial_weights, training_settings


def write_script(chosen, recipe, model, batch_size, devices):
    """Writes the Python that does what the arguments say.

    Args:
        chosen: the parsed arguments.
        recipe: the `Recipe` that they make.
        model: the network, whose pixels are those of its weights.
        batch_size: clips in a step.
        devices: names of `find_devices`.
    """
    lines = _write_begin(chosen, recipe, devices)
    lines += _write_videos(chosen)
    lines += _write_datasets(chosen, batch_size)
    lines += _write_network(chosen, recipe, batch_size, devices)
    lines.append(_write_call_of_train(chosen, recipe, batch_size, devices))
    return "\n".join(lines)


def _write_begin(chosen, recipe, devices):
    changes = training_settings.changes_of(chosen)
    constant = f"knl.training.{recipe.name.upper().replace('-', '_')}"
    imports = ["import keras"]
    imports += ["import tensorflow as tf"] if devices else []
    lines = [*(["import dataclasses", ""] if changes else []), *imports]
    lines += ["", "import keras_nonlocal as knl", ""]
    if devices and devices[0].startswith("CPU"):
        lines += [
            f"parts = [tf.config.LogicalDeviceConfiguration()] * {len(devices)}",
            'processor = tf.config.list_physical_devices("CPU")[0]',
            "tf.config.set_logical_device_configuration(processor, parts)",
        ]
    if chosen.num_processes > 1:
        given = (chosen.num_processes, chosen.process_id, chosen.coordinator)
        lines.append(calls.write_call("knl.training.distribution.join", *given))
    elif keras.distribution.distribution() is not None:
        lines.append("knl.training.distribution.join(1)")
    if recipe.precision != "float32":
        lines.append(calls.write_call("keras.config.set_dtype_policy", recipe.precision))
    if changes:
        constant = f"dataclasses.replace({constant}, {_write_options(**changes)})"
    return [*lines, f"recipe = {constant}"]


def _write_videos(chosen):
    options = {name: getattr(chosen, name) for name in training_settings.OF_VIDEOS}
    options = {name: value for name, value in options.items() if value is not None}
    if chosen.drop_missing:
        options["missing"] = "drop"
    read = calls.write_call("knl.data.read_videos", chosen.source, **options)
    share = training_settings.share_of(chosen.validation)
    if share is not None:
        split = calls.write_call("", share, chosen.seed)[1:]
        return [
            f"videos = {read}",
            f"training, validation = knl.data.split_videos(videos, {split}",
        ]
    lines = [f"training = {read}"]
    if chosen.validation is not None:
        other = calls.write_call("knl.data.read_videos", chosen.validation, **options)
        lines.append(f"validation = {other}")
    return lines


def _write_datasets(chosen, batch_size):
    options = _write_options(batch_size=batch_size, seed=chosen.seed)
    lines = [f"clips = knl.data.training_clips(training, {options}, **recipe.data)"]
    if chosen.validation is not None:
        options = training_settings.validation_options(chosen, batch_size)
        options = _write_options(**options)
        test = f"knl.data.evaluation_clips(validation, recipe.clip, recipe.crop, {options})"
        lines.append(f"tests = {test}")
    return lines


def _write_network(chosen, recipe, batch_size, devices):
    options = training_settings.network_options(chosen, recipe, class_names=None)
    network = training_settings.network_of(chosen)["network"]
    build = calls.write_call(f"knl.{network}", **options)
    build = build.replace("class_names=None", "class_names=training.class_names")
    seed = calls.write_call("keras.utils.set_random_seed", chosen.seed)
    lines = [f"model = {build}"]
    if initial_weights.is_model_file(chosen.weights):
        load = calls.write_call("keras.saving.load_model", chosen.weights, compile=False)
        lines.append(f"knl.transfer_weights(model, {load})")
    lines.append("recipe.prepare(model)")
    lines.append(f"recipe.compile(model, clips.steps_per_epoch, batch_size={batch_size})")
    if not devices:
        return [seed, *lines]
    names = ", ".join(f'"{name}"' for name in devices)
    begin = [f"strategy = tf.distribute.MirroredStrategy([{names}])", "with strategy.scope():"]
    return [seed, *begin, *(f"    {line}" for line in lines)]


def _write_call_of_train(chosen, recipe, batch_size, devices):
    settings = training_settings.settings_of(chosen, recipe, batch_size, devices)
    settings = calls.write_call("dict", **settings)
    lines = [
        "# As `keras-nonlocal train` has them: what either has begun, both go on with.",
        f"settings = {settings}",
        'settings["recipe"] = vars(recipe) | {"description": None}',
    ]
    lines += ["knl.training.train(", "    model,", "    clips,"]
    if chosen.validation is not None:
        lines.append("    tests,")
    lines += [
        f"    epochs=recipe.count_epochs(clips.steps_per_epoch, {batch_size}),",
        f"    {_write_options(run=chosen.folder)},",
        "    callbacks=recipe.callbacks(),",
    ]
    if recipe.precise_norm_batches:
        lines.append(f"    {_write_options(precise_norm_batches=recipe.precise_norm_batches)},")
    return "\n".join([*lines, "    settings=settings,", ")"])


def _write_options(**options):
    return calls.write_call("", **options)[1:-1]

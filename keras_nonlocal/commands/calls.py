"""Networks as calls of their builders."""

import json

from keras_nonlocal.models.config import (
    DEPTHS,
    KINDS,
    ResNet3DConfig,
    inflated_blocks,
    non_local_blocks,
)


def write_builder_call(config, **more):
    """Writes the call of the builder that makes a network.

    Args:
        config: its `ResNet3DConfig`.
        **more: further arguments of the builder, which replace those of `config`.

    Returns:
        Python, without the arguments that are at their defaults.

    Example:

    >>> write_builder_call(ResNet3DConfig(width=8), weights="a.weights.h5")
    'knl.C2D(width=8, weights="a.weights.h5")'
    """
    fields = {key: getattr(config, key) for key in ("depth", "source", "clip")}
    usual = vars(ResNet3DConfig(**fields, **KINDS[config.kind]))
    usual |= {key: getattr(ResNet3DConfig(), key) for key in fields}
    arguments = {
        key: value
        for key, value in vars(config).items()
        if value != usual[key] and key not in ("class_names", "normalization", "weights")
    }
    # The shortest way to say each.
    for depth, blocks in DEPTHS.items():
        if arguments.get("depth") == blocks:
            arguments["depth"] = depth
    for name in ("all", "late"):
        if config.inflated and inflated_blocks(config.depth, name) == arguments.get("inflated"):
            arguments["inflated"] = name
    for count in (10, 1):
        ids = non_local_blocks(count, config.depth, config.source)
        if config.non_local and ids == arguments.get("non_local"):
            arguments["non_local"] = count
    return f"knl.{write_call(config.kind, **arguments | more)}"


def write_call(function, *arguments, **options):
    """Writes a call as Python.

    Args:
        function: its name.
        *arguments: values of arguments.
        **options: values of keyword arguments; `...` stands for one that is to be filled in.

    Example:

    >>> write_call("load", "a.pkl", classes=5)
    'load("a.pkl", classes=5)'
    """
    parts = [_write(value) for value in arguments]
    parts += [f"{key}={_write(value)}" for key, value in options.items()]
    return f"{function}({', '.join(parts)})"


def _write(value):
    if value is ...:
        return "..."
    # In double quotes, as the code of this package has them.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)

"""Networks as calls of their builders."""

import inspect
import json

from keras import ops

from keras_nonlocal.checkpoints import facts
from keras_nonlocal.models import architecture, builders


def facts_of(model):
    """Gives the arguments of a builder that make a network like this one.

    Args:
        model: a network of `C2D`, `I3D`, `NLC2D`, `NLI3D`, or of `load_checkpoint`.

    Returns:
        Dictionary of `facts.read_facts`, with mode, pool2, source, clip, include_top and pooling.
    """
    network = facts.read_facts({v.path: ops.convert_to_numpy(v) for v in model.weights})
    blocks = [layer for layer in model.layers if layer.name.endswith("_nonlocal")]
    names = {layer.name for layer in model.layers}
    return {
        **network,
        "include_top": network["classes"] is not None,
        "pooling": next((kind for kind in ("avg", "max") if f"{kind}_pool" in names), None),
        "mode": blocks[0].mode if blocks else "embedded_gaussian",
        "pool2": "pool2" in names,
        # Frozen norms hide in the layers; in the tensors all norms look alike.
        "frozen_norm": model.get_layer("conv1_norm").frozen,
        "source": model.network_source,
        "clip": model.clip,
    }


def write_builder_call(network, **more):
    """Writes the call of the builder that makes a network.

    Args:
        network: dictionary of `facts_of`.
        **more: further arguments of the builder.

    Returns:
        Python, without the arguments that are at their defaults.

    Example:

    >>> write_builder_call(facts_of(keras_nonlocal.NLI3D(width=8)), weights="a.weights.h5")
    'knl.NLI3D(width=8, weights="a.weights.h5")'
    """
    kind = "I3D" if network["inflated"] else "C2D"
    kind = f"NL{kind}" if network["non_local"] else kind
    blocks, inflated, non_local = (network[k] for k in ("depth", "inflated", "non_local"))
    # The shortest way to say each.
    for depth, known in architecture.DEPTHS.items():
        network = {**network, "depth": depth} if known == blocks else network
    for words in ("all", "late", None):
        if inflated and architecture.inflated_places(blocks, words) == frozenset(inflated):
            network = {**network, "inflated": words}
    for number in (10, 1, 5):
        if architecture.non_local_places(number, blocks, network["source"]) == non_local:
            network = {**network, "non_local": number}
    parameters = inspect.signature(getattr(builders, kind)).parameters
    defaults = {key: p.default for key, p in parameters.items()} | architecture.DEFAULTS
    arguments = {
        key: value
        for key, value in {**network, **more}.items()
        if key in parameters and value != defaults[key] and (key, value) != ("classes", None)
    }
    return f"knl.{write_call(kind, **arguments)}"


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

"""Which layers of an inference network compute in bfloat16, and how."""

import keras

from keras_nonlocal.exporting.absorbing import CONVOLUTIONS
from keras_nonlocal.exporting.graph import follow, is_non_local

DTYPES = ("float32", "bfloat16")


def find_layers_in_half(model):
    """Finds the layers that half precision pays for: convolutions, blocks, and all before them.

    What stands behind the last of them, the mean over places and the classifier, costs next to
    nothing and keeps its digits in float32.

    Args:
        model: see `follow`.

    Returns:
        Set of names.
    """
    nodes, _ = follow(model)
    waiting = [node for node in nodes if _pays_off(node.operation)]
    seen = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        for tensor in node.input_tensors:
            operation, index, _ = tensor._keras_history
            waiting.append(operation._inbound_nodes[index])
    return {node.operation.name for node in nodes if id(node) in seen}


def set_precision(layer, config, half):
    """Gives a layer's configuration with the dtype that its copy computes in.

    Args:
        layer: the layer; one in double precision stays so.
        config: its configuration.
        half: whether it computes in bfloat16.

    Returns:
        Dict.
    """
    if isinstance(layer, keras.layers.Wrapper):
        inner = config["layer"]
        inner = {**inner, "config": set_precision(layer.layer, inner["config"], half)}
        config = {**config, "layer": inner}
    if layer.compute_dtype == "float64":
        return config
    if half:
        # Kernels are stored as they are read; statistics of norms need all their digits.
        return {**config, "dtype": "bfloat16" if _pays_off(layer) else "mixed_bfloat16"}
    in_half = layer.compute_dtype in ("float16", "bfloat16")
    return {**config, "dtype": "float32"} if in_half else config


def _pays_off(operation):
    return isinstance(operation, CONVOLUTIONS) or is_non_local(operation)

"""How many views go through a network at a time: as many as memory allows."""

import os
import pathlib

import keras
import numpy as np

# Outputs that are held at a time: a block's input, what it makes of it, their sum, and what a
# convolution works in.
_OUTPUTS_HELD = 4
# Where the layers do not say how large their outputs are. A network of this package is at 5.
_LARGEST_OVER_CLIP = 10
# The rest is for the clips that are being read, and for others.
_SHARE_OF_MEMORY = 4


def fitting_views(model, views):
    """Estimates how many of these views fit into memory at a time.

    Args:
        model: a `keras.Model`.
        views: array `(views, frames, height, width, channels)`.

    Returns:
        A number from 1 to that of the views. On a device other than the CPU all of them, for it
        says when it is out of memory.
    """
    # Named after their kind; without accelerators, "cpu:0" and so on.
    if not keras.distribution.list_devices()[0].lower().startswith("cpu"):
        return len(views)
    needed = _OUTPUTS_HELD * largest_output(model, views.shape[1:])
    return int(np.clip(free_memory() // _SHARE_OF_MEMORY // needed, 1, len(views)))


def largest_output(model, shape):
    """Gives the bytes of the largest output of a layer for one clip.

    Args:
        model: a `keras.Model`.
        shape: of the clip, without the batch.

    Returns:
        Bytes in float32. For a model whose layers do not say, as subclassed ones and those of
        open sizes, ten times those of the clip.
    """
    sizes = [np.prod(shape)]
    for output in _output_shapes(model):
        known = None not in output
        sizes.append(np.prod(output) if known else _LARGEST_OVER_CLIP * np.prod(shape))
    return 4 * int(max(sizes))


def _output_shapes(model):
    """Shapes of the layers' outputs without the batch, `(None,)` where a layer does not say."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _output_shapes(layer)
            continue
        try:
            outputs = layer.output
        except (AttributeError, ValueError):
            yield (None,)
            continue
        yield from (tensor.shape[1:] for tensor in keras.tree.flatten(outputs))


def free_memory():
    """Gives the bytes of memory that this process can still take.

    Returns:
        What the system says is free, or what is left to the group of processes that a container
        is, if that is less; half of the memory where the system does not say.
    """
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    meminfo = pathlib.Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    for limit, used in _GROUP_FILES:
        limit, used = pathlib.Path(limit), pathlib.Path(used)
        if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
            free = min(free, int(text) - int(used.read_text()))
    return max(free, 0)


# Of both versions of Linux' groups.
_GROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def is_out_of_memory(error):
    """Tells whether an error says that a device has no memory left.

    Args:
        error: an exception, of TensorFlow (`ResourceExhaustedError`), of JAX (a `RuntimeError`
            that begins with RESOURCE_EXHAUSTED) or of Python.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or "RESOURCE_EXHAUSTED" in str(error)
    )

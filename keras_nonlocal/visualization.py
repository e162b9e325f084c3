"""Attention of non-local blocks over a clip, as numbers and as a picture."""

import itertools

import keras
import numpy as np

from keras_nonlocal.models.video_resnet import check_pixels


def attention_maps(model, clip, layer_name, query=None):
    """Returns the attention weights of a non-local block for one position of a clip.

    Args:
        model: a functional or sequential `keras.Model` with a non-local block over all of space
            and time (`axes="spacetime"`, no groups of frames), in itself or in a model inside it.
        clip: one clip as the model takes it, `(frames, height, width, channels)`.
        layer_name: name of the block, such as `"res4_1_nonlocal"`.
        query: `(frame, row, column)` of the place in the clip, in frames and pixels; `None`
            picks the place that looks most sharply into every frame.

    Returns:
        Two values: an array of weights `(frames, rows, columns)` on the grid of the block's
        keys, and the query as `(frame, row, column)`, in frames and pixels of the clip.

    Raises:
        ValueError: if the layer is no such block, if several inner models have one of this name,
            if the query lies outside the clip, or if a network of normalized clips gets integers.

    Example:

    ```python
    weights, query = visualization.attention_maps(model, clip, "res3_0_nonlocal")
    ```
    """
    clip = np.asarray(clip)
    if clip.ndim != 4:
        raise ValueError(
            "`clip` must be one clip, (frames, height, width, channels). "
            f"Received: an array of shape {clip.shape}. Take one out of the batch: `clips[0]`."
        )
    check_pixels("clip", model, clip.dtype)
    *models, layer = _path_to_block(model, layer_name)
    features = clip[None]
    for outer, inner in itertools.pairwise(models):
        features = keras.Model(outer.inputs[0], _input_of(inner, outer))(features, training=False)
    features = keras.Model(models[-1].inputs[0], layer.input)(features, training=False)
    _, scores = layer(features, return_attention_scores=True)
    scores = keras.ops.convert_to_numpy(scores)
    if scores.ndim != 3:
        raise ValueError(
            f"`layer_name` must name a block that looks at all places of all frames. Received: "
            f"{layer_name!r}, whose attention has the shape {scores.shape}. "
            'Pick a block with axes="spacetime" and no groups of frames.'
        )
    grid = tuple(features.shape[1:4])
    scores = scores[0].reshape(*grid, *layer.key_sizes(features.shape))
    if query is None:
        place = _most_telling(scores)
    else:
        if any(not 0 <= q < size for q, size in zip(query, clip.shape[:3], strict=True)):
            raise ValueError(
                f"`query` must lie in the clip, whose frames, height and width are "
                f"{clip.shape[:3]}. Received: query={tuple(query)}. Count from 0."
            )
        place = tuple(
            q * cells // size for q, cells, size in zip(query, grid, clip.shape[:3], strict=True)
        )
    middle = tuple(
        int((cell + 0.5) * size / cells)
        for cell, cells, size in zip(place, grid, clip.shape[:3], strict=True)
    )
    return scores[place], tuple(query) if query is not None else middle


def draw_attention(model, clip, layer_name, query=None, path=None, frames=None, title=None):
    """Draws where one place of a clip looks, over the frames of the clip.

    The first row is the clip, the place marked in its frame by a cross. The second lays over
    each frame the weight of its places in the weighted mean that becomes the place's answer.

    Args:
        model, clip, layer_name, query: as in `attention_maps`.
        path: file to write the picture to (its suffix says which format); `None` writes none.
        frames: the clip as it should be shown, `uint8` RGB of the clip's shape; `None` shows
            `clip` itself, stretched to the range of its values.
        title: text above the picture.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: as `attention_maps`.

    Example:

    ```python
    visualization.draw_attention(model, clip, "res3_0_nonlocal", path="attention.png")
    ```
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Drawing needs matplotlib. Install it with `pip install keras_nonlocal[viz]`."
        ) from error

    weights, query = attention_maps(model, clip, layer_name, query)
    shown = _as_pictures(clip if frames is None else frames)
    # A frame of keys may stand for several of the clip's: those between its neighbours' middles.
    spread = np.repeat(weights, -(-len(shown) // len(weights)), axis=0)[: len(shown)]
    count, height, width = shown.shape[:3]
    strength = spread / spread.max()

    figure = Figure(figsize=(1.6 * count + 0.9, 3.2 * height / width + 1.0), layout="constrained")
    figure.patch.set_facecolor("white")
    axes = figure.subplots(2, count, squeeze=False)
    for number in range(count):
        above, below = axes[:, number]
        above.imshow(shown[number])
        above.set_title(f"frame {number}", fontsize=9, color="0.35")
        # The frame stands back, dark and grey: all colour and light is that of the weights.
        below.imshow(shown[number].mean(-1), cmap="gray", vmin=0, vmax=1.8)
        overlay = below.imshow(
            strength[number],
            cmap="inferno",
            vmin=0,
            vmax=1,
            alpha=0.15 + 0.75 * strength[number] ** 0.7,
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
            interpolation="bilinear",
        )
        for axis in (above, below):
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set(visible=number == query[0], color="#00b7c7", linewidth=2.5)
        if number == query[0]:
            for axis, colors in ((above, ("black", "#00e5f8")), (below, ("black", "#00e5f8"))):
                for size, color in zip((4.5, 2.2), colors, strict=True):
                    axis.plot(query[2], query[1], "+", color=color, ms=13, mew=size)
    axes[0, 0].set_ylabel("clip", fontsize=10)
    axes[1, 0].set_ylabel("looks at", fontsize=10)
    bar = figure.colorbar(overlay, ax=axes[1, :].tolist(), pad=0.01, aspect=12)
    bar.set_label("weight", fontsize=9)
    bar.set_ticks([0, 1], labels=["0", f"{spread.max():.2g}"])
    if title is None:
        title = f"Where the place + of frame {query[0]} looks, in {layer_name}"
    figure.suptitle(title, fontsize=12)
    if path is not None:
        figure.savefig(path, dpi=110)
    return figure


def _path_to_block(model, name):
    """Returns a model, the models inside it that lead to a block, and the block."""
    paths = _paths_to_blocks(model)
    named = [path for path in paths if path[-1].name == name]
    if len(named) == 1:
        return named[0]
    if named:
        inner = ", ".join(repr(path[-2].name) for path in named)
        raise ValueError(
            f"`layer_name` must name one non-local block. Received: {name!r}, which the models "
            f"{inner} inside '{model.name}' have. Pass one of them as `model`."
        )
    raise ValueError(
        f"`layer_name` must name a non-local block of the model. Received: {name!r}. "
        f"It has: {', '.join(path[-1].name for path in paths) or 'none'}."
    )


def _paths_to_blocks(model):
    paths = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            paths += [(model, *path) for path in _paths_to_blocks(layer)]
        elif hasattr(layer, "theta") or getattr(layer, "mode", "") == "gaussian":
            paths.append((model, layer))
    return paths


def _input_of(inner, model):
    """Returns the Keras tensor in a model's graph that an inner model is called on."""
    found = []

    def call(layer, *args, **kwargs):
        if layer is inner:
            found.append(next(iter((*args, *kwargs.values()))))
        return layer(*args, **kwargs)

    # Without what `compile` added, which a clone would take over.
    graph = keras.Model(model.inputs, model.outputs)
    keras.models.clone_model(
        graph, input_tensors=graph.inputs, clone_function=lambda layer: layer, call_function=call
    )
    if len(found) != 1:
        raise ValueError(
            f"`model` must use the model with the block once. Received: '{model.name}', which uses "
            f"'{inner.name}' {len(found)} times. Pass '{inner.name}' as `model`, and its input."
        )
    return found[0]


def _most_telling(scores):
    """The place that looks most sharply into every frame.

    The evenest of its frames counts as much as the sharpest, as the most peaked attention of all
    is often that of a place that sees one neighbour alone.
    """
    peaks = np.abs(scores).max(axis=(-2, -1)).astype(np.float64)
    sharpness = np.log(peaks + 1e-6).sum(axis=-1)
    return np.unravel_index(sharpness.argmax(), sharpness.shape)


def _as_pictures(clip):
    """RGB in 0..1 of whatever range."""
    clip = np.asarray(clip)
    if clip.dtype == np.uint8:
        return clip / 255.0
    low, high = np.percentile(clip, (0.5, 99.5))
    return np.clip((clip - low) / max(high - low, 1e-6), 0, 1)

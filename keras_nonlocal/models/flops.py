"""Parameters and multiply-adds of the networks, counted layer by layer."""

import math

import keras

from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.layers import Conv3D
from keras_nonlocal.layers.non_local import NonLocal
from keras_nonlocal.models.config import KINDS, ResNet3DConfig
from keras_nonlocal.models.video_resnet import build_network


def count_parameters(model):
    """Returns the number of trainable parameters, which excludes moving statistics."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def count_multiply_adds(model):
    """Returns the multiply-adds of one clip through a model of this package.

    Convolutions, the classifier and the non-local blocks' matrix products in the order of the
    paper's equations count; norms, activations and pooling do not. Published "FLOPs" of video
    networks are these numbers.

    Args:
        model: model of this package whose input sizes are known.

    Raises:
        ValueError: if a size is unknown.

    Example:

    >>> from keras_nonlocal.models.flops import count_multiply_adds
    >>> model = keras_nonlocal.C2D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> round(count_multiply_adds(model) / 1e6)
    50
    """
    refuse_tf_keras("model", model)
    if None in model.input_shape[1:]:
        raise ValueError(
            "Multiply-adds need known sizes. Received: a model with input shape "
            f"{model.input_shape}. Build it with all of `input_shape`."
        )
    total = 0
    for layer in model.layers:
        if isinstance(layer, (Conv3D, keras.layers.Dense)):
            total += math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, NonLocal):
            total += _count_non_local(layer, layer.input.shape)
    return total


def _count_non_local(layer, shape):
    positions = math.prod(shape[1:-1])
    *leading, queries, keys = layer.compute_output_shape(shape, return_attention_scores=True)[1]
    parts = math.prod(leading[1:])
    keys_convolved = parts * keys if layer.pool_position == "before" else positions
    inner = layer.g.filters
    total = math.prod(layer.g.kernel.shape) * keys_convolved
    total += math.prod(layer.out.kernel.shape) * positions
    compared = shape[-1]
    if layer.mode != "gaussian":
        compared = 1 if layer.mode == "concatenation" else inner
        total += math.prod(layer.theta.kernel.shape) * positions
        total += math.prod(layer.phi.kernel.shape) * keys_convolved
    return total + parts * queries * keys * (compared + inner)


def summary_table(models=None):
    """Returns a table of parameters (millions) and multiply-adds (GFLOPs) as text.

    Args:
        models: list of models of this package with known input sizes. `None`: the four networks
            in both depths, with clips of 8 frames at 224x224.

    Example:

    >>> model = keras_nonlocal.C2D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> print(keras_nonlocal.summary_table([model]))
    model  input      parameters (M)  GFLOPs
    c2d    8x64x64x3            0.71    0.05
    """
    for model in models or ():
        refuse_tf_keras("models", model)
    named = (
        (f"{kind} R{depth}", build_network(ResNet3DConfig(depth, **KINDS[kind])))
        for depth in (50, 101)
        for kind in KINDS
    )
    rows = [
        (
            name,
            "x".join(map(str, model.input_shape[1:])),
            count_parameters(model) / 1e6,
            count_multiply_adds(model) / 1e9,
        )
        for name, model in (named if models is None else ((each.name, each) for each in models))
    ]
    label = max(len(row[0]) for row in [("model",), *rows])
    size = max(len(row[1]) for row in rows)
    lines = [f"{'model':{label}}  {'input':{size}}  parameters (M)  GFLOPs"]
    lines += [f"{a:{label}}  {b:{size}}  {c:14.2f}  {d:6.2f}" for a, b, c, d in rows]
    return "\n".join(lines)

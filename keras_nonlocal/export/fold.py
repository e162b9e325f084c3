"""A trained network as an inference network: norms into convolutions, 3-D into 2-D."""

import keras
import numpy as np

from keras_nonlocal.export import stacking

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def fold(model, input_shape=None, batch_size=None, lower=False):
    """Gives a float32 copy of a model for inference, without its batch norms.

    At inference a batch norm multiplies and shifts each channel by constants, which the
    convolution before it can do at no cost, and so can the last convolution of a non-local
    block. Norms that follow something else stay. The model itself is left as it is; the copy
    holds weights of its own under the same layer names.

    Args:
        model: functional or built sequential `keras.Model` with one input and one output, of
            any layers; only convolutions and non-local blocks change.
        input_shape: shape without the batch, to fix sizes that the model leaves unknown.
            `None`: that of the model.
        batch_size: the batch size to fix; `None` leaves it free.
        lower: also run convolutions over space and time as 2-D ones over stacked frames, for
            targets that lack fast or quantised 3-D convolutions. Needs known sizes.

    Returns:
        An uncompiled `keras.Model`, its outputs equal to the model's but for rounding.

    Raises:
        ValueError: on a model without a graph (subclassed or not built), with several inputs or
            outputs, or an `input_shape` that contradicts the model's.

    Example:

    >>> inputs = keras.Input((4, 32, 32, 3))
    >>> x = keras_nonlocal.layers.Conv3D(8, (1, 3, 3), name="conv")(inputs)
    >>> x = keras_nonlocal.layers.BatchNormalization(name="norm")(x)
    >>> [layer.name for layer in fold(keras.Model(inputs, x)).layers[1:]]
    ['conv']
    """
    check_graph(model)
    shape = resolve_input_shape(model, input_shape)
    if lower and None in shape:
        raise ValueError(
            "`lower=True` needs known sizes. Received: a model of input shape "
            f"{tuple(model.inputs[0].shape[1:])}. Pass `input_shape`."
        )
    inputs = keras.Input(
        batch_shape=(batch_size, *shape),
        dtype=model.inputs[0].dtype,
        name=model.inputs[0].name,
    )
    return _Folding(model, lower).copy(inputs)


def check_graph(model):
    """Refuses what has no graph of one input and one output to follow.

    Args:
        model: the model to look at.

    Raises:
        ValueError: with what is wrong.
    """
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not isinstance(model, keras.Model) or not inputs or not outputs:
        raise ValueError(
            "`model` must be a functional or a built sequential keras.Model, whose graph can be "
            f"followed. Received: {type(model).__name__} '{getattr(model, 'name', model)}'. Wrap "
            "it: keras.Model(inputs, model(inputs)) with inputs = keras.Input(...) works where "
            "its layers are Keras' own."
        )
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            "`model` must have one input and one output. Received: "
            f"'{model.name}' with {len(inputs)} inputs and {len(outputs)} outputs. Pick them: "
            "keras.Model(model.inputs[0], model.outputs[0])."
        )


def resolve_input_shape(model, input_shape):
    """Gives the input's shape without the batch, with unknown sizes filled from `input_shape`.

    Args:
        model: model of one input.
        input_shape: shape without the batch, or `None` for the model's own.

    Returns:
        Tuple of ints and, where sizes stay unknown, `None`.

    Raises:
        ValueError: where the two contradict each other.
    """
    own = tuple(model.inputs[0].shape[1:])
    if input_shape is None:
        return own
    shape = tuple(input_shape)
    fits = len(shape) == len(own) and all(
        n in (None, size) for n, size in zip(own, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            "`input_shape` must fit the model's own, in which None stands for any size. Received: "
            f"input_shape={shape} for a model of input shape {own}. Build the model with the "
            "sizes you want, or with None for them."
        )
    return shape


class _Folding:
    """One walk through a model's graph that copies it, layer by layer."""

    def __init__(self, model, lower):
        # A view without what `compile` added, which a copy would carry along.
        self.model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
        self.lower = lower
        self.norm_of = _find_norms_to_absorb(self.model)
        self.absorbed = set(self.norm_of.values())
        # By name: copies have their original's, which are unique within a model.
        self.originals = {}
        self.pending_weights = {}

    def copy(self, inputs):
        return keras.models.clone_model(
            self.model,
            input_tensors=inputs,
            clone_function=self._copy_layer,
            call_function=self._call_layer,
        )

    def _copy_layer(self, layer):
        if not isinstance(layer, keras.layers.Layer) or layer.name in self.absorbed:
            return layer
        if isinstance(layer, keras.Model):
            # A nested model keeps its name and its own shape of input.
            check_graph(layer)
            return fold(layer)
        config, weights = _in_float32(layer), [v.numpy() for v in layer.weights]
        if layer.name in self.norm_of:
            norm = self.model.get_layer(self.norm_of[layer.name])
            config, weights = {**config, "use_bias": True}, _fold_convolution(layer, norm)
        elif _is_non_local(layer) and layer.norm is not None:
            config, weights = {**config, "norm": None}, _fold_non_local(layer)
        copy = (
            stacking.make_convolution(config)
            if self._is_lowered(layer)
            else type(layer).from_config(config)
        )
        self.originals[copy.name] = layer
        self.pending_weights[copy.name] = weights
        return copy

    def _call_layer(self, layer, *args, **kwargs):
        if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.Model):
            return layer(*args, **kwargs)
        if layer.name in self.absorbed:
            return args[0]
        original = self.originals[layer.name]
        weights = self.pending_weights.pop(layer.name, None)
        if self._is_lowered(original):
            outputs = stacking.convolve(layer, original, *args)
            weights = None if weights is None else stacking.stack_weights(weights)
        else:
            outputs = layer(*args, **kwargs)
        if weights is not None:
            layer.set_weights(weights)
        return outputs

    def _is_lowered(self, layer):
        return self.lower and stacking.needs_lowering(layer)


def _find_norms_to_absorb(model):
    """Names of convolutions, each with the name of the norm that alone reads its output."""
    nodes, readers = {}, {}
    tensors = [(model.outputs[0], None)]
    while tensors:
        tensor, reader = tensors.pop()
        readers.setdefault(id(tensor), []).append(reader)
        operation, node_index, _ = tensor._keras_history
        node = operation._inbound_nodes[node_index]
        if id(node) not in nodes:
            nodes[id(node)] = node
            tensors.extend((source, operation) for source in node.input_tensors)

    calls = [node.operation for node in nodes.values()]
    norm_of = {}
    for node in nodes.values():
        conv = node.operation
        if not _can_absorb(conv) or calls.count(conv) > 1:
            continue
        norm, *others = readers[id(node.outputs[0])]
        alone = not others and calls.count(norm) == 1
        if alone and _is_constant_norm(norm, rank=len(node.outputs[0].shape)):
            norm_of[conv.name] = norm.name
    return norm_of


def _can_absorb(layer):
    return (
        isinstance(layer, _CONVOLUTIONS)
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
        # Adapted or quantised kernels are held in other variables than `kernel` and `bias`.
        and len(layer.weights) == 1 + layer.use_bias
    )


def _is_constant_norm(layer, rank):
    """Whether a layer is a batch norm of the last axis that inference calls as such."""
    if not isinstance(layer, keras.layers.BatchNormalization):
        return False
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    in_training = any(node.arguments.kwargs.get("training") for node in layer._inbound_nodes)
    return axis % rank == rank - 1 and not in_training


def _is_non_local(layer):
    # By name, as this room is handed models and imports no layers of ours.
    return any(base.__name__ == "NonLocal" for base in type(layer).__mro__)


def _fold_convolution(conv, norm):
    """Kernel and bias that do what the convolution and then the norm do."""
    mean, variance = (np.float64(v.numpy()) for v in (norm.moving_mean, norm.moving_variance))
    gamma = np.float64(norm.gamma.numpy()) if norm.scale else 1.0
    beta = np.float64(norm.beta.numpy()) if norm.center else 0.0
    factor = gamma / np.sqrt(variance + norm.epsilon)
    bias = np.float64(conv.bias.numpy()) if conv.use_bias else 0.0
    kernel = np.float64(conv.kernel.numpy()) * factor
    return [np.float32(kernel), np.float32((bias - mean) * factor + beta)]


def _fold_non_local(layer):
    kernel, bias = _fold_convolution(layer.out, layer.norm)
    folded = {layer.out.kernel.path: kernel, layer.out.bias.path: bias}
    dropped = {variable.path for variable in layer.norm.weights}
    return [
        folded.get(variable.path, variable.numpy())
        for variable in layer.weights
        if variable.path not in dropped
    ]


def _in_float32(layer):
    """A layer's configuration, with half precision, which suits training, taken out."""
    config = layer.get_config()
    half = layer.compute_dtype in ("float16", "bfloat16")
    return {**config, "dtype": "float32"} if half else config

"""What stands behind a layer with a kernel and can be done by it: a batch norm, a ReLU."""

import dataclasses

import keras
import numpy as np

from keras_nonlocal.exporting.graph import follow, is_in_training, is_one_of

CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
_RELUS = {keras.activations.relu: "relu", keras.activations.relu6: "relu6"}
_RELU_OF_LIMIT = {None: "relu", 6: "relu6"}


@dataclasses.dataclass
class Absorbed:
    """What a layer takes over from those behind it.

    Attributes:
        norm: batch norm, or `None`.
        activation: `"relu"`, `"relu6"` or `None`.
        names: of the layers that go.
    """

    norm: keras.layers.Layer | None = None
    activation: str | None = None
    names: tuple = ()


def find_absorbed(model):
    """Finds what each convolution and dense layer of a model can take over.

    That is what alone reads its output, in inference does the same to each number of a channel,
    and is not used elsewhere.

    Args:
        model: functional `keras.Model` of one output; nested models are not looked into.

    Returns:
        Dict of `Absorbed` by the name of the layer that absorbs.
    """
    nodes, readers = follow(model)
    operations = [node.operation for node in nodes]

    def sole_reader(tensor):
        first, *others = readers[id(tensor)]
        # The output of the model has no operation for a reader.
        return None if first is None or others or operations.count(first) > 1 else first

    output_of = {id(node.operation): node.outputs[0] for node in nodes}
    found = {}
    for node in nodes:
        layer = node.operation
        if not _can_absorb(layer) or operations.count(layer) > 1:
            continue
        absorbed = Absorbed()
        reader = sole_reader(node.outputs[0])
        if _is_constant_norm(reader, rank=len(node.outputs[0].shape)):
            absorbed = Absorbed(reader, names=(reader.name,))
            reader = sole_reader(output_of[id(reader)])
        if kind := _relu_of(reader):
            absorbed = Absorbed(absorbed.norm, kind, (*absorbed.names, reader.name))
        if absorbed.names:
            found[layer.name] = absorbed
    return found


def fold_norm(layer, norm):
    """Gives kernel and bias that do what the layer and then the norm do.

    Args:
        layer: convolution or dense layer.
        norm: batch norm behind it.

    Returns:
        List of two float32 arrays.
    """
    mean, variance = (np.float64(v.numpy()) for v in (norm.moving_mean, norm.moving_variance))
    gamma = np.float64(norm.gamma.numpy()) if norm.scale else 1.0
    beta = np.float64(norm.beta.numpy()) if norm.center else 0.0
    factor = gamma / np.sqrt(variance + norm.epsilon)
    kernel, *bias = map(np.float64, kernel_and_bias(layer))
    bias = bias[0] if bias else 0.0
    # The last axis holds the channels that come out, of a depthwise kernel the last two.
    outputs = kernel.shape[-2:] if hasattr(layer, "depth_multiplier") else kernel.shape[-1:]
    kernel = kernel * factor.reshape(outputs)
    return [np.float32(kernel), np.float32((bias - mean) * factor + beta)]


def kernel_and_bias(layer):
    """Returns the kernel that a layer multiplies by, LoRA included, and the bias if it has one."""
    return [value.numpy() for value in (layer.kernel, layer.bias) if value is not None]


def has_lora(layer):
    """Whether a convolution or dense layer adds LoRA to a kernel that is not quantized."""
    return (
        is_one_of(layer, (*CONVOLUTIONS, keras.layers.Dense))
        and getattr(layer, "lora_enabled", False)
        and getattr(layer, "quantization_mode", None) is None
    )


def _can_absorb(layer):
    return (
        is_one_of(layer, (*CONVOLUTIONS, keras.layers.Dense))
        and layer.activation is keras.activations.linear
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        # Quantized kernels are held in other variables than `kernel` and `bias`.
        and len(layer.weights) == 1 + layer.use_bias + 2 * has_lora(layer)
    )


def _is_constant_norm(layer, rank):
    """Whether a layer is a batch norm of the last axis that inference calls as such."""
    if not is_one_of(layer, keras.layers.BatchNormalization):
        return False
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    return axis % rank == rank - 1 and not is_in_training(layer)


def _relu_of(layer):
    if is_one_of(layer, keras.layers.Activation):
        return _RELUS.get(layer.activation)
    if is_one_of(layer, keras.layers.ReLU) and not layer.negative_slope and not layer.threshold:
        return _RELU_OF_LIMIT.get(layer.max_value)
    return None

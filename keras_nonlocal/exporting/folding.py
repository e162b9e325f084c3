"""A trained network as an inference network: norms into convolutions, 3-D into 2-D."""

import keras

from keras_nonlocal.exporting import stacking
from keras_nonlocal.exporting.absorbing import (
    Absorbed,
    find_absorbed,
    fold_norm,
    has_lora,
    kernel_and_bias,
)
from keras_nonlocal.exporting.graph import (
    check_graph,
    is_in_training,
    is_non_local,
    resolve_input_shape,
)
from keras_nonlocal.exporting.precision import DTYPES, find_layers_in_half, set_precision
from keras_nonlocal.keras_models import copy_layer


def fold(model, input_shape=None, batch_size=None, lower=False, dtype="float32"):
    """Gives a copy of a model for inference, without its batch norms.

    At inference a batch norm multiplies and shifts each channel by constants, which the
    convolution or dense layer before it can do at no cost, and so can the last convolution of a
    non-local block. A ReLU behind goes as well, as the activation of that layer, and LoRA becomes
    part of the kernel that it adapts. Norms that follow something else stay. The model itself is
    left as it is; the copy holds weights of its own under the same layer names.

    Args:
        model: functional or built sequential `keras.Model` with one input and one output, of
            any layers; only convolutions, dense layers and non-local blocks change.
        input_shape: shape without the batch, to fix sizes that the model leaves unknown.
            `None`: that of the model.
        batch_size: the batch size to fix; `None` leaves it free.
        lower: also run convolutions over space and time as 2-D ones over stacked frames, for
            targets that lack fast or quantised 3-D convolutions; likewise Keras' own 3-D
            convolutions and pools, unless they have groups or channels first. Needs known sizes.
        dtype: `"float32"`, whatever the model computes in; or `"bfloat16"` for the convolutions,
            the non-local blocks and all before them, where the processor has instructions for it:
            two or three digits, half the memory. The input, and what follows the last of them,
            stay float32.

    Returns:
        An uncompiled `keras.Model`, its outputs equal to the model's but for rounding.

    Raises:
        ValueError: on a model without a graph (subclassed or not built), with several inputs or
            outputs, an `input_shape` that contradicts the model's, an unknown `dtype`, or models
            inside it that are called with `training=True`.

    Example:

    >>> inputs = keras.Input((4, 32, 32, 3))
    >>> x = keras_nonlocal.layers.Conv3D(8, (1, 3, 3), name="conv")(inputs)
    >>> x = keras_nonlocal.layers.BatchNormalization(name="norm")(x)
    >>> [layer.name for layer in fold(keras.Model(inputs, x)).layers[1:]]
    ['conv']
    """
    check_graph(model)
    if dtype not in DTYPES:
        raise ValueError(
            f"`dtype` must be one of {', '.join(map(repr, DTYPES))}. Received: dtype={dtype!r}."
        )
    shape = resolve_input_shape(model, input_shape)
    if lower and None in shape:
        raise ValueError(
            "`lower=True` needs known sizes. Received: a model of input shape "
            f"{tuple(model.inputs[0].shape[1:])}. Pass `input_shape`."
        )
    half_input = model.inputs[0].dtype in ("float16", "bfloat16")
    inputs = keras.Input(
        batch_shape=(batch_size, *shape),
        dtype="float32" if half_input else model.inputs[0].dtype,
        name=model.inputs[0].name,
    )
    return _Folding(model, lower, dtype).copy(inputs)


class _Folding:
    """One walk through a model's graph that copies it, layer by layer."""

    def __init__(self, model, lower, dtype):
        # A view without what `compile` added, which a copy would carry along.
        self.model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
        self.lower, self.dtype = lower, dtype
        self.in_half = find_layers_in_half(self.model) if dtype == "bfloat16" else set()
        self.absorbed_by = find_absorbed(self.model)
        self.gone = {name for each in self.absorbed_by.values() for name in each.names}
        # By name: copies have their original's, which are unique within a model.
        self.originals = {}
        self.pending_weights = {}
        self.nested = {}

    def copy(self, inputs):
        return keras.models.clone_model(
            self.model,
            input_tensors=inputs,
            clone_function=self._copy_layer,
            call_function=self._call_layer,
        )

    def _copy_layer(self, layer):
        if not isinstance(layer, keras.layers.Layer) or layer.name in self.gone:
            return layer
        if isinstance(layer, keras.Model):
            check_graph(layer)
            if is_in_training(layer):
                raise ValueError(
                    "`model` must not call a model inside it with training=True, as what that does "
                    f"depends on the batch. Received: '{layer.name}' in '{self.model.name}'. Leave "
                    "the argument out."
                )
            # Folded when it is called, as its own sizes may be unknown.
            return layer
        config = set_precision(layer, layer.get_config(), layer.name in self.in_half)
        weights = [v.numpy() for v in layer.weights]
        absorbed = self.absorbed_by.get(layer.name, Absorbed())
        if absorbed.activation:
            config = {**config, "activation": absorbed.activation}
        if has_lora(layer):
            config = {**config, "lora_rank": None, "lora_alpha": None}
            weights = kernel_and_bias(layer)
        if absorbed.norm is not None:
            config, weights = {**config, "use_bias": True}, fold_norm(layer, absorbed.norm)
        elif is_non_local(layer):
            norm = None if is_in_training(layer) else layer.norm
            config = {key: value for key, value in config.items() if key != "lora"}
            config |= {"norm": None} if norm is not None else {}
            weights = _weights_of_block(layer, norm)
        if self._is_lowered(layer):
            copy = stacking.make_layer(layer, config)
        else:
            copy = copy_layer(layer, config)
        self.originals[copy.name] = layer
        self.pending_weights[copy.name] = weights
        return copy

    def _call_layer(self, layer, *args, **kwargs):
        if isinstance(layer, keras.Model):
            return self._fold_nested(layer, _first(args, kwargs))(*args, **kwargs)
        if not isinstance(layer, keras.layers.Layer):
            return layer(*args, **kwargs)
        if layer.name in self.gone:
            return _first(args, kwargs)
        original = self.originals[layer.name]
        if kwargs.get("training") and not is_in_training(original):
            # A default of Keras' augmentation layers, which a call without the argument obeys.
            kwargs = {**kwargs, "training": False}
        weights = self.pending_weights.pop(layer.name, None)
        if self._is_lowered(original):
            outputs = stacking.call(layer, original, _first(args, kwargs))
            weights = weights and stacking.stack_weights(weights)
        else:
            outputs = layer(*args, **kwargs)
        if weights:
            layer.set_weights(weights)
        if isinstance(layer, keras.layers.Normalization):
            # What it divides by is no weight, but made of them when it is built.
            layer.finalize_state()
        return outputs

    def _fold_nested(self, model, inputs):
        """Keeps a nested model one, under its name, in however many places it stands."""
        if model.name not in self.nested:
            shape = inputs.shape[1:] if self.lower else None
            self.nested[model.name] = fold(model, shape, lower=self.lower, dtype=self.dtype)
        return self.nested[model.name]

    def _is_lowered(self, layer):
        return self.lower and stacking.needs_lowering(layer)


def _first(args, kwargs):
    """The tensor that a layer was called on, by place or by name."""
    return args[0] if args else next(iter(kwargs.values()))


def _weights_of_block(block, norm):
    """Returns a block's weights with LoRA and, unless it is `None`, `norm` in the kernels."""
    folded, dropped = {}, {variable.path for variable in norm.weights} if norm else set()
    for name in ("theta", "phi", "g", "out"):
        layer = getattr(block, name, None)
        if layer is None:
            continue
        room = layer.bias.path.removesuffix("bias")
        values = fold_norm(layer, norm) if norm and name == "out" else kernel_and_bias(layer)
        folded |= {f"{room}kernel": values[0], f"{room}bias": values[1]}
        dropped |= {f"{room}lora_kernel_a", f"{room}lora_kernel_b"}
    return [
        folded.get(variable.path, variable.numpy())
        for variable in block.weights
        if variable.path not in dropped
    ]

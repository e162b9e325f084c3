"""Non-local blocks put into any functional Keras model."""

import keras

from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.layers import NonLocal1D, NonLocal2D, NonLocal3D

_BLOCKS = {3: NonLocal1D, 4: NonLocal2D, 5: NonLocal3D}
# Layers and operations behind which axes may have another order.
_REORDERING = ("Permute", "Reshape", "Transpose", "Moveaxis", "Swapaxes")


def insert_non_local(model, after, **layer_arguments):
    """Gives a copy of a model with non-local blocks behind some of its layers.

    The blocks start as the identity, so the copy gives the model's answers to the bit until it
    is trained. Weights are copied: training one model does not change the other.

    Args:
        model: functional or built sequential `keras.Model`, channels last. Nested models
            are kept whole; to change one, change it by itself first.
        after: names of layers, or a function from a layer to whether a block shall follow.
        **layer_arguments: arguments of `NonLocal1D`, `NonLocal2D` or `NonLocal3D`, whichever
            fits the rank of the layer's output.

    Returns:
        A functional `keras.Model`; the block behind layer `x` is called `x_nonlocal`.

    Raises:
        ValueError: if a name is unknown, a layer is used more than once or gives several
            tensors, or its output has no positions for attention, or has its channels first.
        TypeError: if `model` is a subclassed model, whose graph cannot be seen.

    Example:

    >>> model = keras.applications.ResNet50(weights=None)
    >>> model = keras_nonlocal.insert_non_local(model, after=["conv4_block6_out"])
    >>> model.get_layer("conv4_block6_out_nonlocal").theta.filters
    512
    """
    refuse_tf_keras("model", model)
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise TypeError(
            "`model` must be a functional keras.Model, whose graph can be changed. Received: "
            f"{model!r} of type {type(model).__name__}. Build it with keras.Model(inputs, outputs)."
        )
    chosen = _choose_layers(model, after)

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        if layer.name not in chosen:
            return outputs
        block = _BLOCKS[len(outputs.shape)](name=f"{layer.name}_nonlocal", **layer_arguments)
        return block(outputs)

    copy = keras.models.clone_model(model, clone_function=_copy_layer, call_function=call)
    for layer in model.layers:
        if layer.variables:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def _copy_layer(layer):
    return layer.__class__.from_config(layer.get_config())


def _choose_layers(model, after):
    """Gives the names of the layers that blocks follow, after checking each."""
    names = [layer.name for layer in model.layers]
    if callable(after):
        chosen = {layer.name for layer in model.layers if after(layer)}
        if not chosen:
            raise ValueError(
                f"`after` must be true for at least one layer. Received: a function that is false "
                f"for all {len(names)} layers of model '{model.name}'."
            )
    else:
        chosen = {after} if isinstance(after, str) else set(after)
        unknown = sorted(chosen - set(names))
        if unknown or not chosen:
            nested = [
                f"'{name}' is in the nested model '{inner.name}': change that model first"
                for inner in model.layers
                if isinstance(inner, keras.Model)
                for name in unknown
                if name in {layer.name for layer in inner.layers}
            ]
            raise ValueError(
                f"`after` must name layers of model '{model.name}'. Received: after="
                f"{sorted(chosen)}, of which {unknown} are not there. "
                + (". ".join(nested) + "." if nested else f"The last ones are {names[-5:]}.")
            )
    for name in chosen:
        _check_layer(model, model.get_layer(name))
    return chosen


def _check_layer(model, layer):
    # Nodes outside this model, from another that shares the layer, do not count.
    nodes = [node for node in layer._inbound_nodes if node in _nodes(model)]
    if len(nodes) != 1:
        raise ValueError(
            f"A layer in `after` must be used once. Received: '{layer.name}', which model "
            f"'{model.name}' uses {len(nodes)} times. Name a layer behind it instead."
        )
    outputs = nodes[0].output_tensors
    if len(outputs) != 1 or len(outputs[0].shape) not in _BLOCKS:
        shapes = [tuple(output.shape) for output in outputs]
        raise ValueError(
            "A layer in `after` must give one tensor of rank 3, 4 or 5, channels last. Received: "
            f"'{layer.name}', which gives {shapes}. Name a layer before the pooling."
        )
    if witness := _find_channels_first(model, nodes[0]):
        raise ValueError(
            "A layer in `after` must have its channels last. Received: "
            f"'{layer.name}', whose channels are first, as those of '{witness}'. Build the model "
            "with data_format='channels_last'."
        )


def _find_channels_first(model, node):
    """Returns the name of a layer that tells that a node's output has its channels first.

    The nearest layers before the node that tell the order of axes decide; where none does, the
    nearest behind it. `None` if these have their channels last, or nothing tells.
    """
    nodes = _nodes(model)
    made_by = {id(tensor): each for each in nodes for tensor in each.output_tensors}

    def before(each):
        return [made_by[id(tensor)] for tensor in each.input_tensors if id(tensor) in made_by]

    def behind(each):
        made = {id(tensor) for tensor in each.output_tensors}
        return [n for n in nodes if any(id(tensor) in made for tensor in n.input_tensors)]

    for start, neighbors in (([node], before), (behind(node), behind)):
        waiting, seen, told = list(start), set(), False
        while waiting:
            each = waiting.pop()
            if id(each) in seen:
                continue
            seen.add(id(each))
            order = _order_of_axes(each.operation)
            if order == "channels_first":
                return each.operation.name
            if order is None:
                waiting += neighbors(each)
            told = told or order == "channels_last"
        if told:
            return None
    return None


def _order_of_axes(layer):
    """Returns "channels_first" or "channels_last" where a layer tells, "unknown" if it changes it.

    `None` if its output has the order of its input.
    """
    if isinstance(layer, keras.Model):
        orders = {_order_of_axes(each) for each in layer.layers} - {None, "unknown"}
        return orders.pop() if len(orders) == 1 else "unknown"
    if type(layer).__name__ in _REORDERING:
        return "unknown"
    if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.GroupNormalization)):
        rank = layer.input_spec.ndim
        if rank == 2:
            return None
        return "channels_last" if layer.axis in (-1, rank - 1) else "channels_first"
    return getattr(layer, "data_format", None)


def _nodes(model):
    return [node for nodes in model._nodes_by_depth.values() for node in nodes]

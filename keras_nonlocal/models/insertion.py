"""Non-local blocks put into any functional Keras model."""

import keras

from keras_nonlocal.layers import NonLocal1D, NonLocal2D, NonLocal3D

_BLOCKS = {3: NonLocal1D, 4: NonLocal2D, 5: NonLocal3D}


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
            tensors, or its output has no places for attention.
        TypeError: if `model` is a subclassed model, whose graph cannot be seen.

    Example:

    >>> model = keras.applications.ResNet50(weights=None)
    >>> model = keras_nonlocal.insert_non_local(model, after=["conv4_block6_out"])
    >>> model.get_layer("conv4_block6_out_nonlocal").theta.filters
    512
    """
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


def _nodes(model):
    return [node for nodes in model._nodes_by_depth.values() for node in nodes]

"""The graph of a functional model: what is refused, its sizes, who reads what."""

import inspect

import keras

from keras_nonlocal.keras_models import refuse_tf_keras


def check_graph(model):
    """Refuses what has no graph of one input and one output to follow.

    Args:
        model: the model to look at.

    Raises:
        ValueError: with what is wrong.
    """
    refuse_tf_keras("model", model)
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not isinstance(model, keras.Model) or not inputs or not outputs:
        way_out = "Pass a keras.Model."
        if isinstance(model, keras.Sequential):
            way_out = "Build it: model.build(input_shape), or a keras.Input as its first layer."
        elif isinstance(model, keras.Model):
            way_out = (
                "Build a functional model of its layers: keras.Model(inputs, outputs). Calling it "
                "inside another does not help, as what its `call` does cannot be seen."
            )
        raise ValueError(
            "`model` must be a functional or a built sequential keras.Model, whose graph can be "
            f"followed. Received: {type(model).__name__} '{getattr(model, 'name', model)}'. "
            f"{way_out}"
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


def follow(model):
    """Walks through a model's graph, from its output to its input.

    Args:
        model: functional `keras.Model` of one output; nested models are not entered.

    Returns:
        The nodes, calls of operations; and a dict of the operations that read each tensor, by the
        tensor's id, in which `None` stands for the caller of the model.
    """
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
    return list(nodes.values()), readers


def is_one_of(layer, types):
    """Whether a layer is of these types, and does in `call` what they do."""
    # Whoever derives from them elsewhere may do something else.
    known = type(layer).__module__.partition(".")[0] in ("keras", "keras_nonlocal")
    return known and isinstance(layer, types)


def is_non_local(layer):
    """Whether a layer is a non-local block of ours."""
    # By name, as this room is handed models and imports no layers of ours.
    names = [base.__name__ for base in type(layer).__mro__]
    return is_one_of(layer, keras.layers.Layer) and "NonLocal" in names


def is_in_training(layer):
    """Whether the user called a layer with `training=True`."""
    nodes = getattr(layer, "_inbound_nodes", ())
    if not any(node.arguments.kwargs.get("training") for node in nodes):
        return False
    # Keras records defaults as well, and its augmentation layers have `training=True`.
    argument = inspect.signature(layer.call).parameters.get("training")
    return argument is None or argument.default is not True

"""Insertion of non-local blocks into any functional Keras model."""

import keras

from keras_nonlocal.keras_models import copy_layer, copy_weights, refuse_tf_keras
from keras_nonlocal.layers import NonLocal1D, NonLocal2D, NonLocal3D

_BLOCKS = {3: NonLocal1D, 4: NonLocal2D, 5: NonLocal3D}
# Layers and operations after which axes may have another order.
_REORDERING = ("Permute", "Reshape", "Transpose", "Moveaxis", "Swapaxes")


def insert_non_local(model, after, **layer_arguments):
    """Returns a copy of a model with non-local blocks after some of its layers.

    The blocks start as the identity, so the copy's outputs equal the model's to the bit until it
    is trained. Weights are copied: training one model does not change the other.

    Args:
        model: functional or built sequential `keras.Model`, channels last. Nested models
            are kept whole; to change one, insert into it before it is nested.
        after: names of layers, or a function that takes a layer and returns whether a block
            follows it.
        **layer_arguments: arguments of `NonLocal1D`, `NonLocal2D` or `NonLocal3D`, depending on
            the rank of the layer's output.

    Returns:
        A functional `keras.Model`; the block after layer `x` is called `x_nonlocal`. The `config`
        of a `VideoResNet` stays that of the network as it was built.

    Raises:
        ValueError: if a name is unknown, a layer is used more than once or returns several
            tensors, or its output has no positions for attention, or has its channels first.
        TypeError: if `model` is a subclassed model, whose graph is not known.

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
    insertion = _Insertion(model, _choose_layers(model, after), layer_arguments)
    copy = keras.models.clone_model(model, clone_function=copy_layer, call_function=insertion.call)
    insertion.check_order_after()
    copy_weights(model, copy)
    return copy


class _Insertion:
    """One walk through a model's graph, which applies copies of its layers and the blocks."""

    def __init__(self, model, chosen, layer_arguments):
        self.model, self.chosen, self.layer_arguments = model, chosen, layer_arguments
        # Calls in their order: the layer or operation, ids of its inputs, ids of its outputs.
        self.calls = []
        # Positions in `calls` of chosen layers whose order of axes no layer before them fixes.
        self.open = []

    def call(self, layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        made = _ids(outputs)
        self.calls.append((layer, _ids((args, kwargs)), made))
        if layer.name not in self.chosen:
            return outputs
        tensors = keras.tree.flatten(outputs)
        self._check(layer, tensors)
        cls = _BLOCKS[len(tensors[0].shape)]
        block = cls(name=f"{layer.name}_nonlocal", **self.layer_arguments)
        outputs = keras.tree.map_structure(block, outputs)
        # What reads the block reads the layer.
        made |= _ids(outputs)
        return outputs

    def _check(self, layer, tensors):
        if [each.name for each, _, _ in self.calls].count(layer.name) > 1:
            raise ValueError(
                f"A layer in `after` must be used once. Received: '{layer.name}', which model "
                f"'{self.model.name}' uses several times. Name a layer after it instead."
            )
        if len(tensors) != 1 or len(tensors[0].shape) not in _BLOCKS:
            shapes = [tuple(tensor.shape) for tensor in tensors]
            raise ValueError(
                "A layer in `after` must return one tensor of rank 3, 4 or 5, channels last. "
                f"Received: '{layer.name}', which returns {shapes}. Name a layer before the "
                "pooling."
            )
        here = len(self.calls) - 1
        if not self._find_channels_last(layer, [here], self._before):
            self.open.append(here)

    def check_order_after(self):
        """Raises where the layers after a block, if none before it, have their channels first."""
        for here in self.open:
            self._find_channels_last(self.calls[here][0], self._after(here), self._after)

    def _find_channels_last(self, chosen, calls, neighbors):
        """Returns whether the nearest layers with an order of axes have their channels last."""
        orders = set()
        for here in calls:  # Grows on the way.
            layer = self.calls[here][0]
            order = _order_of_axes(layer)
            if order == "channels_first":
                raise ValueError(
                    "A layer in `after` must have its channels last. Received: "
                    f"'{chosen.name}', whose channels are first, as those of '{layer.name}'. "
                    "Build the model with data_format='channels_last'."
                )
            orders.add(order)
            if order is None:
                calls += [each for each in neighbors(here) if each not in calls]
        return "channels_last" in orders

    def _before(self, here):
        read = self.calls[here][1]
        return [index for index, (_, _, made) in enumerate(self.calls) if made & read]

    def _after(self, here):
        made = self.calls[here][2]
        return [index for index, (_, read, _) in enumerate(self.calls) if made & read]


def _ids(values):
    """Returns the ids of the Keras tensors in a structure, which the graph keeps alive."""
    return {id(each) for each in keras.tree.flatten(values) if isinstance(each, keras.KerasTensor)}


def _choose_layers(model, after):
    """Returns the names of the layers that blocks follow."""
    layers = [each for each in model.layers if not isinstance(each, keras.layers.InputLayer)]
    names = [layer.name for layer in layers]
    if callable(after):
        chosen = {layer.name for layer in layers if after(layer)}
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
                f"{sorted(chosen)}, of which {unknown} are not there or are inputs. "
                + (". ".join(nested) + "." if nested else f"The last ones are {names[-5:]}.")
            )
    return chosen


def _order_of_axes(layer):
    """Returns "channels_first" or "channels_last" where a layer tells the order of its axes.

    "unknown" if the layer may change it, `None` if its output has the order of its input.
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

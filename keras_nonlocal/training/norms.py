"""What the batch norms of a whole network normalise by: frozen, synchronised, or precise."""

import contextlib
import itertools

import keras
import numpy as np
from keras import ops

from keras_nonlocal.training.forward_pass import forward_pass


def freeze_norms(model):
    """Makes all batch norms normalise by their moving statistics, in training too.

    The statistics stay as they are from then on, while `gamma` and `beta` go on training: the
    affine form in which the authors train long clips, of which too few fit a batch for
    statistics of its own. A saved model keeps it. Call it before the training of a model that
    holds `model`; a compiled `model` itself may go on, it is traced again.

    Args:
        model: a built `keras.Model`; norms inside its layers and inner models are found.

    Raises:
        ValueError: if the model has no batch norm; or if one is Keras' own, which has no such
            switch, and is trainable. The message says how to replace it.

    Example:

    >>> model = keras_nonlocal.C2D(input_shape=(4, 32, 32, 3), depth=(1, 1, 1, 1), width=8)
    >>> freeze_norms(model)
    >>> model.get_layer("conv1_norm").frozen
    True

    Reference:
        Section 4.1 of [Non-local Neural Networks](https://arxiv.org/abs/1711.07971); `norm_eval`
        in MMAction2, `MODEL.FROZEN_BN` in PySlowFast.
    """
    norms = _norms_of(model)
    # One that is not trainable normalises by its moving statistics in Keras as well.
    others = [n for n in norms if not hasattr(n, "frozen") and n.trainable]
    if others:
        raise ValueError(
            "`model` must hold norms that can be frozen, and `keras.layers.BatchNormalization` "
            "has no switch that leaves gamma and beta to train. "
            f"Received: {_names(others)} in {model.name!r}. Set their `trainable` to False, which "
            "fixes gamma and beta too; or put keras_nonlocal.layers.BatchNormalization in their "
            "place: `copy = keras.models.clone_model(model, clone_function=lambda layer: "
            "keras_nonlocal.layers.BatchNormalization.from_config(layer.get_config()) if "
            "isinstance(layer, keras.layers.BatchNormalization) else "
            "layer.from_config(layer.get_config()))`, then `copy.set_weights(model.get_weights())`."
        )
    for norm in norms:
        if hasattr(norm, "frozen"):
            norm.frozen = True
    _trace_again(model)


def synchronize_norms(model):
    """Makes all batch norms take the statistics of the global batch, over all replicas.

    Without it each replica of `tf.distribute.MirroredStrategy` normalises by its own share of
    the batch, and keeps moving statistics of its own. It costs an exchange of three small tensors
    for each norm and direction, and nothing on one device. A saved model keeps it. On JAX there is
    nothing to do: there statistics are always those of the global batch. Call it before the
    training of a model that holds `model`; a compiled `model` itself is traced again.

    Args:
        model: a built `keras.Model`; norms inside its layers and inner models are found,
            Keras' own too.

    Raises:
        ValueError: if the model has no batch norm.

    Example:

    >>> model = keras_nonlocal.C2D(input_shape=(4, 32, 32, 3), depth=(1, 1, 1, 1), width=8)
    >>> synchronize_norms(model)
    >>> model.get_layer("conv1_norm").synchronized
    True
    """
    norms = _norms_of(model)
    if keras.backend.backend() != "tensorflow":
        return
    for norm in norms:
        norm.synchronized = True
    _trace_again(model)


def update_norm_statistics(model, dataset, batches=200):
    """Gives all batch norms the statistics of the weights as they are: "precise batch norm".

    Moving averages lag behind the weights while these change. This runs training batches
    through the network as in training, without a step, and sets `moving_mean` and `moving_variance`
    to the mean and the variance over all of their activations: those of a batch, or of
    each replica's part of it, are weighted by its examples, and the variance between batches
    counts too. Nothing else changes, not even the state of dropout: a training goes on as if
    it had not been called. Frozen norms, and those that are not trainable, are left alone, and if
    anything raises, so are all.

    A norm that a model applies several times keeps the statistics of the last application.

    Args:
        model: a built `keras.Model`, compiled or not, also one of a strategy's replicas. With
            `keras.distribution` on JAX every process calls it.
        dataset: batches as for `model.fit`: a `tf.data.Dataset` or another iterable of inputs
            or of `(inputs, labels)`, at the training batch size. With several processes, each
            gives its own part.
        batches: how many to use at most, one pass over the data at the most.

    Returns:
        The number of batches used.

    Raises:
        ValueError: if the dataset is empty, if no norm of the model is in training mode, or if
            `batches` is not a positive integer.

    Example:

    >>> model = keras_nonlocal.C2D(input_shape=(4, 32, 32, 3), depth=(1, 1, 1, 1), width=8)
    >>> clips = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 32, 32, 3), "uint8")
    >>> update_norm_statistics(model, list(clips))
    3

    Reference:
        `lib/utils/bn_helper.py` of [video-nonlocal-net](
        https://github.com/facebookresearch/video-nonlocal-net): 200 batches before each test.
        PySlowFast averages the variances of the batches instead, and leaves out how far their
        means lie apart (`fvcore.nn.precise_bn`).
    """
    if isinstance(batches, bool) or not isinstance(batches, int) or batches < 1:
        raise ValueError(f"`batches` must be a positive integer. Received: batches={batches!r}.")
    norms = [n for n in _norms_of(model) if n.trainable and not getattr(n, "frozen", False)]
    if not norms:
        raise ValueError(
            "`model` must hold a batch norm that is trainable and not frozen, as others keep "
            f"their statistics. Received: {model.name!r}, all of whose norms are fixed. "
            "Leave the update out."
        )
    states = [ops.copy(v.value) for v in model.non_trainable_variables]
    positions = {id(v): i for i, v in enumerate(model.non_trainable_variables)}
    places = [(positions[id(n.moving_mean)], positions[id(n.moving_variance)]) for n in norms]
    for place in itertools.chain(*places):
        states[place] = ops.zeros_like(states[place])  # Even no share of a NaN would be NaN.
    sums = [0.0] * len(norms)
    examples = used = 0
    with _statistics_of_one_batch(norms):
        run = forward_pass(model)
        for batch in itertools.islice(dataset, batches):
            inputs, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
            # What one batch leaves, seeds of dropout among it, is what the next begins with.
            states, parts = run(states, inputs)
            for count, values in parts:
                for norm, (mean, variance) in enumerate(places):
                    mean = np.asarray(values[mean], "float64")
                    square = np.asarray(values[variance], "float64") + mean**2
                    sums[norm] = sums[norm] + count * np.stack([mean, square])
                examples += count
            used += 1
    if not used:
        raise ValueError(
            "`dataset` must hold a batch at least. Received an empty one. Check its "
            "`drop_remainder` and batch size, or whether an iterator has been used up."
        )
    for norm, total in zip(norms, sums, strict=True):
        mean, square = total / examples
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(np.maximum(square - mean**2, 0))
    return used


def _norms_of(model):
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if not norms:
        raise ValueError(f"`model` must hold a batch norm. Received: {model.name!r}, without any.")
    return norms


def _names(layers):
    return ", ".join(repr(layer.path or layer.name) for layer in layers)


def _trace_again(model):
    """Drops the compiled training step, which holds what the norms were when it was traced."""
    model.train_function = None


@contextlib.contextmanager
def _statistics_of_one_batch(norms):
    """With no momentum a pass in training mode leaves the statistics of its batch alone."""
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

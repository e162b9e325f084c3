"""What of a network is trained, and how fast: stages that stand still, rates stage by stage."""

import re

import keras

# How the names of the layers begin, from the input to the classifier.
STAGES = ("conv1_", "res2_", "res3_", "res4_", "res5_")


def freeze_until(model, stage):
    """Fixes a network from its input up to a stage: nothing there is trained or updated.

    The weights up to there get no gradient, and norms among them keep their statistics and
    normalise by these. A saved model keeps it. It comes before `compile`: a model whose
    optimizer is in use must be compiled again, as the optimizer was made for other variables.

    Args:
        model: a built `keras.Model`.
        stage: for the networks of this package, alone or inside of `model`: an integer from 1,
            the stem, to 5, the last stage. For any model: the name of one of its layers; that
            one and all before it in `model.layers` are fixed.

    Raises:
        ValueError: if the model has no such stage or layer.

    Example:

    >>> model = keras_nonlocal.C2D(input_shape=(4, 32, 32, 3), depth=(1, 1, 1, 1), width=8)
    >>> freeze_until(model, 5)
    >>> [variable.path for variable in model.trainable_variables]
    ['predictions/kernel', 'predictions/bias']

    Reference:
        `frozen_stages` in MMAction2, whose stage 0 is the stem and 1 to 4 are `res2` to `res5`.
    """
    for layer in _layers_until(model, stage):
        # Keras passes over an assignment that changes nothing, though sub-layers may differ.
        layer.trainable = True
        layer.trainable = False
    if model.compiled and model.optimizer.built:
        # Keras would go on with the step it has traced, or average the wrong variables.
        model.compiled = False


def describe_frozen(model):
    """Returns in words which layers of a network are not trained, and whether its norms are frozen.

    Args:
        model: a `keras.Model`.

    Example:

    >>> model = keras_nonlocal.C2D(input_shape=(4, 32, 32, 3), depth=(1, 1, 1, 1), width=8)
    >>> freeze_until(model, 2)
    >>> describe_frozen(model)
    'conv1, res2'
    """
    layers = [layer for layer in _layers_in_order(model) if layer.weights]
    stages = {layer.name.split("_")[0]: True for layer in layers}
    for layer in layers:
        stages[layer.name.split("_")[0]] &= not layer.trainable_variables
    frozen = [stage for stage, still in stages.items() if still]
    if any(getattr(layer, "frozen", False) for layer in model._flatten_layers()):
        frozen.append("statistics of norms")
    return ", ".join(frozen) or "nothing"


def layer_rates(model, factor, stages=STAGES):
    """Gives rates that shrink from the classifier to the input, stage by stage.

    The classifier, and all else that no stage names, keeps the whole rate; the last stage has
    `factor` of it, the one before `factor ** 2`, and the stem before four others `factor ** 5`.
    Early layers are of use to a new task nearly as they are; late ones have to change.

    Args:
        model: the `keras.Model` to train.
        factor: from one stage to the one before it, above 0 and up to 1.
        stages: how the names of the layers begin, from the input to the last stage before the
            classifier. Those of this package's networks by default.

    Returns:
        A tuple of pairs `(regular expression of variable.path, factor)`: `rate_factors` of
        `SGD` and `AdamW`.

    Raises:
        ValueError: if no layer of the model has one of `stages`, or if `factor` is out of
            range.

    Example:

    >>> model = keras_nonlocal.C2D(input_shape=(4, 32, 32, 3), depth=(1, 1, 1, 1), width=8)
    >>> layer_rates(model, 0.5)[0]
    ('(^|/)conv1_', 0.03125)
    >>> layer_rates(model, 0.5)[-1]
    ('(^|/)res5_', 0.5)

    Reference:
        `LayerDecayValueAssigner` of [BEiT](https://arxiv.org/abs/2106.08254), where each
        block of a transformer is a layer; `SOLVER.LAYER_DECAY` in PySlowFast.
    """
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor <= 1:
        raise ValueError(
            "`factor` must be above 0 and up to 1, where 1 gives all layers the same rate. "
            f"Received: factor={factor!r}. To fix layers, use `freeze_until`."
        )
    stages = tuple(stages)
    for stage in stages:
        if not _layers_of(model, stage):
            raise ValueError(
                f"`model` must have layers whose names begin with {stage!r}. Received: "
                f"{model.name!r}, with {_some_names(model)}. Name the stages of your model from "
                "the input on: `stages=('stem_', 'block1_', ...)`."
            )
    return tuple(
        (f"(^|/){re.escape(stage)}", factor ** (len(stages) - place))
        for place, stage in enumerate(stages)
    )


def _layers_until(model, stage):
    if isinstance(stage, str):
        names = [layer.name for layer in model.layers]
        if stage not in names:
            raise ValueError(
                f"`stage` must be the name of one of the layers of {model.name!r}. Received: "
                f"stage={stage!r}. It has {_some_names(model)}; for a layer of an inner model "
                "hand that one over: `freeze_until(model.get_layer(...), ...)`."
            )
        return model.layers[: names.index(stage) + 1]
    if isinstance(stage, bool) or not isinstance(stage, int) or not 1 <= stage <= len(STAGES):
        raise ValueError(
            "`stage` must be an integer from 1, the stem, to 5, or the name of a layer. "
            f"Received: stage={stage!r}. To train all, leave the call out."
        )
    stages = [_layers_of(model, name) for name in STAGES[:stage]]
    if not all(stages):
        missing = STAGES[stages.index([])]
        raise ValueError(
            "`stage` may be a number for the networks of this package, whose layers are named "
            f"after their stages. Received: stage={stage!r}, and {model.name!r} without a layer "
            f"{missing + '...'!r}, but with {_some_names(model)}. Give the name of its last layer "
            "to fix."
        )
    return sum(stages, [])


def _layers_in_order(model):
    """Returns the layers of a model, with those of inner models in their place."""
    inner = [_layers_in_order(e) if isinstance(e, keras.Model) else [e] for e in model.layers]
    return sum(inner, [])


def _layers_of(model, stage):
    """Gives the layers whose names begin so, those of inner models too."""
    return [layer for layer in model._flatten_layers(False) if layer.name.startswith(stage)]


def _some_names(model):
    names = [layer.name for layer in model.layers]
    return f"layers such as {names[len(names) // 2]!r} and {names[-1]!r}"

"""What a recipe does to a network: `Recipe.prepare` and `Recipe.compile`."""

import re

import keras
import numpy as np

from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.training import checks, freezing, norms, optimizers
from keras_nonlocal.training.labels import CrossEntropy, TopAccuracy
from keras_nonlocal.training.loss_scaling import LossScaleOptimizer
from keras_nonlocal.training.outputs import find_activation


def prepare(recipe, model):
    """Sets dropout and norms as the recipe says, and fixes what is not to be trained."""
    refuse_tf_keras("model", model)
    _check_precision(recipe, model)
    if recipe.weights == "trained":
        _check_trained(recipe, model)
    if recipe.dropout is not None:
        _set_dropout(recipe, model)
    if recipe.norms == "frozen":
        norms.freeze_norms(model)
    elif recipe.norms == "synchronized":
        norms.synchronize_norms(model)
    if recipe.freeze_until is not None:
        freezing.freeze_until(model, recipe.freeze_until)


def compile(recipe, model, schedule, from_logits=None):
    """Gives a network the optimizer, the loss and the metrics of the recipe."""
    refuse_tf_keras("model", model)
    _check_precision(recipe, model)
    if from_logits is None:
        from_logits = _gives_logits(recipe, model)
    classes = model.output_shape[-1]
    if recipe.labels == "several":
        loss = keras.losses.BinaryCrossentropy(from_logits, recipe.label_smoothing)
        # Near the mean average precision, at 200 thresholds; the evaluator gives it exactly.
        options = {"curve": "PR", "multi_label": True, "num_labels": classes, "name": "pr_auc"}
        metrics = [keras.metrics.AUC(from_logits=from_logits, **options)]
    else:
        loss = CrossEntropy(from_logits, recipe.label_smoothing)
        metrics = [TopAccuracy(1, "accuracy")]
        if classes > 5:
            metrics.append(TopAccuracy(5, "top5_accuracy"))
    optimizer = _make_optimizer(recipe, model, schedule)
    if recipe.precision == "mixed_float16":
        optimizer = LossScaleOptimizer(optimizer)
    jit_compile = False if checks.has_several_replicas(model) else "auto"
    # Weighted, as the padding of several processes' validation has no weight.
    model.compile(optimizer, loss, weighted_metrics=metrics, jit_compile=jit_compile)


def _check_trained(recipe, model):
    """Raises if all batch norms are as built: statistics and shift of 0, variance of 1."""
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    built = [
        np.all(np.asarray(getattr(norm, name)) == value)
        for norm in norms
        for name, value in (("moving_mean", 0), ("moving_variance", 1), ("beta", 0))
        if getattr(norm, name) is not None
    ]
    if norms and all(built):
        raise ValueError(
            f"The network must have trained weights for {recipe.name!r}, which has "
            f"weights='trained'. Received: {model.name!r}, with random ones. Build it with "
            "`weights=`, such as a name of `keras_nonlocal.list_weights()`, load weights before "
            "`prepare`, or train from random weights by KINETICS_COSINE."
        )


def _make_optimizer(recipe, model, schedule):
    options = {"no_decay": recipe.no_decay, "global_clipnorm": recipe.clip_norm}
    if recipe.layer_rate != 1:
        options["rate_factors"] = _find_rates(recipe, model)
    if recipe.accumulation > 1:
        options["gradient_accumulation_steps"] = recipe.accumulation
    if recipe.ema is not None:
        options.update(use_ema=True, ema_momentum=recipe.ema)
    if recipe.optimizer == "adamw":
        return optimizers.AdamW(schedule, weight_decay=recipe.weight_decay, **options)
    return optimizers.SGD(
        schedule,
        momentum=recipe.momentum,
        nesterov=True,
        l2=recipe.l2,
        weight_decay=recipe.weight_decay,
        momentum_correction=recipe.momentum_correction,
        **options,
    )


def _find_rates(recipe, model):
    paths = [variable.path for variable in model.trainable_variables]
    rates = freezing.layer_rates(model, recipe.layer_rate)
    # Those of stages that are fixed would be found nowhere, which the optimizer takes for a slip.
    return {p: rate for p, rate in rates if any(re.search(p, path) for path in paths)}


def _check_precision(recipe, model):
    policies = {
        layer.dtype_policy.name
        for layer in model._flatten_layers()
        if layer.weights and not isinstance(layer, keras.Model)
    }
    # Norms and the classifier may keep float32 under a mixed policy.
    if recipe.precision not in policies or policies - {recipe.precision, "float32"}:
        raise ValueError(
            f"The network must be built under the policy of the recipe, {recipe.precision!r}. "
            f"Received: {model.name!r} with {', '.join(sorted(map(repr, policies)))}. Call "
            f'keras.config.set_dtype_policy("{recipe.precision}") before building it.'
        )


def _set_dropout(recipe, model):
    layers = [each for each in model._flatten_layers() if isinstance(each, keras.layers.Dropout)]
    if not layers and recipe.dropout:
        raise ValueError(
            f"The network must have a dropout layer to set to {recipe.dropout}. Received: "
            f"{model.name!r} without one. Build it with dropout={recipe.dropout}, put "
            f"keras.layers.Dropout({recipe.dropout}) before its classifier, or take the recipe "
            "with dropout=None."
        )
    for layer in layers:
        layer.rate = recipe.dropout


def _gives_logits(recipe, model):
    activation = find_activation(model)
    wanted, number = ("softmax", "one label")
    if recipe.labels == "several":
        wanted, number = ("sigmoid", "several labels")
    if activation not in (wanted, "linear"):
        raise ValueError(
            f"A model of {number} a clip must end in {wanted!r}, or in logits. Received: "
            f"{model.name!r}, which ends in {activation!r}. Build it with "
            f"classifier_activation={wanted!r}, or give `from_logits` if it cannot be told."
        )
    return activation == "linear"

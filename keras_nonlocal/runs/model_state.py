"""All that changes in a model while it is trained, as arrays, and back."""

import re

import keras
import numpy as np


def build_optimizer(model):
    """Makes the variables of a compiled model's optimizer, which Keras makes at the first step."""
    if model.optimizer.built:
        return
    # TensorFlow's alone: with several replicas they must be made where the weights were.
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is None:
        model.optimizer.build(model.trainable_variables)
    else:
        with strategy.scope():
            model.optimizer.build(model.trainable_variables)


def read_state(model, metrics=False):
    """Copies a model's state out.

    Args:
        model: a compiled `keras.Model` with a built optimizer.
        metrics: whether with what the metrics have summed up.

    Returns:
        A dict of names to NumPy arrays: weights, norm statistics and the states of random
        generators under `model/`, moments, averages, accumulated gradients, loss scale, rate and
        step count under `optimizer/`, and `metrics/`. Where a replica's value is not the first
        one's, it stands under the name with `@` and the replica's number. `replicas` counts them.
    """
    # Within `fit`, JAX has the state elsewhere.
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()
    state = {"replicas": np.array(_count_replicas(model))}
    for name, variable in _variables(model, metrics).items():
        first, *others = _parts_of(variable)
        # A copy: on the CPU, Keras may give a view of memory that the next step writes to.
        state[name] = np.array(keras.ops.convert_to_numpy(first))
        for number, part in enumerate(others, 1):
            array = np.array(keras.ops.convert_to_numpy(part))
            if array.tobytes() != state[name].tobytes():
                state[f"{name}@{number}"] = array
    return state


def write_state(model, state):
    """Puts a state back, all of it or, on an error, nothing.

    Args:
        model: as it was when the state was read.
        state: of `read_state`.

    Raises:
        ValueError: if names, shapes, types, or the number of replicas differ, with all that do.
    """
    state = dict(state)
    _check_replicas(model, int(state.pop("replicas")))
    faults = []
    metrics = any(name.startswith("metrics/") for name in state)
    variables = _variables(model, metrics)
    names = {name.split("@")[0] for name in state}
    faults += [f"  only in the checkpoint: {name}" for name in names - variables.keys()]
    faults += [f"  only in the model: {name}" for name in variables.keys() - names]
    for name in variables.keys() & names:
        was, now = _form(state[name]), _form(variables[name])
        if was != now:
            faults.append(f"  {name}: {was} in the checkpoint, {now} in the model")
    if faults:
        raise ValueError(
            "The checkpoint must be of this model, compiled in this way. Nothing was loaded. "
            "Received:\n" + "\n".join(sorted(faults)) + "\nBuild and compile the model as it was, "
            "or train in another folder."
        )
    _assign(variables, state)


def write_weights(model, state):
    """Puts back what belongs to the model, and leaves the optimizer and the metrics alone."""
    weights = {name: array for name, array in state.items() if name.startswith("model/")}
    _assign(_variables(model, metrics=False), weights)


def use_averages(model):
    """Gives the model the averages that its optimizer keeps, if it does: `use_ema`."""
    if not _optimizer_within(model).use_ema:
        return
    model.optimizer.finalize_variable_values(model.trainable_variables)
    # On JAX, weights and averages are now the same memory, which the next step of an evaluation
    # takes for itself and frees.
    for variable in model.trainable_variables:
        for part in _parts_of(variable):
            part.assign(np.array(keras.ops.convert_to_numpy(part)))


def has_averages(model):
    """Whether the optimizer keeps averages of the weights."""
    return _optimizer_within(model).use_ema


def find_non_finite(state):
    """Names of the arrays that hold a number that is not finite, but for those of the metrics."""
    return [
        name
        for name, array in state.items()
        if not name.startswith("metrics/")
        # By name: bfloat16 is no floating type of NumPy's.
        and "float" in array.dtype.name
        and not np.isfinite(array).all()
    ]


def _optimizer_within(model):
    """The optimizer, out of the one that scales the loss for it."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def _assign(variables, state):
    for name, variable in variables.items():
        if name not in state:
            continue
        for number, part in enumerate(_parts_of(variable)):
            part.assign(state.get(f"{name}@{number}", state[name]))


def _parts_of(variable):
    """A variable, or those of the replicas that it consists of."""
    return getattr(variable.value, "values", None) or [variable]


def _count_replicas(model):
    strategy = getattr(model, "distribute_strategy", None)
    return 1 if strategy is None else strategy.num_replicas_in_sync


def _check_replicas(model, before):
    now = _count_replicas(model)
    if now != before:
        raise ValueError(
            f"A training must go on with as many replicas as it was begun with, {before}, each of "
            f"which has its own state. Received: a model of {now}. Make it in the scope of a "
            f"tf.distribute.MirroredStrategy of {before} (on the command line: --replicas "
            f"{before}), or train in another folder."
        )


def _form(value):
    return f"{keras.backend.standardize_dtype(value.dtype)}{list(value.shape)}"


def _variables(model, metrics):
    kinds = {"model": model.variables, "optimizer": model.optimizer.variables}
    if metrics:
        kinds["metrics"] = model.metrics_variables
    return {
        f"{kind}/{number:05d}.{_lasting_name(variable)}": variable
        for kind, variables in kinds.items()
        for number, variable in enumerate(variables)
    }


def _lasting_name(variable):
    """The path without the number that Keras gives to the second `SGD` or `Dropout` of a process.

    The place among the others tells apart what then has the same name.
    """
    first, *rest = variable.path.split("/")
    return "/".join([re.sub(r"_\d+$", "", first), *rest])

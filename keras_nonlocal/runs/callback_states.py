"""What callbacks remember from epoch to epoch, so that it goes into checkpoints."""

import keras

# The attributes in which Keras' callbacks remember, which they have no method for.
_REMEMBERED = {
    keras.callbacks.EarlyStopping: ("best", "best_epoch", "best_weights", "wait", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
    ),
}
# These do what `train` does, each in its own way, and would undo it.
_REFUSED = (keras.callbacks.BackupAndRestore, keras.callbacks.SwapEMAWeights)


def check_callbacks(callbacks):
    """Checks that nothing among them works against `train`.

    Raises:
        TypeError: if one is no Keras callback.
        ValueError: if one does what `train` does itself.
    """
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(f"`callbacks` must be Keras callbacks. Received: {callback!r}.")
        if isinstance(callback, _REFUSED):
            raise ValueError(
                f"`callbacks` must not hold a {type(callback).__name__}: `train` itself keeps "
                "checkpoints and validates with the averaged weights. Leave it out."
            )


def read_callback_states(callbacks):
    """What those among them remember that remember something.

    Args:
        callbacks: Keras' own, or any with the methods `get_state()`, which gives what JSON can
            hold and NumPy arrays, and `set_state(state)`.

    Returns:
        A list of the names of their classes and their states.
    """
    return [[type(callback).__name__, read()] for callback, read, _ in _methods(callbacks)]


def write_callback_states(callbacks, states):
    """Puts back what `read_callback_states` has read.

    Raises:
        ValueError: if those that remember are others. How many forget everything is their affair.
    """
    methods = list(_methods(callbacks))
    was = [name for name, _ in states]
    now = [type(callback).__name__ for callback, _, _ in methods]
    if was != now:
        raise ValueError(
            f"`callbacks` must be those of the earlier start. It had {was}. Received: {now}. "
            "Give the same, or train in another folder."
        )
    for (_, _, write), (_, state) in zip(methods, states, strict=True):
        write(state)


def _methods(callbacks):
    """The callbacks that remember, with functions that read and write what."""
    for callback in callbacks:
        if hasattr(callback, "get_state"):
            yield callback, callback.get_state, callback.set_state
            continue
        for kind, names in _REMEMBERED.items():
            if isinstance(callback, kind):
                yield callback, *_attributes(callback, names)


def _attributes(callback, names):
    def read():
        # Keras makes some of them only when training begins.
        return {name: getattr(callback, name) for name in names if hasattr(callback, name)}

    def write(state):
        for name, value in state.items():
            setattr(callback, name, value)

    return read, write

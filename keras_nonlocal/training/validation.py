"""Validation between two epochs, on replicas too."""

import contextlib

import keras

from keras_nonlocal.training import distribution


def evaluate(model, dataset, callbacks):
    """Gives the loss and the metrics of a model on a dataset.

    Args:
        model: a compiled `keras.Model`.
        dataset: what `model.evaluate` takes. Its batches need not divide by the replicas.
        callbacks: a `keras.callbacks.CallbackList`, or a list of callbacks.

    Returns:
        Dictionary of names to numbers.
    """
    with _taken_as_built(model):
        return model.evaluate(dataset, callbacks=callbacks, return_dict=True, verbose=0)


@contextlib.contextmanager
def _taken_as_built(model):
    """Lets Keras evaluate batches that do not divide by the replicas.

    To see what is still to be built, and even if nothing is, it averages the replicas' shares of
    the first batch, which fails where one is larger than another. On JAX it cannot divide any such
    batch: a process alone computes them whole on each of its devices.
    """
    if keras.backend.backend() == "jax" and distribution.process_count() == 1:
        with distribution.alone():
            yield
        return
    # Found before the method of the class. TensorFlow's models alone have one.
    model._maybe_symbolic_build = lambda **batch: None
    try:
        yield
    finally:
        del model._maybe_symbolic_build

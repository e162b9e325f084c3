"""A SavedModel that TensorFlow serves without Keras and without this package."""

import tensorflow as tf

from keras_nonlocal.export.fold import fold


def write_saved_model(model, path, input_shape=None):
    """Writes a model, its batch norms folded, as a SavedModel folder.

    Signatures `serve` and `serving_default` take a batch of clips of any size of batch, and of
    any of the sizes that the model leaves unknown.

    Args:
        model: see `fold`.
        path: folder to write, not there yet.
        input_shape: see `fold`.
    """
    fold(model, input_shape).export(str(path), format="tf_saved_model", verbose=False)


def run_saved_model(path, clips):
    """Gives what the SavedModel at `path` answers to `clips`, as a NumPy array."""
    # Held by name, as a function does not keep the variables of its model alive.
    loaded = tf.saved_model.load(str(path))
    return loaded.serve(tf.constant(clips)).numpy()

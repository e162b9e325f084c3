"""A SavedModel that TensorFlow serves without Keras and without this package."""

from keras_nonlocal.export.fold import fold


def write_saved_model(model, path, input_shape=None):
    """Writes a model, its batch norms folded, as a SavedModel folder.

    Its function `serve`, also the signature `serving_default`, takes any number of clips at
    once, and of any of the sizes that the model leaves unknown.

    Args:
        model: see `fold`.
        path: folder to write, not there yet.
        input_shape: see `fold`.
    """
    save_network(fold(model, input_shape), path)


def save_network(network, path):
    """Writes a folded network as it stands, with the sizes that its input has.

    Args:
        network: what `fold` gives.
        path: folder to write.
    """
    import tensorflow as tf

    # Holds the graph and its variables, and nothing of the layers: half the time and the files
    # of `network.export`, which also frees the batch size that TFLite needs fixed.
    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    (source,) = network.inputs
    module.serve = tf.function(
        lambda clips: network(clips, training=False),
        input_signature=[tf.TensorSpec(source.shape, source.dtype, name="clips")],
        autograph=False,
    )
    tf.saved_model.save(module, str(path), signatures=module.serve)


def run_saved_model(path, clips):
    """Gives what the SavedModel at `path` answers to `clips`, as a NumPy array."""
    import tensorflow as tf

    # Held by name, as a function does not keep the variables of its model alive.
    loaded = tf.saved_model.load(str(path))
    return loaded.serve(tf.constant(clips)).numpy()

"""A SavedModel that TensorFlow serves without Keras and without this package."""

import pathlib

import numpy as np

from keras_nonlocal.exporting.artefacts import Artefact
from keras_nonlocal.exporting.facts import Facts
from keras_nonlocal.exporting.serving import make_signatures
from keras_nonlocal.exporting.versions import find_version
from keras_nonlocal.exporting.warm_up import write_warm_up

_EXTRA = "assets.extra"


def write_saved_model(network, path, facts, top=5):
    """Writes a network as a SavedModel folder, with signatures for TF Serving.

    All signatures take any number of clips at once. If the network takes pixels, or clips of a
    known normalization, there are `serving_default` for uint8 clips `(batch, frames, height, width,
    3)`, `float_pixels` for the same in float32, 0..255, and `jpeg` for encoded frames, strings of
    shape `(batch, frames)`. Frames of a network of one square size may have any size: those of
    another size are resized and cropped as in its tests. Otherwise `serving_default` takes
    what the network takes, as the signature `network` and the function `serve` always do.

    The signatures but `network` also give the classes of the highest values: `top_indices`,
    `top_probabilities` (or `top_scores`) and, where names are known, `top_classes`. A network
    that does not end in a class vector gives `features` alone. In Python, the function `classify`
    is all of them, told apart by the type of what it is given.

    The folder `assets.extra` holds `facts.json`, `classes.txt` and the requests with which
    TF Serving warms up.

    Args:
        network: what `fold` gives.
        path: folder to write, not there yet.
        facts: `Facts` of the network.
        top: how many classes to name.

    Raises:
        ValueError: if the facts do not fit the network, or `top` is below 1.
    """
    import tensorflow as tf

    module = _make_module(network)
    module.classify, signatures = make_signatures(module.serve, network.output_shape, facts, top)
    tf.saved_model.save(module, str(path), signatures=signatures)
    extra = pathlib.Path(path) / _EXTRA
    extra.mkdir()
    (extra / "facts.json").write_text(facts.to_json(), encoding="utf-8")
    if facts.class_names is not None:
        (extra / "classes.txt").write_text(facts.names_as_lines(), encoding="utf-8")
    warm_up = extra / "tf_serving_warmup_requests"
    write_warm_up(warm_up, signatures, network.name, facts)


def save_network(network, path):
    """Writes a folded network as it stands, with the sizes that its input has.

    Args:
        network: what `fold` gives.
        path: folder to write.
    """
    import tensorflow as tf

    module = _make_module(network)
    tf.saved_model.save(module, str(path), signatures=module.serve)


def load_saved_model(path):
    """Opens a SavedModel, with TensorFlow alone.

    Args:
        path: a SavedModel folder, or a folder of numbered ones, of which the highest is taken.
            Those of others may have a function `serve`, as Keras' `Model.export` writes it, or
            else a signature of one input and one output.

    Returns:
        An `Artefact`.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ValueError: if it has no function from one tensor to one.
    """
    import tensorflow as tf

    folder = find_version(path)
    loaded = tf.saved_model.load(str(folder))
    facts = folder / _EXTRA / "facts.json"
    facts = Facts.from_json(facts.read_text(encoding="utf-8")) if facts.is_file() else None
    serve, dtype = _find_serve(loaded, folder)

    # It holds `loaded`, for a function alone does not keep the variables alive.
    def predict(clips, loaded=loaded):
        answers = tf.nest.flatten(serve(tf.constant(np.asarray(clips, dtype))))
        return np.float32(_only(answers, folder, "output"))

    return Artefact("saved_model", f"tensorflow {tf.__version__}", facts, predict)


def serve_pixels(path, pixels):
    """Gives what `serving_default` of a SavedModel of ours answers, the whole vector.

    Args:
        path: a SavedModel folder.
        pixels: uint8 array `(batch, frames, height, width, 3)`.

    Returns:
        Array.
    """
    import tensorflow as tf

    # Held by name, for a signature alone does not keep the variables alive.
    loaded = tf.saved_model.load(str(path))
    answers = loaded.signatures["serving_default"](clips=tf.constant(pixels))
    (whole,) = [value for name, value in answers.items() if not name.startswith("top_")]
    return whole.numpy()


def _make_module(network):
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
    return module


def _find_serve(loaded, folder):
    """The function that is the network, and the type of what it takes."""
    import tensorflow as tf

    serve = getattr(loaded, "serve", None)
    if hasattr(serve, "concrete_functions"):
        (inputs, _), call = serve.concrete_functions[0].structured_input_signature, serve
    else:
        names = list(loaded.signatures)
        name = (
            "serving_default" if "serving_default" in names else _only(names, folder, "signature")
        )
        signature = loaded.signatures[name]
        inputs = signature.structured_input_signature[1]

        def call(clips):
            return signature(**dict.fromkeys(inputs, clips))

    return call, _only(tf.nest.flatten(inputs), folder, "input").dtype.as_numpy_dtype


def _only(things, folder, what):
    if len(things) == 1:
        return things[0]
    raise ValueError(
        f"`path` must lead to a SavedModel of one input and one output. Received: {len(things)} "
        f"{what}s in '{folder}'. Export a keras.Model of one input and one output."
    )

"""A TFLite (LiteRT) file of built-in operations only, float or quantised."""

import pathlib
import tempfile
import warnings

import numpy as np

from keras_nonlocal.export.fold import fold
from keras_nonlocal.export.saved_model import save_network

QUANTIZATIONS = (None, "float16", "dynamic", "int8")


def write_tflite(model, path, input_shape=None, quantize=None, clips=None):
    """Writes a model, folded and lowered to 2-D, as a TFLite file for one clip at a time.

    TFLite has no 3-D max-pooling, and its 3-D convolution has neither an integer form nor the
    fast kernels, so convolutions and pools run in two dimensions, which changes no number.
    Inputs and outputs are float32 in every form.

    Args:
        model: see `fold`.
        path: file to write.
        input_shape: see `fold`.
        quantize: `None` for float32, `"float16"` for weights in half the space, `"dynamic"`
            for 8-bit weights whose activations are quantised as they come, `"int8"` for 8-bit
            throughout.
        clips: for `"int8"`, the clips whose activations set the ranges.

    Raises:
        ValueError: if the model needs an operation that TFLite lacks.
    """
    network = fold(model, input_shape, batch_size=1, lower=True)
    with tempfile.TemporaryDirectory() as room:
        # By way of a SavedModel, where the converter finds the weights and makes them constants.
        save_network(network, room)
        content = _convert(room, model.name, quantize, clips)
    pathlib.Path(path).write_bytes(content)


def _convert(saved_model, name, quantize, clips):
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
    if quantize is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: ([clip[None]] for clip in clips)
    try:
        return converter.convert()
    except ConverterError as error:
        raise ValueError(
            f"`model` must consist of operations that TFLite has built in. Received: "
            f"'{name}', on which the converter says: {error}"
        ) from error


def run_tflite(path, clips):
    """Gives what the TFLite file at `path` answers to `clips`, one by one, as a NumPy array."""
    import tensorflow as tf

    with warnings.catch_warnings():
        # It points to a package that has no wheels for all of our Pythons.
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
        interpreter = tf.lite.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    (source,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for clip in clips:
        interpreter.set_tensor(source["index"], clip[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(answer["index"])[0])
    return np.stack(answers)

"""The one function for all formats: check, write beside, compare, rename."""

import pathlib

import keras
import numpy as np

from keras_nonlocal.export.destination import check_destination, written_beside
from keras_nonlocal.export.fold import check_graph, resolve_input_shape
from keras_nonlocal.export.saved_model import run_saved_model, write_saved_model
from keras_nonlocal.export.tflite import QUANTIZATIONS, run_tflite, write_tflite

FORMATS = ("saved_model", "tflite")
# Largest difference from the model's answers, as a share of the largest answer.
TOLERANCES = {None: 1e-4, "float16": 1e-2, "dynamic": 0.1, "int8": 0.25}
# A model that computes in half precision is itself no closer than this to its weights' answers.
HALF_TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2}
CALIBRATION_CLIPS = 100
COMPARED_CLIPS = 4


def export(
    model,
    path,
    format="saved_model",
    quantize=None,
    clips=None,
    input_shape=None,
    tolerance=None,
    overwrite=False,
):
    """Writes a model as a file that serves, and makes sure that it answers as the model does.

    Batch norms are folded into the convolutions, so the export is faster than the model. It is
    written under another name, run on clips, compared with the model, and only then renamed to
    `path`: what stands there is whole and right, or what stood there before.

    Args:
        model: functional or sequential `keras.Model` with one input and one output.
        path: folder (`"saved_model"`) or file (`"tflite"`) to write.
        format: `"saved_model"` for TF Serving and every TensorFlow, loaded without Keras and
            without this package, of any size of batch; `"tflite"` for phones and small
            machines, built-in operations only, for one clip at a time.
        quantize: of TFLite's weights and activations. `None`: float32; `"float16"`: weights
            in half the space; `"dynamic"`: 8-bit weights, fast on CPUs; `"int8"`: 8-bit
            weights and activations, inputs and outputs still float32.
        clips: clips as the model takes them, an array `(clips, ...)` or a `tf.data.Dataset` of
            batches (with or without labels). `"int8"` sets its ranges by up to 100 of them, and
            every export is compared on the first 4. `None`: compared on noise.
        input_shape: `(frames, height, width, channels)`, to fix sizes that the model leaves
            unknown; TFLite needs them all.
        tolerance: largest difference from the model's answers that is let through, as a share
            of the largest answer. `None`: 1e-4, with quantised weights 0.01 (`"float16"`),
            0.1 (`"dynamic"`) and 0.25 (`"int8"`).
        overwrite: whether to replace what stands at `path`.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        ValueError: on an unknown `format` or `quantize`, sizes that the format needs and nobody
            gives, missing or unfit `clips`, a model without a graph, operations that the
            format lacks.
        FileExistsError: if `path` exists and `overwrite` is `False`.
        RuntimeError: if the export answers differently from the model, or Keras runs on
            another backend than TensorFlow.

    Example:

    >>> model = keras_nonlocal.NLI3D(depth=(1, 1, 1, 1), width=8, input_shape=(4, 64, 64, 3))
    >>> keras_nonlocal.export(model, "network.tflite", format="tflite").name
    'network.tflite'
    """
    _check_choices(format, quantize)
    check_destination(path, overwrite)
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "`export` writes TensorFlow's formats and needs Keras on TensorFlow. Received: the "
            f"backend '{keras.backend.backend()}'. Save the model with model.save('model.keras'), "
            "then load and export it with KERAS_BACKEND=tensorflow."
        )
    check_graph(model)
    shape = resolve_input_shape(model, input_shape)
    if format == "tflite" and None in shape:
        raise ValueError(
            "`input_shape` must give every size for format='tflite', whose buffers are fixed. "
            f"Received: a model of input shape {shape}. Pass for example input_shape="
            f"{_example_shape(shape)}."
        )
    if clips is not None:
        clips = _take_clips(clips, shape, model.inputs[0].dtype)
    elif quantize == "int8":
        raise ValueError(
            "`clips` must hold clips that are typical for the use where quantize='int8', as "
            "their activations set the ranges. Received: clips=None. Pass some tens of them, as "
            "an array or a tf.data.Dataset, or use quantize='dynamic', which needs none."
        )
    with written_beside(path) as written:
        if format == "saved_model":
            write_saved_model(model, written, input_shape)
        else:
            write_tflite(model, written, input_shape, quantize, clips)
        compared = _make_noise(shape, model) if clips is None else clips[:COMPARED_CLIPS]
        run = run_saved_model if format == "saved_model" else run_tflite
        if tolerance is None:
            tolerance = max([TOLERANCES[quantize], *_half_tolerances(model)])
        _check_agreement(run(written, compared), model, compared, tolerance, path)
    return pathlib.Path(path)


def _check_choices(format, quantize):
    if format not in FORMATS:
        raise ValueError(
            f"`format` must be one of {', '.join(map(repr, FORMATS))}. Received: format={format!r}."
        )
    if quantize not in QUANTIZATIONS:
        raise ValueError(
            f"`quantize` must be one of {', '.join(map(repr, QUANTIZATIONS))}. "
            f"Received: quantize={quantize!r}."
        )
    if quantize is not None and format != "tflite":
        raise ValueError(
            "`quantize` must be None but for format='tflite'. Received: "
            f"quantize={quantize!r} with format={format!r}."
        )


def _take_clips(clips, shape, dtype):
    if not hasattr(clips, "shape"):
        taken = []
        for batch in clips:
            batch = batch[0] if isinstance(batch, (tuple, list)) else batch
            taken.extend(np.asarray(batch))
            if len(taken) >= CALIBRATION_CLIPS:
                break
        clips = taken
    clips = np.asarray(clips[:CALIBRATION_CLIPS], dtype)
    fits = clips.ndim == len(shape) + 1 and all(
        wanted in (None, size) for size, wanted in zip(clips.shape[1:], shape, strict=True)
    )
    if not fits or len(clips) == 0:
        raise ValueError(
            "`clips` must be at least one clip of the model's input shape, batched. Received: "
            f"clips of shape {clips.shape} for a model of input shape {shape}. Prepare them as "
            "for model.predict."
        )
    return clips


def _make_noise(shape, model):
    noise = np.random.default_rng(0).normal(size=(1, *_example_shape(shape)))
    dtype = model.inputs[0].dtype
    # Integer inputs are pixels, which the model itself is to scale.
    return (
        noise.astype(dtype) if "float" in dtype else np.clip(64 * noise + 128, 0, 255).astype(dtype)
    )


def _example_shape(shape):
    """The shape with unknown sizes filled in: some frames, and places that five halvings leave."""
    usual = (8, 64, 64) if len(shape) == 4 else (64,) * (len(shape) - 1)
    return tuple(n or m for n, m in zip(shape, (*usual, 3), strict=True))


def _half_tolerances(model):
    return [
        HALF_TOLERANCES[layer.compute_dtype]
        for layer in model.layers
        if layer.compute_dtype in HALF_TOLERANCES
    ]


def _check_agreement(answers, model, clips, tolerance, path):
    expected = np.asarray(keras.ops.convert_to_numpy(model(clips, training=False)), "float64")
    difference = np.max(np.abs(answers - expected)) / max(np.max(np.abs(expected)), 1e-30)
    # Written so that a NaN fails as well.
    if not difference <= tolerance:
        raise RuntimeError(
            f"The export of '{model.name}' must answer as the model does. Received: a difference "
            f"of {difference:.2g} of the largest answer, where `tolerance` is {tolerance:g}; "
            f"nothing was written to '{path}'. With quantized weights, pass typical `clips`, a "
            "milder `quantize`, or a `tolerance` that your use can bear."
        )

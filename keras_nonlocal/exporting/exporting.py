"""The one function for all formats: check, write beside, compare, report, rename."""

import contextlib
import errno
import os
import pathlib

import keras

from keras_nonlocal.exporting import agreement, calibration, report
from keras_nonlocal.exporting.artefacts import load_artefact
from keras_nonlocal.exporting.destination import check_destination, written_beside
from keras_nonlocal.exporting.facts import facts_of
from keras_nonlocal.exporting.folding import fold
from keras_nonlocal.exporting.graph import check_graph, is_in_training, resolve_input_shape
from keras_nonlocal.exporting.tflite import QUANTIZATIONS, write_tflite
from keras_nonlocal.models.video_resnet import check_pixels

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORMATS = ("saved_model", "tflite", "onnx", "openvino")
# By these ends of names the file is told what it is again.
_SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx"}
# Of so many numbers that even a network of 32 frames at 224 is compared within a minute.
_COMPARED_NUMBERS = 32 * 8 * 224 * 224 * 3 // 4
_MOST_COMPARED_CLIPS = 32


def export(
    model,
    path,
    format="saved_model",
    quantize=None,
    clips=None,
    input_shape=None,
    class_names=None,
    source=None,
    clip=None,
    tolerance=None,
    top=5,
    overwrite=False,
):
    """Writes a model as a file that serves, and makes sure that it answers as the model does.

    Batch norms are folded into the convolutions, so the export is faster than the model. It is
    written under another name, opened by what will run it, run on clips, compared with the model,
    and only then renamed to `path`: what stands there is whole and right, or what stood there
    before. Names of classes and how clips are prepared travel in it; a report of size, speed and
    agreement stands beside it, or in it where it is a folder.

    Args:
        model: functional or sequential `keras.Model` with one input and one output; or the path
            of a `.keras` file, a name of `list_weights`, or the path of a published file.
        path: folder (`"saved_model"`, `"openvino"`) or file (`"tflite"`, `"onnx"`) to write. TF
            Serving wants numbered folders, such as `"served/1"`.
        format: `"saved_model"` for TF Serving and every TensorFlow, loaded without Keras and
            without this package, of any size of batch; `"tflite"` for phones and small
            machines, built-in operations only, for one clip at a time; `"onnx"` for ONNX
            Runtime; `"openvino"` for OpenVINO.
        quantize: of TFLite's weights and activations. `None`: float32; `"float16"`: weights
            in half the space; `"dynamic"`: 8-bit weights, fast on CPUs; `"int8"`: 8-bit
            weights and activations, inputs and outputs still float32.
        clips: clips as the model takes them (pixels from 0 to 255, unless it was built with
            `include_preprocessing=False`), an array `(clips, ...)` or a `tf.data.Dataset` of
            batches (with or without labels). The first 100 are used. `"int8"` sets its ranges by
            them, and needs 10; from 20 on, it is compared on a third of them, which are left out of
            the ranges. Every export is compared on up to 32. `None`: compared on noise.
        input_shape: `(frames, height, width, channels)`, to fix sizes that the model leaves
            unknown; TFLite needs them all.
        class_names: names of the classes in index order. `None`: those of the model's
            configuration.
        source: the implementation whose mean and standard deviation normalize the clips of a
            model, see `preprocess_input`, if its configuration does not tell. `None`: that of the
            configuration. The export of a model without one takes what the model takes.
        clip: frames x stride of its clips, such as `"8x8"`. `None`: that of the configuration.
        tolerance: largest accepted difference from the model's answers, as a share of the largest
            answer. Where the model's two highest values differ by more, the top class must be the
            same. `None`: 1e-4, with quantized weights 0.01 (`"float16"`), 0.1 (`"dynamic"`) and
            0.25 (`"int8"`).
        top: how many classes a SavedModel names.
        overwrite: whether to replace what stands at `path`.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        ValueError: on an unknown `format` or `quantize`, sizes that the format needs and nobody
            gives, missing or unfit `clips`, a model without a graph or whose answers are not
            finite, operations that the format lacks.
        FileExistsError: if `path` exists and `overwrite` is `False`, or is a folder that holds
            more than an export.
        NotADirectoryError: if the folder of `path` is a file.
        ImportError: if what writes or runs the format is not installed.
        OSError: if the disk is full.
        RuntimeError: if the export answers differently from the model or has another top class,
            or Keras runs on another backend than TensorFlow.

    Example:

    >>> model = keras_nonlocal.NLI3D(depth=(1, 1, 1, 1), width=8, input_shape=(4, 64, 64, 3))
    >>> keras_nonlocal.export(model, "network.tflite", format="tflite", overwrite=True).name
    'network.tflite'
    """
    _check_choices(path, format, quantize)
    check_destination(path, overwrite)
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "`export` needs Keras on TensorFlow, which writes all formats. Received: the "
            f"backend '{keras.backend.backend()}'. Save the model with model.save('model.keras'), "
            "then load and export it with KERAS_BACKEND=tensorflow."
        )
    if isinstance(model, (str, os.PathLike)):
        from keras_nonlocal.exporting.loading import load_model

        model = load_model(str(model), source, clip, input_shape)
    check_graph(model)
    _check_without_training(model)
    shape = resolve_input_shape(model, input_shape)
    facts = facts_of(model, shape, class_names, source, clip)
    if format == "tflite" and None in shape:
        raise ValueError(
            "`input_shape` must give every size for format='tflite', whose buffers are fixed. "
            f"Received: a model of input shape {shape}. Pass for example input_shape="
            f"{calibration.example_shape(shape)}."
        )
    given = clips is not None
    if given:
        least = calibration.LEAST_CALIBRATION_CLIPS if quantize == "int8" else 1
        pixels = facts.include_preprocessing
        clips = calibration.take_clips(clips, shape, least, pixels)
        check_pixels("clips", model, clips.dtype)
        clips = clips.astype(facts.dtype)
    elif quantize == "int8":
        raise ValueError(
            "`clips` must hold clips that are typical for the use where quantize='int8', as "
            "their activations set the ranges. Received: clips=None. Pass some tens of them, as "
            "an array or a tf.data.Dataset, or use quantize='dynamic', which needs none."
        )
    else:
        noise_shape = calibration.example_shape(shape)
        clips = calibration.make_noise(noise_shape, facts.dtype, facts.include_preprocessing)
    most = _count_compared(clips[0].size)
    clips, compared, of = calibration.split_clips(clips, quantize, most)
    of = of if given else "noise"
    expected = agreement.answers_of(model, compared)
    agreement.check_finite(expected, of, model.name)
    with _full_disk_told(path), written_beside(path, overwrite) as written:
        _write(model, written, facts, format, quantize, clips, input_shape, top)
        artefact = load_artefact(written)
        if tolerance is None:
            tolerance = agreement.tolerance_of(model, quantize)
        found = artefact.predict(compared)
        agreed = agreement.compare(found, expected, tolerance, of, model.name, path, facts.output)
        if format == "saved_model" and facts.source is not None:
            _compare_pixels(model, written, facts, agreed.tolerance, path)
        made = report.make_report(artefact, written, agreed, compared[0], quantize)
        report.write_report(written, made)
        # What runs it may hold its files open.
        del artefact
    return pathlib.Path(path)


def _write(model, path, facts, format, quantize, clips, input_shape, top):
    # Each format's file is imported when it is asked for.
    if format == "tflite":
        write_tflite(model, path, facts, input_shape, quantize, clips)
        return
    network = fold(model, input_shape)
    if format == "saved_model":
        from keras_nonlocal.exporting.saved_model import write_saved_model

        write_saved_model(network, path, facts, top)
    elif format == "onnx":
        from keras_nonlocal.exporting.onnx_file import write_onnx

        write_onnx(network, path, facts)
    else:
        from keras_nonlocal.exporting.openvino_file import write_openvino

        write_openvino(network, path, facts)


def _compare_pixels(model, written, facts, tolerance, path):
    """Compares what clients get for pixels with the model's answer to the same pixels."""
    from keras_nonlocal.exporting.saved_model import serve_pixels

    shape = calibration.example_shape(facts.input_shape)
    pixels = calibration.make_noise(shape, "uint8", count=1)
    expected = agreement.answers_of(model, facts.prepare(pixels))
    found = serve_pixels(written, pixels)
    agreement.compare(found, expected, tolerance, "noise", model.name, path, facts.output)


def _check_choices(path, format, quantize):
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
    suffix = pathlib.Path(path).suffix
    if suffix != _SUFFIXES.get(format, suffix) or (
        format not in _SUFFIXES and suffix in (*_SUFFIXES.values(), ".keras", ".xml")
    ):
        wanted = f"end in '{_SUFFIXES[format]}'" if format in _SUFFIXES else "be that of a folder"
        fitting = [each for each, end in _SUFFIXES.items() if end == suffix]
        way_out = f"Pass format={fitting[0]!r}, or rename it." if fitting else "Rename it."
        raise ValueError(
            f"`path` must {wanted} for format={format!r}. Received: path={str(path)!r}. {way_out}"
        )


def _check_without_training(model):
    """Refuses layers called with `training=True`, which an export does not obey."""
    for layer in model.layers:
        if is_in_training(layer):
            raise ValueError(
                "`model` must hold no layer that was called with training=True: an export computes "
                f"as `predict` does, with training=False. Received: '{layer.name}' "
                f"({type(layer).__name__}) in '{model.name}'. Build the model without the argument."
            )
        if isinstance(layer, keras.Model):
            _check_without_training(layer)


def _count_compared(numbers):
    return max(1, min(_MOST_COMPARED_CLIPS, _COMPARED_NUMBERS // numbers))


@contextlib.contextmanager
def _full_disk_told(path):
    """Says of a disk that is full, in whosever words, that it is, and what stays."""
    try:
        yield
    except Exception as error:
        # TensorFlow and OpenVINO raise errors of their own, which quote the system's.
        texts = {os.strerror(number): number for number in _FULL} | {"iostream error": errno.ENOSPC}
        number = getattr(error, "errno", None)
        if number not in _FULL:
            number = next((texts[text] for text in texts if text in str(error)), None)
        if number is None:
            raise
        raise OSError(
            number,
            f"'{path}' cannot be written: {os.strerror(number)}. Nothing of it stays, and what "
            "stood there before does. Make room, there and where temporary files lie, or export "
            "elsewhere.",
        ) from error

"""Exported networks of any format, read back and run alike."""

import collections.abc
import dataclasses
import pathlib

import keras
import numpy as np

from keras_nonlocal.exporting.agreement import answers_of
from keras_nonlocal.exporting.facts import Facts


@dataclasses.dataclass(frozen=True)
class Artefact:
    """An exported network that answers.

    Attributes:
        format: `"saved_model"`, `"tflite"`, `"onnx"`, `"openvino"` or `"keras"`.
        runtime: what runs it, with its version, such as "ai-edge-litert 2.3.0".
        facts: what travels with it, or `None` for a file that others made. `facts.prepare` makes
            pixels from 0 to 255 what `predict` takes.
        predict: from clips `(n, *facts.input_shape)` as the network takes them, to float32
            `(n, classes)`.
        operations: how often each operation stands in its graph, where the format tells.
        coverage: `(accelerated, all)` operations that the fast path of the runtime takes (XNNPACK
            of LiteRT), where that can be told.
    """

    format: str
    runtime: str
    facts: Facts | None
    predict: collections.abc.Callable[[np.ndarray], np.ndarray]
    operations: dict[str, int] | None = None
    coverage: tuple[int, int] | None = None


def load_artefact(path):
    """Opens an exported network of any format, to run it here.

    Args:
        path: a SavedModel folder or one of numbered versions, of which the highest is taken; a
            `.tflite` or `.onnx` file; an OpenVINO folder or its `.xml` file; a `.keras` file.

    Returns:
        An `Artefact`.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if it is none of these.
        ImportError: if what runs it is not installed.

    Example:

    >>> model = keras_nonlocal.NLI3D(depth=(1, 1, 1, 1), width=8, input_shape=(4, 64, 64, 3))
    >>> network = load_artefact(keras_nonlocal.export(model, "network", overwrite=True))
    >>> network.predict(np.zeros((2, 4, 64, 64, 3), "float32")).shape
    (2, 400)
    """
    # Each format's file is imported with its runtime alone.
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"`path` must be an exported network. Received: {str(path)!r}, which is not there."
        )
    if path.suffix == ".keras":
        return _load_keras(path)
    if path.suffix == ".tflite":
        from keras_nonlocal.exporting.litert import load_tflite

        return load_tflite(path)
    if path.suffix == ".onnx":
        from keras_nonlocal.exporting.onnx_file import load_onnx

        return load_onnx(path)
    if path.suffix == ".xml" or (path / "model.xml").exists():
        from keras_nonlocal.exporting.openvino_file import load_openvino

        return load_openvino(path)
    if path.is_dir():
        from keras_nonlocal.exporting.saved_model import load_saved_model

        return load_saved_model(path)
    raise ValueError(
        "`path` must be a SavedModel folder, a .tflite, .onnx, .xml or .keras file. Received: "
        f"{str(path)!r}. Published files are read by keras_nonlocal.load_checkpoint."
    )


def _load_keras(path):
    from keras_nonlocal.exporting.facts import facts_of
    from keras_nonlocal.exporting.loading import load_model

    model = load_model(str(path))

    def predict(clips):
        return answers_of(model, clips)

    runtime = f"keras {keras.__version__} on {keras.backend.backend()}"
    return Artefact("keras", runtime, facts_of(model, model.input_shape[1:]), predict)

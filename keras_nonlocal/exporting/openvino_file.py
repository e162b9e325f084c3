"""An OpenVINO folder, written by Keras' exporter and run by OpenVINO."""

import collections
import contextlib
import os
import pathlib
import sys
import tempfile

import numpy as np

from keras_nonlocal.exporting.artefacts import Artefact
from keras_nonlocal.exporting.facts import Facts

_MODEL = "model.xml"
_FACTS = "facts.json"


def write_openvino(network, path, facts):
    """Writes a network as a folder for OpenVINO, for any number of clips at a time.

    The folder holds `model.xml`, `model.bin`, `facts.json` and, where names are known,
    `classes.txt`.

    Args:
        network: what `fold` gives.
        path: folder to write, not there yet.
        facts: `Facts` of the network.

    Raises:
        ImportError: if OpenVINO is not installed.
        ValueError: if the network needs an operation that OpenVINO lacks.
    """
    openvino = _import_openvino()
    folder = pathlib.Path(path)
    folder.mkdir()
    with tempfile.TemporaryDirectory() as room:
        written = os.path.join(room, _MODEL)
        try:
            network.export(written, format="openvino", verbose=False)
        except RuntimeError as error:
            raise ValueError(
                "`model` must consist of operations that OpenVINO has. Received: "
                f"'{network.name}', on which the converter says: {error}"
            ) from error
        model = openvino.Core().read_model(written)
        # Keras' exporter leaves every size that the graph computes among the outputs.
        (source,), answer = model.inputs, model.outputs[0]
        source.tensor.set_names({"clips"})
        answer.tensor.set_names({facts.output})
        model = openvino.Model([answer], [source.get_node()], network.name)
        openvino.save_model(model, str(folder / _MODEL), compress_to_fp16=False)
    (folder / _FACTS).write_text(facts.to_json(), encoding="utf-8")
    if facts.class_names is not None:
        (folder / "classes.txt").write_text(facts.names_as_lines(), encoding="utf-8")


def load_openvino(path):
    """Opens an OpenVINO folder, on the CPU and in float32.

    Args:
        path: the folder, or its `.xml` file.

    Returns:
        An `Artefact`.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if OpenVINO is not installed.
        ValueError: if it is no model of OpenVINO, or not of one input and one output.
    """
    openvino = _import_openvino()
    path = pathlib.Path(path)
    file = path / _MODEL if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"`path` must be an OpenVINO folder or its .xml file. Received: {str(path)!r}."
        )
    try:
        model = openvino.Core().read_model(file)
    except RuntimeError as error:
        raise ValueError(
            f"`path` must lead to a model of OpenVINO. Received: {str(path)!r}, of which OpenVINO "
            f"says: {error}"
        ) from error
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`path` must lead to an OpenVINO model of one input and one output. Received: "
            f"{len(model.inputs)} inputs and {len(model.outputs)} outputs in '{path}'."
        )
    # By itself it computes in half precision where the processor is faster at that.
    options = {openvino.properties.hint.inference_precision: openvino.Type.f32}
    compiled = openvino.compile_model(model, "CPU", options)
    dtype = model.inputs[0].get_element_type().to_dtype()

    def predict(clips):
        return np.float32(compiled(np.ascontiguousarray(clips, dtype))[0])

    facts = file.with_name(_FACTS)
    counts = collections.Counter(node.get_type_name() for node in model.get_ops())
    for kind in ("Constant", "Parameter", "Result"):
        del counts[kind]
    return Artefact(
        format="openvino",
        runtime=f"openvino {openvino.__version__.partition('-')[0]}",
        facts=Facts.from_json(facts.read_text(encoding="utf-8")) if facts.is_file() else None,
        predict=predict,
        operations=dict(counts.most_common()),
    )


def _import_openvino():
    try:
        with _without_telemetry():
            import openvino
    except ImportError as error:
        raise ImportError(
            "OpenVINO's format needs the package openvino, which is not installed. Install it: "
            'pip install "keras_nonlocal[openvino]".'
        ) from error
    return openvino


@contextlib.contextmanager
def _without_telemetry():
    """Has OpenVINO take its own stand-in for openvino_telemetry.

    That reports each import and conversion to its makers, unless a file in the user's home says
    that it may not. Nobody who exports a network here was asked.
    """
    name = "openvino_telemetry"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None
    try:
        yield
    finally:
        del sys.modules[name]

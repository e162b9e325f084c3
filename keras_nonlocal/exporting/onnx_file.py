"""An ONNX file, written by Keras' exporter and run by ONNX Runtime."""

import collections
import json
import os
import warnings

import keras
import numpy as np

from keras_nonlocal.exporting.artefacts import Artefact
from keras_nonlocal.exporting.facts import Facts

# Of 2021, read by every ONNX Runtime since 1.10; what later ones add stands in no network here.
_OPSET = 15


def write_onnx(network, path, facts):
    """Writes a network as an ONNX file of opset 15, for any number of clips at a time.

    Its metadata hold the facts, and the names of the classes as `names`, the key by which others
    look for them.

    Args:
        network: what `fold` gives.
        path: file to write.
        facts: `Facts` of the network.

    Raises:
        ImportError: if the packages that write ONNX are not installed.
        ValueError: if the network needs an operation that ONNX lacks.
    """
    onnx, _ = _import("onnx"), _import("tf2onnx")
    # Keras refuses what was never called, as a copy has not been.
    network(keras.Input(batch_shape=network.input_shape, dtype=network.inputs[0].dtype))
    with warnings.catch_warnings():
        # tf2onnx and what it stands on use names that NumPy and TensorFlow have given up.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        try:
            network.export(str(path), format="onnx", verbose=False, opset_version=_OPSET)
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                "`model` must consist of operations that ONNX has. Received: "
                f"'{network.name}', on which the converter says: {error}"
            ) from error
    model = onnx.load(str(path))
    if not model.graph.output or len(model.graph.input) != 1:
        raise ValueError(
            f"`model` must have one input and an output in ONNX. Received: '{network.name}' with "
            f"{len(model.graph.input)} inputs and {len(model.graph.output)} outputs."
        )
    for value, name in ((model.graph.input[0], "clips"), (model.graph.output[0], facts.output)):
        _rename(model.graph, value.name, name)
        value.name = name
    metadata = {"facts": facts.to_json()}
    if facts.class_names is not None:
        metadata["names"] = json.dumps(facts.class_names)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, str(path))


def load_onnx(path):
    """Opens an ONNX file in ONNX Runtime, on the CPU.

    Args:
        path: the file.

    Returns:
        An `Artefact`. It counts its operations where the package onnx is installed.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if ONNX Runtime is not installed.
        ValueError: if it is no ONNX file, or none of one input and one output.
    """
    onnxruntime = _import("onnxruntime")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"`path` must be an ONNX file. Received: {str(path)!r}.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        # Its own exceptions have no parent but this one.
        raise ValueError(
            f"`path` must be an ONNX file. Received: {str(path)!r}, of which ONNX Runtime says: "
            f"{error}"
        ) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            "`path` must lead to an ONNX file of one input and one output. Received: "
            f"{len(inputs)} inputs and {len(outputs)} outputs in '{path}'."
        )
    dtype = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}.get(inputs[0].type)

    def predict(clips):
        (answers,) = session.run(None, {inputs[0].name: np.asarray(clips, dtype)})
        return np.float32(answers)

    metadata = session.get_modelmeta().custom_metadata_map
    return Artefact(
        format="onnx",
        runtime=f"onnxruntime {onnxruntime.__version__}",
        facts=Facts.from_json(metadata["facts"]) if "facts" in metadata else None,
        predict=predict,
        operations=_count_operations(path),
    )


def _count_operations(path):
    try:
        import onnx
    except ImportError:
        return None
    nodes = onnx.load(str(path), load_external_data=False).graph.node
    return dict(collections.Counter(node.op_type for node in nodes).most_common())


def _rename(graph, old, new):
    """Gives a tensor another name wherever it is read and written."""
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
        for attribute in node.attribute:
            # Bodies of loops and branches read the tensors around them by name.
            for body in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                _rename(body, old, new)


def _import(name):
    try:
        return __import__(name)
    except ImportError as error:
        raise ImportError(
            f"ONNX files need the package {name}, which is not installed. Install it: "
            'pip install "keras_nonlocal[onnx]".'
        ) from error

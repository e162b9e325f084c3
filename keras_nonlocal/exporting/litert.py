"""TFLite files run by LiteRT, which needs neither TensorFlow nor Keras."""

import collections
import importlib.metadata
import os

import numpy as np

from keras_nonlocal.exporting.artefacts import Artefact
from keras_nonlocal.exporting.tflite_metadata import read_facts


def load_tflite(path):
    """Opens a TFLite file in the interpreter of LiteRT, with its fast kernels (XNNPACK).

    It runs one clip at a time, on all cores that the process may use.

    Args:
        path: the file.

    Returns:
        An `Artefact`. Its `operations` and `coverage` count the main graph.

    Raises:
        ImportError: if LiteRT is not installed.
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TFLite file, or none of one input and one output.
    """
    interpreter = _open(path)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            "`path` must lead to a TFLite file of one input and one output. Received: "
            f"{len(inputs)} inputs and {len(outputs)} outputs in '{path}'. Export a keras.Model "
            "of one input and one output."
        )
    (source,), (answer,) = inputs, outputs

    def predict(clips):
        clips = np.asarray(clips, source["dtype"])
        answers = np.empty((len(clips), *answer["shape"][1:]), "float32")
        for i, clip in enumerate(clips):
            interpreter.set_tensor(source["index"], clip[None])
            interpreter.invoke()
            answers[i] = interpreter.get_tensor(answer["index"])[0]
        return answers

    version = importlib.metadata.version("ai-edge-litert")
    operations, coverage = _count_operations(interpreter)
    return Artefact(
        format="tflite",
        runtime=f"ai-edge-litert {version}",
        facts=read_facts(path),
        predict=predict,
        operations=operations,
        coverage=coverage,
    )


def _open(path):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError(
            "TFLite files are run by LiteRT, which is not installed. Install it: "
            'pip install "keras_nonlocal[litert]".'
        ) from error
    if not os.path.isfile(path):
        raise FileNotFoundError(f"`path` must be a TFLite file. Received: {str(path)!r}.")
    try:
        interpreter = Interpreter(model_path=str(path), num_threads=_count_cores())
    except ValueError as error:
        raise ValueError(
            f"`path` must be a TFLite file. Received: {str(path)!r}, of which LiteRT says: {error}"
        ) from error
    interpreter.allocate_tensors()
    return interpreter


def _count_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _count_operations(interpreter):
    """How often each operation stands in the main graph, and how many of all are accelerated.

    The interpreter lists the graph of the file, and after it one node for each part that XNNPACK
    took, without saying of which operations. They are those between the tensors that such a node
    reads and those that it gives.
    """
    nodes = interpreter._get_ops_details()
    own = [node for node in nodes if node["op_name"] != "DELEGATE"]
    maker_of = {int(tensor): node for node in own for tensor in node["outputs"]}
    taken = set()
    for part in nodes[len(own) :]:
        seen = {int(tensor) for tensor in part["inputs"]}
        tensors = [int(tensor) for tensor in part["outputs"]]
        while tensors:
            tensor = tensors.pop()
            if tensor in seen or tensor not in maker_of:
                continue
            seen.add(tensor)
            node = maker_of[tensor]
            taken.add(node["index"])
            tensors += [int(source) for source in node["inputs"]]
    counts = collections.Counter(node["op_name"] for node in own)
    return dict(counts.most_common()), (len(taken), len(own))

"""A TFLite (LiteRT) file of built-in operations only, float or quantised."""

import pathlib
import re
import tempfile

import keras

from keras_nonlocal.exporting.folding import fold
from keras_nonlocal.exporting.graph import is_non_local
from keras_nonlocal.exporting.saved_model import save_network
from keras_nonlocal.exporting.tflite_metadata import add_metadata

QUANTIZATIONS = (None, "float16", "dynamic", "int8")
# Neither has an 8-bit form in XNNPACK. TFLite's own matrix product of 8 bits is a plain loop on
# one core, which made the whole network slower than in float32; in float, XNNPACK runs it all, and
# the probabilities keep their digits.
_KEPT_IN_FLOAT = ["BATCH_MATMUL", "SOFTMAX"]
_PRODUCTS = ("CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL")
# Of 8 bits or float as what stands around them.
_WITHOUT_ARITHMETIC = ("RESHAPE", "MAX_POOL_2D")


def write_tflite(model, path, facts, input_shape=None, quantize=None, clips=None):
    """Writes a model, folded and lowered to 2-D, as a TFLite file for one clip at a time.

    TFLite has no 3-D max-pooling, and its 3-D convolution has neither an integer form nor the
    fast kernels, so convolutions and pools run in two dimensions, which changes no number.
    Inputs and outputs are float32 in every form. Labels and preprocessing lie in the file, see
    `add_metadata`.

    Args:
        model: see `fold`.
        path: file to write.
        facts: `Facts` of the network.
        input_shape: see `fold`.
        quantize: `None` for float32, `"float16"` for weights in half the space, `"dynamic"`
            for 8-bit weights whose activations are quantised as they come, `"int8"` for 8-bit
            weights and activations but in the weighted mean of the non-local blocks.
        clips: for `"int8"`, an array `(clips, *input_shape)` as the network takes them, whose
            activations set the ranges.

    Raises:
        ValueError: if the model needs an operation that TFLite lacks, or has a loop and is to be
            of 8 bits throughout.
    """
    network = fold(model, input_shape, batch_size=1, lower=True)
    content = add_metadata(convert(network, quantize, clips), facts, network.name)
    pathlib.Path(path).write_bytes(content)


def convert(network, quantize=None, clips=None):
    """Gives a network as the bytes of a TFLite file.

    Args:
        network: what `fold` gives, of fixed sizes and without 3-D operations.
        quantize: see `write_tflite`.
        clips: see `write_tflite`.

    Returns:
        Bytes.

    Raises:
        ValueError: see `write_tflite`.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    with tempfile.TemporaryDirectory() as room:
        # By way of a SavedModel, where the converter finds the weights and makes them constants.
        save_network(network, room)
        converter = tf.lite.TFLiteConverter.from_saved_model(room)
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            if quantize == "int8":
                _check_without_loops(room, network)
                return _convert_calibrated(converter, network, clips)
            return converter.convert()
        except ConverterError as error:
            lacking = sorted(set(re.findall(r"'tf\.(\w+)' op is neither a custom", str(error))))
            told = f"which needs {', '.join(lacking)}"
            if not lacking:
                told = f"on which the converter says: {error}"
            raise ValueError(
                f"`model` must consist of operations that TFLite has built in. Received: "
                f"'{network.name}', {told}. Build it without, or choose another format."
            ) from error


def _convert_calibrated(converter, network, clips):
    """Gives the network in 8 bits, but for what `_find_kept_in_float` names."""
    from tensorflow.lite.python.convert import mlir_quantize

    converter.representative_dataset = lambda: ([clip[None]] for clip in clips)
    # The converter quantises all operations or those of a type. TensorFlow's QuantizationDebugger
    # offers a choice in this way, and makes a second file to debug.
    converter._experimental_calibrate_only = True
    calibrated = converter.convert()
    return mlir_quantize(
        calibrated,
        denylisted_ops=_KEPT_IN_FLOAT,
        denylisted_nodes=_find_kept_in_float(calibrated, network),
    )


def _check_without_loops(saved_model, network):
    """Refuses loops, on which TensorFlow's calibration ends the whole process."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    content = SavedModel.FromString((pathlib.Path(saved_model) / "saved_model.pb").read_bytes())
    # As text, which shows the functions that functions call as well.
    if re.search(r'op: "(Stateless)?While"', str(content.meta_graphs[0].graph_def)):
        raise ValueError(
            "`quantize='int8'` needs a network without loops, in which no ranges can be measured. "
            f"Received: '{network.name}', of which a layer has one. Use quantize='dynamic', or "
            "unroll the loop: recurrent layers of Keras have unroll=True."
        )


def _find_blocks(network):
    """Names of the non-local blocks of a network and of the models in it."""
    names = []
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            names += _find_blocks(layer)
        elif is_non_local(layer):
            names.append(layer.name)
    return names


def _find_kept_in_float(content, network):
    """Names of the tensors that stay float: weighted means of non-local blocks, and the end.

    Sums over all keys have ranges of their own, which 8 bits cannot hold together with their
    terms. Behind the last product with weights there are no more than the softmax and the mean over
    places, whose answers would become multiples of 1/256.
    """
    import tensorflow as tf
    from tensorflow.lite.python import schema_py_generated as schema

    inside = _find_blocks(network)
    # Scopes get numbers; those of the sub-layers hold convolutions.
    names = "|".join(map(re.escape, inside))
    mean = re.compile(rf"(?:^|/)({names})(?:_\d+)?/(?!(?:theta|phi|g|out)(?:_\d+)?/)")
    codes = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    operations = []
    for i in range(graph.OperatorsLength()):
        operation = graph.Operators(i)
        kind = codes[model.OperatorCodes(operation.OpcodeIndex()).BuiltinCode()]
        names = [graph.Tensors(t).Name().decode() for t in operation.OutputsAsNumpy()]
        operations.append((kind, names))
    blocks = {}
    for kind, names in operations:
        for name in names:
            found = mean.search(name) if inside else None
            if found and kind not in _WITHOUT_ARITHMETIC:
                blocks.setdefault(found.groups() + (found.group(),), []).append(name)
    # The last adds the block's input, and is of 8 bits as all sums of two branches.
    means = {block: names[:-1] for block, names in blocks.items()}
    missing = sorted(set(inside) - {name for (name, _), names in means.items() if names})
    if missing:
        raise RuntimeError(
            "`quantize='int8'` keeps the weighted means of non-local blocks in float, and must "
            f"find them in the converter's graph. Received: nothing of {', '.join(missing)} in "
            f"'{network.name}' by TensorFlow {tf.__version__}. Use quantize='dynamic', or another "
            "version of TensorFlow."
        )
    kept = [name for names in means.values() for name in names]
    products = [i for i, (kind, _) in enumerate(operations) if kind in _PRODUCTS]
    for _, names in operations[products[-1] + 1 :] if products else []:
        kept += names
    return kept

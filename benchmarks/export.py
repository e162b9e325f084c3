"""Times the exported NL-I3D R50 8x8 beside the network, PyTorch, and its convolutions alone.

The network takes pixels and normalizes them; "folded, normalized clips" is the same without.

    python benchmarks/export.py [--dtypes float32 bfloat16] [--rounds 5] [--batch 2]
                                [--only folded unfolded ...]

As in networks.py every contender lives in a process of its own, and they take turns. "The
convolutions alone" are the limit of what folding can reach on these kernels: the same convolutions
as in the folded network, of the same shapes and in the same order, the 1x1 ones as well, each on
an input that is there already; no bias, ReLU, pooling, padding, non-local product or classifier.
In bfloat16 the exported files, which have no such form, are left out.
"""

import argparse
import pathlib
import shutil
import statistics
import tempfile
import time

import networks
from machine import describe_machine


def make_network(include_preprocessing=True):
    import keras_nonlocal as knl

    return knl.NLI3D(
        source="pytorchvideo",
        classifier_activation=None,
        include_preprocessing=include_preprocessing,
    )


def make_pixels(count):
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (count, *networks.CLIP)).astype("float32")


def folded_step(dtype, batch, include_preprocessing=True):
    """Returns a function that runs one prediction of the folded network."""
    import tensorflow as tf

    from keras_nonlocal.exporting import fold
    from keras_nonlocal.preprocessing import preprocess_input

    network = fold(make_network(include_preprocessing), dtype=dtype)
    run = tf.function(lambda clips: network(clips, training=False), jit_compile=False)
    clips = make_pixels(batch)
    clips = tf.constant(clips if include_preprocessing else preprocess_input(clips))
    return lambda: run(clips).numpy()


def convolutions_step(dtype, batch):
    """Gives a function that runs the convolutions of the folded network, and nothing else."""
    import tensorflow as tf

    from keras_nonlocal.exporting import fold

    calls = list(_convolutions_of(fold(make_network(), dtype=dtype), batch))
    # Variables, as the grappler would compute what follows from constants beforehand.
    inputs = {shape: tf.Variable(tf.cast(tf.random.normal(shape), dtype)) for shape, *_ in calls}
    kernels = [tf.Variable(kernel) for _, kernel, _ in calls]

    @tf.function(jit_compile=False)
    def run():
        outputs = []
        for (shape, _, strides), kernel in zip(calls, kernels, strict=True):
            convolve = tf.nn.conv2d if len(shape) == 4 else tf.nn.conv3d
            # On the way to a host each waits for the one before, as in the network.
            with tf.control_dependencies(outputs[-1:]):
                outputs.append(convolve(inputs[shape], kernel, [1, *strides, 1], "VALID"))
        return tf.stack([tf.reshape(output, [-1])[0] for output in outputs])

    return lambda: run().numpy()


def exported_step(batch, format, quantize=None):
    """Returns a function that runs one prediction of an exported file, and its size."""
    import keras_nonlocal as knl
    from keras_nonlocal.exporting.artefacts import load_artefact
    from keras_nonlocal.exporting.report import size_of

    room = pathlib.Path(tempfile.mkdtemp())
    try:
        path = room / {"tflite": "network.tflite", "onnx": "network.onnx"}.get(format, "network")
        clips = make_pixels(10)
        # Weights that are not trained, and noise: what 8 bits make of them says nothing.
        options = {"format": format, "quantize": quantize, "tolerance": float("inf")}
        knl.export(make_network(), path, clips=clips, **options)
        artefact = load_artefact(path)
        artefact.predict(clips[:1])
        size = size_of(path)
    finally:
        shutil.rmtree(room)
    return lambda: artefact.predict(clips[:batch]), size


def _convolutions_of(network, batch):
    """Shapes of padded inputs, kernels and strides, as the layers run them."""
    for layer in network.layers:
        inner = [getattr(layer, name, None) for name in ("theta", "phi", "g", "out")]
        for conv in [each for each in inner if each is not None] or [layer]:
            kernel = getattr(conv, "kernel", None)
            if kernel is None or len(kernel.shape) != 5:
                continue
            source = _input_of(network, layer, conv, batch)
            yield _as_run(conv, source, kernel.numpy())


def _input_of(network, layer, conv, batch):
    shape = (batch, *layer.input.shape[1:])
    if conv is layer:
        return shape
    batch, frames, height, width, _ = shape
    if conv.name in ("phi", "g"):
        # They read maps that were pooled.
        height, width = height // 2, width // 2
    return (batch, frames, height, width, conv.kernel.shape[3])


def _as_run(conv, shape, kernel):
    """Kernels over space alone, and over time alone, run as the 2-D ones that they are."""
    batch, frames, height, width, channels = shape
    over_time, *over_space = conv.kernel_size
    strides = conv.strides
    frames, height, width = (
        size + size_of // 2 * 2
        for size, size_of in zip((frames, height, width), conv.kernel_size, strict=True)
    )
    if over_space == [1, 1] and strides[1:] == (1, 1):
        places = (batch, frames, height * width, channels)
        return places, kernel.reshape(over_time, 1, channels, -1), (strides[0], 1)
    if over_time == 1 and strides[0] == 1:
        images = (batch * frames, height, width, channels)
        return images, kernel.reshape(*over_space, channels, -1), strides[1:]
    return (batch, frames, height, width, channels), kernel, strides


PACKAGES = "keras tensorflow torch pytorchvideo numpy ai-edge-litert onnxruntime openvino".split()
CONTENDERS = {
    "folded": folded_step,
    "folded, normalized clips": lambda *how: folded_step(*how, include_preprocessing=False),
    "unfolded": lambda *how: networks.keras_steps(make_network, *how)[0],
    "PyTorch, contiguous": lambda *how: networks.torch_steps(*how, channels_last=False)[0],
    "PyTorch, channels_last_3d": lambda *how: networks.torch_steps(*how, channels_last=True)[0],
    "convolutions alone": convolutions_step,
}
EXPORTS = {
    "SavedModel": ("saved_model",),
    "TFLite float32": ("tflite",),
    "TFLite float16": ("tflite", "float16"),
    "TFLite dynamic": ("tflite", "dynamic"),
    "TFLite int8": ("tflite", "int8"),
    "ONNX": ("onnx",),
    "OpenVINO": ("openvino",),
}


def serve(name, dtype, batch, pipe):
    """Runs in the contender's process: times a prediction when it is asked for one."""
    if name in CONTENDERS:
        predict = CONTENDERS[name](dtype, batch)
    else:
        predict, size = exported_step(batch, *EXPORTS[name])
        print(f"  {name}: {size / 1e6:.1f} MB", flush=True)
    pipe.send("ready")
    while pipe.recv() is not None:
        start = time.perf_counter()
        predict()
        pipe.send(time.perf_counter() - start)


def report(dtype, seconds):
    first = next(iter(seconds))
    print(f"\n{dtype} prediction: seconds a clip; how many times that of: {first}")
    for name, taken in seconds.items():
        ratios = [theirs / mine for theirs, mine in zip(taken, seconds[first], strict=True)]
        print(
            f"  {name:28}{statistics.median(taken):7.3f}"
            f"  x{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2, help="clips a prediction")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    everyone = [*CONTENDERS, *EXPORTS]
    parser.add_argument("--only", nargs="+", choices=everyone, default=everyone)
    arguments = parser.parse_args()
    names = networks.leave_out_missing(arguments.only)
    print(describe_machine(*PACKAGES))
    print(f"NL-I3D R50, clips of {networks.CLIP}, batch {arguments.batch}")
    for dtype in arguments.dtypes:
        taking_part = names if dtype == "float32" else [n for n in names if n in CONTENDERS]
        seconds = networks.measure(
            taking_part, dtype, arguments.batch, arguments.rounds, serve, ("predict",)
        )
        report(dtype, seconds["predict"])


if __name__ == "__main__":
    main()

"""Runs an exported network on clips with TensorFlow alone, and times it.

python examples/serve.py MODEL CLIPS.npy ANSWERS.npy

MODEL is a SavedModel folder or a .tflite file. No Keras model is built, and the package that
trained the network is not imported: this is all that a server or a phone has to do.
"""

import json
import pathlib
import statistics
import sys
import time
import warnings

import numpy as np
import tensorflow as tf


def load(path):
    """Loads an exported network.

    Args:
        path: a SavedModel folder or a `.tflite` file.

    Returns:
        A function from one clip `(frames, height, width, 3)`, as the network takes it, to its
        probabilities.
    """
    if pathlib.Path(path).suffix != ".tflite":
        module = tf.saved_model.load(str(path))
        # A function does not keep the variables of its module alive: hold both.
        return lambda clip, module=module: module.serve(np.float32(clip[None])).numpy()[0]
    with warnings.catch_warnings():
        # Its successor, ai_edge_litert, is a package of its own.
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
        interpreter = tf.lite.Interpreter(model_path=str(path), num_threads=2)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]["index"]
    answer = interpreter.get_output_details()[0]["index"]

    def run(clip):
        interpreter.set_tensor(entry, np.float32(clip[None]))
        interpreter.invoke()
        return interpreter.get_tensor(answer)[0]

    return run


def time_per_call(run, clip, calls=30):
    """Median milliseconds of a call, after two that warm up."""
    times = []
    for _ in range(calls + 2):
        start = time.perf_counter()
        run(clip)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[2:])


def main():
    """Reads clips, writes the network's answers, prints its latency as JSON."""
    model, clips, answers = sys.argv[1:]
    # The input of an export is float32; pixels of 8 bits are stored in a quarter of the space.
    clips = np.float32(np.load(clips))
    run = load(model)
    np.save(answers, np.stack([run(clip) for clip in clips]))
    milliseconds = time_per_call(run, clips[0])
    alone = "keras_nonlocal" not in sys.modules
    print(json.dumps({"milliseconds": milliseconds, "alone": alone}))


if __name__ == "__main__":
    main()

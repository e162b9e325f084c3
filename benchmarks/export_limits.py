"""Exports networks to every format, measures what came out, and writes docs/export-limits.md.

    python benchmarks/export_limits.py --out runs/limits [--networks ...] [--rounds 3]

For each network and format: the size of what was written; the seconds of a clip, all formats and
the network itself in turns, each in a process of its own; the memory at its peak of a process that
opens the file and answers for one clip, less what it holds once the runtime is imported; and how
far the answers lie from the network's. What is measured stays beside the page, in
docs/export-limits.json, so that networks can be added run by run; the page is written anew from all
of it. Reads /proc, so Linux alone.
"""

import argparse
import functools
import importlib
import json
import multiprocessing
import pathlib
import re
import shutil
import statistics
import sys
import time

import networks
from limits_page import write_page
from machine import describe_machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = "keras tensorflow numpy ai-edge-litert onnxruntime openvino".split()
FORMATS = {
    "SavedModel": ("saved_model", None),
    "TFLite, float32": ("tflite", None),
    "TFLite, float16": ("tflite", "float16"),
    "TFLite, dynamic": ("tflite", "dynamic"),
    "TFLite, int8": ("tflite", "int8"),
    "ONNX": ("onnx", None),
    "OpenVINO": ("openvino", None),
}
RUNTIMES = {
    "saved_model": "tensorflow",
    "tflite": "ai_edge_litert.interpreter",
    "onnx": "onnxruntime",
    "openvino": "openvino",
}
TRAINED = "camera_motion (8x2 at 64)"
NETWORKS = {
    TRAINED: ("NLI3D", {"weights": "camera_motion"}),
    "C2D R50 8x8": ("C2D", {}),
    "I3D R50 8x8": ("I3D", {}),
    "I3D R50 8x8, 3x3x3": ("I3D", {"inflation": "3x3x3"}),
    "NL-C2D R50 8x8": ("NLC2D", {}),
    "NL-I3D R50 8x8": ("NLI3D", {}),
    "NL-I3D R50 8x8, gaussian": ("NLI3D", {"mode": "gaussian"}),
    "NL-I3D R50 8x8, dot product": ("NLI3D", {"mode": "dot_product"}),
    "NL-I3D R50 8x8, concatenation": ("NLI3D", {"mode": "concatenation"}),
    "NL-I3D R101 8x8": ("NLI3D", {"depth": 101}),
    "NL-I3D R50 32x2": ("NLI3D", {"clip": "32x2"}),
    "NL-I3D R101 32x2": ("NLI3D", {"depth": 101, "clip": "32x2"}),
}


def build(name):
    """Gives a network, with random weights of the size that training leaves if it has none."""
    import numpy as np

    import keras_nonlocal as knl

    builder, options = NETWORKS[name]
    build_network = functools.partial(getattr(knl, builder), include_preprocessing=True)
    if name == TRAINED:
        return build_network(**options)
    # Scores, as a softmax of large ones would hide differences.
    model = build_network(**options, classifier_activation=None)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        kind = variable.path.rsplit("/", 1)[-1]
        values = rng.normal(size=variable.shape)
        if kind == "kernel":
            values *= np.sqrt(1.5 / np.prod(variable.shape[:-1]))
            # No softmax bounds these affinities; from block to block they would grow without end.
            unbounded = options.get("mode") in ("dot_product", "concatenation")
            if unbounded and variable.path.endswith(("theta/kernel", "phi/kernel")):
                values *= 0.1
        elif kind == "moving_variance":
            values = np.exp(0.3 * values)
        elif kind == "gamma":
            # Small where a shortcut runs past, so that deep sums keep their size.
            beside = "_c_norm" in variable.path or "nonlocal" in variable.path
            values = (0.3 if beside else 0.9) + 0.1 * values
        else:
            values *= 0.1
        variable.assign(values)
    return model


def make_clips(name, model, out):
    """Gives clips to calibrate with, clips to compare on, and the classes of these if known."""
    import numpy as np

    if name == TRAINED:
        calibration, _ = _film(out / "calibration", "train", per_class=4, seed=8)
        return calibration, *_film(out / "held_out", "validation", per_class=24, seed=7)
    rng = np.random.default_rng(1)
    clips = rng.integers(0, 256, (10, *model.input_shape[1:])).astype("uint8")
    return clips, clips[:2], None


def _film(folder, split, per_class, seed):
    """Clips of the photographs that `camera_motion` was trained on, or of others."""
    import numpy as np

    import keras_nonlocal as knl

    sys.path.insert(0, str(ROOT / "examples"))
    importlib.import_module("camera_motion").make_videos(folder, split, per_class, seed)
    videos = knl.data.read_folder(folder)
    middle = knl.data.UniformClipSampler("8x2", 1, "mmaction2")
    batches = list(knl.data.evaluation_clips(videos, middle, 64, batch_size=32).dataset())
    return [np.concatenate([np.asarray(batch[i]) for batch in batches]) for i in (0, 1)]


def export_all(name, room, out, done):
    """Runs in a process of its own: exports a network to all formats, and compares."""
    import numpy as np

    import keras_nonlocal as knl
    from keras_nonlocal.exporting.agreement import answers_of
    from keras_nonlocal.exporting.artefacts import load_artefact
    from keras_nonlocal.exporting.report import read_report

    model = build(name)
    model.save(room / "network.keras")
    calibration, clips, classes = make_clips(name, model, out)
    np.save(room / "clip.npy", clips[:1])
    expected = answers_of(model, clips)
    rows = {}
    for label, (format, quantize) in FORMATS.items():
        start = time.perf_counter()
        path = path_of(room, label)
        # Without a bound: the page says how far they lie apart.
        knl.export(
            model,
            path,
            format=format,
            quantize=quantize,
            clips=calibration if quantize == "int8" else clips[:2],
            tolerance=float("inf"),
        )
        report = read_report(path)
        predict = load_artefact(path).predict
        found = np.concatenate([predict(clip[None]) for clip in clips])
        rows[label] = {
            "bytes": report["bytes"],
            "difference": float(np.abs(found - expected).max()),
            "relative": float(np.abs(found - expected).max() / np.abs(expected).max()),
            "clips": len(clips),
            "same_top": float(np.mean(found.argmax(1) == expected.argmax(1))),
            "accelerated": report["accelerated_operations"],
            "operations": report["all_operations"],
        }
        if classes is not None:
            rows[label]["top1"] = float(np.mean(found.argmax(1) == classes))
        print(f"  {label}: exported in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if classes is not None:
        rows["the network"] = {"top1": float(np.mean(expected.argmax(1) == classes))}
    done.send(rows)


def path_of(room, label):
    format, quantize = FORMATS[label]
    end = {"tflite": ".tflite", "onnx": ".onnx"}.get(format, "")
    return room / f"{format}_{quantize}{end}"


def serve(contender, dtype, batch, pipe):
    """Runs in the contender's process: times a clip when it is asked for one; see networks.py."""
    import numpy as np

    room, label = pathlib.Path(contender).parent, pathlib.Path(contender).name
    clip = np.load(room / "clip.npy")
    predict, base = (open_network if label == "the network" else open_export)(room, label)
    predict(clip)
    (room / f"{label}.memory").write_text(str(read_memory("VmHWM") - base))
    pipe.send("ready")
    while pipe.recv() is not None:
        start = time.perf_counter()
        predict(clip)
        pipe.send(time.perf_counter() - start)


def open_network(room, label):
    import keras

    import keras_nonlocal  # noqa: F401 (registers the layers)

    base = forget_peak()
    model = keras.saving.load_model(room / "network.keras", compile=False)
    return lambda clip: model.predict_on_batch(clip), base


def open_export(room, label):
    from keras_nonlocal.exporting.artefacts import load_artefact

    importlib.import_module(RUNTIMES[FORMATS[label][0]])
    base = forget_peak()
    return load_artefact(path_of(room, label)).predict, base


def forget_peak():
    """Has the peak begin anew, which importing may have raised; gives the bytes held now."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return read_memory("VmRSS")


def read_memory(field):
    """Bytes of this process: `VmRSS` now, `VmHWM` at its peak."""
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{field}:\s*(\d+) kB", status, re.MULTILINE).group(1))


def measure(name, out, rounds):
    """Gives all rows of a network."""
    room = out / "exports"
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=export_all, args=(name, room, out, theirs))
    process.start()
    theirs.close()
    rows = ours.recv()
    process.join()
    labels = ["the network", *FORMATS]
    contenders = {label: str(room / label) for label in labels}
    seconds = networks.measure(
        list(contenders.values()), "float32", 1, rounds, serve, ("predict",)
    )["predict"]
    reference = seconds[contenders["the network"]]
    for label, contender in contenders.items():
        row = rows.setdefault(label, {})
        ratios = [mine / theirs for mine, theirs in zip(seconds[contender], reference, strict=True)]
        row["seconds"] = statistics.median(seconds[contender])
        row["times"] = [statistics.median(ratios), min(ratios), max(ratios)]
        row["memory"] = int((room / f"{label}.memory").read_text())
    shutil.rmtree(room)
    return {label: rows[label] for label in labels}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="room for exports")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=pathlib.Path, default=ROOT / "docs" / "export-limits.md")
    arguments = parser.parse_args()
    machine = describe_machine(*PACKAGES)
    print(machine)
    kept = arguments.page.with_suffix(".json")
    measured = json.loads(kept.read_text()) if kept.exists() else {}
    for name in arguments.networks:
        print(name, file=sys.stderr)
        measured[name] = {
            "machine": machine,
            "rows": measure(name, arguments.out, arguments.rounds),
        }
        kept.write_text(json.dumps(measured, indent=1) + "\n")
        write_page(arguments.page, {each: measured[each] for each in NETWORKS if each in measured})


if __name__ == "__main__":
    main()

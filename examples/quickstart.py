"""From videos to a deployed non-local network, in minutes and without a GPU.

python examples/quickstart.py [--out runs/quickstart] [--per-class 90] [--epochs 4]

1. makes videos of camera motions over photographs (camera_motion.py says which motions),
2. reads them with keras_nonlocal.data,
3. trains a small NLI3D, and the same C2D, which cannot tell a motion from its reverse,
4. tests both on scenes that they have not seen, with several views of each video,
5. exports the NLI3D, and compares the exports' answers with its own in fresh processes,
6. draws learning curves, confusion matrices and the attention over a clip.

Interrupted and run again, it goes on where it was. The weights that ship with the package come
from the same script with more videos and epochs; see weights/README.md.
"""

import argparse
import time

import camera_motion
import keras
import numpy as np
import pictures
import workflow

import keras_nonlocal as knl

# The network: 8 frames, every second one of the video, of 64x64 pixels.
CLIP, CROP = "8x2", 64
NETWORK = {
    "depth": (1, 1, 1, 1),
    "width": 16,
    "clip": CLIP,
    "input_shape": (8, CROP, CROP, 3),
    "classes": len(camera_motion.CLASSES),
    "dropout": 0.2,
}
# Clips inside each video, for a cut where one runs over its end would hide the motion.
MIDDLE, NINE_VIEWS = (knl.data.UniformClipSampler(CLIP, clips, "mmaction2") for clips in (1, 3))


def make_videos(out, per_class, seed):
    """Makes the videos that are not there yet, and lists them.

    Returns:
        Two `VideoList`s: training and validation.
    """
    for split, count in (("train", per_class), ("validation", max(per_class // 5, 1))):
        step = max(count * len(camera_motion.CLASSES) // 10, 1)

        def report(done, total, split=split, step=step):
            if done % step == 0 or done == total:
                print(f"  {split}: {done} of {total}", flush=True)

        camera_motion.make_videos(out / "videos" / split, split, count, seed, report)
    return [knl.data.read_folder(out / "videos" / split) for split in ("train", "validation")]


def make_datasets(training, validation, seed):
    """Makes the clips to train on, and the dataset to validate with."""
    return (
        knl.data.training_clips(
            training,
            CLIP,
            size=CROP,
            batch_size=32,
            # Four clips per video, as decoding most of so short a one costs little more than some.
            clips_per_video=4,
            # Mirrored or not: a pan to the left is one to the right then, by its name.
            flip="auto",
            color=0.2,
            seed=seed,
        ),
        # The same clips after every epoch: decoded once.
        knl.data.evaluation_clips(validation, MIDDLE, CROP, batch_size=32).dataset().cache(),
    )


def save_weights(model, path):
    """Saves weights as 16-bit floats, in half the space; `load_weights` widens them again."""
    # Of the same layers, but never compiled: a compiled model would save its optimizer, too.
    bare = keras.Model(model.input, model.output)
    twin = keras.models.clone_model(bare, clone_function=_recast)
    twin.set_weights(model.get_weights())
    workflow.write_whole(path, twin.save_weights)


def _recast(layer):
    return layer.__class__.from_config({**layer.get_config(), "dtype": "float16"})


def main():
    """Reads the command line and goes through the steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="runs/quickstart", help="folder for all that is made")
    parser.add_argument("--per-class", type=int, default=90, help="training videos of each class")
    parser.add_argument("--epochs", type=int, default=4, help="passes over them, 4 clips of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("NLI3D", "C2D"), help="train one of the two networks")
    arguments = parser.parse_args()
    began = time.monotonic()

    def announce(step):
        print(f"\n[{time.monotonic() - began:4.0f} s] {step}", flush=True)

    settings = {key: value for key, value in vars(arguments).items() if key not in ("out", "only")}
    out = workflow.start(arguments.out, settings)
    keras.utils.set_random_seed(arguments.seed)

    announce("Making videos of camera motions")
    training, validation = make_videos(out, arguments.per_class, arguments.seed)
    datasets = make_datasets(training, validation, arguments.seed)

    views = knl.data.evaluation_clips(
        validation, NINE_VIEWS, CROP, num_crops=3, batch_size=4
    ).dataset()
    models, curves, results = {}, {}, {}
    for builder in (knl.NLI3D, knl.C2D):
        name = builder.__name__
        if arguments.only not in (None, name):
            continue
        model = builder(**NETWORK, name=name.lower())
        announce(f"Training {name}, {model.count_params():,} parameters")
        curves[name] = workflow.fit(model, out, *datasets, arguments.epochs)
        models[name] = model
        announce(f"Testing {name} on {len(validation)} videos of unseen scenes, 9 views each")
        results[name] = knl.evaluation.evaluate_views(models[name], views)
        print(f"  accuracy {results[name].accuracy:.1%}")

    announce("Drawing")
    drawn = [out / "learning_curves.png", out / "confusion.png"]
    pictures.draw_curves(curves, drawn[0])
    confusions = {f"{name}: {r.accuracy:.0%}": r.confusion for name, r in results.items()}
    pictures.draw_confusion(confusions, training.class_names, drawn[1])

    exports = []
    if "NLI3D" in models:
        model = models["NLI3D"]
        some = next(iter(views.unbatch().batch(len(validation))))[0].numpy()[:, 4]
        drawn.append(out / "attention.png")
        draw_attention(model, some, results["NLI3D"], training.class_names, drawn[-1])
        save_weights(model, out / "camera_motion.weights.h5")
        announce("Exporting NLI3D, and asking the exports in fresh processes")
        exports = workflow.export_and_compare(model, some[:16], out)
        workflow.print_exports(exports)

    workflow.print_table(
        f"On {len(validation)} videos of scenes that were not trained on",
        ["", "parameters", "accuracy, one view", "nine views", "top-2"],
        [
            (
                name,
                f"{models[name].count_params():,}",
                f"{curves[name][-1]['val_accuracy']:.1%}",
                f"{result.accuracy:.1%}",
                f"{result.top_accuracy(2):.1%}",
            )
            for name, result in results.items()
        ],
    )
    print("\nPictures: " + ", ".join(map(str, drawn)))
    print(f"All of it took {time.monotonic() - began:.0f} s.")


def draw_attention(model, clips, result, classes, path):
    """Draws the attention over the clip that the network is surest and right about."""
    sure = np.where(result.predictions == result.labels, result.probabilities.max(1), -1)
    # A still camera makes a dull picture.
    sure[result.labels == classes.index("still")] = -1
    best = int(sure.argmax())
    knl.visualization.draw_attention(
        model,
        clips[best],
        "res3_0_nonlocal",
        path=path,
        title=f"{classes[result.labels[best]].replace('_', ' ')}: where the place + looks",
    )


if __name__ == "__main__":
    main()

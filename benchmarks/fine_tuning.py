"""Fine-tunes the shipped network on three small tasks: by the recipe, and by plain `fit`.

    python benchmarks/fine_tuning.py --films DIR [--tasks films ...] [--seeds 3] [--work DIR]

Plain `fit` is what README shows: SGD at a rate of 0.005 with Nesterov momentum of 0.9, batches of
4. The recipe is `FINE_TUNING` at its own batch. Both have the same epochs, seeds, initial weights
(`camera_motion`, with a new classifier) and held-out videos, of which 5 clips are averaged. The
tasks:

- films: video files of DIR that are long enough, each a class, cut into 8 short videos, a quarter
  of which is held out by the seed; 15 epochs. Skipped without `--films`.
- camera: the motions of `examples/camera_motion.py`, 10 videos per class; 6 held out, of other
  photographs; 8 epochs.
- patterns: 100 made videos of five drifting patterns; 50 others held out; 12 epochs.

`TF_ENABLE_ONEDNN_OPTS=1` makes it many times as fast on processors without AVX-512.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

import numpy as np
from machine import describe_machine

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = pathlib.Path(__file__).parents[1]
sys.path.append(str(ROOT / "examples"))

SIZES = {"clip": "8x2", "crop": 64}
PIECES = 8
# Frames that a clip of 8x2 spans.
SPAN = 15
PATTERNS = ("checks", "columns", "dots", "rings", "rows")


def main():
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--films", type=pathlib.Path, help="folder of at least two video files")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=pathlib.Path, help="folder to keep the videos in")
    arguments = parser.parse_args()
    print(describe_machine("keras", "tensorflow", "numpy", "av"))
    print("Held-out accuracy in percent: mean (each seed)")
    print(f"{'task':8} {'videos':>6} {'epochs':>6} {'plain fit':>20} {'recipe':>20} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or pathlib.Path(temporary)
        for task in arguments.tasks:
            make, epochs = TASKS[task]
            if make is cut_films and arguments.films is None:
                print(f"{task:8} skipped: no --films")
                continue
            make(work / task, arguments.films)
            start, cells = time.perf_counter(), []
            for train in (train_plainly, train_by_recipe):
                results = [
                    measure(train, work / task, seed, epochs) for seed in range(arguments.seeds)
                ]
                each = ", ".join(f"{100 * result:.0f}" for result in results)
                cells.append(f"{100 * np.mean(results):.1f} ({each})")
            count = len(read(work / task, 0)[0])
            seconds = time.perf_counter() - start
            cells = f"{cells[0]:>20} {cells[1]:>20}"
            print(f"{task:8} {count:6} {epochs:6} {cells} {seconds:8.0f}", flush=True)


def measure(train, folder, seed, epochs):
    """Trains once.

    Args:
        train: `train_plainly` or `train_by_recipe`.
        folder: of the task.
        seed: integer, of the split, of the new classifier and of all that is drawn in training.
        epochs: passes through the videos.

    Returns:
        The accuracy on the held-out videos.
    """
    import keras

    import keras_nonlocal as knl

    keras.backend.clear_session()
    training, held_out = read(folder, seed)
    keras.utils.set_random_seed(seed)
    model = knl.NLI3D(weights="camera_motion", classes=len(training.class_names))
    head = model.get_layer("predictions")
    # As many classes as the checkpoint has would keep its classifier.
    for variable, initializer in (
        (head.kernel, keras.initializers.RandomNormal(stddev=0.01)),
        (head.bias, keras.initializers.Zeros()),
    ):
        variable.assign(initializer(variable.shape))
    train(model, training, seed, epochs)
    views = knl.data.evaluation_clips(
        held_out, SIZES["clip"], SIZES["crop"], num_clips=5, batch_size=1
    ).dataset()
    return knl.evaluation.evaluate_views(model, views).accuracy


def train_plainly(model, training, seed, epochs):
    """Trains as README's "Fine-tune" does."""
    import keras

    import keras_nonlocal as knl

    model.compile(
        keras.optimizers.SGD(0.005, momentum=0.9, nesterov=True), "sparse_categorical_crossentropy"
    )
    clips = knl.data.training_clips(training, SIZES["clip"], SIZES["crop"], batch_size=4, seed=seed)
    model.fit(clips.dataset(), epochs=epochs, shuffle=False, verbose=0)


def train_by_recipe(model, training, seed, epochs):
    """Trains as `keras-nonlocal train` does by default."""
    import dataclasses

    import keras_nonlocal as knl

    recipe = dataclasses.replace(knl.training.FINE_TUNING, epochs=epochs, **SIZES)
    batch_size = recipe.batch_size
    clips = knl.data.training_clips(training, batch_size=batch_size, seed=seed, **recipe.data)
    recipe.prepare(model)
    recipe.compile(model, clips.steps_per_epoch, batch_size=batch_size)
    dataset, callbacks = clips.dataset(), recipe.callbacks()
    model.fit(dataset, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0)


def read(folder, seed):
    """Returns the videos to train on and those held out."""
    import keras_nonlocal as knl

    if (folder / "train").exists():
        return [knl.data.read_folder(folder / part) for part in ("train", "validation")]
    return knl.data.split_videos(knl.data.read_folder(folder), 0.25, seed)


def cut_films(folder, films):
    """Cuts each long enough film into pieces, at a short side of 96 pixels."""
    import av
    from camera_motion import write_video

    for film in sorted(films.iterdir()):
        with av.open(str(film)) as container:
            (stream,) = container.streams.video
            scale = 96 / min(stream.width, stream.height)
            size = {s: 2 * round(getattr(stream, s) * scale / 2) for s in ("width", "height")}
            frames = [
                frame.reformat(**size).to_ndarray(format="rgb24")
                for frame in container.decode(stream)
            ]
        if len(frames) < PIECES * SPAN:
            continue
        (folder / film.name).mkdir(parents=True, exist_ok=True)
        for number, piece in enumerate(np.array_split(np.array(frames), PIECES)):
            write_video(folder / film.name / f"{number}.mp4", piece)


def make_camera(folder, films=None):
    """Makes the videos of camera motions."""
    from camera_motion import make_videos

    make_videos(folder / "train", "train", per_class=10, seed=1)
    make_videos(folder / "validation", "validation", per_class=6, seed=1)


def make_patterns(folder, films=None):
    """Makes 100 videos of drifting patterns, and 50 to hold out."""
    from camera_motion import write_video

    for part, count in (("train", 20), ("validation", 10)):
        for label, name in enumerate(PATTERNS):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                generator = np.random.default_rng([label, number, part == "train"])
                write_video(folder / part / name / f"{number}.mp4", draw_pattern(name, generator))


def draw_pattern(name, generator, frames=24, size=80):
    """Draws one of `PATTERNS`: two colors, turned, of a random scale, drifting, with noise.

    Args:
        name: the pattern.
        generator: `numpy.random.Generator`.
        frames: number of frames.
        size: height and width.

    Returns:
        uint8 array `(frames, size, size, 3)`.
    """
    time = np.arange(frames)[:, None, None]
    y, x = np.mgrid[:size, :size] - size / 2
    speed = generator.uniform(-2, 2, 2)
    turn, frequency = generator.uniform(-0.4, 0.4), 2 * np.pi / generator.uniform(10, 24)
    y, x = y + speed[0] * time, x + speed[1] * time
    y, x = y * np.cos(turn) - x * np.sin(turn), y * np.sin(turn) + x * np.cos(turn)
    waves = np.sin(frequency * y), np.sin(frequency * x)
    heights = {
        "checks": waves[0] * waves[1],
        "columns": waves[1],
        "dots": waves[0] + waves[1] - 0.8,
        "rings": np.sin(frequency * np.hypot(y, x)),
        "rows": waves[0],
    }
    colors = generator.uniform(0, 255, (2, 3))
    pixels = np.where(heights[name][..., None] > 0, *colors)
    return np.clip(pixels + generator.normal(0, 30, pixels.shape), 0, 255).astype(np.uint8)


# What makes the videos, and the epochs.
TASKS = {"films": (cut_films, 15), "camera": (make_camera, 8), "patterns": (make_patterns, 12)}


if __name__ == "__main__":
    main()

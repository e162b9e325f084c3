"""Says what each part of a video shows, with weights that load by name.

python examples/predict.py VIDEO... [--weights camera_motion] [--every SECONDS]

The weights "camera_motion", which come with the package, tell how the camera moves: pan, tilt,
zoom, turn, or still. Those of Kinetics-400 are downloaded the first time.
"""

import argparse

import numpy as np

import keras_nonlocal as knl


def load(name):
    """Builds the network of a set of weights.

    Args:
        name: a name of `keras_nonlocal.list_weights()`.

    Returns:
        The model and its `Checkpoint`.
    """
    (checkpoint,) = [c for c in knl.list_weights() if c.name == name]
    return getattr(knl, checkpoint.builder)(weights=name), checkpoint


def predict(video, model, checkpoint, every=None):
    """Yields the class probabilities of each clip of a video.

    Args:
        video: path of the file.
        model, checkpoint: from `load`.
        every: seconds between clips; `None` puts one after the other.

    Yields:
        Tuples: begin and end in seconds, probabilities `(classes,)`, the mean of three crops.
    """
    info = knl.data.probe_video(video)
    fps = info.fps or 25.0
    clip = knl.data.ClipSpec.parse(checkpoint.clip)
    crop = knl.data.transforms.three_crops(checkpoint.crop)
    step = clip.span if every is None else max(round(every * fps), 1)
    # A last clip that would run over the end is left out, unless it is the only one.
    for start in range(0, max(info.frames - clip.span, 0) + 1, step):
        indices = clip.indices(start, info.frames)
        frames = knl.data.decode_frames(video, indices, checkpoint.short_side)
        probabilities = model.predict_on_batch(crop(frames).numpy()).mean(axis=0)
        yield start / fps, min(start + clip.span, info.frames) / fps, probabilities


def main():
    """Reads the command line and prints a line for each clip."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("videos", nargs="+", metavar="VIDEO")
    # Weights of image networks are no network for clips by themselves.
    names = [checkpoint.name for checkpoint in knl.list_weights() if checkpoint.builder]
    parser.add_argument("--weights", choices=names, metavar="NAME", default="camera_motion")
    parser.add_argument("--every", type=float, help="seconds from clip to clip")
    arguments = parser.parse_args()
    loaded = load(arguments.weights)
    classes = [name.replace("_", " ") for name in loaded[1].class_names]
    for video in arguments.videos:
        print(video)
        all_probabilities = []
        for begin, end, probabilities in predict(video, *loaded, every=arguments.every):
            all_probabilities.append(probabilities)
            first, second = np.argsort(probabilities)[:-3:-1]
            bar = "#" * round(20 * probabilities[first])
            print(
                f"  {begin:6.2f} to {end:6.2f} s  {classes[first]:<11}{probabilities[first]:4.0%} "
                f"{bar:<20}  then {classes[second]} {probabilities[second]:.0%}",
                flush=True,
            )
        mean = np.mean(all_probabilities, axis=0)
        ranking = np.argsort(mean)[:-4:-1]
        print("  on the whole: " + ", ".join(f"{classes[c]} {mean[c]:.0%}" for c in ranking))


if __name__ == "__main__":
    main()

"""Fine-tunes the shipped network on your own videos: a folder of class folders.

python examples/finetune.py --videos DIR [--out runs/finetune] [--epochs 10]

DIR holds one folder a class, named like it, with video files in it (mp4, avi, mkv, webm ...).
A fifth of each class's files is held out for validation. The steps are those of quickstart.py:
read, train, test with several views, export, compare the exports in fresh processes, draw.
Interrupted and run again, it goes on where it was.
"""

import argparse

import keras
import pictures
import workflow

import keras_nonlocal as knl


def main():
    """Reads the command line and goes through the steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--videos", required=True, help="folder of class folders")
    parser.add_argument("--out", default="runs/finetune", help="folder for all that is made")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--clips", type=int, default=4, help="training clips of a video an epoch")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--no-flip", action="store_true", help="mirror no clips")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    videos = knl.data.read_folder(arguments.videos)
    settings = {key: value for key, value in vars(arguments).items() if key != "out"}
    out = workflow.start(arguments.out, {**settings, "files": videos.paths})
    keras.utils.set_random_seed(arguments.seed)
    training, validation = knl.data.split_videos(videos, seed=arguments.seed)
    print(
        f"{len(training)} videos to train on, {len(validation)} held out, "
        f"of {len(videos.class_names)} classes: {', '.join(videos.class_names)}"
    )

    (checkpoint,) = [c for c in knl.list_weights() if c.name == "camera_motion"]
    sizes = {"clip": checkpoint.clip, "size": checkpoint.crop}
    batch_size = min(arguments.batch_size, len(training) * arguments.clips)
    datasets = (
        knl.data.training_clips(
            training,
            **sizes,
            batch_size=batch_size,
            clips_per_video=arguments.clips,
            flip=not arguments.no_flip,
            color=0.2,
            seed=arguments.seed,
        ),
        knl.data.evaluation_clips(validation, **sizes, batch_size=batch_size).dataset().cache(),
    )
    # Other classes than the checkpoint's start the classifier anew and keep the rest.
    model = knl.NLI3D(weights="camera_motion", class_names=videos.class_names, name="finetuned")
    curves = workflow.fit(
        model, out, *datasets, arguments.epochs, learning_rate=arguments.learning_rate
    )

    views = knl.data.evaluation_clips(
        validation, **sizes, num_clips=5, num_crops=3, batch_size=1
    ).dataset()
    result = knl.evaluation.evaluate_views(model, views)
    title = f"{result.accuracy:.0%} of {len(validation)} held-out videos"
    pictures.draw_curves({"NLI3D": curves}, out / "learning_curves.png")
    pictures.draw_confusion({title: result.confusion}, videos.class_names, out / "confusion.png")
    clips = next(iter(views))[0].numpy()[0]
    blocks = [layer.name for layer in model.layers if layer.name.endswith("nonlocal")]
    knl.visualization.draw_attention(model, clips[0], blocks[0], path=out / "attention.png")
    workflow.print_exports(workflow.export_and_compare(model, clips, out))
    print(f"\nAccuracy, 15 views a video: {title}.")
    print(f"Pictures: {out}/learning_curves.png, confusion.png, attention.png")


if __name__ == "__main__":
    main()

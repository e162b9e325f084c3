"""The video form of `keras.utils.image_dataset_from_directory`."""

import dataclasses
import os
import random

import numpy as np

from keras_nonlocal.data.loader import evaluation_clips, training_clips
from keras_nonlocal.lists.folders import is_video_file, read_folder
from keras_nonlocal.lists.video_list import VideoList

LABEL_MODES = ("int", "categorical", "binary", None)


def video_dataset_from_directory(
    directory,
    labels="inferred",
    label_mode="int",
    class_names=None,
    batch_size=8,
    clip="8x8",
    image_size=224,
    shuffle=True,
    seed=None,
    validation_split=None,
    subset=None,
    verbose=True,
    **options,
):
    """Returns a `tf.data.Dataset` of clips of the videos in a folder of class folders.

    Arguments and behavior are those of `keras.utils.image_dataset_from_directory`. With `shuffle`,
    clips are drawn as by `training_clips`: other ones in each epoch, at random scales and places,
    half of them mirrored. Without it, and for validation, they come from `evaluation_clips`: one
    from the start of each video, its middle. Frames keep their aspect ratio.

    Args:
        directory: folder of class folders; with other `labels`, any folder of video files.
        labels: `"inferred"` from the class folders, `None`, or a list of class numbers, one per
            video file below `directory` in alphanumeric order.
        label_mode: `"int"`; `"categorical"`, one-hot; `"binary"`, 0 and 1 as floats `(batch, 1)`;
            or `None`, clips alone.
        class_names: list of class folders, for another order than the alphanumeric one or some of
            the classes alone.
        batch_size: int, clips per batch; `None` returns single clips.
        clip: frames x stride, a `ClipSpec` or a sampler, as in `training_clips`.
        image_size: int or pair `(height, width)`, pixels.
        shuffle: bool, whether to shuffle, and to draw the clips.
        seed: int for shuffling, drawing and splitting, or `None`.
        validation_split: float between 0 and 1, share of the videos to validate with.
        subset: `"training"`, `"validation"` or `"both"`, with `validation_split`.
        verbose: bool, whether to print how many files were found.
        **options: further arguments of both `training_clips` and `evaluation_clips`: `workers`,
            `decoder`, `probe`, `on_error`, `max_error_rate`.

    Returns:
        A `tf.data.Dataset` of `(clips, labels)` with the attributes `class_names` and `file_paths`;
        a list of two for `subset="both"`. Clips are uint8.

    Raises:
        ValueError: if the arguments do not go together, or there are no videos.

    Example:

    ```python
    training, validation = video_dataset_from_directory(
        "videos", image_size=64, validation_split=0.2, subset="both", seed=1
    )
    model.fit(training, validation_data=validation)
    ```
    """
    _check(labels, label_mode, class_names, shuffle, seed, validation_split, subset)
    label_mode = None if labels is None else label_mode
    videos = _list(os.fspath(directory), labels, class_names)
    if label_mode == "binary" and len(videos.class_names) != 2:
        raise ValueError(
            '`label_mode="binary"` must have exactly two classes. Received: '
            f'{len(videos.class_names)}. Pass label_mode="categorical".'
        )
    if verbose:
        classes = "" if labels is None else f" belonging to {len(videos.class_names)} classes"
        print(f"Found {len(videos)} files{classes}.")
    seed = random.randrange(10**6) if seed is None else seed
    order = list(range(len(videos)))
    if shuffle:
        # The order of Keras, so that both divide the same files alike.
        np.random.RandomState(seed).shuffle(order)
    first = len(order) - int((validation_split or 0) * len(order))
    parts = {"training": order[:first], "validation": order[first:], None: order}

    def make(part):
        if not parts[part]:
            raise ValueError(
                f"`validation_split` must leave videos for {part}. Received: validation_split="
                f"{validation_split} of {len(order)} videos in {directory!r}."
            )
        chosen = videos.select(parts[part])
        size = {"clip": clip, "size": image_size, "batch_size": batch_size or 1}
        if shuffle and part != "validation":
            draws = {"seed": seed, "drop_remainder": False}
            loader = training_clips(chosen, **size, **draws, label_mode=label_mode, **options)
        else:
            loader = evaluation_clips(chosen, **size, label_mode=label_mode, **options)
        dataset = loader.dataset() if batch_size else loader.dataset().unbatch()
        # As Keras' own datasets of folders have them.
        dataset.class_names = None if labels is None else list(videos.class_names)
        dataset.file_paths = list(chosen.paths)
        return dataset

    return [make("training"), make("validation")] if subset == "both" else make(subset)


def _list(directory, labels, class_names):
    if labels == "inferred":
        videos = read_folder(directory)
        if class_names is None:
            return videos
        strange = [name for name in class_names if name not in videos.class_names]
        if strange or len(set(class_names)) < len(class_names):
            raise ValueError(
                f"`class_names` must be names of class folders, {list(videos.class_names)}. "
                f"Received: class_names={list(class_names)}."
            )
        parts = [
            np.flatnonzero(videos.labels == videos.class_names.index(name)) for name in class_names
        ]
        numbers = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        chosen = videos.select(np.concatenate(parts))
        return dataclasses.replace(chosen, labels=numbers, class_names=class_names)
    paths = [
        os.path.join(folder, file)
        for folder, _, files in sorted(os.walk(directory))
        for file in sorted(files)
        if is_video_file(file)
    ]
    if labels is not None and len(labels) != len(paths) or not paths:
        raise ValueError(
            "`labels` must have one class number per video file below `directory`. Received: "
            f"{0 if labels is None else len(labels)} labels, {len(paths)} files in {directory!r}."
        )
    if labels is None:
        return VideoList(paths)
    return VideoList(paths, labels, [str(label) for label in sorted(set(labels))])


def _check(labels, label_mode, class_names, shuffle, seed, validation_split, subset):
    if labels not in ("inferred", None) and not isinstance(labels, (list, tuple)):
        raise ValueError(
            '`labels` must be "inferred", None, or a list of class numbers. '
            f"Received: labels={labels!r}."
        )
    if labels != "inferred" and class_names is not None:
        raise ValueError(
            '`class_names` goes with labels="inferred". '
            f"Received: labels={labels!r}, class_names={class_names}."
        )
    if label_mode not in LABEL_MODES:
        raise ValueError(
            f"`label_mode` must be one of {', '.join(map(repr, LABEL_MODES))}. Received: "
            f"label_mode={label_mode!r}."
        )
    if validation_split and not 0 < validation_split < 1:
        raise ValueError(
            "`validation_split` must be between 0 and 1. "
            f"Received: validation_split={validation_split}."
        )
    if subset not in ("training", "validation", "both", None):
        raise ValueError(
            '`subset` must be "training", "validation", "both" or None. '
            f"Received: subset={subset!r}."
        )
    if bool(validation_split) != bool(subset):
        raise ValueError(
            "`validation_split` and `subset` go together. Received: "
            f"validation_split={validation_split}, subset={subset!r}."
        )
    if validation_split and shuffle and seed is None:
        raise ValueError(
            "`seed` must be given with `validation_split` and `shuffle`, so that training and "
            "validation do not overlap. Received: seed=None. Any integer will do."
        )

"""What users call: clips to train on, clips to test with, datasets of a folder."""

import dataclasses
import os
import random

import keras
import numpy as np

from keras_nonlocal import transforms
from keras_nonlocal.data.annotations import read_videos
from keras_nonlocal.data.clips import ClipSpec
from keras_nonlocal.data.loader import ClipLoader, check_label_mode
from keras_nonlocal.data.order import EvaluationOrder, TrainingOrder
from keras_nonlocal.data.samplers import RandomClipSampler, UniformClipSampler
from keras_nonlocal.data.source import ClipSource, check_count, check_size
from keras_nonlocal.lists.folders import read_folder
from keras_nonlocal.lists.video_list import VideoList, check_video_list


def training_clips(
    videos,
    clip="8x8",
    size=224,
    batch_size=8,
    scale=None,
    flip="auto",
    augment=None,
    mix=None,
    balance=None,
    seed=None,
    workers=None,
    *,
    color=0.0,
    clips_per_video=1,
    label_mode="int",
    clip_labels=False,
    class_weight=None,
    decoder=None,
    probe=None,
    strict=True,
    on_error="raise",
    max_error_rate=0.05,
    shard=None,
    deterministic=True,
    drop_remainder=True,
):
    """Returns a loader of clips to train on.

    Every epoch shuffles the videos and draws other clips of them, at another scale and place,
    mirrored or not. Videos are decoded while the network computes. Host memory holds at most
    `workers` decoded videos (their clips at the resized size) and about five batches of clips;
    with several clips per video, the clips of about twelve batches of videos as well.

    Args:
        videos: a `VideoList`, or the path of what `read_videos` reads.
        clip: frames x stride, such as `"8x8"`, or a `ClipSpec`: clips from random places. Or a
            sampler.
        size: int or pair `(height, width)` in pixels, what the network sees.
        batch_size: int, clips per batch. With several processes, of all of them together; with
            `shard`, of this one.
        scale: int or pair of ints, pixels to which the shorter side of frames is resized before
            cropping, drawn between both. `None`: 256 to 320 for a size of 224, in proportion for
            others.
        flip: `"auto"` mirrors half of the clips. Classes that name a side become their mirror
            image's class, or are never mirrored if it is missing, see `transforms.mirror_labels`.
            `False` mirrors none; a sequence of class numbers is used in place of `mirror_labels`.
        augment: a function `(clip, seed) -> clip` of uint8 or float pixels from 0 to 255, such as
            `transforms.rand_augment()`.
        mix: a function `(clips, labels, seed) -> (clips, labels)` of batches, such as
            `transforms.mixup(0.8, classes=400)`.
        balance: `"classes"` draws all classes equally often; `None` reads each video once.
        seed: int that fixes the order and every draw; `None` draws one, by Python's `random`, which
            `keras.utils.set_random_seed` seeds. Several processes must pass the same.
        workers: int, videos that are decoded at a time. `None`: one per core, of those that
            affinity, container quotas, and other processes of the same launcher leave.
        color: float, greatest change of brightness, contrast and saturation, as a share.
        clips_per_video: int, clips per video and epoch, which share decoding.
        label_mode: `"int"`, labels as the list has them; `"categorical"`, one-hot; `"binary"`,
            float32 of shape `(batch, 1)`; `None`, clips alone.
        clip_labels: bool, whether clips have the labels of their own time, of lists with events
            (Charades).
        class_weight: dictionary from class numbers to weights (1 where left out): batches get
            sample weights. Mixed and one-hot labels get the mean of their classes' weights, where
            `fit(class_weight=...)` takes the largest class.
        decoder: callable from path, frame numbers and short side to frames, see `ClipSource`.
        probe: callable from path to the number of frames, see `ClipSource`.
        strict: bool, whether a damaged video is an error; `False` decodes what FFmpeg conceals.
        on_error: `"raise"` stops at a video that cannot be read. `"skip"` puts another one, drawn
            at random, in its place, and lists it in `errors`.
        max_error_rate: float, share of unreadable videos at which `"skip"` stops.
        shard: `(index, count)`, to read the share of one process of several. `None`: all, or this
            process's share on JAX with several processes.
        deterministic: bool, whether batches keep their order; `False` is faster where some videos
            take much longer than others.
        drop_remainder: bool, whether the clips that fill no batch are left out.

    Returns:
        A `ClipLoader`.

    Raises:
        ValueError: if the arguments do not go together.

    Example:

    ```python
    training, validation = split_videos(read_folder("videos"))
    model.fit(
        training_clips(training, "8x8", seed=1).dataset(),
        validation_data=evaluation_clips(validation, "8x8").dataset(),
        shuffle=False,  # the loader draws its own order
    )
    ```
    """
    videos = _read_list(videos)
    if label_mode is not None:
        videos.check_labeled("training")
    sampler = _make_sampler("clips_per_video", clip, clips_per_video, RandomClipSampler)
    if scale is None:
        scale = transforms.short_sides_of(max(check_size(size)))
    source = ClipSource(videos, sampler, size, scale, 1, True, clip_labels, decoder, probe, strict)
    index, count = _find_processes() if shard is None else _check_shard(shard)
    check_count("batch_size", batch_size)
    if shard is None and batch_size % count:
        raise ValueError(
            f"`batch_size` must be a multiple of the number of processes ({count}). "
            f"Received: batch_size={batch_size}. It is the size of all their batches together."
        )
    if count > 1 and seed is None:
        raise ValueError(
            "`seed` must be given, the same in all processes, where several train together: they "
            "divide one order of the videos among them. Received: seed=None. Any integer will do."
        )
    if seed is not None and not (isinstance(seed, (int, np.integer)) and seed >= 0):
        raise ValueError(f"`seed` must be an integer from 0, or None. Received: seed={seed}.")
    if balance not in (None, "classes") or (balance and videos.multi_label):
        raise ValueError(
            '`balance` must be None, or "classes" for lists of one label per video. Received: '
            f"balance={balance!r} with labels of shape {videos.labels.shape}."
        )
    order = TrainingOrder(
        len(videos),
        batch_size if shard is not None else batch_size // count,
        random.randrange(2**31) if seed is None else int(seed),
        sampler.clips,
        videos.labels if balance else None,
        (index, count),
    )
    return ClipLoader(
        source,
        order,
        label_mode,
        transform=_make_transform(videos.class_names, label_mode is not None, flip, color, augment),
        mix=mix,
        class_weight=class_weight,
        drop_remainder=drop_remainder,
        on_error=on_error,
        max_error_rate=max_error_rate,
        workers=workers,
        deterministic=deterministic,
    )


def evaluation_clips(
    videos,
    clip="8x8",
    size=224,
    num_clips=1,
    num_crops=1,
    batch_size=8,
    scale=None,
    workers=None,
    *,
    label_mode="int",
    decoder=None,
    probe=None,
    strict=True,
    on_error="raise",
    max_error_rate=0.05,
    shard=None,
    deterministic=True,
):
    """Returns a loader of clips to validate or test with: the same ones in each pass.

    Clips are spread evenly over each video, in the order of the list. Host memory holds at most
    `workers` decoded videos and about five batches.

    Args:
        videos, size, workers, label_mode, decoder, probe, strict: see `training_clips`.
        deterministic: see `training_clips`.
        clip: frames x stride, or a `ClipSpec`: `UniformClipSampler` of it. Or a sampler.
        num_clips: int, clips per video; published accuracies are those of 10.
        num_crops: int, crops per clip: 1 (the middle) or 3 (both ends as well).
        batch_size: int, videos per batch, each with all of its views.
        scale: int, pixels to which the shorter side of frames is resized before cropping. `None`:
            256 for a size of 224, in proportion for others.
        on_error: `"raise"` stops at a video that cannot be read; `"skip"` leaves it out, and lists
            it in `errors`.
        max_error_rate: float, share of unreadable videos at which `"skip"` stops.
        shard: `None`: every process reads all videos. `(index, count)`, or `"auto"` for this
            process of those on JAX: its share, padded so that all processes make equally many
            steps. Batches then have sample weights, 0 for padding and unreadable videos. Metrics
            respect them as `compile(weighted_metrics=...)`.

    Returns:
        A `ClipLoader`. With several views per video, its clips have one more axis for them,
        `(batch, views, frames, height, width, 3)`, the crops of the first clip first.

    Raises:
        ValueError: if the arguments do not go together.
    """
    videos = _read_list(videos)
    if label_mode not in ("int", None):
        videos.check_labeled(f"label_mode={label_mode!r}")
    if np.ndim(scale) != 0:
        raise ValueError(
            "`scale` must be one number of pixels for evaluation. "
            f"Received: scale={scale}. Pass the pair to `training_clips` alone."
        )
    sampler = _make_sampler("num_clips", clip, num_clips, UniformClipSampler)
    readers = {"decoder": decoder, "probe": probe, "strict": strict}
    source = ClipSource(videos, sampler, check_size(size), scale, num_crops, **readers)
    if shard == "auto":
        shard = _find_processes()
        shard = shard if shard[1] > 1 else None
    elif shard is not None:
        shard = _check_shard(shard)
    return ClipLoader(
        source,
        EvaluationOrder(len(videos), batch_size, shard),
        label_mode,
        padded=shard is not None,
        on_error=on_error,
        max_error_rate=max_error_rate,
        workers=workers,
        deterministic=deterministic,
    )


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
        directory: folder of class folders; with other `labels`, any folder with videos below it.
        labels: `"inferred"` from the class folders, `None`, or a list of class numbers, one per
            video below `directory`, in the alphanumeric order of `os.walk`.
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
            `decoder`, `probe`, `strict`, `on_error`, `max_error_rate`.

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
    model.fit(training, validation_data=validation, shuffle=False)
    ```
    """
    _check_directory(labels, label_mode, class_names, shuffle, seed, validation_split, subset)
    label_mode = None if labels is None else label_mode
    videos = _list_directory(os.fspath(directory), labels, class_names)
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
        size = {"clip": clip, "size": image_size, "batch_size": batch_size}
        if batch_size is None:
            size["batch_size"] = 1
        if shuffle and part != "validation":
            draws = {"seed": seed, "drop_remainder": False}
            loader = training_clips(chosen, **size, **draws, label_mode=label_mode, **options)
        else:
            loader = evaluation_clips(chosen, **size, label_mode=label_mode, **options)
        dataset = loader.dataset().unbatch() if batch_size is None else loader.dataset()
        # As Keras' own datasets of folders have them.
        dataset.class_names = None if labels is None else list(videos.class_names)
        dataset.file_paths = list(chosen.paths)
        return dataset

    return [make("training"), make("validation")] if subset == "both" else make(subset)


def _read_list(videos):
    if isinstance(videos, (str, os.PathLike)):
        return read_videos(videos)
    check_video_list(videos)
    return videos


def _make_sampler(name, clip, clips, kind):
    """Returns `clip` if it is a sampler, or the sampler that it stands for."""
    if not isinstance(clip, (str, ClipSpec)) and callable(clip):
        if clips != 1:
            raise ValueError(
                f"`{name}` must be left out beside a sampler, which has its own number of clips. "
                f"Received: {name}={clips}, clip={clip!r}. Pass the number to the sampler."
            )
        return clip
    if clips < 1:
        raise ValueError(f"`{name}` must be at least 1. Received: {name}={clips}.")
    return kind(clip, clips)


def _make_transform(class_names, labeled, flip, color, augment):
    changes = [transforms.random_color(color, color, color)] if color else []
    change = transforms.compose(*changes, *([] if augment is None else [augment]))
    table = flip
    if np.ndim(flip) == 0 and flip in ("auto", True, False):
        table = transforms.mirror_labels(class_names) if labeled and class_names else None
    elif np.shape(flip) != (len(class_names),):
        raise ValueError(
            '`flip` must be "auto", False, or a class number per class, here '
            f"{len(class_names)}. Received: flip={flip!r}."
        )
    mirror = None if flip is False else transforms.random_flip(table)

    def apply(clip, label, seed):
        if mirror is not None:
            clip, label = mirror(clip, label, transforms.fold_in(seed, 1))
        return change(clip, transforms.fold_in(seed, 2)), label

    return apply


def _find_processes():
    """Returns this process's number and the number of processes, as JAX knows them."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    distribution = keras.distribution.distribution()
    if jax.process_count() > 1 and getattr(distribution, "auto_shard_dataset", False):
        raise ValueError(
            "`auto_shard_dataset` must be off for clips: each process reads its own share of the "
            "videos, and Keras would decode all of them everywhere. Received: a distribution with "
            "auto_shard_dataset=True. Make it "
            "keras.distribution.DataParallel(auto_shard_dataset=False), or pass shard=(0, 1) to "
            "divide whole batches after decoding."
        )
    return jax.process_index(), jax.process_count()


def _check_shard(shard):
    index, count = shard if isinstance(shard, (tuple, list)) and len(shard) == 2 else (-1, 0)
    if not 0 <= index < count:
        raise ValueError(
            "`shard` must be a pair of this process's number and the number of processes. "
            f"Received: shard={shard!r}. The first of four is (0, 4)."
        )
    return index, count


def _list_directory(directory, labels, class_names):
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
    # The order of `os.walk`, as in Keras.
    paths = sorted(read_folder(directory, labels=None).paths, key=os.path.split)
    if labels is None:
        return VideoList(paths)
    if len(labels) != len(paths):
        raise ValueError(
            "`labels` must have one class number per video below `directory`. Received: "
            f"{len(labels)} labels, {len(paths)} videos in {directory!r}."
        )
    return VideoList(paths, labels, [str(label) for label in sorted(set(labels))])


def _check_directory(labels, label_mode, class_names, shuffle, seed, validation_split, subset):
    inferred = isinstance(labels, str) and labels == "inferred"
    if not (inferred or labels is None or isinstance(labels, (list, tuple))):
        raise ValueError(
            '`labels` must be "inferred", None, or a list of class numbers. '
            f"Received: labels={labels!r}."
        )
    if not inferred and class_names is not None:
        raise ValueError(
            '`class_names` goes with labels="inferred". '
            f"Received: labels={labels!r}, class_names={class_names}."
        )
    check_label_mode(label_mode)
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

"""From a list of videos to a `tf.data.Dataset` of clips."""

import os
import random

import numpy as np
import tensorflow as tf

from keras_nonlocal import transforms
from keras_nonlocal.data import arguments, sharding
from keras_nonlocal.data.annotations import read_videos
from keras_nonlocal.data.cores import count_cores
from keras_nonlocal.data.epochs import BATCHES_TAKING_TURNS, Epochs
from keras_nonlocal.data.visits import Visits


def clip_dataset(
    videos,
    clip,
    crop=224,
    batch_size=8,
    training=False,
    short_side=None,
    clips_per_video=1,
    crops_per_clip=1,
    flip=True,
    color=0.0,
    augment=None,
    mix=None,
    labels_of="video",
    decoder=None,
    probe=None,
    on_error="raise",
    max_broken=0.05,
    shard=None,
    seed=None,
):
    """Makes the dataset that `fit`, `evaluate` and `evaluate_views` take, out of videos.

    In training, every epoch shuffles the videos and takes other clips of them, at another scale
    and place, mirrored or not. In testing, the clips lie evenly spread over each video, so that
    two passes give the same. Either way the videos are decoded while the network computes,
    several at a time.

    Args:
        videos: a `VideoList`: of video files, folders of frames, or records. Or the path of what
            `read_videos` makes one of.
        clip: a `ClipSpec`, or a string such as `"8x8"`: `RandomClipSampler` of it in training,
            `UniformClipSampler` in testing. Or a sampler with its own number of clips.
        crop: side of the square that the network sees, in pixels.
        batch_size: clips (training) or videos (testing) in a batch. Where several processes
            train together, in all of theirs; with `shard`, in this one's.
        training: whether to shuffle and draw, or to go through the videos in their order.
        short_side: size in pixels to which the shorter side is resized before cropping; in
            training a pair, from which it is drawn. `None`: 256 for a crop of 224 and in
            proportion for others; in training up to 320.
        clips_per_video: clips to take at each visit of a video. In training, more than one
            spares decoding (a video's neighbouring clips share frames) and makes an epoch longer.
        crops_per_clip: 1 (the middle) or 3 (both ends as well); testing only.
        flip: whether half of the clips are mirrored in training. Classes that name a side become
            their mirror image's class, or are never mirrored if there is none, see
            `transforms.mirror_labels`. A sequence of class numbers says this for each class.
        color: greatest change of brightness, contrast and saturation in training, as a share.
        augment: a further transform of training clips, of uint8 or float32 in 0..255 before
            they are batched, such as `transforms.rand_augment()`.
        mix: a function of training batches, such as `transforms.mixup(0.8, classes=400)`.
        labels_of: `"video"`; or in training `"clip"` for lists with events (Charades): the
            classes of the events that go on during the clip.
        decoder: a decoder of your own, a callable from path and frame numbers to uint8 frames
            `(len(indices), height, width, 3)`; `None`: PyAV.
        probe: with `decoder`, a callable from path to the number of frames, or to a `VideoInfo`;
            `None`: PyAV counts.
        on_error: what a video does that cannot be read. `"raise"` stops with its path. `"skip"`
            goes on without it, and logs the count and the names when the epoch ends; they lie in
            `dataset.failures.names` as well, of the dataset as it is returned. The number of
            batches is not known beforehand then, about which Keras warns after the first epoch.
        max_broken: share of the videos that may be broken for `"skip"` to go on.
        shard: `(index, count)`, to read every count-th video from number `index` on. `None`: all,
            or this process's share where several train together, see `sharding.find_shard`.
        seed: integer that fixes the order and every draw; `None` draws a new one, by Python's
            `random`, which `keras.utils.set_random_seed` seeds. Where several processes train
            together it must be given, the same in all.

    Returns:
        A `tf.data.Dataset` of `(clips, labels)`: RGB pixels from 0 to 255 of shape `(batch,
        frames, crop, crop, 3)`, uint8, unless `augment` or `mix` make floats of them; and int32
        `(batch,)`, or float32 `(batch, classes)` for several labels per video.
        In testing with several views per video, the clips are `(batch, views, frames, crop, crop,
        3)`, the crops of the first clip first. Training leaves out the remainder that fills no
        batch. Networks built with `include_preprocessing=False` need `preprocess_input` mapped
        over the dataset.

        For training it has one more method: `dataset.epoch(number, step=0)` gives the batches of
        one epoch from a step on, the same ones each time, so that an interrupted training can go
        on. Several processes see in each batch, between them, what one would see, as long as
        the videos fill whole batches.

    Raises:
        ValueError: if the arguments do not go together.

    Example:

    ```python
    training, validation = split_videos(read_folder("videos"))
    model.fit(
        clip_dataset(training, "8x8", training=True, seed=1),
        validation_data=clip_dataset(validation, "8x8"),
        shuffle=False,  # the dataset draws its own order
    )
    ```
    """
    if isinstance(videos, (str, os.PathLike)):
        videos = read_videos(videos)
    arguments.check_decoder(decoder, probe)
    sampler = arguments.make_sampler(clip, clips_per_video, training)
    short_sides = arguments.choose_short_sides(short_side, crop, training)
    index, count = sharding.find_shard() if shard is None else sharding.check_shard(shard)
    if shard is None and count > 1:
        batch_size = arguments.divide_batch(batch_size, count)
    arguments.check_options(videos, training, crops_per_clip, mix, labels_of)
    # The smallest share of all processes, for they must make equally many steps.
    size = len(videos) // max(count, 1) * sampler.clips
    arguments.check_batch_size(batch_size, size if training else len(videos), training)
    failures = arguments.watch_failures(on_error, max_broken, len(videos), count, training)
    if training and count != 1:
        arguments.check_seed(seed)
    seed = random.randrange(2**31) if seed is None else seed
    visits = Visits(videos, sampler, short_sides, labels_of, decoder, probe, failures)

    if training:
        prepare = _training_transform(videos, crop, flip, color, augment)

    def chain(dataset, before=0):
        # 2. Videos to frames, at the size that is wanted. Every visit brings its own seeds, so that
        #    how many are in preparation changes nothing.
        if failures is not None:
            begin = _silently(failures.begin_epoch, dataset.element_spec)
            dataset = begin.concatenate(dataset)
        #    Tuning finds how many cores there are to keep busy too, but takes half a minute.
        dataset = _map(dataset, visits.read, num_parallel_calls=count_cores())
        if failures is not None:
            dataset = dataset.filter(lambda frames, labels, seeds, readable: readable)
        # 3. Frames to what the network sees.
        if training:
            if sampler.clips > 1:
                dataset = _take_turns(dataset, batch_size, sampler.clips)
            else:
                # Unlike taking them apart, this copies nothing.
                dataset = dataset.map(
                    lambda frames, labels, seeds, readable: (frames[0], labels[0], seeds[0])
                )
            dataset = _map(dataset.skip(before) if before else dataset, prepare)
        else:
            dataset = _map(dataset, _testing_transform(sampler, crop, crops_per_clip))
        # 4. Batches, the next one ready while the network computes.
        dataset = dataset.batch(batch_size, drop_remainder=training)
        if training:
            mixed = mix or (lambda clips, labels, seed: (clips, labels))
            dataset = _map(
                dataset,
                lambda clips, labels, seeds: mixed(clips, labels, transforms.fold_in(seeds[0], 3)),
            )
        if failures is not None:
            end = _silently(failures.end_epoch, dataset.element_spec)
            dataset = dataset.concatenate(end)
        return dataset.with_options(_options(index, count))

    # 1. Videos by their number in the list: what falls to this process; in training another order
    #    and other seeds each epoch.
    if not training:
        numbers = tf.data.Dataset.range(len(videos)).shard(count, index)
        dataset = chain(numbers.map(lambda number: (number, [[seed, number]]))).prefetch(2)
    else:
        epochs = Epochs(len(videos), sampler.clips, batch_size, seed, max(index, 0), max(count, 1))
        shares = epochs.all_visits()
        dataset = chain(shares.shard(count, index) if index == sharding.HINT else shares)
        counted = failures is None and index != sharding.HINT
        dataset = _count(dataset, epochs.steps, counted).prefetch(2)
        dataset.epoch = _epoch_of(epochs, chain, index, failures)
    dataset.failures = failures
    return dataset


def _epoch_of(epochs, chain, index, failures):
    """Makes the function from an epoch's number and a step to the batches from there on."""

    def epoch(number, step=0):
        arguments.check_epoch(number, step, epochs.steps)
        arguments.check_countable(step, index == sharding.HINT, failures)
        visits, before = epochs.visits(number, step)
        rest = chain(visits, before)
        return _count(rest, epochs.steps - step, failures is None).prefetch(2)

    return epoch


def _count(dataset, steps, counted):
    """Says how many batches there are, which Keras shows, unless there may be fewer."""
    if counted:
        return dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset.take(steps)


def _take_turns(dataset, batch_size, clips):
    """One clip after the other, so that those of a video lie apart.

    In a batch they would not meet if each batch of videos gave all of its clips at once; but one
    step after the other on the same videos learns slower than on videos of all kinds.
    """

    def batches_of_clips(frames, labels, seeds, readable):
        videos = tf.data.Dataset.zip((frames, labels, seeds))
        each = tf.data.Dataset.range(clips).flat_map(
            lambda clip: videos.map(lambda *visit: tuple(part[clip] for part in visit))
        )
        # The last videos may fill no batch; what they leave over would shift the others' clips.
        whole = each.window(batch_size, drop_remainder=True)
        return whole.flat_map(lambda *parts: tf.data.Dataset.zip(parts))

    together = BATCHES_TAKING_TURNS
    dataset = dataset.prefetch(together * batch_size).window(batch_size)
    return dataset.interleave(batches_of_clips, together, block_length=batch_size)


def _training_transform(videos, crop, flip, color, augment):
    cut = transforms.random_crop(crop)
    change = transforms.compose(
        *([transforms.random_color(color, color, color)] if color else []),
        *([augment] if augment is not None else []),
    )
    if flip is True:
        flip = transforms.mirror_labels(videos.classes)
    mirror = transforms.random_flip(flip) if flip is not False else None

    def apply(frames, label, seed):
        frames = cut(frames, transforms.fold_in(seed, 0))
        if mirror is not None:
            frames, label = mirror(frames, label, transforms.fold_in(seed, 1))
        return change(frames, transforms.fold_in(seed, 2)), label, seed

    return apply


def _testing_transform(sampler, crop, crops_per_clip):
    cut = transforms.center_crop if crops_per_clip == 1 else transforms.three_crops
    cut = cut(crop)

    def apply(frames, labels, seeds, readable):
        views = tf.stack([cut(frames[number]) for number in range(sampler.clips)])
        # Both ways of cropping end in the axes of a clip; those before them are the views.
        views = tf.reshape(views, (-1, *views.shape[-4:]))
        return (views if len(views) > 1 else views[0]), labels[0]

    return apply


def _map(dataset, function, num_parallel_calls=tf.data.AUTOTUNE):
    return dataset.map(function, num_parallel_calls, deterministic=True)


def _silently(function, element_spec):
    """A dataset that calls a Python function when its turn comes, and holds no element."""

    def call(_):
        return tf.numpy_function(lambda: (function(), np.False_)[1], [], tf.bool)

    def element(_):
        return tf.nest.map_structure(
            lambda spec: tf.zeros([size or 0 for size in spec.shape], spec.dtype), element_spec
        )

    return tf.data.Dataset.range(1).filter(call).map(element)


def _options(index, count):
    options = tf.data.Options()
    policies = tf.data.experimental.AutoShardPolicy
    # Shares are divided above, or where the hint stands; nothing may divide them again.
    if index == sharding.HINT:
        options.experimental_distribute.auto_shard_policy = policies.HINT
    elif count > 1:
        options.experimental_distribute.auto_shard_policy = policies.OFF
    return options

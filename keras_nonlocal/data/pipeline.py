"""From a list of videos to a `tf.data.Dataset` of clips."""

import numpy as np
import tensorflow as tf

from keras_nonlocal.data import transforms
from keras_nonlocal.data.clips import ClipSpec
from keras_nonlocal.data.decode import decode_frames, probe_video


def clip_dataset(
    videos,
    clip,
    crop=224,
    batch_size=8,
    training=False,
    short_side=None,
    clips_per_video=1,
    crops_per_clip=1,
    wrap=True,
    labels_after_flip=None,
    color=0.0,
    source="video-nonlocal-net",
    seed=None,
):
    """Makes the dataset that `fit`, `evaluate` and `evaluate_views` take, out of video files.

    In training, every epoch shuffles the videos and takes other clips of them, at another scale
    and place. In testing, the clips lie evenly spread over each video, so that two passes give
    the same. Either way the files are decoded while the network computes, several at a time.

    Args:
        videos: a `VideoList`.
        clip: a `ClipSpec`, or a string such as `"8x8"`.
        crop: side of the square that the network sees, in pixels.
        batch_size: clips (training) or videos (testing) in a batch.
        training: whether to shuffle and draw, or to go through the videos in their order.
        short_side: size in pixels to which the shorter side is resized before cropping; in
            training a pair, from which it is drawn. `None`: 256 for a crop of 224 and in
            proportion for others; in training up to 320.
        clips_per_video: clips to take at each visit of a video. In training, more than one
            spares decoding (a video's neighbouring clips share frames) and makes an epoch longer.
        crops_per_clip: 1 (the middle) or 3 (both ends as well); testing only.
        wrap: how testing clips are spread, see `ClipSpec.even_starts`.
        labels_after_flip: `None` never mirrors clips. A sequence of class numbers mirrors half of
            those in training, and says what class each becomes (`range(classes)`: the same).
        color: greatest change of brightness, contrast and saturation in training, as a share.
        source: whose normalisation, see `transforms.normalize`.
        seed: integer that fixes the order and every draw; `None` draws a new one.

    Returns:
        A `tf.data.Dataset` of `(clips, labels)`: float32 `(batch, frames, crop, crop, 3)` and
        int32 `(batch,)`. In testing with several views a video, the clips are `(batch, views,
        frames, crop, crop, 3)`, the crops of the first clip first. Training leaves out the
        remainder that fills no batch.

    Raises:
        ValueError: if the arguments do not go together.

    Example:

    ```python
    training, validation = split_videos(read_folder("videos"))
    model.fit(
        clip_dataset(training, "8x8", training=True, seed=1),
        validation_data=clip_dataset(validation, "8x8"),
    )
    ```
    """
    clip = ClipSpec.parse(clip)
    low, high = _short_sides(short_side, crop, training)
    _check(videos, batch_size, training, clips_per_video, crops_per_clip)
    seed = int(np.random.default_rng(seed).integers(2**31))

    if training:
        prepare = transforms.compose(
            transforms.random_short_side(low, high),
            transforms.random_crop(crop),
            *([transforms.random_color(color, color, color)] if color else []),
            transforms.normalize(source),
        )
        flip = transforms.random_flip(labels_after_flip) if labels_after_flip is not None else None
    else:
        cut = transforms.center_crop if crops_per_clip == 1 else transforms.three_crops
        prepare = transforms.compose(
            transforms.resize_short_side(low), cut(crop), transforms.normalize(source)
        )
        flip = None

    def decode(path, label, seed):
        clips = tf.numpy_function(
            lambda path, seed: _decode_clips(path, seed, clip, clips_per_video, training, wrap),
            [path, seed],
            tf.uint8,
        )
        clips.set_shape((clips_per_video, clip.frames, None, None, 3))
        return clips, tf.repeat(label, clips_per_video)

    def transform(frames, label, seed):
        frames = prepare(frames, seed)
        if flip is not None:
            frames, label = flip(frames, label, transforms._fold_in(seed, -1))
        return frames, label

    def gather_views(clips, labels):
        views = tf.stack([prepare(clips[number]) for number in range(clips_per_video)])
        # Both ways of cropping end in the axes of a clip; those before them are the views.
        views = tf.reshape(views, (-1, *views.shape[-4:]))
        return views if len(views) > 1 else views[0], labels[0]

    # 1. Paths, in another order each epoch; a list of paths is small enough to shuffle whole.
    dataset = tf.data.Dataset.from_tensor_slices((list(videos.paths), videos.labels))
    if training:
        dataset = dataset.shuffle(len(videos), seed)
    # 2. Files to frames. Every element brings its own seed, so that how many are in preparation
    #    changes nothing; the seeds differ from epoch to epoch.
    dataset = _map(_with_seeds(dataset, seed), decode)
    # 3. Frames to what the network sees.
    if training:
        dataset = dataset.unbatch()
        if clips_per_video > 1:
            # The clips of a video should not meet in one batch. (Decoded frames are bytes.)
            dataset = dataset.shuffle(8 * clips_per_video + 2 * batch_size, seed)
        dataset = _map(_with_seeds(dataset, seed + 1), transform)
    else:
        dataset = _map(dataset, gather_views)
    # 4. Batches, the next one ready while the network computes.
    dataset = dataset.batch(batch_size, drop_remainder=training)
    size = len(videos) * (clips_per_video if training else 1)
    batches = size // batch_size if training else -(-size // batch_size)
    return dataset.apply(tf.data.experimental.assert_cardinality(batches)).prefetch(2)


def _decode_clips(path, seed, clip, clips_per_video, training, wrap):
    """All clips of one visit to a video, `(clips, frames, height, width, 3)`, decoded together."""
    path = path.decode()
    num_frames = probe_video(path).frames
    if training:
        generator = np.random.default_rng(seed)
        starts = [clip.random_start(num_frames, generator) for _ in range(clips_per_video)]
    else:
        starts = clip.even_starts(num_frames, clips_per_video, wrap)
    indices = np.stack([clip.indices(start, num_frames) for start in starts])
    frames = decode_frames(path, indices.reshape(-1))
    return frames.reshape(*indices.shape, *frames.shape[1:])


def _with_seeds(dataset, seed):
    """Adds two integers to every element, other ones in every epoch."""
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
    return tf.data.Dataset.zip(dataset, seeds).map(lambda element, seed: (*element, seed))


def _map(dataset, function):
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _short_sides(short_side, crop, training):
    if short_side is None:
        short_side = (round(crop * 256 / 224), round(crop * 320 / 224))
        short_side = short_side if training else short_side[0]
    low, high = short_side if isinstance(short_side, (tuple, list)) else (short_side,) * 2
    if not training and low != high:
        raise ValueError(
            "`short_side` must be one number of pixels in testing. "
            f"Received: short_side={short_side}. Give the pair to the training dataset alone."
        )
    if crop > low:
        raise ValueError(
            f"`crop` must not exceed the resized short side ({low}). Received: crop={crop}. "
            "Lower `crop` or raise `short_side`."
        )
    return low, high


def _check(videos, batch_size, training, clips_per_video, crops_per_clip):
    if crops_per_clip not in (1, 3):
        raise ValueError(
            "`crops_per_clip` must be 1 (the middle) or 3 (both ends as well). "
            f"Received: crops_per_clip={crops_per_clip}. Take more views by `clips_per_video`."
        )
    if training and crops_per_clip != 1:
        raise ValueError(
            "`crops_per_clip` must be 1 in training, which crops at random. "
            f"Received: crops_per_clip={crops_per_clip}. Leave it out, or set `training=False`."
        )
    if clips_per_video < 1:
        raise ValueError(
            "`clips_per_video` must be at least 1. "
            f"Received: clips_per_video={clips_per_video}. Published tests take 10."
        )
    size = len(videos) * (clips_per_video if training else 1)
    if not 1 <= batch_size or size < (batch_size if training else 1):
        raise ValueError(
            f"`batch_size` must lie between 1 and the number of clips ({size}). "
            f"Received: batch_size={batch_size}. Lower it, or add videos."
        )

"""What `clip_dataset` makes of its arguments, and which it refuses."""

from keras_nonlocal import transforms
from keras_nonlocal.data.clips import ClipSpec
from keras_nonlocal.data.failures import Failures
from keras_nonlocal.data.samplers import RandomClipSampler, UniformClipSampler


def make_sampler(clip, clips_per_video, training):
    """Gives the sampler that `clip` stands for, or is."""
    if clips_per_video < 1:
        raise ValueError(
            "`clips_per_video` must be at least 1. "
            f"Received: clips_per_video={clips_per_video}. Published tests take 10."
        )
    if isinstance(clip, (str, ClipSpec)) or not callable(clip):
        clip = ClipSpec.parse(clip)
        return (RandomClipSampler if training else UniformClipSampler)(clip, clips_per_video)
    if clips_per_video != 1:
        raise ValueError(
            "`clips_per_video` must be left out beside a sampler, which says how many clips it "
            f"takes. Received: clips_per_video={clips_per_video}, clip={clip!r}. "
            "Give the number to the sampler."
        )
    return clip


def check_decoder(decoder, probe):
    """Raises if a probe is given without the decoder that it goes with."""
    if probe is not None and decoder is None:
        raise ValueError(
            "`probe` goes with `decoder`. Received: a probe alone. Give the decoder too, or leave "
            "the probe out: the decoders that ship count frames themselves."
        )


def choose_short_sides(short_side, crop, training):
    """Gives the smallest and the greatest size to resize to; in testing they are one."""
    if short_side is None:
        short_side = transforms.short_sides_of(crop)
        short_side = short_side if training else short_side[0]
    low, high = short_side if isinstance(short_side, (tuple, list)) else (short_side,) * 2
    if not training and low != high:
        raise ValueError(
            "`short_side` must be one number of pixels in testing. "
            f"Received: short_side={short_side}. Give the pair to the training dataset alone."
        )
    if high < low:
        raise ValueError(
            "`short_side` must be a pair of the smaller and the greater size. "
            f"Received: short_side={short_side}. The authors draw from (256, 320)."
        )
    if crop > low:
        raise ValueError(
            f"`crop` must not exceed the resized short side ({low}). Received: crop={crop}. "
            "Lower `crop` or raise `short_side`."
        )
    return low, high


def divide_batch(batch_size, count):
    """Gives the share of a batch that falls to each of several processes."""
    if batch_size % count:
        raise ValueError(
            f"`batch_size` must be a multiple of the number of processes ({count}). "
            f"Received: batch_size={batch_size}. It is the size of all their batches together."
        )
    return batch_size // count


def check_options(videos, training, crops_per_clip, mix, labels_of):
    """Raises if options are given that do not go with training or testing, or the videos."""
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
    of_clips = labels_of == "clip" and training and videos.events is not None
    if labels_of != "video" and not of_clips:
        raise ValueError(
            '`labels_of` must be "video", or "clip" in training on videos with events. '
            f"Received: labels_of={labels_of!r}. `read_charades` gives events."
        )
    if mix is not None and not training:
        raise ValueError(
            "`mix` must be None in testing, where each clip is judged by itself. "
            "Received: a function. Leave it out, or set `training=True`."
        )


def check_batch_size(batch_size, clips, training):
    """Raises if a batch can never be filled."""
    # The last batch of a test may stay small; in training, one that is not full is left out.
    if not 1 <= batch_size <= (clips if training else batch_size) or clips < 1:
        raise ValueError(
            f"`batch_size` must lie between 1 and the number of clips ({clips}). "
            f"Received: batch_size={batch_size}. Lower it, or add videos."
        )


def check_seed(seed):
    """Raises if several processes would each draw an order of their own."""
    if seed is None:
        raise ValueError(
            "`seed` must be given, the same in all processes, where several train together: they "
            "divide one order of the videos among them. Received: seed=None. Any integer will do."
        )


def check_epoch(number, step, steps):
    """Raises unless these are the numbers of an epoch and of a step in it."""
    if number < 0:
        raise ValueError(
            f"`number` must be that of an epoch, counted from 0. Received: number={number}."
        )
    if not 0 <= step < steps:
        raise ValueError(
            f"`step` must lie in [0, {steps}), the batches of an epoch. Received: step={step}. "
            "After the last one comes step 0 of the next epoch."
        )


def check_countable(step, strategy_divides, failures):
    """Raises if it cannot be known which batches come before a step, or are this process's."""
    if strategy_divides:
        raise ValueError(
            "`epoch` chooses among all batches, and MultiWorkerMirroredStrategy hides which of "
            "them are this process's. Received: such a strategy. Iterate the dataset itself, or "
            "give the process its `shard`."
        )
    if step and failures is not None:
        raise ValueError(
            "`step` must be 0 with on_error='skip': videos that are left out move all batches "
            f"after them. Received: step={step}. Leave broken videos out of the list beforehand; "
            "keras-nonlocal inspect --write-list does it."
        )


def watch_failures(on_error, max_broken, total, count, training):
    """Gives a `Failures` to collect broken videos in, or `None` if they shall raise."""
    if on_error not in ("raise", "skip"):
        raise ValueError(
            "`on_error` must be 'raise' (stop with the path) or 'skip' (go on without the video). "
            f"Received: on_error={on_error!r}."
        )
    if on_error == "raise":
        return None
    if training and count != 1:
        raise ValueError(
            "`on_error` must be 'raise' where several processes train together: those with "
            "broken videos would make fewer steps, and the others wait for them forever. "
            "Received: on_error='skip'. Leave broken videos out of the list beforehand; "
            "keras-nonlocal inspect --write-list does it."
        )
    return Failures(total, max_broken)

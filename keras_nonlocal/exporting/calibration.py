"""Clips that an export is calibrated by and compared on."""

import os

import numpy as np

CALIBRATION_CLIPS = 100
# Fewer leave ranges that the next clip runs out of.
LEAST_CALIBRATION_CLIPS = 10


def take_clips(clips, shape, least=1, pixels=False):
    """Returns the first clips of what a user has, as an array.

    Args:
        clips: an array `(clips, *shape)`, or an iterable of batches, such as a
            `tf.data.Dataset`, with or without labels, or of clips; of several views a video, all
            are taken.
        shape: of one clip, `None` where any size will do.
        least: how many there must be.
        pixels: whether the model takes pixels, which are from 0 to 255.

    Returns:
        Array of at most 100 clips, of the type that they have.

    Raises:
        ValueError: if there are too few, of another shape, or with values that are no numbers or,
            where pixels are expected, none of pixels.
    """
    if not hasattr(clips, "shape"):
        numbered = hasattr(clips, "__getitem__") and hasattr(clips, "__len__")
        iterable = hasattr(clips, "__iter__") or numbered
        if isinstance(clips, (str, os.PathLike, dict)) or not iterable:
            raise ValueError(
                "`clips` must be an array of clips or a tf.data.Dataset. Received: "
                f"{type(clips).__name__}. `data.evaluation_clips(...).dataset()` makes one."
            )
        taken = []
        for batch in clips:
            if isinstance(batch, tuple) or (
                isinstance(batch, list) and np.ndim(batch[0]) > len(shape)
            ):
                # Labels follow.
                batch = batch[0]
            batch = np.asarray(batch)
            if batch.ndim == len(shape) + 2:
                batch = batch.reshape(-1, *batch.shape[2:])
            taken.extend([batch] if batch.ndim == len(shape) else batch)
            if len(taken) >= CALIBRATION_CLIPS:
                break
        if len({clip.shape for clip in taken}) > 1:
            raise ValueError(
                "`clips` must be of one size. Received: clips of shapes "
                f"{sorted({clip.shape for clip in taken})}. Crop them alike."
            )
        clips = taken
    clips = np.asarray(clips[:CALIBRATION_CLIPS])
    fits = clips.ndim == len(shape) + 1 and all(
        wanted in (None, size) for size, wanted in zip(clips.shape[1:], shape, strict=True)
    )
    if not fits or len(clips) == 0:
        raise ValueError(
            "`clips` must be at least one clip of the model's input shape, batched. Received: "
            f"clips of shape {clips.shape} for a model of input shape {shape}. Prepare them as "
            "for model.predict."
        )
    if len(clips) < least:
        raise ValueError(
            f"`clips` must hold at least {least} clips for quantize='int8', as their activations "
            f"set the ranges. Received: {len(clips)}. Pass some tens of them, of different videos "
            "where you can (`num_clips` of evaluation_clips), or use quantize='dynamic', which "
            "needs none."
        )
    if not np.isfinite(clips).all():
        raise ValueError(
            "`clips` must hold numbers alone. Received: NaN or infinite values. Look for the video "
            "that they come from."
        )
    if pixels and (clips.min() < 0 or clips.max() > 255):
        raise ValueError(
            "`clips` must be pixels from 0 to 255, as the model normalizes them itself. Received: "
            f"values from {clips.min():.3g} to {clips.max():.3g}. Pass them as they are decoded, "
            "without preprocess_input."
        )
    return clips


def split_clips(clips, quantize, most):
    """Chooses the clips that an export is compared on, spread evenly over those given.

    Args:
        clips: array of all clips.
        quantize: see `export`. `"int8"` is calibrated and compared on different clips, where there
            are at least twice as many as calibration needs.
        most: how many are compared at most.

    Returns:
        The clips to calibrate by, the clips to compare on, and which those are, see `Agreement`.
    """
    if quantize == "int8" and len(clips) >= 2 * LEAST_CALIBRATION_CLIPS:
        # Every third, or fewer: lists are often sorted by class.
        held_out = np.arange(len(clips)) % max(3, -(-len(clips) // most)) == 1
        return clips[~held_out], clips[held_out], "clips held out from calibration"
    of = "the clips of the calibration" if quantize == "int8" else "the clips given"
    return clips, clips[:: -(-len(clips) // most)], of


def make_noise(shape, dtype, pixels=False, count=4):
    """Returns clips of noise, where there are no real ones.

    Args:
        shape: of one clip, without unknown sizes.
        dtype: of the model's input; of integers, pixels in 0..255.
        pixels: whether floats are pixels in 0..255 as well; otherwise they are normalized.
        count: how many.

    Returns:
        Array `(count, *shape)`, the same each time.
    """
    noise = np.random.default_rng(0).normal(size=(count, *shape))
    if pixels or "float" not in dtype:
        noise = np.clip(np.round(64 * noise + 128), 0, 255)
    return noise.astype(dtype)


def example_shape(shape):
    """A shape with unknown sizes filled in: some frames, and places that five halvings leave."""
    usual = (8, 64, 64) if len(shape) == 4 else (64,) * (len(shape) - 1)
    return tuple(n or m for n, m in zip(shape, (*usual, 3), strict=True))

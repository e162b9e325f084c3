"""How far an export's answers lie from its model's."""

import dataclasses

import keras
import numpy as np

# Largest difference from the model's answers, as a share of the largest answer.
TOLERANCES = {None: 1e-4, "float16": 1e-2, "dynamic": 0.1, "int8": 0.25}
# A model that computes in half precision is itself no closer than this to its weights' answers.
HALF_TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2}


@dataclasses.dataclass(frozen=True)
class Agreement:
    """What a comparison of answers gave.

    Attributes:
        clips: how many were compared.
        of: `"the clips given"` or `"noise"`.
        largest_difference: of any answer, as it is.
        relative_difference: the same, as a share of the largest answer.
        same_top: share of the clips with the same highest class, or `None` where there are none.
        tolerance: what was let through, a relative difference.
    """

    clips: int
    of: str
    largest_difference: float
    relative_difference: float
    same_top: float | None
    tolerance: float


def tolerance_of(model, quantize):
    """The tolerance that fits what the model computes in and what its export is quantised to."""
    halves = [HALF_TOLERANCES.get(layer.compute_dtype, 0.0) for layer in model._flatten_layers()]
    return max([TOLERANCES[quantize], *halves])


def answers_of(model, clips):
    """The model's own answers, one clip at a time, for which there surely is memory."""
    answers = [model(clip[None], training=False) for clip in clips]
    return np.concatenate([keras.ops.convert_to_numpy(answer) for answer in answers])


def check_finite(answers, of, name):
    """Refuses a model whose answers are no numbers, to which nothing can be compared.

    Args:
        answers: array of the model's.
        of: what they are of, see `Agreement`.
        name: of the model, for the message.

    Raises:
        ValueError: if any is infinite or NaN.
    """
    if not np.isfinite(np.asarray(answers, "float64")).all():
        raise ValueError(
            f"`model` must give finite numbers. Received: '{name}', whose answers to {of} hold "
            "NaN or infinity. Its weights are not finite, or its activations overflow; pass "
            "`clips` as it was trained on, or train it again."
        )


def compare(found, expected, tolerance, of, name, path):
    """Compares answers, and raises where they lie too far apart.

    Args:
        found: array of the export's answers.
        expected: array of the model's.
        tolerance: largest difference that is let through, as a share of the largest answer.
        of: what the answers are of, see `Agreement`.
        name: of the model, for the message.
        path: where the export was to stand.

    Returns:
        An `Agreement`.

    Raises:
        RuntimeError: if they differ by more.
    """
    found, expected = np.asarray(found, "float64"), np.asarray(expected, "float64")
    if found.shape != expected.shape:
        raise RuntimeError(
            f"The export of '{name}' must answer as the model does. Received: answers of shape "
            f"{found.shape} in place of {expected.shape}; nothing was written to '{path}'."
        )
    difference = float(np.max(np.abs(found - expected)))
    relative = difference / max(float(np.max(np.abs(expected))), 1e-30)
    # Written so that a NaN fails as well.
    if not relative <= tolerance:
        raise RuntimeError(
            f"The export of '{name}' must answer as the model does. Received: a difference "
            f"of {relative:.2g} of the largest answer, where `tolerance` is {tolerance:g}; "
            f"nothing was written to '{path}'. With quantized weights, pass typical `clips`, "
            "prepared as for model.predict, a milder `quantize`, or a `tolerance` that your use "
            "can bear."
        )
    same = None
    if expected.ndim == 2 and expected.shape[1] > 1:
        same = float(np.mean(found.argmax(1) == expected.argmax(1)))
    return Agreement(len(expected), of, difference, relative, same, tolerance)

"""How far an export's answers lie from its model's."""

import dataclasses

import keras
import numpy as np

# Largest difference from the model's answers, as a share of the largest answer.
TOLERANCES = {None: 1e-4, "float16": 1e-2, "dynamic": 0.1, "int8": 0.25}
# A model that computes in half precision is itself no closer than this to its weights' answers.
HALF_TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2}
# Where the two highest probabilities are closer, as a share of the tolerance, either may be first.
_TIE = 0.2
# Share of the clips that may have another top class, if the model's margin is within the tolerance.
_MOST_OTHERS = 0.05


@dataclasses.dataclass(frozen=True)
class Agreement:
    """What a comparison of answers gave.

    Attributes:
        clips: number of clips compared.
        of: which clips: `"the clips given"`, `"clips held out from calibration"`, `"the clips of
            the calibration"` or `"noise"`.
        largest_difference: of any answer, as it is.
        relative_difference: the same, as a share of the largest answer.
        same_top: share of the clips with the same top class, or `None` without classes.
        tolerance: largest relative difference that was accepted.
        summary: all of it in words.
    """

    clips: int
    of: str
    largest_difference: float
    relative_difference: float
    same_top: float | None
    tolerance: float
    summary: str


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


def compare(found, expected, tolerance, of, name, path, output="probabilities"):
    """Compares answers, and raises where they lie too far apart or decide otherwise.

    The top class must be the same on every clip where the model's margin, the difference of its
    two highest values, exceeds the tolerance. Of probabilities it must also be the same on 95 % of
    the clips, not counting those where the two highest are closer than a fifth of the tolerance.

    Args:
        found: array of the export's answers.
        expected: array of the model's.
        tolerance: largest accepted difference, as a share of the largest answer.
        of: which clips, see `Agreement`.
        name: of the model, for the message.
        path: where the export was to stand.
        output: `"probabilities"` or `"scores"`, see `Facts`.

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
    way_out = (
        f"; nothing was written to '{path}'. With quantized weights, pass typical `clips`, "
        "prepared as for model.predict, a milder `quantize`, or a `tolerance` that your use "
        "can bear."
    )
    clips, largest = len(expected), max(float(np.max(np.abs(expected))), 1e-30)
    difference = float(np.max(np.abs(found - expected)))
    relative = difference / largest
    # Written so that a NaN fails as well.
    if not relative <= tolerance:
        raise RuntimeError(
            f"The export of '{name}' must answer as the model does. Received: a difference "
            f"of {relative:.2g} of the largest answer, where `tolerance` is {tolerance:g}{way_out}"
        )
    kind = "probability" if output == "probabilities" else "score"
    summary, same = f"max {kind} difference {difference:.2g} on {clips} clips", None
    if output == "probabilities" and expected.ndim == 2 and expected.shape[1] == 1:
        # One sigmoid tells two classes apart.
        found, expected = (np.hstack([1 - answers, answers]) for answers in (found, expected))
    if expected.ndim == 2 and expected.shape[1] > 1:
        others = found.argmax(1) != expected.argmax(1)
        same = 1 - float(np.mean(others))
        summary = f"max {kind} difference {difference:.2g}; "
        summary += f"top-1 agrees on {clips - others.sum()} of {clips} clips"
        second, first = np.sort(expected, axis=1)[:, -2:].T
        margins = (first - second) / largest
        clear, open_to_doubt = others & (margins > tolerance), others & (margins > _TIE * tolerance)
        too_many = output == "probabilities" and open_to_doubt.sum() > _MOST_OTHERS * clips
        if clear.any() or too_many:
            raise RuntimeError(
                f"The export of '{name}' must have the model's top class. Received: {summary}. "
                f"Where they do not agree, the model's margin is up to {margins[others].max():.2g} "
                f"of the largest answer, where `tolerance` is {tolerance:g}{way_out}"
            )
    return Agreement(clips, of, difference, relative, same, tolerance, f"{summary} ({of})")

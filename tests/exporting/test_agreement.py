"""What a comparison of answers says."""

import keras
import numpy as np
import pytest

from keras_nonlocal.exporting.agreement import HALF_TOLERANCES, compare, tolerance_of

EXPECTED = np.array([[0.5, 0.4, 0.1], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])


def test_differences_and_first_classes_are_counted():
    found = EXPECTED.copy()
    found[0] = [0.42, 0.48, 0.1]  # Another class first, where the model hardly prefers its own.
    found[1] = [0.3, 0.2, 0.5]  # The same first, others changed.
    agreed = compare(found, EXPECTED, 0.7, "noise", "net", "x")
    assert agreed.clips == 4
    assert agreed.largest_difference == pytest.approx(0.1)
    assert agreed.relative_difference == pytest.approx(0.1 / 0.8)
    assert agreed.same_top == 0.75
    words = "max probability difference 0.1; top-1 agrees on 3 of 4 clips (noise)"
    assert agreed.summary == words


# Two classes of a softmax, and the second of them as one sigmoid.
@pytest.mark.parametrize("columns", [[0, 1], [1]], ids=["softmax", "sigmoid"])
@pytest.mark.parametrize("clips", [1, 8, 24])
def test_flipped_answers_within_the_tolerance_are_refused(clips, columns):
    expected = np.tile([[0.55, 0.45], [0.45, 0.55]], (clips, 1))[:clips, columns]
    found = 1 - expected
    assert np.abs(found - expected).max() < 0.25 * expected.max()
    message = (
        rf"the model's top class\. Received: .*top-1 agrees on 0 of {clips}.*`tolerance` is 0.25"
    )
    with pytest.raises(RuntimeError, match=message):
        compare(found, expected, 0.25, "the clips given", "net", "x")


@pytest.mark.parametrize("output", ["probabilities", "scores"])
def test_no_clip_that_the_model_is_sure_of_may_flip(output):
    expected = np.tile([[0.6, 0.4]], (100, 1))
    found = expected.copy()
    found[7] = [0.48, 0.52]
    compare(found, expected, 0.34, "noise", "net", "x", output)
    with pytest.raises(RuntimeError, match=r"agrees on 99 of 100.*margin is up to 0.33"):
        compare(found, expected, 0.33, "noise", "net", "x", output)


def test_a_few_doubtful_clips_and_all_ties_may_flip():
    expected = np.tile([[0.53, 0.47]], (40, 1))
    found = expected.copy()
    found[:2] = 1 - found[:2]
    compare(found, expected, 0.25, "noise", "net", "x")
    found[:3] = 1 - expected[:3]
    with pytest.raises(RuntimeError, match="agrees on 37 of 40"):
        compare(found, expected, 0.25, "noise", "net", "x")
    # Scores need be no classes at all: features of a network without a head.
    compare(found, expected, 0.25, "noise", "net", "x", "scores")
    ties = np.tile([[0.506, 0.494]], (40, 1))
    assert compare(1 - ties, ties, 0.25, "noise", "net", "x").same_top == 0


def test_answers_of_another_shape_are_refused():
    with pytest.raises(RuntimeError, match=r"answers of shape \(4, 2\) in place of \(4, 3\)"):
        compare(EXPECTED[:, :2], EXPECTED, 1.0, "noise", "net", "x")


def test_half_precision_inside_a_nested_model_widens_the_tolerance():
    inputs = keras.Input((8, 8, 3))
    half = keras.Model(inputs, keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16")(inputs))
    model = keras.Sequential([keras.Input((8, 8, 3)), half, keras.layers.GlobalMaxPooling2D()])
    assert tolerance_of(model, None) == HALF_TOLERANCES["bfloat16"]

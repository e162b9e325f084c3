"""What a comparison of answers says."""

import keras
import numpy as np
import pytest

from keras_nonlocal.exporting.agreement import HALF_TOLERANCES, compare, tolerance_of

EXPECTED = np.array([[0.5, 0.4, 0.1], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])


def test_differences_and_first_classes_are_counted():
    found = EXPECTED.copy()
    found[0] = [0.42, 0.48, 0.1]  # Another class first.
    found[1] = [0.3, 0.2, 0.5]  # The same first, others changed.
    agreed = compare(found, EXPECTED, 0.2, "noise", "net", "x")
    assert agreed.clips == 4
    assert agreed.largest_difference == pytest.approx(0.1)
    assert agreed.relative_difference == pytest.approx(0.1 / 0.8)
    assert agreed.same_top == 0.75


def test_answers_of_another_shape_are_refused():
    with pytest.raises(RuntimeError, match=r"answers of shape \(4, 2\) in place of \(4, 3\)"):
        compare(EXPECTED[:, :2], EXPECTED, 1.0, "noise", "net", "x")


def test_half_precision_inside_a_nested_model_widens_the_tolerance():
    inputs = keras.Input((8, 8, 3))
    half = keras.Model(inputs, keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16")(inputs))
    model = keras.Sequential([keras.Input((8, 8, 3)), half, keras.layers.GlobalMaxPooling2D()])
    assert tolerance_of(model, None) == HALF_TOLERANCES["bfloat16"]

"""Two replicas update as one device does that has the whole batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.training.loss_scaling import LossScaleOptimizer
from keras_nonlocal.training.optimizers import SGD, AdamW
from keras_nonlocal.training.schedules import HalfCosine
from tests import subjects
from tests.training import optimizer_runs as runs


def fit(optimizer, strategy):
    with strategy.scope():
        model = runs.small_model()
        model.compile(optimizer(), "mse", jit_compile=False)
    model.fit(runs.batches(9), shuffle=False, verbose=0)
    return model


REPLICATED = {
    "everything": runs.everything,
    "coupled": lambda: SGD(runs.schedule(), l2=0.1, global_clipnorm=0.3, use_ema=True),
    "scaled": lambda: LossScaleOptimizer(
        SGD(runs.schedule(), weight_decay=0.1, clipvalue=0.05, gradient_accumulation_steps=2)
    ),
    # A wide epsilon, as Adam makes whole steps out of rounding where a gradient is next to none.
    "adamw": lambda: AdamW(HalfCosine(0.1, 9), clipnorm=0.1, epsilon=1e-2),
}


@pytest.mark.parametrize(
    "name",
    ["everything", *(pytest.param(n, marks=pytest.mark.slow) for n in list(REPLICATED)[1:])],
)
def test_two_replicas_step_as_one_device(name):
    one = fit(REPLICATED[name], tf.distribute.get_strategy())
    two = fit(REPLICATED[name], subjects.two_replicas())
    counts = [int(keras.ops.convert_to_numpy(m.optimizer.iterations)) for m in (one, two)]
    assert counts[0] == counts[1] >= 2
    start = runs.small_model().get_weights()
    for before, a, b in zip(start, one.get_weights(), two.get_weights(), strict=True):
        assert np.abs(a - before).max() > 1e-3
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-6)


def test_overwriting_averages_are_refused_on_several_replicas():
    def optimizer():
        return SGD(0.1, use_ema=True, ema_overwrite_frequency=2)

    with pytest.raises(ValueError, match="(?s)`ema_overwrite_frequency` must be None.*=2"):
        fit(optimizer, subjects.two_replicas())


def test_an_overflow_on_the_second_replica_is_seen_by_all():
    x, y = (array.copy() for array in next(runs.batches(1).as_numpy_iterator()))
    y[-1] = np.inf
    options = runs.batches(1).options()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8).with_options(options)
    with subjects.two_replicas().scope():
        # No norm, which would carry it to the first replica too.
        inputs = keras.Input((6,))
        model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
        model.compile(LossScaleOptimizer(SGD(0.1), 1024.0), "mse", jit_compile=False)
    before = [v.numpy() for v in model.trainable_variables]
    model.fit(data, shuffle=False, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(new), old)
    assert float(keras.ops.convert_to_numpy(model.optimizer.dynamic_scale)) == 512.0

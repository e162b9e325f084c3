import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.layers import BatchNormalization
from keras_nonlocal.layers.normalization import _count
from tests.subjects import example, fill, two_replicas

SHAPES = {"3d": (7, 6), "4d": (5, 4, 6), "5d": (3, 5, 4, 6), "2d": (6,)}


def pair(shape, **arguments):
    """Ours and Keras' own with the same weights, and an input far from zero mean."""
    ours = BatchNormalization(**arguments)
    theirs = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, **arguments)
    for layer in (ours, theirs):
        layer.build((None, *shape))
        fill(layer)
    return ours, theirs, example(shape, batch=4) * 3 + 1


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("training", (False, True))
def test_numbers_and_gradients_are_those_of_keras(shape, training):
    ours, theirs, x = pair(shape)
    cotangent = np.random.default_rng(2).standard_normal(x.shape).astype("float32")
    results = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(x_tensor := tf.constant(x))
            outputs = layer(x_tensor, training=training)
            loss = tf.reduce_sum(outputs * cotangent)
        variables = [v.value for v in layer.trainable_variables]
        results.append([outputs, *tape.gradient(loss, [x_tensor, *variables]), *layer.weights])
    for mine, keras_own in zip(*results, strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("policy", ("mixed_bfloat16", "mixed_float16"))
@pytest.mark.parametrize("training", (False, True))
def test_numbers_are_those_of_keras_under_mixed_precision(policy, training):
    ours, theirs, x = pair(SHAPES["5d"], dtype=policy)
    mine, keras_own = ours(x, training=training), theirs(x, training=training)
    assert mine.dtype == keras_own.dtype
    np.testing.assert_allclose(
        keras.ops.cast(mine, "float32"), keras.ops.cast(keras_own, "float32"), rtol=1e-2, atol=1e-2
    )
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        assert a.dtype == "float32"
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# Positions after the binary point.
DIGITS = {"bfloat16": 8, "float16": 11}


@pytest.mark.parametrize("policy", DIGITS)
@pytest.mark.parametrize("scale", (True, False), ids=("fused", "separate"))
def test_half_precision_is_that_of_keras_and_rounds_statistics_once(scale, policy):
    shape = (3, 5, 4, 64)
    ours, theirs, x = pair(shape, dtype=policy, scale=scale)
    x = tf.cast(x, policy)
    before = [np.float64(v.numpy()) for v in (ours.moving_mean, ours.moving_variance)]
    cotangent = np.random.default_rng(2).standard_normal(x.shape)
    results = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.cast(y, "float32") * cotangent)
        slopes = tape.gradient(loss, [x, *[v.value for v in layer.trainable_variables]])
        results.append([y, *slopes, layer(x, training=False)])
    tolerance = 2.0 ** (3 - DIGITS[policy])
    for mine, keras_own in zip(*results, strict=True):
        assert mine.dtype == policy
        keras_own = tf.cast(keras_own, "float32")
        atol = tolerance * np.abs(keras_own).max()
        np.testing.assert_allclose(tf.cast(mine, "float32"), keras_own, rtol=tolerance, atol=atol)
    exact = np.float64(x.numpy())
    batch = exact.mean(axis=(0, 1, 2, 3)), exact.var(axis=(0, 1, 2, 3))
    after = ours.moving_mean, ours.moving_variance
    for variable, old, new in zip(after, before, batch, strict=True):
        assert variable.dtype == policy
        rounding = 1.01 * 2.0 ** -DIGITS[policy]
        np.testing.assert_allclose(
            np.float64(variable.numpy()), 0.9 * old + 0.1 * new, rtol=rounding, atol=1e-6
        )


def test_the_number_of_positions_does_not_overflow():
    assert float(_count((8192, 32, tf.constant(4096), 4096), "float32")) == 2.0**42
    norm = BatchNormalization()
    norm.build((None,) * 4 + (3,))
    function = tf.function(lambda x: norm(x, training=True))
    graph = function.get_concrete_function(tf.TensorSpec((None,) * 4 + (3,))).graph
    assert "Size" not in {op.type for op in graph.get_operations()}


def test_five_dimensions_use_the_fused_kernel():
    norm = BatchNormalization()
    norm.build((None, 2, 4, 4, 3))
    for training in (False, True):
        function = tf.function(lambda x, training=training: norm(x, training=training))
        graph = function.get_concrete_function(tf.TensorSpec((None, 2, 4, 4, 3))).graph
        assert "FusedBatchNormV3" in {op.type for op in graph.get_operations()}


@pytest.mark.parametrize("policy", ("float32", "bfloat16"))
def test_synchronized_replicas_share_their_statistics(policy):
    strategy = two_replicas()
    x = tf.cast(example(SHAPES["5d"], batch=4), policy)
    with strategy.scope():
        norm = BatchNormalization(synchronized=True, dtype=policy)
        norm.build((None, *SHAPES["5d"]))
    alone = BatchNormalization(dtype=policy)
    expected = alone(x, training=True)

    @tf.function
    def step(clips):
        return strategy.run(lambda x: norm(x, training=True), args=(clips,))

    dataset = strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensors(x).unbatch().batch(4)
    )
    parts = strategy.experimental_local_results(step(next(iter(dataset))))
    rtol, atol = (1e-5, 1e-6) if policy == "float32" else (2**-7, 2**-7)
    parts, expected = tf.cast(tf.concat(parts, 0), "float32"), tf.cast(expected, "float32")
    np.testing.assert_allclose(parts, expected, rtol=10 * rtol, atol=10 * atol)
    for a, b in zip(norm.weights, alone.weights, strict=True):
        a, b = np.float32(a.numpy()), np.float32(b.numpy())
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def test_synchronized_statistics_take_a_replica_without_examples():
    strategy = two_replicas()
    x = example(SHAPES["5d"], batch=3) + 5
    with strategy.scope():
        norm = BatchNormalization(synchronized=True)
        norm.build((None, *SHAPES["5d"]))
    alone = BatchNormalization()
    expected = alone(x, training=True)
    parts = [tf.constant(x), tf.constant(x[:0])]
    clips = strategy.experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group]
    )
    run = tf.function(lambda clips: strategy.run(lambda x: norm(x, training=True), args=(clips,)))
    outputs = strategy.experimental_local_results(run(clips))
    np.testing.assert_allclose(tf.concat(outputs, 0), expected, rtol=1e-4, atol=1e-5)
    for a, b in zip(norm.weights, alone.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_frozen_norm_is_affine_and_still_learns_it():
    norm = BatchNormalization(frozen=True)
    norm.build((None, 3, 5, 4, 6))
    fill(norm)
    x = example((3, 5, 4, 6))
    before = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    np.testing.assert_array_equal(norm(x, training=True), norm(x, training=False))
    np.testing.assert_array_equal(norm.moving_mean, before[0])
    np.testing.assert_array_equal(norm.moving_variance, before[1])
    assert [v.name for v in norm.trainable_variables] == ["gamma", "beta"]
    factor = norm.gamma / np.sqrt(before[1] + norm.epsilon)
    expected = x * factor + norm.beta - before[0] * factor
    np.testing.assert_allclose(norm(x, training=True), expected, rtol=1e-4, atol=1e-5)


def test_not_trainable_norm_keeps_its_statistics():
    norm = BatchNormalization(trainable=False)
    norm.build((None, 3, 5, 4, 6))
    x = example((3, 5, 4, 6))
    np.testing.assert_array_equal(norm(x, training=True), norm(x))
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(6))

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.layers import BatchNormalization
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


def test_five_dimensions_use_the_fused_kernel():
    norm = BatchNormalization()
    norm.build((None, 2, 4, 4, 3))
    for training in (False, True):
        function = tf.function(lambda x, training=training: norm(x, training=training))
        graph = function.get_concrete_function(tf.TensorSpec((None, 2, 4, 4, 3))).graph
        assert "FusedBatchNormV3" in {op.type for op in graph.get_operations()}


def test_synchronized_replicas_share_their_statistics():
    strategy = two_replicas()
    x = example(SHAPES["5d"], batch=4)
    with strategy.scope():
        norm = BatchNormalization(synchronized=True)
        norm.build((None, *SHAPES["5d"]))
    alone = BatchNormalization()
    expected = alone(x, training=True)

    @tf.function
    def step(clips):
        return strategy.run(lambda x: norm(x, training=True), args=(clips,))

    dataset = strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensors(x).unbatch().batch(4)
    )
    parts = strategy.experimental_local_results(step(next(iter(dataset))))
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=1e-4, atol=1e-5)
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

"""Non-local blocks in graphs: no conditions, and gradients that XLA and outer tapes can take."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.layers import Conv3D, MaxPooling3D, pairwise
from tests.subjects import example, fill

# Classes, shapes of inputs and options; how clips are split does not depend on the mode.
BLOCKS = {
    "images": (knl.NonLocal2D, (4, 6, 6), {"mode": "gaussian", "memory_budget": 24 * 6 * 4}),
    "spacetime": (knl.NonLocal3D, (4, 3, 6, 6), {"pool_size": (2, 1, 3)}),
    "space": (knl.NonLocal3D, (4, 3, 6, 6), {"axes": "space", "pool_position": "after"}),
    "time": (
        knl.NonLocal3D,
        (4, 3, 6, 6),
        {"axes": "time", "frames_per_group": 2, "memory_budget": 400},
    ),
    "dot_product": (knl.NonLocal1D, (12, 6), {"mode": "dot_product", "norm": "batch_norm"}),
    "concatenation": (knl.NonLocal2D, (4, 6, 6), {"mode": "concatenation"}),
}
# Chunks of known sizes are unrolled and of unknown ones a loop; keys of unknown number are sorted.
CASES = {
    "unrolled": ("images", "time"),
    "loops": ("spacetime", "space", "time"),
    "sorted": ("dot_product", "concatenation"),
}


@pytest.fixture(scope="module", params=CASES)
def blocks(request):
    """Blocks, their inputs, the specifications of these, and whether their graph has loops."""
    layers, inputs, specs = [], [], []
    for name in CASES[request.param]:
        make, shape, options = BLOCKS[name]
        # Most without a norm, which makes graphs much larger.
        layer = make(dtype="float64", **{"norm": None, **options})
        layers.append(fill(_built(layer, (None, *shape))))
        inputs.append(tf.constant(example(shape, dtype="float64")) - 0.5)
        free = shape if request.param == "unrolled" else (*[None] * (len(shape) - 1), shape[-1])
        specs.append(tf.TensorSpec((None, *free), "float64"))
    return layers, inputs, specs, request.param == "loops"


def outputs_of(layers, inputs):
    return [layer(x, training=True) for layer, x in zip(layers, inputs, strict=True)]


def slopes(layers, inputs):
    """Gradients of a weighted sum of each output, by its input and its weights."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        losses = [tf.reduce_sum(y * tf.cos(y)) for y in outputs_of(layers, inputs)]
    variables = [v.value for layer in layers for v in layer.trainable_variables]
    return tape.gradient(losses, [*inputs, *variables])


@pytest.fixture(scope="module")
def expected(blocks):
    """The gradients without a graph, which other tests hold to finite differences."""
    layers, inputs, _, _ = blocks
    return slopes(layers, inputs)


def assert_close(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * max(np.abs(other).max(), 1))


@pytest.fixture(scope="module")
def step(blocks):
    layers, _, specs, _ = blocks
    return tf.function(lambda *x: slopes(layers, list(x)), input_signature=specs, jit_compile=True)


def test_xla_takes_the_gradient_of_any_batch(blocks, step, expected):
    assert_close(step(*blocks[1]), expected)


def test_a_tape_outside_of_the_graph_takes_its_gradient(blocks, expected):
    layers, inputs, specs, _ = blocks
    graph = tf.function(lambda *x: outputs_of(layers, list(x)), input_signature=specs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        losses = [tf.reduce_sum(y * tf.cos(y)) for y in graph(*inputs)]
    variables = [v.value for layer in layers for v in layer.trainable_variables]
    assert_close(tape.gradient(losses, [*inputs, *variables]), expected)


def test_graphs_have_no_conditions_and_loops_for_unknown_sizes_alone(blocks, step):
    loops = blocks[-1]
    operations = _operations(step.get_concrete_function())
    assert "BiasAddGrad" in operations
    assert not {"If", "StatelessIf", "Case", "StatelessCase"} & operations
    assert bool({"While", "StatelessWhile"} & operations) == loops


def test_many_chunks_are_a_loop():
    layer = knl.NonLocal1D(pool_size=None, memory_budget=1, dtype="float64")
    x = example((pairwise.MAX_UNROLLED_CHUNKS + 1, 6), batch=1, dtype="float64")
    layer.build(x.shape)
    expected = fill(layer)(x)
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, *x.shape[1:]), "float64")])
    np.testing.assert_allclose(graph(x), expected, rtol=0, atol=1e-10)
    assert {"While", "StatelessWhile"} & _operations(graph.get_concrete_function())
    layer.memory_budget = 2**28
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-10)


def test_an_empty_batch_of_unknown_sizes_is_taken():
    layer = fill(_built(knl.NonLocal2D(), (None, 4, 4, 6)))
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 6))])
    assert graph(np.ones((0, 4, 4, 6), "float32")).shape == (0, 4, 4, 6)


def _built(layer, shape):
    layer.build(shape)
    return layer


def _operations(concrete):
    """Returns the kinds of operations in a graph and in the functions that it calls."""
    return set(re.findall(r'\bop: "(\w+)"', str(concrete.graph.as_graph_def())))


def test_fit_under_xla_takes_an_incomplete_batch():
    clips, labels = example((4, 4, 4, 3), batch=1), np.array([1])
    trained = []
    for jit_compile in (False, True):
        x = inputs = keras.Input((4, 4, 4, 3))
        for layer in (Conv3D(8, (3, 1, 1)), knl.NonLocal3D(), MaxPooling3D(2, 2, (1, 0, 0))):
            x = layer(x)
        x = keras.layers.GlobalAveragePooling3D()(x)
        model = fill(keras.Model(inputs, keras.layers.Dense(3, "softmax")(x)))
        optimizer = keras.optimizers.SGD(0.01)
        model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=jit_compile)
        assert model.jit_compile == jit_compile
        data = tf.data.Dataset.from_tensor_slices((clips, labels)).batch(2)
        model.fit(data, epochs=2, shuffle=False, verbose=0)
        trained.append(model)
    for one, other in zip(*(model.weights for model in trained), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * max(np.abs(one).max(), 1))


def test_an_eager_tape_does_not_hold_the_weights_of_chunks():
    queries, keys, budget = 4096, 4096, 2**21  # 64 MB of weights, 2 MB at a time.
    layer = knl.NonLocal1D(pool_size=None, memory_budget=budget)
    x = tf.constant(example((queries, 8), batch=1))
    layer(x)
    before = _resident()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x))
        held = _resident() - before
    assert held < queries * keys * 4 / 2
    assert tape.gradient(loss, layer.g.kernel.value) is not None


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.layers import affinity
from tests.layers import reference
from tests.subjects import example, fill

MODES = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
CLIP = (4, 5, 6, 8)
SHAPES = {knl.NonLocal1D: (9, 8), knl.NonLocal2D: (5, 6, 8), knl.NonLocal3D: CLIP}

OPTIONS = {
    "default": {},
    "unscaled": {"scale": False},
    "pool_after": {"pool_position": "after"},
    "pool_frames_after": {"pool_position": "after", "pool_size": (2, 1, 3)},
    "pool_frames": {"pool_size": (2, 2, 2)},
    "no_pool": {"pool_size": None},
    "no_norm": {"norm": None},
    "three_inner": {"inner_channels": 3},
    "space": {"axes": "space"},
    "time": {"axes": "time"},
    "time_pooled": {"axes": "time", "pool_size": (2, 1, 1)},
    "time_in_groups": {"axes": "time", "frames_per_group": 2},
    "groups": {"frames_per_group": 2},
    "groups_of_one": {"frames_per_group": 1},
}


def make(layer_class=knl.NonLocal3D, shape=CLIP, dtype="float64", **options):
    layer = layer_class(dtype=dtype, **options)
    layer.build((None, *shape))
    return fill(layer), example(shape, dtype=dtype) - 0.5


@pytest.fixture(params=["direct", "indirect"])
def path(request, monkeypatch):
    """Runs a test both with the N x M weights and with what avoids them."""
    if request.param == "direct":
        monkeypatch.setattr(affinity, "SORTING_PAYS_ABOVE_KEYS", 10**9)
    else:
        monkeypatch.setattr(affinity, "SORTING_PAYS_ABOVE_KEYS", 0)
    return {"direct": {}, "indirect": {"memory_budget": 3000}}[request.param]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_agrees_with_equation_in_float64(mode, options, path):
    layer, x = make(mode=mode, **options, **path)
    expected, weights = reference.non_local(layer, x)
    outputs, scores = layer(x, return_attention_scores=True)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(np.reshape(scores, np.shape(weights)), weights, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layer_class", SHAPES, ids=lambda c: c.__name__)
def test_agrees_with_equation_in_float32(mode, layer_class, path):
    layer, x = make(layer_class, SHAPES[layer_class], "float32", mode=mode, **path)
    expected, _ = reference.non_local(layer, x.astype("float64"))
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", ({}, {"pool_position": "after"}), ids=("before", "after"))
def test_gradients_agree_with_finite_differences(mode, options, path):
    layer, x = make(mode=mode, **options, **path)
    random = np.random.default_rng(3)
    cotangent = random.standard_normal(x.shape)
    tensors = [tf.Variable(x), *(v.value for v in layer.trainable_variables)]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.convert_to_tensor(tensors[0]), training=True) * cotangent)
    gradients = tape.gradient(loss, tensors)
    for tensor, gradient in zip(tensors, gradients, strict=True):
        direction = random.standard_normal(tensor.shape)
        value, losses, step = tensor.numpy(), [], 1e-6
        for sign in (1, -1):
            tensor.assign(value + sign * step * direction)
            outputs = layer(tf.convert_to_tensor(tensors[0]), training=True)
            losses.append(float(tf.reduce_sum(outputs * cotangent)))
        tensor.assign(value)
        slope = (losses[0] - losses[1]) / (2 * step)
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("mode", MODES)
def test_chunks_and_sorting_give_the_direct_gradients(mode, monkeypatch):
    layer, x = make(mode=mode, shape=(4, 8, 8, 8))

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(x_tensor := tf.constant(x))
            loss = tf.reduce_sum(layer(x_tensor) ** 2)
        return tape.gradient(loss, [x_tensor, *(v.value for v in layer.trainable_variables)])

    monkeypatch.setattr(affinity, "SORTING_PAYS_ABOVE_KEYS", 10**9)
    direct = gradients()
    monkeypatch.setattr(affinity, "SORTING_PAYS_ABOVE_KEYS", 0)
    # 2 examples x 64 keys x 8 bytes a query: chunks of 48 queries, the last one smaller.
    monkeypatch.setattr(affinity, "AFFINITY_BUDGET", 48 * 1024)
    for a, b in zip(direct, gradients(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("mode", MODES)
def test_unknown_sizes_decide_in_the_graph(mode, path):
    layer, x = make(mode=mode)
    unknown = tf.TensorSpec([None, None, None, None, 8], tf.float64)

    @tf.function(input_signature=[unknown])
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) ** 2)
        return tape.gradient(loss, x)

    with tf.GradientTape() as tape:
        tape.watch(x_tensor := tf.constant(x))
        loss = tf.reduce_sum(layer(x_tensor) ** 2)
    np.testing.assert_allclose(slope(x), tape.gradient(loss, x_tensor), rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm", ("batch_norm", None))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("training", (False, True))
def test_new_block_is_the_identity_to_the_bit(norm, mode, training):
    x = example(CLIP)
    assert np.array_equal(knl.NonLocal3D(norm=norm, mode=mode)(x, training=training), x)


def test_embeddings_start_apart():
    layer = _built(knl.NonLocal3D(), (None, *CLIP))
    kernels = [np.asarray(sub.kernel) for sub in (layer.theta, layer.phi, layer.g)]
    assert not np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (2, 120, 24)),
        ({"pool_size": None}, (2, 120, 120)),
        ({"frames_per_group": 2}, (2, 2, 60, 12)),
        ({"axes": "space"}, (2, 4, 30, 6)),
        ({"axes": "time"}, (2, 5, 6, 4, 4)),
        ({"axes": "time", "frames_per_group": 2}, (2, 5, 6, 2, 2, 2)),
    ],
)
def test_scores_have_the_axes_that_attention_was_split_into(options, shape):
    layer, x = make(**options)
    outputs, scores = layer(x, return_attention_scores=True)
    assert scores.shape == shape
    symbolic = layer(keras.Input(CLIP, dtype="float64"), return_attention_scores=True)
    assert symbolic[0].shape == (None, *CLIP)
    assert symbolic[1].shape == (None, *shape[1:])
    assert layer.compute_output_shape(x.shape, return_attention_scores=True) == (x.shape, shape)


@pytest.mark.parametrize("mode", ("gaussian", "embedded_gaussian"))
def test_softmax_is_float32_under_mixed_precision(mode):
    layer = knl.NonLocal3D(mode=mode, dtype="mixed_bfloat16")
    layer.build((None, *CLIP))
    outputs, scores = fill(layer)(example(CLIP), return_attention_scores=True)
    assert outputs.dtype == "bfloat16"
    assert scores.dtype == "float32"
    # In bfloat16 rows of 24 weights would miss 1 by some 1e-3.
    np.testing.assert_allclose(np.sum(scores, -1), 1, rtol=0, atol=1e-6)


def test_dot_product_does_not_overflow_in_float16():
    layer = knl.NonLocal1D(mode="dot_product", dtype="mixed_float16", pool_size=None)
    x = np.full((1, 4096, 16), 3.0, "float32")
    layer.build(x.shape)
    for name in ("theta", "phi", "g"):
        getattr(layer, name).kernel.assign(np.full((1, 16, 8), 0.2))
    layer.out.kernel.assign(np.full((1, 8, 16), 1e-3))
    layer.norm.gamma.assign(np.ones(16))
    assert np.isfinite(layer(x)).all()


def test_no_weights_of_all_pairs_are_built_for_large_maps():
    # 40,000 queries by 40,000 keys would take 6.4 GB; concatenation by sorting takes some MB.
    x = np.random.default_rng(0).standard_normal((1, 40_000, 4)).astype("float32")
    for mode in ("dot_product", "concatenation"):
        layer = fill(_built(knl.NonLocal1D(mode=mode, pool_size=None), x.shape))
        graph = tf.function(layer).get_concrete_function(tf.TensorSpec(x.shape)).graph
        outputs = [t for op in graph.get_operations() for t in op.outputs]
        sizes = [t.shape.num_elements() or 0 for t in outputs if t.shape.rank is not None]
        assert max(sizes) < 10**7
        assert np.isfinite(layer(x)).all()


def _built(layer, shape):
    layer.build(shape)
    return layer


@pytest.mark.parametrize(
    ("make_layer", "words"),
    [
        (lambda: knl.NonLocal3D(mode="softmax"), "`mode` must be one of 'gaussian'"),
        (lambda: knl.NonLocal3D(axes="rows"), "`axes` must be one of 'spacetime'"),
        (lambda: knl.NonLocal3D(pool_position="x"), "`pool_position` must be one of"),
        (lambda: knl.NonLocal3D(norm="layer_norm"), "`norm` must be one of 'batch_norm', None"),
        (lambda: knl.NonLocal3D(inner_channels=0), "`inner_channels` must be a positive"),
        (lambda: knl.NonLocal3D(pool_size=(2, 2)), "a tuple of 3 of them"),
        (lambda: knl.NonLocal3D(frames_per_group=0), "`frames_per_group` must be a positive"),
        (
            lambda: knl.NonLocal3D(axes="space", frames_per_group=2),
            "needs attention across frames",
        ),
        (lambda: knl.NonLocal3D(axes="space", pool_size=(2, 1, 1)), "1 over frames where"),
        (lambda: knl.NonLocal3D(axes="time", pool_size=(1, 2, 2)), "1 over height and width"),
        (lambda: knl.NonLocal1D(axes="time"), "`axes` is an argument of NonLocal3D"),
        (lambda: knl.NonLocal2D(frames_per_group=2), "`frames_per_group` is an argument of"),
    ],
)
def test_bad_arguments_are_refused_by_name(make_layer, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make_layer()


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (lambda: knl.NonLocal3D(), (2, 5, 6, 8), r"inputs of rank 5.*\(2, 5, 6, 8\)"),
        (lambda: knl.NonLocal1D(), (2, 5, 6, 8), "NonLocal1D takes inputs of rank 3"),
        (lambda: knl.NonLocal3D(), (2, 4, 1, 6, 8), r"`pool_size` must not exceed.*\(4, 1, 6\)"),
        (lambda: knl.NonLocal3D(pool_size=(5, 1, 1)), (2, 4, 5, 6, 8), "Lower `pool_size`"),
        (lambda: knl.NonLocal3D(frames_per_group=3), (2, 4, 5, 6, 8), "must divide the number"),
    ],
)
def test_bad_inputs_are_refused_with_a_way_out(layer, shape, words):
    with pytest.raises(ValueError, match=words):
        layer()(np.ones(shape, "float32"))


def test_another_number_of_channels_is_refused():
    layer, _ = make(dtype="float32")
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 8"):
        layer(np.ones((2, 4, 5, 6, 7), "float32"))


def test_unknown_channels_are_refused():
    with pytest.raises(ValueError, match="needs to know the number of channels"):
        knl.NonLocal3D()(keras.Input((4, 8, 8, None)))

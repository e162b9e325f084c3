import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.layers import pairwise
from tests.layers import reference
from tests.subjects import example, fill

MODES = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
CLIP = (4, 3, 4, 8)
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


# Each mode with the N x M weights and, where another form avoids them, with that.
FORMS = {
    "gaussian": ("gaussian", {}, 512),
    "gaussian_in_chunks": ("gaussian", {"memory_budget": 500}, 512),
    "embedded_gaussian": ("embedded_gaussian", {}, 512),
    "embedded_gaussian_in_chunks": ("embedded_gaussian", {"memory_budget": 500}, 512),
    "dot_product": ("dot_product", {}, 512),
    "concatenation": ("concatenation", {}, 512),
    "concatenation_sorted": ("concatenation", {}, 0),
}


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Arguments of a block that make it take one of the forms."""
    mode, options, sorted_above = FORMS[request.param]
    monkeypatch.setattr(pairwise, "SORTING_PAYS_ABOVE_KEYS", sorted_above)
    return {"mode": mode, **options}


@functools.cache
def loops(mode, name):
    """What the loops of the reference give, which is the same for all forms of a mode."""
    return reference.non_local(*make(mode=mode, **OPTIONS[name]))


# The forms of a mode meet the same queries and keys, which only these options cut into parts.
PARTS = ("default", "pool_frames_after", "time_in_groups", "groups")


@pytest.mark.parametrize(
    ("form", "name"),
    [(form, name) for form in FORMS for name in (OPTIONS if form in MODES else PARTS)],
    indirect=["form"],
)
def test_agrees_with_equation_in_float64(name, form):
    layer, x = make(**OPTIONS[name], **form)
    expected, weights = loops(form["mode"], name)
    outputs, scores = layer(x, return_attention_scores=True)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(np.reshape(scores, np.shape(weights)), weights, rtol=0, atol=1e-10)


@pytest.mark.parametrize("layer_class", SHAPES, ids=lambda c: c.__name__)
def test_agrees_with_equation_in_float32(layer_class, form):
    layer, x = make(layer_class, SHAPES[layer_class], "float32", **form)
    expected, _ = reference.non_local(layer, x.astype("float64"))
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("form", "options"),
    [*((form, {}) for form in FORMS), ("embedded_gaussian", {"pool_position": "after"})],
    ids=(*FORMS, "pool_after"),
    indirect=["form"],
)
def test_gradients_agree_with_finite_differences(options, form):
    layer, x = make(**options, **form)
    random = np.random.default_rng(3)
    cotangent = random.standard_normal(x.shape)
    tensors = [tf.Variable(x), *(v.value for v in layer.trainable_variables)]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.convert_to_tensor(tensors[0]), training=True) * cotangent)
    gradients = tape.gradient(loss, tensors)
    # Random directions in which no gradient outweighs the others.
    directions = [random.standard_normal(g.shape) / max(np.linalg.norm(g), 1) for g in gradients]
    values, losses, step = [tensor.numpy() for tensor in tensors], [], 1e-5
    for sign in (1, -1):
        for tensor, value, direction in zip(tensors, values, directions, strict=True):
            tensor.assign(value + sign * step * direction)
        outputs = layer(tf.convert_to_tensor(tensors[0]), training=True)
        losses.append(float(tf.reduce_sum(outputs * cotangent)))
    slope = (losses[0] - losses[1]) / (2 * step)
    products = [np.sum(g * d) for g, d in zip(gradients, directions, strict=True)]
    np.testing.assert_allclose(sum(products), slope, rtol=0, atol=1e-6 * np.abs(products).sum())


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
        ({}, (2, 48, 8)),
        ({"pool_size": None}, (2, 48, 48)),
        ({"frames_per_group": 2}, (2, 2, 24, 4)),
        ({"axes": "space"}, (2, 4, 12, 2)),
        ({"axes": "time"}, (2, 3, 4, 4, 4)),
        ({"axes": "time", "frames_per_group": 2}, (2, 3, 4, 2, 2, 2)),
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


@pytest.mark.parametrize("form", ("direct", "in_chunks"))
@pytest.mark.parametrize(
    ("scale", "spread"), ((True, 0.01), (False, 0.5)), ids=("small_logits", "large_logits")
)
@pytest.mark.parametrize("dtype", ("float16", "bfloat16"))
@pytest.mark.parametrize("mode", ("gaussian", "embedded_gaussian"))
def test_half_precision_takes_the_softmax_of_float32_logits(mode, dtype, spread, form, scale):
    budget = 2**28 if form == "direct" else 2 * 7 * 12 * 4
    layer = knl.NonLocal1D(
        mode=mode, scale=scale, norm=None, dtype=f"mixed_{dtype}", memory_budget=budget
    )
    random = np.random.default_rng(0)
    x = random.uniform(-10, 10, (2, 24, 1024)).astype("float32")
    layer.build(x.shape)
    for variable in layer.weights:
        variable.assign(random.standard_normal(variable.shape) * spread)
    half = keras.ops.cast(x, dtype)
    pooled = layer._pool(half)
    embedded = mode != "gaussian"
    theta, phi = (layer.theta(half), layer.phi(pooled)) if embedded else (half, pooled)
    theta, phi, g = (np.array(keras.ops.cast(v, "float64")) for v in (theta, phi, layer.g(pooled)))
    logits = theta @ np.swapaxes(phi, 1, 2) * (theta.shape[-1] ** -0.5 if scale else 1.0)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    outputs, scores = layer(x, return_attention_scores=True)
    assert outputs.dtype == dtype
    assert scores.dtype == "float32"
    # What float32 leaves of the largest logit is the error of a weight's logarithm.
    rounding = 4 * np.abs(logits).max() * 2.0**-24 * np.sqrt(theta.shape[-1])
    np.testing.assert_allclose(scores, weights, rtol=0, atol=1e-6 + rounding)
    y = keras.ops.cast(weights @ g, dtype)
    expected = np.array(keras.ops.cast(layer.out(y) + half, "float32"))
    assert np.isfinite(expected).all()
    precision = {"float16": 2.0**-9, "bfloat16": 2.0**-6}[dtype]
    actual = np.array(keras.ops.cast(outputs, "float32"))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=precision * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ("mixed_float16", "mixed_bfloat16"))
def test_chunks_have_the_gradients_of_half_precision_without_chunks(dtype):
    layer = fill(_built(knl.NonLocal3D(dtype=dtype), (None, 4, 8, 8, 8)))
    x = example((4, 8, 8, 8)) - 0.5

    def gradients(budget):
        layer.memory_budget = budget
        with tf.GradientTape() as tape:
            tape.watch(inputs := tf.constant(x, "float32"))
            loss = tf.reduce_sum(tf.cast(layer(inputs), "float32") ** 2)
        return tape.gradient(loss, [inputs, layer.theta.kernel.value, layer.phi.kernel.value])

    for one, other in zip(gradients(2**28), gradients(64 * 64 * 4), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=0.02 * np.abs(one).max())


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
        (lambda: knl.NonLocal3D(memory_budget=0), "`memory_budget` must be a positive"),
        (
            lambda: knl.NonLocal1D(norm_options={"name": "a", "dtype": "b"}),
            "leave out 'name', 'dty",
        ),
        (lambda: knl.NonLocal3D(inner_channels=0), "`inner_channels` must be a positive"),
        (lambda: knl.NonLocal3D(pool_size=(2, 2)), "a tuple of 3 of them"),
        (lambda: knl.NonLocal3D(frames_per_group=0), "`frames_per_group` must be a positive"),
        (
            lambda: knl.NonLocal3D(axes="space", frames_per_group=2),
            "needs attention across frames",
        ),
        (
            lambda: knl.NonLocal3D(axes="space", pool_size=(2, 1, 1)),
            "1 over frames where axes='space'",
        ),
        (lambda: knl.NonLocal3D(axes="time", pool_size=(1, 2, 2)), "1 over height and width"),
        (lambda: knl.NonLocal1D(axes="time"), "passed to NonLocal1D: {'axes': 'time'}"),
        (lambda: knl.NonLocal2D(frames_per_group=2), "passed to NonLocal2D: {'frames_per_group"),
    ],
)
def test_bad_arguments_are_refused_by_name(make_layer, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make_layer()


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (lambda: knl.NonLocal3D(), (2, 5, 6, 8), r"inputs of rank 5.*\(2, 5, 6, 8\)"),
        (
            lambda: knl.NonLocal1D(),
            (2, 5, 6, 8),
            "NonLocal1D takes inputs of rank 3.*Use NonLocal1D for",
        ),
        (lambda: knl.NonLocal3D(), (2, 4, 1, 6, 8), r"`pool_size` must not exceed.*\(4, 1, 6\)"),
        (lambda: knl.NonLocal3D(pool_size=(5, 1, 1)), (2, 4, 5, 6, 8), "Lower `pool_size`"),
        (lambda: knl.NonLocal3D(frames_per_group=3), (2, 4, 5, 6, 8), "must divide the number"),
    ],
)
def test_bad_inputs_are_refused_with_a_way_out(layer, shape, words):
    with pytest.raises(ValueError, match=words):
        layer()(np.ones(shape, "float32"))


@pytest.mark.parametrize(
    ("how", "axes"),
    (
        ("eager", "spacetime"),
        ("eager", "time"),
        ("graph", "spacetime"),
        ("graph", "time"),
        ("xla", "spacetime"),
    ),
)
def test_frames_that_groups_do_not_divide_are_refused_after_build(axes, how):
    # 2 clips of 6 frames divide into 3 groups of 4, of which one would hold both clips.
    layer = knl.NonLocal3D(frames_per_group=4, axes=axes)
    layer.build((None, None, 2, 2, 8))
    run = layer
    if how != "eager":
        unknown = [tf.TensorSpec((None, None, 2, 2, 8))]
        run = tf.function(layer, input_signature=unknown, jit_compile=how == "xla")
    x = tf.constant(example((8, 2, 2, 8)))
    np.testing.assert_allclose(run(x), x, rtol=0, atol=1e-6)
    words = "reshape" if how == "xla" else r"(?s)`frames_per_group` must divide.*4.*\b6\b"
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=words):
        run(x[:, :6])


def test_groups_of_unknown_frames_keep_clips_apart():
    layer, x = make(frames_per_group=2)
    expected, _ = reference.non_local(layer, x)
    unknown = tf.TensorSpec((None, None, 3, 4, 8), "float64")
    np.testing.assert_allclose(
        tf.function(layer, input_signature=[unknown])(x), expected, atol=1e-10
    )


def test_one_key_gives_theta_and_phi_zero_gradients():
    layer, x = make(knl.NonLocal1D, (2, 8))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(x)) ** 2)
    kernels = [layer.theta.kernel.value, layer.phi.kernel.value, layer.g.kernel.value]
    theta, phi, g = tape.gradient(loss, kernels)
    assert not np.any(theta) and not np.any(phi) and np.any(g)


@pytest.mark.parametrize("pool_position", ("before", "after"))
def test_masked_positions_are_no_keys(form, pool_position):
    # The last three of ten positions are padding: one of the fourth pair that is pooled, and the
    # fifth pair.
    layer, x = make(knl.NonLocal1D, (10, 8), pool_position=pool_position, **form)
    alone, padded = x[:, :7], x.copy()
    padded[:, 7:] = 1e3
    mask = np.arange(10) < 7
    outputs, scores = layer(padded, mask=mask[None].repeat(2, 0), return_attention_scores=True)
    # Pooled by two, the seventh position is a key of its own.
    expected = np.concatenate([alone, alone[:, -1:]], axis=1)
    expected, weights = layer(expected, return_attention_scores=True)
    np.testing.assert_allclose(outputs[:, :7], expected[:, :7], rtol=0, atol=1e-10)
    np.testing.assert_allclose(scores[:, :7, :4], weights[:, :7], rtol=0, atol=1e-10)
    assert not np.any(scores[:, :, 4])


@pytest.mark.parametrize("mode", MODES)
def test_padding_changes_no_output_or_gradient_of_a_sequence(mode):
    layer, x = make(knl.NonLocal1D, (10, 8), mode=mode, pool_size=None)
    x[:, 6:] = 0

    def run(inputs, masked):
        block = keras.Sequential(
            [keras.layers.Masking(dtype="float64"), layer] if masked else [layer]
        )
        with tf.GradientTape() as tape:
            outputs = block(inputs, training=True)
            loss = tf.reduce_sum(outputs[:, :6] ** 3)
        kernels = [layer.g.kernel.value, layer.out.kernel.value, layer.norm.gamma.value]
        return [outputs[:, :6], *tape.gradient(loss, kernels)]

    for one, other in zip(run(x, masked=True), run(x[:, :6], masked=False), strict=True):
        # Keras adds 1e-7 to the number of positions by which it divides.
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


def test_chunks_have_the_gradient_of_a_clip_that_is_masked_whole():
    layer, x = make(knl.NonLocal1D, (5, 4), pool_size=None, norm=None)
    mask = np.array([[True, True, False, True, True], [False] * 5])

    def slopes(budget):
        layer.memory_budget = budget
        with tf.GradientTape() as tape:
            tape.watch(inputs := tf.constant(x))
            loss = tf.reduce_sum(layer(inputs, mask=mask) ** 3)
        return tape.gradient(loss, [inputs, layer.theta.kernel.value, layer.phi.kernel.value])

    for one, other in zip(slopes(2**28), slopes(80), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10)


def test_masks_of_another_shape_are_refused():
    layer, x = make()
    with pytest.raises(ValueError, match=r"`mask` must have an entry per position.*\(2, 4\)"):
        layer(x, mask=np.ones((2, 4), bool))


def test_initializers_may_be_functions():
    layer = knl.NonLocal1D(
        kernel_initializer=lambda shape, dtype=None: keras.ops.ones(shape, dtype)
    )
    layer.build((None, 4, 8))
    assert np.all(layer.theta.kernel == 1)


def test_integer_inputs_are_cast():
    layer, _ = make(knl.NonLocal2D, SHAPES[knl.NonLocal2D], "float32")
    x = np.random.default_rng(0).integers(0, 255, (2, *SHAPES[knl.NonLocal2D]), "uint8")
    np.testing.assert_array_equal(layer(x), layer(x.astype("float32")))


def test_sizes_of_numpy_are_taken_and_saved_as_numbers():
    layer = knl.NonLocal3D(
        inner_channels=np.int64(4),
        pool_size=(np.int32(1), 2, 2),
        frames_per_group=np.int64(2),
        memory_budget=np.int64(10_000),
    )
    copy = knl.NonLocal3D.from_config(json.loads(json.dumps(layer.get_config())))
    assert copy.pool_size == (1, 2, 2)
    assert (copy.inner_channels, copy.frames_per_group, copy.memory_budget) == (4, 2, 10_000)


def test_another_number_of_channels_is_refused():
    layer, _ = make(dtype="float32")
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 8"):
        layer(np.ones((2, 4, 5, 6, 7), "float32"))


def test_unknown_channels_are_refused():
    with pytest.raises(ValueError, match="needs to know the number of channels"):
        knl.NonLocal3D()(keras.Input((4, 8, 8, None)))

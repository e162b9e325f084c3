"""Every layer and every network against every property that users count on."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from tests import subjects

EVERYTHING = {
    **{name: (lambda s=s: subjects.wrap(*s), s[1]) for name, s in subjects.LAYERS.items()},
    **{
        name: (lambda b=b: subjects.fill(b()), (4, 48, 48, 3))
        for name, b in subjects.NETWORKS.items()
    },
}
everything = pytest.mark.parametrize("name", EVERYTHING)
# NLI3D holds all layers of the other networks.
everything_but_parts = pytest.mark.parametrize(
    "name", [name for name in EVERYTHING if name not in ("c2d", "i3d", "nlc2d")]
)


def subject(name):
    make, shape = EVERYTHING[name]
    return make(), subjects.example(shape)


def trainable_subject(name):
    """A subject with something to train, if only behind it."""
    model, x = subject(name)
    if not model.trainable_variables:
        model = subjects.fill(keras.Sequential([model, keras.layers.Dense(3)]))
    return model, x


def assert_close(actual, expected, tolerance=1e-5):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=tolerance * max(np.abs(expected).max(), 1))


@everything
def test_config_survives_json(name):
    model, x = subject(name)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    copy = keras.saving.deserialize_keras_object(config)
    copy.set_weights(model.get_weights())
    assert_close(copy(x), model(x), 0)


@everything
def test_keras_file_gives_same_answers(name, tmp_path):
    model, x = subject(name)
    model.save(tmp_path / "model.keras")
    assert_close(keras.models.load_model(tmp_path / "model.keras")(x), model(x), 0)


@everything_but_parts
def test_saved_model_gives_same_answers(name, tmp_path):
    model, x = subject(name)
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    assert_close(loaded.serve(tf.constant(x)), model(x))


@everything_but_parts
def test_tflite_file_gives_same_answers(name, tmp_path):
    model, x = subject(name)
    path = knl.export(model, tmp_path / "model.tflite", format="tflite")
    assert path.stat().st_size > 0


@everything_but_parts
def test_graph_and_xla_give_eager_answers(name):
    model, x = subject(name)
    eager = model(x)
    assert_close(tf.function(model)(x), eager)
    assert_close(tf.function(model, jit_compile=True)(x), eager)


@everything_but_parts
def test_unknown_sizes_give_same_answers(name):
    model, x = subject(name)
    if name in subjects.NETWORKS:
        free = subjects.NETWORKS[name]((None, None, None, 3))
    else:
        factory, shape = subjects.LAYERS[name]
        free = subjects.wrap(factory, (*[None] * (len(shape) - 1), shape[-1]))
    free.set_weights(model.get_weights())
    unknown = tf.TensorSpec([None] * (x.ndim - 1) + [x.shape[-1]])
    assert_close(free(x), model(x))
    assert_close(tf.function(free, input_signature=[unknown])(x), model(x))


@everything_but_parts
def test_mixed_precision_stays_near_float32(name):
    model, x = subject(name)
    for policy in ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16"):
        keras.config.set_dtype_policy(policy)
        half = EVERYTHING[name][0]()
        half.set_weights(model.get_weights())
        assert_close(keras.ops.cast(half(x), "float32"), model(x), 0.06)


@everything
def test_output_shape_is_predicted(name):
    model, x = subject(name)
    assert tuple(model.compute_output_shape(x.shape)) == tuple(model(x).shape)
    assert model.output_shape == (None, *model(x).shape[1:])


@everything_but_parts
def test_fit_moves_every_kernel(name):
    model, x = trainable_subject(name)
    # Shifts are left out: a norm or a softmax behind them takes most of them away again.
    weights = [v for v in model.trainable_variables if v.name not in ("bias", "beta")]
    before = [v.numpy() for v in weights]
    y = np.random.default_rng(5).standard_normal(model(x).shape)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(x, y, epochs=1, verbose=0)
    still = [v.path for v, old in zip(weights, before, strict=True) if np.array_equal(v, old)]
    assert still == []
    assert all(np.isfinite(v).all() for v in model.weights)
    # XLA is slower on the CPU, and Keras' "auto" leaves it off there.
    assert not model.jit_compile


@everything_but_parts
def test_xla_is_obeyed_where_it_is_asked_for(name, monkeypatch):
    model, _ = subject(name)
    model.compile("sgd", "mse", jit_compile=True)
    assert model.jit_compile
    # A GPU suffices for "auto" to choose it.
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [gpu])
    model.compile("sgd", "mse")
    assert model.jit_compile


def test_pure_half_precision_trains():
    shape = (4, 32, 32, 3)
    before, after = {}, {}
    for policy in ("float32", "float16", "bfloat16"):
        keras.config.set_dtype_policy(policy)
        model = knl.NLI3D(
            depth=(1, 1, 1, 1),
            width=8,
            input_shape=shape,
            classes=3,
            dropout=0.0,
            include_preprocessing=False,
        )
        assert {v.dtype for v in model.weights} == {policy}
        before[policy] = [np.float32(v.numpy()) for v in subjects.fill(model).weights]
        model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
        model.train_on_batch(subjects.example(shape), np.array([0, 2]))
        after[policy] = [np.float32(v.numpy()) for v in model.weights]
    for policy, tolerance in (("float16", 0.05), ("bfloat16", 0.2)):
        for i, variable in enumerate(model.weights):
            assert np.isfinite(after[policy][i]).all()
            stage = variable.path.partition("_")[0]
            if variable.name in ("moving_mean", "moving_variance") and stage < "res4":
                # The later norms see one position per clip, which multiplies rounding.
                step = np.abs(after["float32"][i] - before["float32"][i]).max()
                error = np.abs(after[policy][i] - after["float32"][i]).max()
                assert error < tolerance * step, variable.path
            elif variable.name not in ("bias", "beta"):
                assert not np.array_equal(after[policy][i], before[policy][i])


@pytest.fixture
def channels_first():
    """Switches Keras to channels first, as `keras.json` may do."""
    yield lambda: keras.config.set_image_data_format("channels_first")
    keras.config.set_image_data_format("channels_last")


@everything_but_parts
def test_the_data_format_of_keras_changes_nothing(name, channels_first):
    model, x = subject(name)
    expected = model(x)
    channels_first()
    assert_close(subject(name)[0](x), expected, 0)


@pytest.mark.parametrize("pooling", ("avg", "max"))
def test_the_data_format_of_keras_changes_no_features(pooling, channels_first):
    arguments = {"depth": (1, 1, 1, 1), "width": 8, "include_top": False, "pooling": pooling}
    arguments["include_preprocessing"] = False
    x = subjects.example((4, 32, 32, 3))

    def features():
        return subjects.fill(knl.C2D(input_shape=x.shape[1:], **arguments))(x)

    expected = features()
    channels_first()
    assert_close(features(), expected, 0)


@everything_but_parts
def test_two_replicas_train_like_one(name):
    # In float64: in float32 the rounding of a sum, in another order, grows from step to step.
    keras.config.set_dtype_policy("float64")
    model, x = trainable_subject(name)
    x = x.astype("float64")
    y = np.random.default_rng(5).standard_normal(model(x).shape)
    trained = []
    for strategy in (tf.distribute.get_strategy(), subjects.two_replicas()):
        with strategy.scope():
            copy = _with_synchronized_norms(trainable_subject(name)[0])
            copy.set_weights(model.get_weights())
            copy.compile(keras.optimizers.SGD(0.1), "mse")
        dataset = tf.data.Dataset.from_tensors((x, y))
        copy.fit(dataset, epochs=2, shuffle=False, verbose=0)
        trained.append(copy.get_weights())
    for one, two in zip(*trained, strict=True):
        assert_close(two, one, 1e-8)


def _with_synchronized_norms(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    return model

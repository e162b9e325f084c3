"""What `train` does beside going on: validation, the best, the end, and errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.runs import curves
from keras_nonlocal.runs.model_state import read_state
from keras_nonlocal.training.fitting import train
from keras_nonlocal.training.loop import TrainingDiverged
from keras_nonlocal.training.optimizers import SGD
from keras_nonlocal.training.plan import Plan
from tests import subjects
from tests.training import small_trainings as small


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(curves, "can_draw", lambda: False)


@pytest.fixture(scope="module")
def start():
    return small.Starter()


@pytest.fixture(scope="module")
def without_averages():
    return small.Starter(optimizer=small.make_optimizer(use_ema=False))


def same_batches_every_epoch():
    return small.Batches().dataset()


def test_training_equals_one_call_of_fit(tmp_path, without_averages):
    start = without_averages
    history, state = start(tmp_path, training=same_batches_every_epoch())
    small.write_state(start.model, start.initial)
    expected = start.model.fit(
        same_batches_every_epoch(),
        validation_data=small.validation(),
        epochs=small.EPOCHS,
        shuffle=False,
        verbose=0,
    )
    small.assert_same(state, read_state(start.model))
    assert {k: v for k, v in history.items() if k != "learning_rate"} == expected.history


def test_averages_are_validated_and_never_trained(tmp_path, start, without_averages):
    history, _ = start(tmp_path / "averages")
    other, state = without_averages(tmp_path / "without")
    assert history["loss"] == other["loss"]
    assert history["val_loss"] != other["val_loss"]
    # The last epoch's, which the model has at the end.
    result = start.model.evaluate(small.validation(), verbose=0, return_dict=True)
    assert result["loss"] == history["val_loss"][-1]


def test_the_final_model_has_the_averages(tmp_path, start):
    start(tmp_path)
    optimizer = {v.path: v for v in start.model.optimizer.variables}
    for variable in start.model.trainable_variables:
        (average,) = [
            v
            for path, v in optimizer.items()
            if path.endswith(f"{variable.path.replace('/', '_')}_average")
        ]
        np.testing.assert_array_equal(variable, average)


def test_precise_statistics_are_validated_and_never_trained(tmp_path, without_averages):
    start = without_averages
    moving, moving_state = start(tmp_path / "moving")
    history, state = start(tmp_path / "precise", precise_norm_batches=4)
    assert history["loss"] == moving["loss"]
    assert history["val_loss"] != moving["val_loss"]
    result = start.model.evaluate(small.validation(), verbose=0, return_dict=True)
    assert result["loss"] == history["val_loss"][-1]
    # Computed here from the last epoch's batches, by which all four were made precise.
    kernel, bias = (
        state[f"model/0000{n}.small/hidden/{k}"] for n, k in enumerate(("kernel", "bias"))
    )
    x = np.concatenate(
        [x for x, _ in small.Batches().dataset(small.EPOCHS - 1).as_numpy_iterator()]
    )
    hidden = x.astype("float64") @ kernel + bias
    names = [
        next(n for n in state if n.endswith(end)) for end in ("moving_mean", "moving_variance")
    ]
    np.testing.assert_allclose(state[names[0]], hidden.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state[names[1]], hidden.var(0), rtol=1e-5)
    # All else is that of the training with moving averages.
    for name in state.keys() - set(names):
        np.testing.assert_array_equal(state[name], moving_state[name], err_msg=name)


@pytest.mark.parametrize(
    ("count", "interrupted"), [(1, False), (3, True)], ids=["one, at once", "three, resumed"]
)
def test_two_replicas_validate_with_any_number(count, interrupted, tmp_path):
    x, y = next(iter(small.validation()))
    validation = tf.data.Dataset.from_tensor_slices((x[:count], y[:count])).batch(4)

    def once(callbacks=()):
        with subjects.two_replicas().scope():
            model = small.make_model(small.make_optimizer(gradient_accumulation_steps=None))
            # Else each replica has statistics of its own.
            model.get_layer("norm").trainable = False
        history = train(
            model, small.Batches(), validation, epochs=2, run=tmp_path, callbacks=callbacks
        )
        return model, history.history

    if interrupted:
        # With all steps of an epoch done, and the validation still to come.
        with pytest.raises(small.Stop):
            once([small.StopIn("on_test_begin", 1)])
    model, history = once()
    one = small.make_model()
    one.set_weights(model.get_weights())
    expected = one.evaluate(x[:count], y[:count], verbose=0, return_dict=True)
    assert history["val_loss"][-1] == pytest.approx(expected["loss"], rel=1e-5)
    assert history["val_accuracy"][-1] == pytest.approx(expected["accuracy"])


@pytest.mark.parametrize(
    ("arguments", "best"),
    [({}, min), ({"monitor": "val_accuracy"}, max), ({"monitor": "loss", "mode": "max"}, max)],
    ids=["least loss", "most accuracy", "as told"],
)
def test_the_best_epoch_is_saved(arguments, best, tmp_path, start):
    metric = arguments.get("monitor", "val_loss")
    states = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            states.append(self.model.get_weights())

    history, _ = start(tmp_path, callbacks=[Keep()], **arguments)
    epoch = history[metric].index(best(history[metric]))
    kept = keras.models.load_model(tmp_path / "best.keras")
    for mine, expected in zip(kept.get_weights(), states[epoch], strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_no_validation_means_no_best(tmp_path, start):
    history = train(start.model, small.Batches(), epochs=1, run=tmp_path)
    assert sorted(history.history) == ["accuracy", "learning_rate", "loss"]
    assert not (tmp_path / "best.keras").exists()


def test_a_finished_training_only_loads(tmp_path, start):
    history, _ = start(tmp_path)
    weights = start.model.get_weights()

    class Never(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise small.Stop

    again, _ = start(tmp_path, fresh=False, callbacks=[Never()])
    assert again == history
    for mine, expected in zip(start.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_a_loss_that_is_not_finite_stops_it(tmp_path, start):
    training = small.Batches()
    epoch = training.dataset

    def poisoned(number=0, step=0):
        def poison(place, batch):
            bad = (number == 1) & (place + step == 2)
            return tf.where(bad, np.nan, batch[0]), batch[1]

        return epoch(number, step).enumerate().map(poison)

    training.dataset = poisoned
    with pytest.raises(TrainingDiverged) as error:
        start(tmp_path, training=training)
    last = tmp_path / "checkpoints" / "epoch-00001-step-00000002.safetensors"
    assert "The loss is nan at step 3 of 4 in epoch 2 of 3." in str(error.value)
    assert f"The last good checkpoint is {last}." in str(error.value)
    assert sorted(last.parent.iterdir())[-1] == last


def test_no_checkpoint_holds_what_is_not_finite(tmp_path, start):
    class Poison(small.StopIn):
        def stop(self):
            variable = self.model.optimizer.variables[-1]
            variable.assign(np.full(variable.shape, np.inf))

    with pytest.raises(TrainingDiverged, match=r"Not finite are optimizer/\d+.sgd/.* at step 2 of"):
        start(tmp_path, callbacks=[Poison("on_train_batch_end", 2)])
    names = [path.stem for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert names == ["epoch-00000-step-00000000", "epoch-00000-step-00000001"]


def test_gradients_beyond_float16_do_no_harm(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    # A scale at which the first gradients are infinite: those steps are left out, and it halves.
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**30)
    start = small.Starter(optimizer=optimizer)
    history, _ = start(tmp_path, epochs=5)
    assert float(optimizer.dynamic_scale) < 2.0**30
    assert int(inner.iterations) < 20
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    ("optimizer", "in_one", "places"),
    [
        (keras.optimizers.SGD, None, [3, 7]),
        # Keras counts batches, of which the third and the sixth brought an update; ours updates.
        (keras.optimizers.SGD, 3, [2, 5]),
        (SGD, 3, [0, 1]),
    ],
    ids=["each step", "accumulated", "by updates"],
)
def test_the_rate_is_that_of_the_last_update(optimizer, in_one, places, tmp_path):
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.5, 1, 1.0)
    start = small.Starter(optimizer=optimizer(schedule, gradient_accumulation_steps=in_one))
    history, state = start(tmp_path, epochs=2)
    assert history["learning_rate"] == pytest.approx([0.5 / (1 + place) for place in places])
    assert state["optimizer/00000.sgd/iteration"] == 8


@pytest.mark.parametrize("first", [0.5, np.nan])
def test_what_is_no_number_is_not_the_best(first):
    plan = Plan(epochs=3, monitor="val_loss")
    assert plan.improves([{"val_loss": first}]) == (first == 0.5)
    assert not plan.improves([{"val_loss": first}, {"val_loss": np.nan}])
    assert plan.improves([{"val_loss": first}, {"val_loss": 0.4}])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "`epochs` must be an integer of at least 1. Received: epochs=0"),
        ({"precise_norm_batches": -1}, "`precise_norm_batches` must .* Received: .*=-1"),
        ({"checkpoint_steps": 0}, "`checkpoint_steps` must .* Received: checkpoint_steps=0"),
        ({"checkpoint_seconds": -1}, "`checkpoint_seconds` must .* Received: .*=-1"),
        ({"mode": "best"}, "`mode` must be 'min', 'max' or None. Received: mode='best'"),
        ({"keep": 0}, "`keep` must be a positive integer"),
        ({"monitor": "val_f1"}, "`monitor` must be one of .*'val_loss'.* Received: .*'val_f1'"),
        ({"callbacks": [keras.callbacks.SwapEMAWeights()]}, "must not hold a SwapEMAWeights"),
        ({"training": small.Batches().dataset().repeat()}, "`training` must end.*take"),
        (
            {"training": small.Batches().dataset().take(0)},
            "`training` must hold at least one batch",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_arguments_are_named(arguments, message, tmp_path, start):
    with pytest.raises(ValueError, match=message):
        start(tmp_path, **arguments)


def test_what_is_no_callback_is_named(tmp_path, start):
    with pytest.raises(TypeError, match="`callbacks` must be Keras callbacks. Received: 'bar'"):
        start(tmp_path, callbacks=["bar"])


def test_what_is_no_dataset_is_named(tmp_path, start):
    with pytest.raises(
        TypeError, match=r"`training` must be a `data.ClipLoader` or.*Received: list"
    ):
        start(tmp_path, training=[1])


def test_a_model_that_is_not_compiled_is_named(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)], name="raw")
    with pytest.raises(ValueError, match="model must be compiled. Received: 'raw'"):
        train(model, small.Batches(), epochs=1, run=tmp_path)


def test_replicas_train_without_xla(tmp_path, caplog):
    """Keras cannot compile across the replicas of a strategy."""
    with subjects.two_replicas().scope():
        model = small.make_model(keras.optimizers.SGD(0.1), jit_compile=True)
    assert model.jit_compile is True
    history = train(model, small.Batches(2), epochs=1, run=tmp_path)
    assert model.jit_compile is False
    assert "XLA is off in this training" in caplog.text
    assert np.isfinite(history.history["loss"]).all()

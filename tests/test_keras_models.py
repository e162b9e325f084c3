"""Models of tf_keras are refused by every function that takes a model, with the reason."""

import keras
import pytest

import keras_nonlocal as knl
from keras_nonlocal.models import flops

# tf_keras is Keras 2, and may not be installed beside Keras 3: a class of its name stands in.
Model = type("Model", (), {"__module__": "tf_keras.src.engine.training"})
Mine = type("Mine", (Model,), {"__module__": "mine"})

CALLS = {
    "insert_non_local": lambda model: knl.insert_non_local(model, after="conv"),
    "transfer_weights": lambda model: knl.transfer_weights(model, model),
    "inflate_weights": lambda model: knl.inflate_weights(model, "resnet50.pth"),
    "image network": lambda model: knl.inflate_weights(_network(), model),
    "save_checkpoint": lambda model: knl.save_checkpoint(model, "a.pkl", "pyslowfast"),
    "summary_table": lambda model: knl.summary_table([model]),
    "count_multiply_adds": flops.count_multiply_adds,
    "export": lambda model: knl.export(model, "network"),
    "fold": knl.exporting.fold,
    "prepare": knl.training.KINETICS.prepare,
    "compile": lambda model: knl.training.KINETICS.compile(model, 1, 1),
    "train": lambda model: knl.training.train(model, None, epochs=1, run="run"),
    "input_tensor": lambda model: knl.C2D(input_tensor=model),
}


def _network():
    return knl.C2D(depth=(1, 1, 1, 1), width=2, input_shape=(4, 32, 32, 3))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_models_of_tf_keras_are_refused(call):
    with pytest.raises(TypeError, match="must be made with Keras 3 .* Received: Mine of tf_keras"):
        call(Mine())


def test_models_of_keras_are_taken():
    knl.insert_non_local(
        keras.Sequential([keras.Input((8, 4)), keras.layers.Conv1D(2, 1, name="conv")]), "conv"
    )

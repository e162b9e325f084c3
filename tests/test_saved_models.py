"""`import keras_nonlocal` is all that a saved model of this package needs."""

import ast
import os
import pathlib
import subprocess
import sys

import numpy as np

import keras_nonlocal
from keras_nonlocal.training.labels import CrossEntropy, TopAccuracy
from keras_nonlocal.training.loss_scaling import LossScaleOptimizer
from keras_nonlocal.training.optimizers import SGD
from keras_nonlocal.training.schedules import HalfCosine

PACKAGE = pathlib.Path(keras_nonlocal.__file__).parent

# On a machine without TensorFlow.
PROGRAM = """
import sys
sys.modules["tensorflow"] = None
import keras
import keras_nonlocal
path, *names = sys.argv[1:]
missing = [name for name in names if keras.saving.get_registered_object(name) is None]
assert not missing, missing
rooms = {name.split(".")[1] for name in sys.modules if name.startswith("keras_nonlocal.")}
assert not rooms & {"data", "evaluation", "runs", "videos", "visualization"}, rooms
model = keras.saving.load_model(path)
assert (model.loss.label_smoothing, model.optimizer.inner_optimizer.l2) == (0.25, 0.5)
print(float(model.optimizer.learning_rate))
"""


def registered_names():
    """Yields the names under which the package registers its classes with Keras."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for decorator in getattr(node, "decorator_list", ()):
                if "register_keras_serializable" in ast.unparse(decorator):
                    yield f"keras_nonlocal>{node.name}"


def test_a_bare_import_loads_a_trained_model_without_tensorflow(tmp_path):
    names = sorted(registered_names())
    assert {"keras_nonlocal>SGD", "keras_nonlocal>NonLocal3D"} < set(names)
    shape = {"depth": (1, 1, 1, 1), "width": 4, "input_shape": (4, 32, 32, 3)}
    model = keras_nonlocal.C2D(**shape, classes=6)
    schedule = HalfCosine(0.25, 10)
    model.compile(
        LossScaleOptimizer(SGD(schedule, l2=0.5)),
        CrossEntropy(label_smoothing=0.25),
        metrics=[TopAccuracy(5)],
    )
    model.optimizer.build(model.trainable_variables)
    model.optimizer.inner_optimizer.iterations.assign(3)
    model.save(tmp_path / "model.keras")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "model.keras", *names],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(float(done.stdout), float(schedule(3)), rtol=1e-6)

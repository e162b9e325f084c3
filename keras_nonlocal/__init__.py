"""Non-local Neural Networks for video, in Keras."""

import importlib

from keras_nonlocal.builders import C2D, I3D, NLC2D, NLI3D
from keras_nonlocal.checkpoints import CheckpointError, list_weights
from keras_nonlocal.checkpoints.loading import load_checkpoint
from keras_nonlocal.checkpoints.saving import save_checkpoint
from keras_nonlocal.checkpoints.transfer import inflate_weights, transfer_weights
from keras_nonlocal.exporting import export
from keras_nonlocal.layers import NonLocal1D, NonLocal2D, NonLocal3D
from keras_nonlocal.models.flops import summary_table
from keras_nonlocal.models.insertion import insert_non_local
from keras_nonlocal.models.video_resnet import VideoResNet
from keras_nonlocal.preprocessing import decode_predictions, preprocess_input

__version__ = "0.1.0"

__all__ = [
    "C2D",
    "CheckpointError",
    "I3D",
    "NLC2D",
    "NLI3D",
    "NonLocal1D",
    "NonLocal2D",
    "NonLocal3D",
    "VideoResNet",
    "decode_predictions",
    "export",
    "exporting",
    "inflate_weights",
    "insert_non_local",
    "layers",
    "list_weights",
    "load_checkpoint",
    "models",
    "preprocess_input",
    "save_checkpoint",
    "summary_table",
    "training",
    "transfer_weights",
]

# They register with Keras what a saved model may name.
for _module in ("labels", "loss_scaling", "optimizers", "schedules"):
    importlib.import_module(f"keras_nonlocal.training.{_module}")

# Imported at their first use: they need TensorFlow, which a JAX machine may lack.
_ROOMS = ("data", "evaluation", "visualization")


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"keras_nonlocal.{name}")
    raise AttributeError(f"module 'keras_nonlocal' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_ROOMS})

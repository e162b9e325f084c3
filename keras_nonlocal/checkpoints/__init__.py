"""Published weights: which there are, and where they lie."""

from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.registry import Checkpoint, list_weights

__all__ = ["Checkpoint", "CheckpointError", "list_weights"]

"""Published weights: which there are, and where they lie."""

from keras_nonlocal.checkpoints.zoo import Checkpoint, list_weights

__all__ = ["Checkpoint", "list_weights"]

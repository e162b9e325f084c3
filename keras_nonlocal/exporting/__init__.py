"""From a trained network to a file that serves: folded, lowered, written whole, and compared."""

from keras_nonlocal.exporting.exporting import export
from keras_nonlocal.exporting.folding import fold

__all__ = ["export", "fold"]

"""From a trained network to a file that serves: folded, lowered, written whole, and compared."""

from keras_nonlocal.export.exporting import export
from keras_nonlocal.export.fold import fold

__all__ = ["export", "fold"]

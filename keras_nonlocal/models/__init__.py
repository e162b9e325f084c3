"""The video networks of the paper, and non-local blocks for any other."""

from keras_nonlocal.models.builders import C2D, I3D, NLC2D, NLI3D
from keras_nonlocal.models.insertion import insert_non_local
from keras_nonlocal.models.summary import summary_table

__all__ = ["C2D", "I3D", "NLC2D", "NLI3D", "insert_non_local", "summary_table"]

"""The video networks of the paper, and non-local blocks for any other."""

from keras_nonlocal.models.builders import C2D, I3D, NLC2D, NLI3D

__all__ = ["C2D", "I3D", "NLC2D", "NLI3D"]

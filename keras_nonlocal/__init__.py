"""Non-local Neural Networks for video, in Keras."""

from keras_nonlocal.checkpoints.zoo import list_weights
from keras_nonlocal.layers import NonLocal1D, NonLocal2D, NonLocal3D
from keras_nonlocal.models import C2D, I3D, NLC2D, NLI3D

__version__ = "0.1.0"

"""Layers of the video networks: the non-local blocks, and layers that Keras lacks."""

from keras_nonlocal.layers.convolution import Conv3D
from keras_nonlocal.layers.dropout import Dropout
from keras_nonlocal.layers.non_local import NonLocal1D, NonLocal2D, NonLocal3D
from keras_nonlocal.layers.normalization import BatchNormalization
from keras_nonlocal.layers.pooling import MaxPooling3D, SlidingWindowAveragePooling

__all__ = [
    "BatchNormalization",
    "Conv3D",
    "Dropout",
    "MaxPooling3D",
    "NonLocal1D",
    "NonLocal2D",
    "NonLocal3D",
    "SlidingWindowAveragePooling",
]

"""The layers of the video networks: what Keras lacks, and the non-local block."""

from keras_nonlocal.layers.convolution import Conv3D
from keras_nonlocal.layers.dropout import Dropout
from keras_nonlocal.layers.non_local_1d import NonLocal1D
from keras_nonlocal.layers.non_local_2d import NonLocal2D
from keras_nonlocal.layers.non_local_3d import NonLocal3D
from keras_nonlocal.layers.normalization import BatchNormalization
from keras_nonlocal.layers.pooling import MaxPooling3D, SlidingAverage

__all__ = [
    "BatchNormalization",
    "Conv3D",
    "Dropout",
    "MaxPooling3D",
    "NonLocal1D",
    "NonLocal2D",
    "NonLocal3D",
    "SlidingAverage",
]

"""The non-local block for sequences."""

import keras

from keras_nonlocal.layers.non_local import NonLocal


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class NonLocal1D(NonLocal):
    """Non-local block over sequences, `(batch, positions, channels)`.

    Every position's answer is a weighted mean over all positions, added to the input; see
    `NonLocal3D` for the arguments, of which `pool_size` pools the one axis there is.

    Example:

    >>> layer = keras_nonlocal.NonLocal1D()
    >>> layer(np.ones((2, 100, 32), "float32")).shape
    TensorShape([2, 100, 32])
    """

    rank = 1

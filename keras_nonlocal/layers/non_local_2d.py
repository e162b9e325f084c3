"""The non-local block for images."""

import keras

from keras_nonlocal.layers.non_local import NonLocal


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class NonLocal2D(NonLocal):
    """Non-local block over images, `(batch, height, width, channels)`.

    Every position's answer is a weighted mean over all positions, added to the input; see
    `NonLocal3D` for the arguments, of which `pool_size` pools height and width.

    Example:

    >>> layer = keras_nonlocal.NonLocal2D(mode="dot_product")
    >>> layer(np.ones((2, 28, 28, 32), "float32")).shape
    TensorShape([2, 28, 28, 32])
    """

    rank = 2

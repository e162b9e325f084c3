"""Dropout that is the same on one device and on many."""

import keras
from keras import ops

from keras_nonlocal.layers.backend import cast_inputs, replica_context


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class Dropout(keras.layers.Dropout):
    """Dropout with the masks of one device on several replicas.

    Under `tf.distribute.MirroredStrategy` every replica of `keras.layers.Dropout` holds the same
    seed and draws the same mask. This layer draws the mask of the global batch in each replica
    and uses the replica's own rows, which is cheap for the classifier input and expensive for
    large feature maps. On one device and on JAX it equals `keras.layers.Dropout`.

    The masks equal those of one device where all replicas hold batches of one size. An incomplete
    last batch, which TensorFlow may split unevenly, has other masks of the same rate.

    Args:
        rate: share of the inputs to drop, from 0 to 1.
        noise_shape: shape of the mask, `None` for that of the input; see `keras.layers.Dropout`.
            A first size other than `None` and 1 is that of the global batch.
        seed: integer, or `None` for a random one.
        **kwargs: arguments of `keras.layers.Layer`.

    Example:

    >>> layer = keras_nonlocal.layers.Dropout(0.5, seed=0)
    >>> outputs = layer(np.ones((4, 8), "float32"), training=True)
    >>> sorted({float(value) for value in np.ravel(outputs)})
    [0.0, 2.0]
    """

    def call(self, inputs, training=False):
        inputs = cast_inputs(self, inputs)
        context = replica_context()
        if context is None or not training or self.rate == 0:
            return super().call(inputs, training=training)
        rows, *sizes = ops.shape(inputs)
        shape = (rows * context.num_replicas_in_sync, *sizes)
        given = self.noise_shape or (None,) * len(shape)
        shape = [n if size is None else size for n, size in zip(shape, given, strict=True)]
        # `keras.layers.Dropout` draws in the dtype of its inputs, so this layer must.
        ones = ops.ones(shape, inputs.dtype)
        mask = keras.random.dropout(ones, self.rate, seed=self.seed_generator)
        if given[0] != 1:
            first = rows * context.replica_id_in_sync_group
            mask = mask[first : first + rows]
        return inputs * mask

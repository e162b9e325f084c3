"""Dropout that is the same on one device and on many."""

import keras
from keras import ops

from keras_nonlocal.layers.arguments import cast_inputs
from keras_nonlocal.layers.replicas import replica_context


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class Dropout(keras.layers.Dropout):
    """Dropout whose replicas together drop what one device would drop.

    `keras.layers.Dropout` under `tf.distribute.MirroredStrategy` draws the same mask in every
    replica, as all of them hold the same seed: what is dropped repeats along the global batch, and
    no run on two devices can equal the run on one. This layer draws the mask of the whole global
    batch in each replica and takes the rows that are the replica's own. On one device, and on
    JAX, where Keras sees the global batch as one array, it is `keras.layers.Dropout` and nothing
    more. A replica draws as many numbers as the global batch has: cheap before a classifier,
    dear on large maps.

    The masks are the single device's when all replicas hold batches of one size, as they do in
    training with `drop_remainder=True`. An incomplete last batch, which TensorFlow may split
    unevenly, still gets dropout of the right rate, but not the single device's mask.

    Args:
        rate: share of the inputs to drop, from 0 to 1.
        noise_shape: shape of the mask, `None` where it is the input's; see `keras.layers.Dropout`.
            A first size other than `None` and 1 is that of the global batch.
        seed: integer, or `None` for a random one.
        **kwargs: `name`, `dtype` and so on.

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
        mask = self._mask_of_global_batch(inputs, context.num_replicas_in_sync)
        if self.noise_shape is None or self.noise_shape[0] != 1:
            rows = ops.shape(inputs)[0]
            first = rows * context.replica_id_in_sync_group
            mask = mask[first : first + rows]
        return inputs * mask

    def _mask_of_global_batch(self, inputs, num_replicas):
        rows, *sizes = ops.shape(inputs)
        shape = (rows * num_replicas, *sizes)
        if self.noise_shape is not None:
            shape = tuple(
                whole if size is None else size
                for whole, size in zip(shape, self.noise_shape, strict=True)
            )
        # The layer of Keras draws in the precision of its inputs, so this one must.
        return keras.random.dropout(
            ops.ones(shape, inputs.dtype), self.rate, seed=self.seed_generator
        )

"""Which part of the videos this process reads, where several train together."""

import keras
import tensorflow as tf

HINT = tf.data.experimental.SHARD_HINT


def find_shard():
    """Tells the share of the videos that falls to this process.

    With JAX it is known from `keras.distribution.initialize`. With TensorFlow's
    `MultiWorkerMirroredStrategy` it is left to the strategy, which fills it in where the dataset
    asks, ahead of the decoder, when it distributes the dataset.

    Returns:
        `(index, count)`: this process is number `index` of `count`; both are `HINT` where the
        strategy says it.

    Raises:
        ValueError: if Keras' distribution would divide the dataset once more.
    """
    if keras.backend.backend() == "jax":
        import jax

        if jax.process_count() > 1:
            distribution = keras.distribution.distribution()
            if getattr(distribution, "auto_shard_dataset", False):
                raise ValueError(
                    "`auto_shard_dataset` must be off for datasets of clips, which read their own "
                    "share of the videos on each host; Keras would decode all of them everywhere. "
                    "Received: a distribution with auto_shard_dataset=True. Make it "
                    "keras.distribution.DataParallel(auto_shard_dataset=False), or pass "
                    "shard=(0, 1) to divide whole batches after decoding."
                )
            return jax.process_index(), jax.process_count()
    resolver = tf.distribute.get_strategy().cluster_resolver
    workers = resolver.cluster_spec().as_dict() if resolver is not None else {}
    if sum(len(workers.get(job, ())) for job in ("chief", "worker")) > 1:
        return HINT, HINT
    return 0, 1


def check_shard(shard):
    """Refuses a `shard` that is none.

    Args:
        shard: `(index, count)`.

    Returns:
        Both numbers.

    Raises:
        ValueError: if it is no pair of integers, 0 <= index < count.
    """
    index, count = shard if isinstance(shard, (tuple, list)) and len(shard) == 2 else (-1, 0)
    if not 0 <= index < count:
        raise ValueError(
            "`shard` must be a pair of this process's number and the number of processes. "
            f"Received: shard={shard!r}. The first of four is (0, 4)."
        )
    return index, count

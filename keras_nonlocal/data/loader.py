"""`ClipLoader`: from clips by index to `tf.data` pipelines of batches."""

import itertools
import logging
import threading

import numpy as np
import tensorflow as tf

from keras_nonlocal import transforms
from keras_nonlocal.data.source import check_count, check_share
from keras_nonlocal.data.workers import count_cores, shutdown_guard

_LOG = logging.getLogger("keras_nonlocal")
# A long training must not fill its log with names.
_ERRORS_LOGGED = 20


class ClipLoader:
    """Makes `tf.data` datasets of clips; made by `training_clips` and `evaluation_clips`.

    `dataset()` goes into `model.fit`. `training.train` takes the loader itself, so that it can
    resume within an epoch. Nothing hangs on the datasets: `map` and `cache` them as you like.

    Attributes:
        class_names: names of the classes, in the order of their numbers.
        steps_per_epoch: int, batches per epoch of this process; with `on_error="skip"`, evaluation
            may have fewer.
        errors: dictionary from the paths of videos that could not be read to the reasons, with
            `on_error="skip"`.
        videos: the `VideoList`.
    """

    def __init__(
        self,
        source,
        order,
        label_mode="int",
        transform=None,
        mix=None,
        class_weight=None,
        drop_remainder=False,
        padded=False,
        on_error="raise",
        max_error_rate=0.05,
        workers=None,
        deterministic=True,
    ):
        workers = count_cores() if workers is None else workers
        if on_error not in ("raise", "skip"):
            raise ValueError(
                "`on_error` must be 'raise' (stop with the path) or 'skip' (continue without the "
                f"video). Received: on_error={on_error!r}."
            )
        check_share("max_error_rate", max_error_rate)
        check_count("workers", workers)
        check_count("batch_size", order.batch_size)
        if drop_remainder and order.batch_size > order.num_samples:
            raise ValueError(
                f"`batch_size` must not exceed the number of clips ({order.num_samples}). "
                f"Received: batch_size={order.batch_size}. Lower it, or add videos."
            )
        self.videos = source.videos
        self.errors = {}
        self._source = source
        self._order = order
        self._transform = transform
        self._mix = mix
        self._drop_remainder = drop_remainder
        self._padded = padded
        self._on_error = on_error
        self._max_error_rate = max_error_rate
        self._workers = workers
        self._deterministic = deterministic
        self._label_mode = label_mode
        self._check_label_mode(mix or class_weight or padded)
        self._class_weights = self._make_weights(class_weight)
        self._lock = threading.Lock()

    @property
    def class_names(self):
        return self.videos.class_names

    @property
    def steps_per_epoch(self):
        samples, batch_size = self._order.num_samples, self._order.batch_size
        return samples // batch_size if self._drop_remainder else -(-samples // batch_size)

    def dataset(self, epoch=None, step=0):
        """Returns the batches of one epoch, or of one epoch after another.

        Args:
            epoch: int, number of the epoch from 0: the same batches each time. `None`: each pass
                over the dataset is the next epoch, from the first on.
            step: int, batches of the epoch to leave out, without reading them.

        Returns:
            A `tf.data.Dataset` of `(clips, labels)`; of `(clips, labels, sample_weight)` with
            `class_weight` or a padded share; of clips alone with `label_mode=None`. Clips are RGB
            pixels from 0 to 255, uint8 `(batch, frames, height, width, 3)`, unless `augment` or
            `mix` make floats of them. Labels are int32 `(batch,)`, or float32
            `(batch, classes)`.

        Raises:
            ValueError: if there is no such epoch or step.
        """
        steps = self.steps_per_epoch
        if epoch is not None and epoch < 0:
            raise ValueError(f"`epoch` must be at least 0. Received: epoch={epoch}.")
        if not 0 <= step < steps or (step and epoch is None):
            raise ValueError(
                f"`step` must be in [0, {steps}), the batches of an epoch, and 0 without `epoch`. "
                f"Received: step={step}, epoch={epoch}."
            )
        indices, seeds, clips_done = self._order.epoch(epoch or 0, step)
        dataset = tf.data.Dataset.from_tensor_slices((indices, seeds))
        if epoch is None and self._transform is not None:
            dataset = self._all_epochs()
        dataset = dataset.map(self._sample, self._workers, deterministic=self._deterministic)
        if self._transform is not None and self._source.sampler.clips > 1:
            dataset = _take_turns(dataset, self._order.group).skip(clips_done)
        fewer = self._transform is None and self._on_error == "skip" and not self._padded
        if fewer:
            dataset = dataset.filter(lambda clip, label, seed, weight: weight > 0)
        dataset = dataset.batch(self._order.batch_size, drop_remainder=self._drop_remainder)
        # Two batches at a time, as more would fill the memory.
        dataset = dataset.map(self._finish, **({"num_parallel_calls": 2} if self._mix else {}))
        if not fewer:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps - step))
        options = tf.data.Options()
        # As many videos at a time as there are workers, and threads for the rest; by default there
        # are no more threads than cores.
        options.threading.private_threadpool_size = self._workers + 2
        if self._order.shard[1] > 1:
            # Shares are divided above, and nothing may divide them again.
            policies = tf.data.experimental.AutoShardPolicy
            options.experimental_distribute.auto_shard_policy = policies.OFF
        return dataset.with_options(options).prefetch(2)

    def _all_epochs(self):
        """The samples of another epoch in each pass."""
        epochs = itertools.count()

        def plan():
            with shutdown_guard(), self._lock:
                return self._order.epoch(next(epochs))[:2]

        def samples(_):
            indices, seeds = tf.numpy_function(plan, [], [tf.int64, tf.int64])
            indices.set_shape((None,))
            seeds.set_shape((None, 2))
            return tf.data.Dataset.from_tensor_slices((indices, seeds))

        return tf.data.Dataset.range(1).flat_map(samples)

    # Traced once for all epochs.
    @tf.function
    def _sample(self, index, seed):
        """Reads the clips of a video; in training one or more, in evaluation all of its views."""
        sampler, labels = self._source.sampler, self.videos.labels
        outputs = [tf.uint8, labels.dtype, tf.float32]
        clips, label, weight = tf.numpy_function(self._read, [index, seed], outputs)
        views = sampler.clips * self._source.num_crops
        clips.set_shape((views, sampler.frames, *self._source.size, 3))
        label.set_shape((sampler.clips, *labels.shape[1:]))
        weight.set_shape(())
        if self._transform is None:
            return (clips if views > 1 else clips[0]), label[0], seed, weight
        samples = []
        for number in range(sampler.clips):
            own = transforms.fold_in(seed, number)
            samples.append((*self._transform(clips[number], label[number], own), own, weight))
        return samples[0] if len(samples) == 1 else tuple(map(tf.stack, zip(*samples, strict=True)))

    def _read(self, index, seed):
        with shutdown_guard():
            attempt = 0
            while index < len(self.videos):
                generator = np.random.default_rng((*seed, attempt))
                try:
                    views, labels = self._source.read(index, generator)
                    self.errors.pop(self.videos.paths[index], None)
                    return views, labels, np.float32(1)
                except Exception as error:
                    if self._on_error == "raise":
                        raise
                    self._note(self.videos.paths[index], error)
                attempt += 1
                # In training another video takes its place, in evaluation none.
                training = self._transform is not None
                index = generator.integers(len(self.videos)) if training else len(self.videos)
            return self._nothing()

    def _nothing(self):
        """What has no weight: padding, and videos that cannot be read."""
        source = self._source
        shape = (source.sampler.clips * source.num_crops, source.sampler.frames, *source.size, 3)
        labels = np.zeros((source.sampler.clips, *self.videos.labels.shape[1:]))
        labels = labels.astype(self.videos.labels.dtype)
        return np.zeros(shape, np.uint8), labels, np.float32(0)

    def _note(self, path, error):
        """Adds to `errors`; raises if there are too many."""
        total = len(self.videos)
        with self._lock:
            if path not in self.errors and len(self.errors) < _ERRORS_LOGGED:
                _LOG.warning("Skipping a video, see `errors` of the loader: %s", error)
            self.errors[path] = str(error)
            if len(self.errors) > self._max_error_rate * total or (
                self._transform is not None and len(self.errors) == total
            ):
                first = "\n".join(
                    f"  {reason}" for reason in [*self.errors.values()][:_ERRORS_LOGGED]
                )
                raise ValueError(
                    f"{len(self.errors)} of {total} videos cannot be read, more than "
                    f"`max_error_rate` ({self._max_error_rate:.0%}):\n{first}\n"
                    "Repair or remove these videos, or raise `max_error_rate`."
                )

    @tf.function
    def _finish(self, clips, labels, seeds, weights):
        """Makes of a batch what the model gets."""
        if self._label_mode is None:
            return clips
        if self._label_mode == "categorical" and labels.shape.rank == 1:
            labels = tf.one_hot(labels, len(self.class_names))
        elif self._label_mode == "binary":
            labels = tf.cast(labels, tf.float32)[:, None]
        if self._mix is not None:
            clips, labels = self._mix(clips, labels, transforms.fold_in(seeds[0], 3))
        if self._class_weights is not None:
            numbers = labels[:, 0] if self._label_mode == "binary" else labels
            if numbers.shape.rank == 1:
                numbers = tf.one_hot(tf.cast(numbers, tf.int32), len(self.class_names))
            shares = numbers / tf.reduce_sum(numbers, axis=1, keepdims=True)
            return clips, labels, weights * tf.linalg.matvec(shares, self._class_weights)
        return (clips, labels, weights) if self._padded else (clips, labels)

    def _check_label_mode(self, needed):
        check_label_mode(self._label_mode)
        if self._label_mode is None and needed:
            raise ValueError(
                "`label_mode` must not be None with `mix`, `class_weight` or `shard`, which give "
                'labels and weights. Received: label_mode=None. Leave it at "int".'
            )
        if self._label_mode == "binary" and (
            len(self.class_names) != 2 or self.videos.multi_label or self._mix is not None
        ):
            raise ValueError(
                '`label_mode="binary"` goes with two classes, one label per video, and no `mix`. '
                f'Received: {len(self.class_names)} classes. Pass "categorical".'
            )

    def _make_weights(self, class_weight):
        if class_weight is None:
            return None
        numbers = range(len(self.class_names))
        known = isinstance(class_weight, dict) and all(n in numbers for n in class_weight)
        if self.videos.multi_label or not known:
            raise ValueError(
                "`class_weight` must have class numbers for keys, of a list of one label per "
                f"video. Received: class_weight={class_weight} for {len(numbers)} classes."
            )
        return np.array([class_weight.get(number, 1.0) for number in numbers], np.float32)


def _take_turns(dataset, group):
    """The first clips of a group of videos, then their second ones, until all have come."""

    def turn(*parts):
        swapped = [tf.transpose(x, [1, 0, *range(2, x.shape.rank)]) for x in parts]
        return tuple(tf.reshape(x, [-1, *x.shape[2:]]) for x in swapped)

    # The next group is read while this one is used.
    return dataset.batch(group).map(turn).prefetch(1).unbatch()


def check_label_mode(label_mode):
    """Raises a `ValueError` unless `label_mode` is one of Keras' own."""
    if label_mode not in ("int", "categorical", "binary", None):
        raise ValueError(
            '`label_mode` must be "int", "categorical", "binary" or None. '
            f"Received: label_mode={label_mode!r}."
        )

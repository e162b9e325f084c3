"""Mistakes that can be seen before the first step, which may be an hour of decoding away."""

import keras
import numpy as np

from keras_nonlocal.models.video_resnet import check_pixels
from keras_nonlocal.training.outputs import find_activation
from keras_nonlocal.training.plan import as_dataset, is_loader


def check_before_training(model, training, validation=None):
    """Raises if a model and its datasets cannot go together.

    Nothing is read: all of it follows from what the datasets say that their batches are like. So
    labels outside the classes are not seen here; `check_videos` sees them in lists of videos. Nor
    is a first validation batch that does not divide by the devices: `train` takes it, but
    `model.fit` and `model.evaluate` of Keras 3.15 fail, such as on 3 videos and 2 devices.

    Args:
        model: a compiled `keras.Model`, such as one from clips to `(batch, classes)`.
        training: a `data.ClipLoader`, or a `tf.data.Dataset` of batches `(clips, labels)`.
        validation: the same, or what else `model.evaluate` takes, which is not looked at, or
            `None`.

    Raises:
        ValueError: if the model is not compiled, a dataset is empty, its clips are of another
            length or size than the model takes, or pixels where it takes normalized ones, its
            labels are of another kind than the loss wants, or its batches do not divide by the
            devices.

    Example:

    ```python
    check_before_training(model, training_clips(videos, "8x8"))
    ```
    """
    if not model.compiled or model.optimizer is None:
        raise ValueError(
            f"The model must be compiled. Received: {model.name!r}, which is not. Call "
            "`recipe.compile(model, ...)` or `model.compile(...)` before."
        )
    for name, clips in (("training", training), ("validation", validation)):
        dataset = as_dataset(clips)
        if not hasattr(dataset, "element_spec"):
            continue
        if name == "validation" and is_loader(clips) and len(dataset.element_spec) == 3:
            _check_metrics(model)
        _check_size(name, dataset)
        # Whatever else a model takes, Keras itself compares when it is traced.
        if len(getattr(model, "inputs", None) or ()) == len(model.outputs) == 1:
            clips, labels = _specs_of(name, dataset)
            if clips.shape.rank is None or labels.shape.rank is None:
                continue  # Of what Python makes, nothing is known beforehand.
            _check_clips(name, model, clips)
            _check_labels(name, model, labels)
            if name == "training":
                _check_replicas(model, clips.shape[0])


def check_videos(training, validation=None, classes=None, labels="one"):
    """Raises if lists of videos cannot be trained on, or validated with.

    Args:
        training: a `VideoList`.
        validation: another, or `None`.
        classes: number of classes of the network; `None`: those of `training`.
        labels: `"one"` a video, or `"several"`, as in a recipe.

    Raises:
        ValueError: if a list is empty, has a label outside the classes or of the other kind, or
            if the two lists number their classes differently.

    Example:

    ```python
    check_videos(*split_videos(read_folder("videos")), classes=400)
    ```
    """
    classes = len(training.class_names) if classes is None else classes
    for name, videos in (("training", training), ("validation", validation)):
        if videos is None:
            continue
        if len(videos) == 0:
            raise ValueError(
                f"The {name} list must hold at least one video. Received: an empty list. Check "
                "the source that it was read from."
            )
        if videos.multi_label != (labels == "several"):
            given, wanted = "several labels", "one label"
            if labels == "several":
                given, wanted = wanted, given
            raise ValueError(
                f"A recipe with labels={labels!r} must have videos of {wanted} each. Received: a "
                f"{name} list with {given} each. Take another recipe, or replace its `labels`."
            )
        videos.check_labeled(name)
        # Of several labels, the last column that any video has.
        numbers = np.asarray(videos.labels)
        if videos.multi_label:
            numbers = np.where(numbers, np.arange(numbers.shape[1]), -1).max(axis=1)
        outside = np.flatnonzero(numbers >= classes)
        if outside.size:
            raise ValueError(
                f"`labels` must lie in [0, {classes}), the classes of the network. Received: "
                f"{numbers[outside[0]]} for {videos.paths[outside[0]]!r} ({name}). Build "
                f"the network with classes={len(videos.class_names)}."
            )
    if validation is not None:
        _check_class_order(training.class_names, validation.class_names)


def _check_class_order(training, validation):
    if training == validation:
        return
    pairs = zip([*training, None], [*validation, None], strict=False)
    number, (ours, theirs) = next((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1])
    raise ValueError(
        "Training and validation must have the same classes in the same order. Received: "
        f"class {number} is {_named(ours)} in training and {_named(theirs)} in validation. Give "
        "both lists the same file of class names."
    )


def _named(name):
    return "missing" if name is None else repr(name)


def _check_size(name, dataset):
    # Unknown and infinite sizes are negative.
    if int(dataset.cardinality()) == 0:
        raise ValueError(
            f"`{name}` must hold at least one batch. Received: an empty dataset. Lower the batch "
            "size, or add videos."
        )


def _specs_of(name, dataset):
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or not hasattr(spec[0], "shape"):
        raise ValueError(
            f"`{name}` must give batches of (clips, labels). Received: {spec}. "
            "`data.training_clips` makes them."
        )
    return spec[:2]


def _check_metrics(model):
    if model.get_compile_config()["metrics"]:
        raise ValueError(
            "`weighted_metrics` must be used for a validation that is divided among processes: "
            "its padding has the weight 0. Received: a model compiled with `metrics`. Compile it "
            "with `weighted_metrics` instead, as `recipe.compile` does."
        )


_AXES = ("batch", "frames", "height", "width", "channels")


def _check_clips(name, model, clips):
    shape, wanted = tuple(clips.shape), tuple(model.input_shape)
    if len(shape) != len(wanted):
        hint = "Batch the dataset."
        if len(shape) > len(wanted):
            hint = "Take one clip a video and one crop a clip."
        raise ValueError(
            f"`{name}` must give batches of shape {wanted}, which the model {model.name!r} takes. "
            f"Received: {shape}. {hint}"
        )
    check_pixels(name, model, clips.dtype.name)
    for axis, (given, taken) in enumerate(zip(shape, wanted, strict=True)):
        if axis and None not in (given, taken) and given != taken:
            what = _AXES[axis] if len(wanted) == len(_AXES) else f"size in axis {axis}"
            size = "`size` (the `crop` of a recipe)"
            way_out = {"frames": "`clip`", "height": size, "width": size}.get(what, "size")
            raise ValueError(
                f"`{name}` must give batches of {taken} {what}, which the model {model.name!r} "
                f"takes. Received: {given} {what}. Give both the same {way_out}, or build the "
                "network with an open `input_shape`."
            )


def _check_labels(name, model, labels):
    loss = getattr(model.loss, "name", model.loss)
    several = loss == "binary_crossentropy"
    # `CrossEntropy` takes shares too, which mixing makes of numbers.
    if not several and loss not in ("cross_entropy", "sparse_categorical_crossentropy"):
        return
    classes, shape = model.output_shape[-1], tuple(labels.shape)
    if len(shape) == 2 and shape[1] not in (None, 1, classes):
        raise ValueError(
            f"`{name}` must give labels of {classes} classes, as many as the model has. "
            f"Received: {shape[1]}. Build the network with classes={shape[1]}."
        )
    if several and len(shape) == 1 and classes > 1:
        raise ValueError(
            f"`{name}` must give labels of shape (batch, {classes}) for the loss {loss!r}: each "
            f"class is decided by itself. Received: {labels.dtype.name} labels of shape {shape}. "
            "Take a recipe for one label a clip, or a list of videos with several."
        )
    if not several and len(shape) == 1 and labels.dtype.is_floating:
        raise ValueError(
            f"`{name}` must give class numbers as integers. Received: {labels.dtype.name} labels "
            f"of shape {shape}. Cast them."
        )
    if several and classes > 1 and find_activation(model) == "softmax":
        raise ValueError(
            "A model of several labels a clip must end in a sigmoid, or in logits. Received: "
            f"{model.name!r}, which ends in a softmax: its classes exclude each other. Build it "
            'with classifier_activation="sigmoid".'
        )


def _check_replicas(model, batch_size):
    count = count_replicas(model)
    if batch_size is not None and batch_size % count:
        below = batch_size // count * count
        near = f"{below} or {below + count}" if below else f"{count}"
        raise ValueError(
            f"The batch must divide by the number of devices ({count}). Received: batches of "
            f"{batch_size} clips, for all devices together. Take {near}."
        )


def has_several_replicas(model):
    """Returns whether a strategy of TensorFlow divides the model's batches among several replicas.

    Keras cannot compile such a model by XLA, whatever `jit_compile="auto"` comes to.
    """
    return keras.backend.backend() == "tensorflow" and count_replicas(model) > 1


def count_replicas(model):
    """Returns the number of devices of this process among which its batches are divided."""
    if keras.backend.backend() == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    import jax

    # The dataset of each process has its own share of every batch.
    return max(mesh.devices.size // jax.process_count(), 1)

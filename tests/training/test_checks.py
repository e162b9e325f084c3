"""Mistakes are told before the first step, with what came and the way out."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_nonlocal as knl
from keras_nonlocal.data import VideoList
from keras_nonlocal.training.checks import check_before_training, check_videos
from keras_nonlocal.training.recipes import CHARADES, KINETICS

SHAPE = (4, 32, 32, 3)


def network(recipe=KINETICS, shape=SHAPE, **options):
    several = recipe.labels == "several"
    options = {"classifier_activation": "sigmoid" if several else "softmax", **options}
    model = knl.C2D(depth=(1, 1, 1, 1), width=4, classes=5, input_shape=shape, **options)
    recipe.compile(model, steps_per_epoch=2, batch_size=2)
    return model


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def several():
    return network(CHARADES)


def dataset(shape=SHAPE, labels=((), "int32"), dtype="float32", batch=2, size=2):
    """Batches that are never made: whoever draws one finds out."""

    def draw(_):
        return tf.ensure_shape(tf.py_function(_fail, [], tf.int64), ())

    def batches(number):
        lead = () if batch is None else (batch,)
        clips = tf.zeros((*lead, *shape), dtype)
        clips += tf.cast(draw(number), dtype)
        return clips, tf.zeros((*lead, *labels[0]), labels[1])

    return tf.data.Dataset.range(size).map(batches)


def _fail():
    raise AssertionError("a batch was drawn")


def test_what_goes_together_passes_without_a_batch(model, several):
    check_before_training(model, dataset(), dataset(batch=3))
    check_before_training(model, dataset(labels=((5,), "float32")))
    check_before_training(several, dataset(labels=((5,), "float32")))


def test_open_sizes_pass():
    open_ = network(shape=(4, None, None, 3))
    check_before_training(open_, dataset(shape=(4, 48, 40, 3)))


def test_bytes_are_pixels_for_networks_that_take_them(model):
    check_before_training(model, dataset(dtype="uint8"))
    normalized = network(include_preprocessing=False)
    check_before_training(normalized, dataset())
    message = "`training` must be normalized.* Received: clips of uint8. Build the network with"
    assert_told(message, check_before_training, normalized, dataset(dtype="uint8"))
    # What stands before the network may normalize them.
    inputs = keras.Input(SHAPE)
    around = keras.Model(inputs, normalized(keras.layers.Rescaling(1 / 255)(inputs)))
    around.compile("sgd", "sparse_categorical_crossentropy")
    check_before_training(around, dataset(dtype="uint8"))


MISTAKES = {
    "another length": (
        {"shape": (8, 32, 32, 3)},
        "`training` must give batches of 4 frames.* Received: 8 frames. Give both the same `clip`",
    ),
    "another crop": (
        {"shape": (4, 48, 48, 3)},
        "batches of 32 height.* Received: 48 height. Give both the same `size`",
    ),
    "grey": ({"shape": (4, 32, 32, 1)}, "batches of 3 channels.* Received: 1 channels"),
    "views": ({"shape": (3, *SHAPE)}, "Received: (2, 3, 4, 32, 32, 3). Take one clip a video"),
    "no batches": ({"batch": None}, "Received: (4, 32, 32, 3). Batch the dataset"),
    "empty": ({"size": 0}, "`training` must hold at least one batch. Received: an empty dataset"),
    "other classes": (
        {"labels": ((7,), "float32")},
        "labels of 5 classes.* Received: 7. Build the network with classes=7",
    ),
    "floats for numbers": (
        {"labels": ((), "float32")},
        "class numbers as integers. Received: float32 labels of shape (2,)",
    ),
}


def assert_told(message, function, *arguments, **options):
    with pytest.raises(ValueError) as error:
        function(*arguments, **options)
    for part in message.split(".* "):
        assert part in str(error.value).replace("  ", " ")


@pytest.mark.parametrize("changes, message", MISTAKES.values(), ids=MISTAKES)
def test_datasets_that_do_not_fit_are_told(changes, message, model):
    for part in message.split(".*"):
        assert_told(part.strip(), check_before_training, model, dataset(**changes))


def test_what_says_nothing_of_itself_passes(model):
    unknown = dataset().map(lambda *batch: tf.py_function(_fail, [], (tf.float32, tf.int32)))
    check_before_training(model, unknown)


def test_the_validation_is_looked_at_too(model):
    message = "`validation` must give batches of 4 frames"
    assert_told(message, check_before_training, model, dataset(), dataset(shape=(8, 32, 32, 3)))


def test_one_label_does_not_go_with_several(several):
    message = "labels of shape (batch, 5).* Received: int32 labels of shape (2,).* Take a recipe"
    assert_told(message, check_before_training, several, dataset())


def test_several_labels_do_not_go_with_a_softmax():
    model = network()
    model.compile("sgd", keras.losses.BinaryCrossentropy())
    message = 'ends in a softmax.* classifier_activation="sigmoid"'
    assert_told(message, check_before_training, model, dataset(labels=((5,), "float32")))


def test_a_model_must_be_compiled():
    model = knl.C2D(depth=(1, 1, 1, 1), width=4, classes=5, input_shape=SHAPE)
    assert_told("must be compiled.* 'c2d'", check_before_training, model, dataset())


def test_datasets_must_give_labels(model):
    clips = dataset().map(lambda clips, labels: clips)
    assert_told("batches of (clips, labels)", check_before_training, model, clips)


@pytest.mark.parametrize("batch, near", [(3, "Take 2 or 4."), (1, "Take 2.")], ids=["three", "one"])
def test_a_batch_must_divide_by_the_replicas(batch, near):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = network()
    check_before_training(model, dataset(batch=4), dataset(batch=3))
    message = f"divide by the number of devices (2). Received: batches of {batch} clips.* {near}"
    assert_told(message, check_before_training, model, dataset(batch=batch))


def test_other_models_pass_too():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    pairs = tf.data.Dataset.from_tensor_slices((np.eye(2), np.ones(2))).batch(1)
    check_before_training(model, pairs, (np.eye(2), np.ones(2)))
    message = "batches of 2 size in axis 1.* Received: 3 size in axis 1"
    threes = tf.data.Dataset.from_tensor_slices((np.eye(3), np.ones(3))).batch(1)
    assert_told(message, check_before_training, model, threes)


VIDEOS = VideoList(["a.mp4", "b.mp4", "c.mp4"], [0, 2, 1], ["jump", "run", "swim"])


def test_lists_that_fit_pass():
    check_videos(VIDEOS, VIDEOS.select([1]), classes=3)
    table = dataclasses.replace(VIDEOS, labels=np.eye(3)[[0, 2, 1]])
    check_videos(table, labels="several")


def test_labels_outside_the_classes_are_told():
    message = "must lie in [0, 2).* Received: 2 for 'b.mp4' (training).* classes=3"
    assert_told(message, check_videos, VIDEOS, classes=2)
    table = dataclasses.replace(VIDEOS, labels=np.array([[1, 0, 0], [1, 0, 0], [1, 0, 1]]))
    message = "must lie in [0, 2).* Received: 2 for 'c.mp4'"
    assert_told(message, check_videos, table, classes=2, labels="several")
    assert_told("(validation)", check_videos, VIDEOS.select([0]), VIDEOS, classes=2)


def test_videos_without_labels_are_told():
    unlabeled = dataclasses.replace(VIDEOS, labels=[0, -1, 1])
    assert_told(
        "labels for training.* label -1, none, for 1 of 3.* 'b.mp4' first", check_videos, unlabeled
    )
    assert_told("labels for validation", check_videos, VIDEOS, unlabeled)


def test_an_empty_list_is_told():
    empty = VIDEOS.select([])
    assert_told("training list must hold at least one video", check_videos, empty)
    assert_told("validation list must hold at least one", check_videos, VIDEOS, empty)


def test_another_kind_of_labels_is_told():
    table = dataclasses.replace(VIDEOS, labels=np.eye(3))
    message = "labels='one' must have videos of one label each. Received: a training list with"
    assert_told(f"{message} several labels", check_videos, table)
    message = "labels='several' must have videos of several labels each.* one label each"
    assert_told(message, check_videos, VIDEOS, labels="several")


ORDERS = {
    "exchanged": (("run", "jump", "swim"), "class 0 is 'jump' in training and 'run' in validation"),
    "one more": (("jump", "run", "swim", "walk"), "class 3 is missing in training and 'walk' in"),
    "one less": (("jump", "run"), "class 2 is 'swim' in training and missing in validation"),
}


@pytest.mark.parametrize("classes, message", ORDERS.values(), ids=ORDERS)
def test_another_order_of_classes_is_told(classes, message):
    other = VideoList(["d.mp4"], [0], classes)
    assert_told(f"{message}.* file of class names", check_videos, VIDEOS, other)

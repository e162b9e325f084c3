"""`ClipLoader`: batches, epochs and steps, labels, errors, shares."""

import json
import logging
import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal import transforms
from keras_nonlocal.data import (
    RandomClipSampler,
    UniformClipSampler,
    VideoList,
    evaluation_clips,
    read_folder,
    training_clips,
)
from tests.data.made_clips import (
    MADE,
    VIDEOS,
    assert_equal,
    batches_of,
    loader_of,
    noise,
    videos_of,
)
from tests.made_videos import write

SMALL = {"clip": "4x2", "size": 16, **MADE}


def evaluation(count=VIDEOS, **options):
    return evaluation_clips(videos_of(count), **{**SMALL, **options})


def epoch_of(loader, number=0):
    return [np.concatenate(part) for part in zip(*batches_of(loader.dataset(number)), strict=True)]


# Shapes and order


@pytest.mark.parametrize(
    "options, shape",
    [
        ({}, ()),
        ({"num_clips": 2}, (2,)),
        ({"num_crops": 3}, (3,)),
        ({"num_clips": 2, "num_crops": 3}, (6,)),
    ],
    ids=["one-view", "clips", "crops", "clips-and-crops"],
)
def test_shapes_of_an_evaluation_are_known_and_kept(options, shape):
    loader = evaluation(batch_size=4, **options)
    dataset = loader.dataset()
    assert dataset.element_spec[0] == tf.TensorSpec((None, *shape, 4, 16, 16, 3), tf.uint8)
    assert dataset.element_spec[1] == tf.TensorSpec((None,), tf.int32)
    assert dataset.cardinality() == loader.steps_per_epoch == 3
    batches = batches_of(dataset)
    assert [clips.shape for clips, _ in batches] == [(n, *shape, 4, 16, 16, 3) for n in (4, 4, 3)]
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), videos_of().labels)


@pytest.mark.parametrize("clips_per_video, steps", [(1, 3), (3, 11)])
def test_shapes_of_a_training_are_known_and_kept(clips_per_video, steps):
    loader = loader_of(batch_size=3, clips_per_video=clips_per_video)
    dataset = loader.dataset()
    assert dataset.element_spec[0] == tf.TensorSpec((3, 4, 16, 16, 3), tf.uint8)
    assert dataset.element_spec[1] == tf.TensorSpec((3,), tf.int32)
    assert dataset.cardinality() == loader.steps_per_epoch == steps
    assert len(list(dataset)) == steps
    assert loader.class_names == ("a", "b", "c")


def test_the_views_of_an_evaluation_are_those_of_the_source():
    (views, labels), *_ = batches_of(evaluation(num_clips=2, num_crops=3, batch_size=4).dataset())
    frames = noise("3", [20, 22, 24, 26], None)
    # A short side of 18 for a size of 16; the made videos are resized as decoded ones are.
    from keras_nonlocal.video.pyav import resize_frames

    expected = transforms.three_crops(16)(resize_frames(frames, 18))
    np.testing.assert_array_equal(views[3, 3:], expected)
    assert labels.tolist() == [0, 1, 2, 0]


def test_the_remainder_may_be_kept():
    loader = loader_of(batch_size=4, drop_remainder=False)
    assert loader.steps_per_epoch == 3
    assert [len(labels) for _, labels in batches_of(loader.dataset())] == [4, 4, 3]


def test_files_are_read_with_their_labels(folder):
    videos = read_folder(folder)
    loader = training_clips(folder, "4x2", 32, batch_size=2, clips_per_video=3, seed=1)
    clips, labels = epoch_of(loader)
    # Each video has a brightness of its own, in steps of 10; the darker ones are of class 0.
    np.testing.assert_array_equal(clips.mean((1, 2, 3, 4)) > 114.75, labels == 1)
    assert len(np.unique(np.round(clips.mean((1, 2, 3, 4)) / 5))) == len(videos)


# Epochs and steps


def test_passes_are_the_epochs_from_the_first_on():
    loader = loader_of()
    dataset = loader.dataset()
    # Looking at another dataset of the loader changes nothing.
    next(iter(loader.dataset()))
    for number in range(2):
        assert_equal(batches_of(dataset), batches_of(loader.dataset(number)))
    assert not np.array_equal(epoch_of(loader, 0)[0], epoch_of(loader, 1)[0])


def test_a_map_loses_nothing():
    loader = loader_of()
    mapped = loader.dataset(2).map(lambda clips, labels: (clips + 1, labels))
    expected = [(clips + 1, labels) for clips, labels in batches_of(loader.dataset(2))]
    assert_equal(batches_of(mapped), expected)


def mixed(clips, labels, seed):
    return tf.cast(clips, tf.float32) + tf.random.stateless_uniform([], seed), labels


@pytest.mark.parametrize(
    "options",
    [
        {"color": 0.2},
        {"mix": mixed},
        {"balance": "classes"},
        {"clips_per_video": 3},
        {"clips_per_video": 4, "batch_size": 8},
    ],
    ids=["color", "mix", "balance", "clips", "many-clips"],
)
def test_an_epoch_starts_at_any_step_with_any_workers(options):
    loader = loader_of(**options, workers=1)
    whole = batches_of(loader.dataset(2))
    assert len(whole) == loader.steps_per_epoch
    for step in range(1, loader.steps_per_epoch, 4):
        rest = loader_of(**options, workers=2 + step).dataset(2, step)
        assert rest.cardinality() == len(whole) - step
        assert_equal(batches_of(rest), whole[step:])


def test_an_evaluation_starts_at_any_step():
    loader = evaluation(batch_size=4)
    assert_equal(batches_of(loader.dataset(3, 1)), batches_of(loader.dataset())[1:])


@pytest.mark.parametrize("epoch, step", [(-1, 0), (0, 5), (0, -1), (None, 1)])
def test_epochs_and_steps_that_are_none_are_refused(epoch, step):
    with pytest.raises(ValueError, match=f"`(epoch|step)` must be .*Received: .*{step or epoch}"):
        loader_of().dataset(epoch, step)


def test_the_clips_of_a_video_lie_apart():
    _, labels = epoch_of(loader_of(clips_per_video=3))
    order, _, _ = loader_of()._order.epoch(0)
    # Four batches of videos take turns; then the three videos that are left.
    expected = [*np.tile(order[:8] % 3, 3), *np.tile(order[8:] % 3, 3)]
    np.testing.assert_array_equal(labels, expected[:32])


def test_draws_do_not_depend_on_the_seed_of_tensorflow():
    expected = epoch_of(loader_of(color=0.2), 3)
    keras.utils.set_random_seed(2)
    np.testing.assert_array_equal(epoch_of(loader_of(color=0.2), 3)[0], expected[0])
    assert not np.array_equal(epoch_of(loader_of(seed=6))[0], epoch_of(loader_of())[0])


def test_without_a_seed_that_of_keras_counts():
    clips = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        clips.append(epoch_of(loader_of(seed=None))[0])
    np.testing.assert_array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[0], clips[2])


def test_without_an_order_all_batches_come_still():
    loader = loader_of(deterministic=False, workers=4)
    labels = epoch_of(loader, 1)[1]
    assert len(labels) == 10


# What is done to clips


@pytest.mark.parametrize(
    "classes, flip, sides",
    [
        (("pan left", "pan right"), "auto", {(True, 0), (False, 1), (True, 1), (False, 0)}),
        (("pan left", "zoom"), "auto", {(True, 0), (True, 1), (False, 1)}),
        (("pan left", "zoom"), [1, 0], {(True, 0), (False, 1), (True, 1), (False, 0)}),
        (("pan left", "zoom"), False, {(True, 0), (True, 1)}),
    ],
    ids=["mirrored", "never", "given", "off"],
)
def test_classes_that_name_a_side_go_with_the_mirror(classes, flip, sides):
    row = np.arange(28, dtype=np.uint8)[:, None] * 4
    decode = lambda path, indices, side: np.broadcast_to(row, (len(indices), 24, 28, 3))  # noqa: E731
    videos = VideoList(["0"] * 40, np.arange(40) % 2, classes)
    options = {**SMALL, "scale": 24, "decoder": decode, "batch_size": 40, "seed": 3}
    clips, labels = epoch_of(training_clips(videos, **options, flip=flip))
    dark_left = clips[..., 0, :].mean((1, 2, 3)) < clips[..., -1, :].mean((1, 2, 3))
    assert set(zip(dark_left.tolist(), labels.tolist(), strict=True)) == sides


def test_augment_sees_pixels_and_batches_have_what_it_returns():
    seen = []

    def augment(clip, seed):
        seen.append(clip.dtype)
        return tf.cast(clip, tf.float32) * 0 + 115.5

    clips, _ = epoch_of(loader_of(augment=augment))
    assert set(seen) == {tf.uint8} and (clips == 115.5).all()


def test_mix_gets_batches_and_seeds_of_its_own():
    seeds = []

    def mix(clips, labels, seed):
        tf.py_function(lambda seed: seeds.append(tuple(seed.numpy())), [seed], [])
        return clips[::-1], tf.one_hot(labels, 3)

    plain, labels = epoch_of(loader_of(batch_size=5))
    clips, shares = epoch_of(loader_of(batch_size=5, mix=mix))
    np.testing.assert_array_equal(clips, np.concatenate([plain[4::-1], plain[:4:-1]]))
    np.testing.assert_array_equal(shares, np.eye(3)[labels])
    assert len(set(seeds)) == 2


# Labels and weights


@pytest.mark.parametrize("mode", ["categorical", "binary", None])
def test_labels_come_as_they_are_wanted(mode):
    classes = 2 if mode == "binary" else 3
    plain = epoch_of(training_clips(videos_of(classes=classes), **SMALL, seed=1, batch_size=5))
    options = {"seed": 1, "batch_size": 5, "label_mode": mode}
    for make in (training_clips, evaluation_clips):
        if make is evaluation_clips:
            plain = epoch_of(evaluation_clips(videos_of(classes=classes), **SMALL))
            options = {"label_mode": mode}
        loader = make(videos_of(classes=classes), **SMALL, **options)
        if mode is None:
            clips = np.concatenate(list(loader.dataset(0).as_numpy_iterator()))
            np.testing.assert_array_equal(clips, plain[0])
            continue
        _, labels = epoch_of(loader)
        expected = np.eye(3)[plain[1]] if mode == "categorical" else plain[1][:, None]
        assert labels.dtype == np.float32
        np.testing.assert_array_equal(labels, expected)


def test_several_labels_a_video_are_batched():
    table = np.float32([[1, 0, 1]] * 4 + [[0, 1, 1]] * 4)
    _, labels = epoch_of(evaluation_clips(VideoList(range(8), table, "abc"), **SMALL))
    np.testing.assert_array_equal(labels, table)


WEIGHTS = {0: 0.5, 2: 3.0}
MIXED = {"mix": transforms.mixup(0.8, classes=3)}


def model_of(loss):
    model = keras.Sequential(
        [
            keras.Input((4, 16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), loss)
    return model


@pytest.mark.parametrize("whose", ["fit", "loader"])
@pytest.mark.parametrize(
    "options, loss",
    [
        ({}, "sparse_categorical_crossentropy"),
        ({"label_mode": "categorical"}, "categorical_crossentropy"),
        (MIXED, "categorical_crossentropy"),
    ],
    ids=["ints", "one-hot", "mixed"],
)
def test_classes_are_weighted(options, loss, whose):
    clips, labels = epoch_of(loader_of(**options, batch_size=5))
    model = model_of(loss)
    shares = np.eye(3)[labels] if labels.ndim == 1 else labels
    table = np.array([0.5, 1, 3])
    weights = shares @ table
    if whose == "fit":
        # Of mixed labels Keras sees the largest class.
        weights = table[shares.argmax(1)]
        loader, arguments = loader_of(**options, batch_size=5), {"class_weight": {1: 1, **WEIGHTS}}
    else:
        loader, arguments = loader_of(**options, batch_size=5, class_weight=WEIGHTS), {}
        given = np.concatenate([batch[2] for batch in batches_of(loader.dataset(0))])
        np.testing.assert_allclose(given, weights, rtol=1e-6)
    losses = -(shares * np.log(model.predict(clips, verbose=0))).sum(1)
    history = model.fit(loader.dataset(0), verbose=0, shuffle=False, **arguments)
    assert history.history["loss"][0] == pytest.approx(np.mean(losses * weights), rel=1e-5)


# Errors


def break_by_cutting(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def break_by_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def break_by_an_empty_folder(path):
    path.unlink()
    path.mkdir()


BREAKS = {
    "text": lambda path: path.write_bytes(b"this is no video"),
    "empty": lambda path: path.write_bytes(b""),
    "cut": break_by_cutting,
    "removed": lambda path: path.unlink(),
    "pipe": break_by_a_pipe,
    "folder": break_by_an_empty_folder,
}


@pytest.fixture
def files(tmp_path):
    """Ten videos, each of a brightness of its own, in classes of five."""
    for number in range(10):
        folder = tmp_path / "ab"[number // 5]
        folder.mkdir(exist_ok=True)
        frames = np.full((12, 40, 56, 3), 20 * number, np.uint8)
        write(folder / f"{number}.mp4", frames, "mpeg4")
    return read_folder(tmp_path)


@pytest.mark.parametrize("how", BREAKS)
def test_broken_files_stop_or_are_listed(files, how, caplog):
    for number in (3, 6):
        BREAKS[how](pathlib.Path(files.paths[number]))
    with pytest.raises(tf.errors.OpError, match=r"3\.mp4"):
        list(evaluation_clips(files, "4x2", 32, batch_size=2).dataset())
    options = {"on_error": "skip", "max_error_rate": 0.2, "workers": 1}
    loader = evaluation_clips(files, "4x2", 32, batch_size=2, **options)
    with caplog.at_level(logging.WARNING, "keras_nonlocal"):
        clips, labels = epoch_of(loader)
    # Each clip still has its own label: the five darker videos are of the first class.
    assert len(labels) == 8
    np.testing.assert_array_equal(labels, clips.mean((1, 2, 3, 4)) > 90)
    assert list(loader.errors) == [files.paths[3], files.paths[6]]
    assert all(path in reason for path, reason in loader.errors.items())
    assert ["3.mp4" in caplog.text, "6.mp4" in caplog.text] == [True, True]


class Broken:
    """A decoder that cannot read some videos."""

    def __init__(self, *paths, error=RuntimeError):
        self.paths, self.error = set(paths), error

    def __call__(self, path, indices, short_side):
        if path in self.paths:
            raise self.error("no such codec")
        return noise(path, indices, short_side)


@pytest.mark.parametrize("error", [RuntimeError, KeyError, OSError, MemoryError])
def test_errors_of_any_type_are_listed(error):
    options = {"decoder": Broken("4", error=error), "on_error": "skip", "max_error_rate": 0.1}
    loader = evaluation(**options)
    assert len(epoch_of(loader)[1]) == VIDEOS - 1
    assert list(loader.errors) == ["4"]
    assert "The video '4' cannot be read: " in loader.errors["4"]
    assert "no such codec" in loader.errors["4"]


def test_another_video_takes_the_place_of_a_broken_one_in_training():
    decode = Broken("4", "7")
    options = {"decoder": decode, "on_error": "skip", "max_error_rate": 0.2, "batch_size": 5}
    loader = loader_of(**options, workers=1)
    whole = batches_of(loader.dataset(1))
    assert len(whole) == loader.steps_per_epoch == 2
    assert set(loader.errors) <= {"4", "7"}
    assert_equal(batches_of(loader_of(**options, workers=3).dataset(1, 1)), whole[1:])
    # The others are what they would be.
    healthy = batches_of(loader_of(batch_size=5).dataset(1))
    order, _, _ = loader._order.epoch(1)
    for place, video in enumerate(order[:10]):
        batch, number = divmod(place, 5)
        same = np.array_equal(whole[batch][0][number], healthy[batch][0][number])
        assert same == (video not in (4, 7))
    # Once repaired it is listed no more.
    decode.paths.clear()
    batches_of(loader.dataset(1))
    assert loader.errors == {}


def test_too_many_errors_stop():
    options = {"on_error": "skip", "max_error_rate": 0.2, "workers": 1}
    loader = evaluation(decoder=Broken("1", "3", "6"), **options)
    message = "(?s)3 of 11 videos cannot be read.*`max_error_rate` \\(20%\\).*'1' cannot be read"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(loader.dataset())
    nothing = loader_of(
        decoder=Broken(*map(str, range(VIDEOS))), on_error="skip", max_error_rate=1.0
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="11 of 11 videos cannot be read"):
        list(nothing.dataset(0))


def test_a_long_list_of_errors_does_not_fill_the_log(caplog):
    paths = list(map(str, range(50)))
    options = {"decoder": Broken(*paths[1:]), "on_error": "skip", "max_error_rate": 1.0}
    loader = evaluation(50, **options)
    assert len(epoch_of(loader)[1]) == 1
    assert len(loader.errors) == 49 and len(caplog.records) == 20


# Shares


def test_processes_see_between_them_what_one_sees():
    for options in ({}, {"count": 24, "clips_per_video": 2}):
        whole = batches_of(loader_of(batch_size=4, **options).dataset(1))
        shares = [
            batches_of(loader_of(batch_size=2, **options, shard=(index, 2)).dataset(1))
            for index in range(2)
        ]
        together = [
            [np.concatenate(parts) for parts in zip(*batches, strict=True)]
            for batches in zip(*shares, strict=True)
        ]
        assert_equal(together, whole)


def test_shares_of_an_evaluation_are_padded_without_weight():
    whole, labels = epoch_of(evaluation())
    batches = [batches_of(evaluation(batch_size=2, shard=(n, 4)).dataset()) for n in range(4)]
    assert [[len(batch[1]) for batch in share] for share in batches] == [[2, 1]] * 4
    clips, own, weights = (
        np.concatenate([batch[part] for share in batches for batch in share]) for part in range(3)
    )
    assert weights.tolist() == [1] * 11 + [0]
    order = [*range(0, 11, 4), *range(1, 11, 4), *range(2, 11, 4), *range(3, 11, 4)]
    np.testing.assert_array_equal(own[:11], labels[order])
    np.testing.assert_array_equal(clips[:11], whole[order])


def test_unreadable_videos_of_a_share_have_no_weight():
    options = {"decoder": Broken("2"), "on_error": "skip", "max_error_rate": 0.1}
    loader = evaluation(**options, shard=(0, 2), batch_size=6)
    ((_, _, weights),) = batches_of(loader.dataset())
    assert weights.tolist() == [1, 0, 1, 1, 1, 1]


def test_one_process_alone_reads_everything_without_weights():
    assert len(evaluation(shard="auto").dataset().element_spec) == 2


def test_replicas_share_batches():
    dataset = evaluation(batch_size=4).dataset()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    seen = []
    for _, labels in strategy.experimental_distribute_dataset(dataset):
        parts = [part for part in strategy.experimental_local_results(labels) if len(part)]
        seen += [part.numpy().tolist() for part in parts]
    assert [len(part) for part in seen] == [2, 2, 2, 2, 2, 1]
    assert sum(seen, []) == videos_of().labels.tolist()


# One process of two on JAX; prints what it trains on, and the result of its validation.
WORKER = """
import json, sys
import keras, numpy as np
index, port = int(sys.argv[1]), sys.argv[2]
keras.distribution.initialize(f"localhost:{port}", 2, index)
import keras_nonlocal as knl
from tests.data.made_clips import MADE, batches_of, loader_of, videos_of
from tests.data.test_loader import evaluation, model_of
refusal = None
keras.distribution.set_distribution(keras.distribution.DataParallel())
try:
    loader_of()
except ValueError as error:
    refusal = str(error)
way = keras.distribution.DataParallel(auto_shard_dataset=False)
keras.distribution.set_distribution(way)
labels = [labels.tolist() for _, labels in batches_of(loader_of(batch_size=4).dataset(0))]
model = model_of("sparse_categorical_crossentropy")
model.set_weights([np.linspace(-5, 5, 9).reshape(3, 3), np.zeros(3)])
model.compile("sgd", model.loss, weighted_metrics=["accuracy"])
validation = evaluation(batch_size=2, shard="auto")
result = model.evaluate(validation.dataset(), return_dict=True, verbose=0)
print(json.dumps([labels, refusal, result]))
"""


@pytest.mark.slow
def test_two_processes_share_training_and_validation():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    root = pathlib.Path(__file__).parents[2]
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(root),
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(index), port],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=root,
        )
        for index in range(2)
    ]
    try:
        outputs = [worker.communicate(timeout=180) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for printed, errors in outputs:
        assert printed, errors
    first, second = (json.loads(printed.splitlines()[-1]) for printed, _ in outputs)
    whole = [labels.tolist() for _, labels in batches_of(loader_of(batch_size=4).dataset(0))]
    assert [one + other for one, other in zip(first[0], second[0], strict=True)] == whole
    assert "`auto_shard_dataset` must be off for clips" in first[1]
    # Eleven videos in shares of six.
    model = model_of("sparse_categorical_crossentropy")
    model.set_weights([np.linspace(-5, 5, 9).reshape(3, 3), np.zeros(3)])
    model.compile("sgd", model.loss, metrics=["accuracy"])
    expected = model.evaluate(evaluation().dataset(), return_dict=True, verbose=0)
    for _, _, result in (first, second):
        assert result["accuracy"] == pytest.approx(expected["accuracy"], rel=1e-5)
        # The mean of the loss counts the padding.
        assert result["loss"] == pytest.approx(expected["loss"] * 11 / 12, rel=1e-5)


# Arguments


@pytest.mark.parametrize(
    "options, message",
    [
        ({"clips_per_video": 0}, "`clips_per_video` must be at least 1"),
        ({"batch_size": 12}, r"`batch_size` must not exceed the number of clips \(11\)"),
        ({"batch_size": 0}, "`batch_size` must be an integer from 1. Received: batch_size=0"),
        ({"batch_size": None}, "`batch_size` must be an integer from 1. Received: batch_size=None"),
        ({"batch_size": 4.0}, "`batch_size` must be an integer from 1. Received: batch_size=4.0"),
        ({"videos": ["a.mp4"]}, r"`videos` must be a `VideoList`.*\['a.mp4'\]"),
        (
            {"clip": RandomClipSampler("4x2"), "clips_per_video": 2},
            "must be left out beside a sampler",
        ),
        ({"clip": "4 by 2"}, "must be written as frames x stride"),
        ({"size": 64, "scale": 36}, r"`size` must not exceed the resized short side \(36\)"),
        ({"flip": "always"}, '`flip` must be "auto", False'),
        ({"flip": None}, '`flip` must be "auto", False.*flip=None'),
        ({"flip": [1, 0]}, r"a class number per class, here 3.*flip=\[1, 0\]"),
        ({"flip": [0, 1, 2, 3]}, r"a class number per class, here 3.*flip=\[0, 1, 2, 3\]"),
        ({"balance": True}, '`balance` must be None, or "classes"'),
        ({"seed": -1}, "`seed` must be an integer from 0, or None. Received: seed=-1"),
        ({"seed": 1.5}, "`seed` must be an integer from 0, or None. Received: seed=1.5"),
        ({"workers": 0}, "`workers` must be an integer from 1. Received: workers=0"),
        ({"workers": 1.5}, "`workers` must be an integer from 1. Received: workers=1.5"),
        ({"on_error": "ignore"}, "`on_error` must be 'raise' .*or 'skip'.*on_error='ignore'"),
        ({"on_error": "skip", "max_error_rate": 5}, "`max_error_rate` must be a share .*=5"),
        ({"shard": (2, 2), "seed": 1}, r"`shard` must be a pair .*Received: shard=\(2, 2\)"),
        ({"shard": (0, 2)}, "`seed` must be given, the same in all processes"),
        ({"label_mode": "one-hot"}, "`label_mode` must be .*'one-hot'"),
        ({"label_mode": "binary"}, "goes with two classes.* Received: 3 classes"),
        ({"label_mode": None, **MIXED}, "`label_mode` must not be None with `mix`"),
        ({"class_weight": {3: 1.0}}, "`class_weight` must have class numbers for keys"),
        ({"class_weight": [1.0, 2.0, 1.0]}, "`class_weight` must have class numbers for keys"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_arguments_of_trainings_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        training_clips(**{"videos": videos_of(), **SMALL, **options})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": None}, "`size` must be a positive number of pixels.*size=None"),
        ({"num_clips": 0}, "`num_clips` must be at least 1"),
        ({"num_crops": 2}, "`num_crops` must be 1, or 3"),
        ({"scale": (36, 40)}, "`scale` must be one number of pixels for evaluation"),
        (
            {"clip": UniformClipSampler("4x2"), "num_clips": 2},
            "`num_clips` must be left out beside",
        ),
        ({"batch_size": 0}, "`batch_size` must be an integer from 1"),
        ({"shard": 3}, "`shard` must be a pair"),
    ],
    ids=str,
)
def test_arguments_of_evaluations_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        evaluation(**options)

"""Evaluating a list: every video is accounted for, and a killed run ends as one that was not."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal.evaluation import evaluate_videos, load_scores, predict_views
from keras_nonlocal.evaluation.identity import hash_model
from keras_nonlocal.files import locked
from tests.evaluation.answering import CLASSES, Views, batches, clips_of, linear, listed
from tests.subjects import fill

ROOT = pathlib.Path(__file__).parents[2]
BROKEN = ("3.mp4", "4.mp4", "10.mp4")


@pytest.fixture(scope="module")
def model():
    return linear()


def views(**options):
    return lambda videos: Views(videos, **options)


def test_scores_are_those_of_the_videos(model):
    videos = listed()
    scores = evaluate_videos(model, videos, views())
    clips = np.stack([clips_of(path) for path in videos.paths])
    expected, _ = predict_views(model, batches(clips, videos.labels))
    np.testing.assert_allclose(scores.probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(scores.labels, videos.labels)
    assert (scores.paths, scores.classes, scores.unreadable) == (videos.paths, CLASSES, {})


def test_videos_that_cannot_be_read_are_told_with_their_reasons(model, tmp_path):
    scores = evaluate_videos(model, listed(), views(broken=BROKEN), tmp_path)
    assert scores.unreadable == {
        number: f"The video '{number}.mp4' cannot be read: too short" for number in (3, 4, 10)
    }
    assert np.flatnonzero(np.isnan(scores.probabilities).all(axis=1)).tolist() == [3, 4, 10]
    assert len(scores.evaluation.labels) == 8
    assert load_scores(tmp_path / "scores.npz").unreadable == scores.unreadable


@pytest.mark.parametrize("stop_at", [f"{n}.mp4" for n in range(11)])
def test_a_stopped_run_ends_as_one_that_was_not(model, tmp_path, stop_at):
    evaluate_videos(model, listed(), views(broken=BROKEN), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        evaluate_videos(model, listed(), views(broken=BROKEN, stop_at=stop_at), tmp_path / "part")
    read = []
    evaluate_videos(model, listed(), views(broken=BROKEN, read=read), tmp_path / "part")
    whole = (tmp_path / "whole" / "scores.npz").read_bytes()
    assert (tmp_path / "part" / "scores.npz").read_bytes() == whole
    assert os.listdir(tmp_path / "part") == ["scores.npz"]
    # At most a batch is done again, and those that could not be read.
    assert len(read) <= 11 - int(stop_at.removesuffix(".mp4")) + 2 + 2 + len(BROKEN)


def stopped(model, folder, **options):
    with pytest.raises(KeyboardInterrupt):
        evaluate_videos(model, listed(), views(stop_at="9.mp4", broken=BROKEN), folder, **options)
    return folder / "scores.journal"


def test_a_line_that_was_not_finished_is_written_anew(model, tmp_path):
    evaluate_videos(model, listed(), views(broken=BROKEN), tmp_path / "whole")
    whole = (tmp_path / "whole" / "scores.npz").read_bytes()
    content = stopped(model, tmp_path / "part").read_bytes()
    for length in [0, 1, *np.random.default_rng(0).integers(2, len(content), 15), len(content) - 1]:
        (tmp_path / "part" / "scores.npz").unlink(missing_ok=True)
        (tmp_path / "part" / "scores.journal").write_bytes(content[:length])
        evaluate_videos(model, listed(), views(broken=BROKEN), tmp_path / "part")
        assert (tmp_path / "part" / "scores.npz").read_bytes() == whole, length


def test_what_follows_a_line_that_was_not_finished_is_kept(model, tmp_path):
    journal = stopped(model, tmp_path)
    journal.write_bytes(journal.read_bytes()[:-5])
    with pytest.raises(KeyboardInterrupt):
        evaluate_videos(model, listed(), views(stop_at="10.mp4", broken=BROKEN), tmp_path)
    read = []
    evaluate_videos(model, listed(), views(broken=BROKEN, read=read), tmp_path)
    assert read == ["3.mp4", "4.mp4", "10.mp4"]


def test_a_damaged_line_is_not_believed(model, tmp_path):
    whole = evaluate_videos(model, listed(), views(broken=BROKEN))
    journal = stopped(model, tmp_path)
    lines = journal.read_bytes().splitlines(keepends=True)
    place = lines[1].index(b'"scores": "') + 15
    lines[1] = lines[1][:place] + bytes([lines[1][place] ^ 1]) + lines[1][place + 1 :]
    journal.write_bytes(b"".join(lines))
    read = []
    scores = evaluate_videos(model, listed(), views(broken=BROKEN, read=read), tmp_path)
    assert read[0] == "0.mp4"
    np.testing.assert_array_equal(scores.probabilities, whole.probabilities)


def test_a_finished_run_is_not_done_again(model, tmp_path):
    first = evaluate_videos(model, listed(), views(), tmp_path)
    read, done = [], []
    again = evaluate_videos(
        model, listed(), views(read=read), tmp_path, advance=lambda: done.append(1)
    )
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    assert (read, len(done)) == ([], 11)


def test_every_video_moves_the_bar_once(model, tmp_path):
    stopped(model, tmp_path)
    done = []
    evaluate_videos(model, listed(), views(broken=BROKEN), tmp_path, advance=lambda: done.append(1))
    assert len(done) == 11


def test_fewer_views_that_fitted_are_taken_after_a_stop_as_well(tmp_path):
    class Narrow:
        def __init__(self, model):
            self.model, self.layers, self.weights = model, model.layers, model.weights
            self._flatten_layers = model._flatten_layers
            self.sizes = []

        def predict_on_batch(self, clips):
            self.sizes.append(len(clips))
            if len(clips) > 5:
                raise MemoryError
            return self.model.predict_on_batch(clips)

    stopped(Narrow(linear()), tmp_path, views_per_batch=12)
    model = Narrow(linear())
    evaluate_videos(model, listed(), views(broken=BROKEN), tmp_path, views_per_batch=12)
    assert max(model.sizes) == 3


OTHERS = {
    "settings": ({"settings": {"clip": "16x4"}}, "clip: '8x8' there, '16x4' here"),
    "rule": ({"over_views": "max"}, "over_views: 'mean' there, 'max' here"),
    "batch": ({"views_per_batch": 2}, "views_per_batch: None there, 2 here"),
    "videos": ({"videos": listed(12)}, "videos: '[0-9a-f]{16}' there, '[0-9a-f]{16}' here"),
    "labels": ({"videos": listed(seed=1)}, "videos: '"),
    "views": ({"make_views": views(views=3)}, r"views: \[6, 2, 4, 4, 3\] there, \[3, 2, 4, 4, 3\]"),
    "activation": ({"model": linear("sigmoid")}, "model: '[0-9a-f]{16}' there"),
    "weights": ({"model": linear(seed=2)}, "model: '[0-9a-f]{16}' there"),
}


@pytest.mark.parametrize("state", ["stopped", "finished"])
@pytest.mark.parametrize("other, message", OTHERS.values(), ids=OTHERS)
def test_a_folder_of_another_evaluation_is_refused(tmp_path, other, message, state):
    call = {"model": linear(), "videos": listed(), "settings": {"clip": "8x8"}}
    call["make_views"] = views()
    if state == "stopped":
        with pytest.raises(KeyboardInterrupt):
            evaluate_videos(**{**call, "make_views": views(stop_at="6.mp4")}, folder=tmp_path)
    else:
        evaluate_videos(**call, folder=tmp_path)
    with pytest.raises(ValueError, match=f"holds the scores of another evaluation: .*{message}"):
        evaluate_videos(**{**call, **other}, folder=tmp_path)
    evaluate_videos(**call, folder=tmp_path)


def network(**options):
    shape = (4, 32, 32, 3)
    return knl.NLI3D(depth=(1, 1, 1, 1), width=4, input_shape=shape, classes=2, **options)


def test_networks_of_equal_weights_are_told_apart_and_names_mean_nothing():
    model = fill(network(mode="embedded_gaussian"))
    hashes = [hash_model(model)]
    for options in ({"mode": "embedded_gaussian", "name": "other"}, {"mode": "dot_product"}):
        other = network(**options)
        other.set_weights(model.get_weights())
        hashes.append(hash_model(other))
    assert hashes[0] == hashes[1] != hashes[2]


def test_operations_before_a_network_tell_apart_and_their_names_mean_nothing():
    model = fill(network(include_preprocessing=False))

    def normalizing(source):
        inputs = keras.Input(model.input_shape[1:])
        return keras.Model(inputs, model(knl.preprocess_input(inputs, source)))

    one, same, other = map(normalizing, ("mmaction2", "mmaction2", "pyslowfast"))
    assert hash_model(one) == hash_model(same) != hash_model(other)


def test_layers_joined_in_another_way_are_another_network():
    def join(first):
        images = keras.Input((2, 4, 4, 3))
        pair = [images, keras.layers.Conv3D(3, 1)(images)]
        return keras.Model(images, keras.layers.Subtract()(pair if first else pair[::-1]))

    one, other = (fill(join(first)) for first in (True, False))
    other.set_weights(one.get_weights())
    assert hash_model(one) != hash_model(other)


def test_a_network_that_does_not_give_its_configuration_is_kept_in_no_folder(tmp_path):
    class Own(keras.Model):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def call(self, clips):
            return self.layer(clips)

    own = Own(linear("softmax"))
    message = "`model` must give its configuration .* Received: 'Own'.*evaluate without `folder`"
    with pytest.raises(ValueError, match=message):
        evaluate_videos(own, listed(), views(), tmp_path)
    assert os.listdir(tmp_path) == []
    assert len(evaluate_videos(own, listed(), views()).probabilities) == 11


@pytest.mark.parametrize("state", ["stopped", "finished"])
def test_mended_videos_are_read(model, tmp_path, state):
    if state == "stopped":
        stopped(model, tmp_path)
    else:
        evaluate_videos(model, listed(), views(broken=BROKEN), tmp_path)
    read, done = [], []
    mended = views(broken=("4.mp4",), read=read)
    scores = evaluate_videos(model, listed(), mended, tmp_path, advance=lambda: done.append(1))
    assert list(scores.unreadable) == [4]
    assert read == ["3.mp4", "4.mp4", *["8.mp4", "9.mp4"] * (state == "stopped"), "10.mp4"]
    assert len(done) == 11
    whole = evaluate_videos(model, listed(), views(broken=("4.mp4",)))
    np.testing.assert_allclose(scores.probabilities, whole.probabilities, atol=1e-6)
    kept = load_scores(tmp_path / "scores.npz")
    np.testing.assert_array_equal(kept.probabilities, scores.probabilities)
    assert os.listdir(tmp_path) == ["scores.npz"]


def test_a_journal_without_scores_binds_nobody(model, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        evaluate_videos(model, listed(), views(stop_at="0.mp4"), tmp_path, over_views="max")
    assert (tmp_path / "scores.journal").exists()
    evaluate_videos(model, listed(), views(), tmp_path)


REPORT = ("report.html", "report.json", "per_class.csv", "videos.csv", "confusion.png")


def test_to_begin_anew_removes_the_scores_and_their_report(model, tmp_path):
    evaluate_videos(model, listed(), views(), tmp_path)
    for name in (*REPORT, "mine.csv"):
        (tmp_path / name).touch()
    with pytest.raises(KeyboardInterrupt):
        begun = {"make_views": views(stop_at="9.mp4"), "over_views": "max", "overwrite": True}
        evaluate_videos(model, listed(), folder=tmp_path, **begun)
    assert sorted(os.listdir(tmp_path)) == ["mine.csv", "scores.journal"]
    read = []
    evaluate_videos(model, listed(), views(read=read), tmp_path, overwrite=True)
    assert read[0] == "0.mp4"


def test_what_was_no_report_on_scores_stays(model, tmp_path):
    (tmp_path / "videos.csv").touch()
    evaluate_videos(model, listed(), views(), tmp_path, overwrite=True)
    assert (tmp_path / "videos.csv").exists()


def test_two_at_a_time_are_refused(model, tmp_path):
    with locked(tmp_path / "scores.journal.lock"):
        with pytest.raises(BlockingIOError, match="Another process is evaluating"):
            evaluate_videos(model, listed(), views(), tmp_path)


def test_a_running_evaluation_is_not_overwritten(model, tmp_path):
    journal = stopped(model, tmp_path)
    with locked(tmp_path / "scores.journal.lock"):
        with pytest.raises(BlockingIOError, match="Another process is evaluating"):
            evaluate_videos(model, listed(), views(), tmp_path, overwrite=True)
    assert journal.exists()


def test_a_path_is_no_list(model):
    with pytest.raises(ValueError, match="`VideoList`. Received: the path 'val'. `data.read_vid"):
        evaluate_videos(model, "val", views())


def shuffled(videos):
    return Views(videos.select(np.array([1, 0, *range(2, len(videos))])))


def forgetful(videos):
    views = Views(videos, broken=BROKEN)
    views.errors = type("Forgetful", (dict,), {"__setitem__": lambda *_: None})()
    return views


DATASETS = {
    "shuffled": (shuffled, r"in the order of the list.* Received: \[1, 0\].* from 0 was due"),
    "silent": (forgetful, r"no word of '3.mp4' and 1 more"),
    "all broken": (
        views(broken=[f"{n}.mp4" for n in range(11)]),
        r"a video that can be read. Received: The video '0.mp4' .*; and 6 more",
    ),
}


@pytest.mark.parametrize("make_views, message", DATASETS.values(), ids=DATASETS)
def test_a_dataset_that_does_not_account_for_its_videos_is_refused(model, make_views, message):
    with pytest.raises(ValueError, match=message):
        evaluate_videos(model, listed(), make_views)


def test_a_model_of_logits_is_refused():
    with pytest.raises(ValueError, match=r'from 0 to 1. Received: .*activation="softmax"'):
        evaluate_videos(linear(None), listed(), views())


def test_a_model_of_other_classes_is_refused(model):
    videos = dataclasses.replace(listed(), labels=[0] * 11, class_names=("jump", "run"))
    read = []
    with pytest.raises(ValueError, match="each of the 2 classes of `videos`. Received: 5 a clip"):
        evaluate_videos(model, videos, views(read=read))
    assert read == []


def test_videos_without_labels_are_refused(model):
    with pytest.raises(ValueError, match="labels for evaluation"):
        evaluate_videos(model, dataclasses.replace(listed(), labels=None), views())


def test_files_are_read_and_broken_ones_are_told(tmp_path, folder):
    """Through `evaluation_clips`, with a list that has events, whose labels it replaces."""
    videos = knl.data.read_folder(folder)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"junk")
    paths = [*videos.paths[:3], str(broken), *videos.paths[3:]]
    table = np.eye(2, dtype="float32")[[0, 0, 0, 1, 0, 1, 1, 1, 1]]
    events = [[(1, 0.0, 0.5)]] * 9
    videos = knl.data.VideoList(paths, table, videos.class_names, events=events)
    mean = keras.Sequential(
        [
            keras.Input((4, 32, 32, 3)),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(2, "sigmoid"),
        ]
    )

    def make_views(rest):
        options = {"on_error": "skip", "max_error_rate": 1.0, "batch_size": 2}
        return knl.data.evaluation_clips(rest, "4x2", size=32, num_crops=3, **options)

    scores = evaluate_videos(mean, videos, make_views, tmp_path / "out", over_views="max")
    assert list(scores.unreadable) == [3]
    assert "broken.mp4" in scores.unreadable[3]
    np.testing.assert_array_equal(scores.labels, table)
    for number in (0, 8):
        one = knl.data.VideoList([paths[number]], [0], ["jump"])
        expected, _ = predict_views(mean, make_views(one).dataset(), over_views="max")
        np.testing.assert_allclose(scores.probabilities[number], expected[0], atol=1e-6)
    # Of whose events the class has a greater number than there are videos.
    alone = evaluate_videos(mean, videos.select([8]), make_views, over_views="max")
    np.testing.assert_allclose(alone.probabilities[0], scores.probabilities[8], atol=1e-6)


SCRIPT = """\
import sys, time
from keras_nonlocal.evaluation import evaluate_videos
from tests.evaluation.answering import Views, linear, listed

class Slow(Views):
    def __iter__(self):
        for batch in super().__iter__():
            time.sleep(0.02)
            yield batch

evaluate_videos(linear(), listed(60), lambda videos: Slow(videos, broken=("3.mp4",)), sys.argv[1])
"""


@pytest.mark.slow
def test_a_killed_process_ends_as_one_that_was_not(tmp_path):
    """By SIGKILL at a random moment; this process goes on."""
    script = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")]
    journal = tmp_path / "killed" / "scores.journal"
    process = subprocess.Popen(script, cwd=ROOT)
    while process.poll() is None:
        if journal.exists() and journal.stat().st_size > 300:
            time.sleep(np.random.default_rng().uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    broken = ("3.mp4",)
    there = []

    def rest(videos):
        there.append(len(videos))
        return Views(videos, broken=broken)

    evaluate_videos(linear(), listed(60), rest, tmp_path / "killed")
    assert there[-1] < 60
    evaluate_videos(linear(), listed(60), views(broken=broken), tmp_path / "whole")
    whole = (tmp_path / "whole" / "scores.npz").read_bytes()
    assert (tmp_path / "killed" / "scores.npz").read_bytes() == whole


ON_JAX = """\
import sys
import numpy as np
from keras_nonlocal.evaluation import evaluate_videos
from tests.evaluation.answering import Views, linear, listed

model = linear()
model.set_weights([np.load(f"{sys.argv[1]}/{n}.npy") for n in (0, 1)])
evaluate_videos(model, listed(), lambda v: Views(v, broken=("3.mp4",)), sys.argv[1])
"""


@pytest.mark.slow
def test_jax_gives_the_scores_of_tensorflow(model, tmp_path):
    for number, weight in enumerate(model.get_weights()):
        np.save(tmp_path / f"{number}.npy", weight)
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    script = [sys.executable, "-c", ON_JAX, str(tmp_path)]
    subprocess.run(script, cwd=ROOT, env=environment, check=True)
    expected = evaluate_videos(model, listed(), views(broken=("3.mp4",)))
    found = load_scores(tmp_path / "scores.npz")
    assert "jax" in found.versions
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)

"""What `evaluate` and `fuse` print and write, and how they end."""

import contextlib
import io
import json
import pathlib
import pickle
import shutil

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal import cli, evaluation
from tests.made_videos import moving_bars, write
from tests.subjects import fill

from .conftest import run

TINY = {"depth": (1, 1, 1, 1), "width": 4, "classes": 2, "input_shape": (4, 32, 32, 3)}
VIEWS = ("--clips", "2", "--crops", "3")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four videos of two classes that the network of camera motions knows, and two networks."""
    root = tmp_path_factory.mktemp("made")
    for number in range(4):
        path = root / "videos" / ("still", "pan_left")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, moving_bars(20 + number, 48, 64))
    for seed, name in enumerate(("a.keras", "b.keras")):
        layers = [keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(2, "softmax")]
        model = keras.Sequential([keras.Input((4, 32, 32, 3)), *layers])
        fill(model, seed).save(root / name)
    return root


@pytest.fixture
def work(folder, made):
    shutil.copytree(made, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def known(made, tmp_path_factory):
    """The folder and the words of a test of weights that ship."""
    root = tmp_path_factory.mktemp("known")
    shutil.copytree(made, root, dirs_exist_ok=True)
    words, faults = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(words):
        patch.chdir(root)
        with contextlib.redirect_stderr(faults):
            code = cli.main(["evaluate", "camera_motion", "videos", *VIEWS, "--out", "test"])
    assert (code, faults.getvalue()) == (0, "")
    return root, words.getvalue()


def python_in(text):
    return text.partition("\nThe same in Python:\n\n")[2]


def answers(text):
    """The scores, and the words, that a printed snippet of Python gives."""
    names, words = {"__name__": "__main__"}, io.StringIO()
    with contextlib.redirect_stdout(words):
        exec(compile(text, "printed", "exec"), names)
    return names["scores"], words.getvalue()


def test_a_known_network_is_tested_and_reported(known):
    root, out = known
    assert {path.name for path in (root / "test").iterdir()} == {
        "scores.npz",
        "report.html",
        "report.json",
        "per_class.csv",
        "videos.csv",
        "confusion.png",
    }
    report = json.loads((root / "test" / "report.json").read_text())
    assert report["title"] == "camera_motion on videos"
    assert report["settings"]["scale"] == report["settings"]["size"] == 73
    assert f"top-1       {report['numbers']['top_1']:.2%}" in out
    assert "2 clips of 8x2, 3 crops of 73 pixels" in out
    # The two classes of the folder have the numbers that they have in the network.
    scores = evaluation.load_scores(root / "test" / "scores.npz")
    assert [scores.classes[n] for n in scores.labels] == ["pan_left"] * 2 + ["still"] * 2
    assert len(scores.classes) == 9


def test_the_printed_python_does_the_same(known, work):
    root, out = known
    scores, words = answers(python_in(out))
    expected = evaluation.load_scores(root / "test" / "scores.npz")
    np.testing.assert_array_equal(scores.probabilities, expected.probabilities)
    np.testing.assert_array_equal(scores.labels, expected.labels)
    assert scores.settings == expected.settings
    report = (root / "test" / "report.json").read_text()
    assert (work / "test" / "report.json").read_text() == report
    assert f"'top_1': {json.loads(report)['numbers']['top_1']}" in words


KERAS = ("evaluate", "a.keras", "videos", "--clip", "4x2", "--source-of-weights", "pyslowfast")


def test_a_keras_file_is_tested_at_the_size_of_its_training_frames(work, capsys):
    code, out, _ = run(capsys, *KERAS, *VIEWS, "--top", "1")
    assert code == 0
    assert "3 crops of 37 pixels" in out
    assert "resize_input(model, 37, 37)" in out
    scores, words = answers(python_in(out))
    # As a plain loop over the views has it.
    model = evaluation.resize_input(keras.saving.load_model("a.keras"), 37, 37)
    clip = knl.data.UniformClipSampler("4x2", 2, "pyslowfast")
    options = {"size": 37, "scale": 37, "num_crops": 3}
    clips, _ = next(iter(knl.data.evaluation_clips("videos", clip, **options).dataset()))
    clips = knl.preprocess_input(clips, "pyslowfast")
    expected = np.stack(
        [np.mean([model.predict_on_batch(view[None])[0] for view in np.asarray(video)], axis=0)
         for video in clips]
    )  # fmt: skip
    np.testing.assert_allclose(scores.probabilities, expected, atol=1e-6)
    top_1 = np.mean(expected.argmax(1) == scores.labels)
    assert f"'top_1': {top_1}" in words
    assert f"top-1       {top_1:.2%}" in out


@pytest.mark.parametrize("missing", ["--clip", "--source-of-weights"])
def test_what_other_models_do_not_tell_must_be_said(work, capsys, missing):
    words = list(KERAS)
    del words[words.index(missing) : words.index(missing) + 2]
    code, _, err = run(capsys, *words)
    assert code == 1
    assert f"error: {missing} must be given: a.keras does not tell" in err


@pytest.mark.parametrize("inside", [True, False], ids=["pixels", "normalized"])
def test_a_file_of_a_network_tells_what_its_clips_are(inside, work, capsys):
    options = {**TINY, "include_preprocessing": inside, "class_names": ["pan_left", "still"]}
    network = fill(knl.C2D(source="pyslowfast", clip="4x2", **options))
    network.save("net.keras")
    words = ("evaluate", "net.keras", "videos", "--clips", "1", "--crops", "1", "--crop", "32")
    code, _, err = run(capsys, *words, "--out", "test")
    assert code == 0, err
    scores = evaluation.load_scores("test/scores.npz")
    assert scores.settings["convention"] == "pyslowfast" and scores.settings["clip"] == "4x2"
    assert scores.classes == ("pan_left", "still")
    sampler = knl.data.UniformClipSampler("4x2", 1, "pyslowfast")
    clips, _ = next(iter(knl.data.evaluation_clips("videos", sampler, size=32).dataset()))
    expected = network.predict_on_batch(knl.preprocess_input(clips, network))
    np.testing.assert_allclose(scores.probabilities, expected, rtol=1e-4, atol=1e-6)
    for option, other in (("--clip", "8x8"), ("--source-of-weights", "gluoncv")):
        code, _, err = run(capsys, *words, option, other)
        assert code == 1
        assert f"error: {option} must be " in err and f"net.keras. Received: {other}" in err


def test_a_published_file_is_tested(work, capsys):
    network = fill(knl.C2D(source="pyslowfast", clip="4x2", **TINY))
    knl.save_checkpoint(network, "a.pyth", source="pyslowfast")
    one_view = ("--clips", "1", "--crops", "1", "--crop", "32", "--out", "test")
    code, out, err = run(capsys, "evaluate", "a.pyth", "videos", *one_view)
    assert code == 0, err
    assert 'knl.load_checkpoint("a.pyth", source="pyslowfast", clip="4x2", crop=32)' in out
    assert evaluation.load_scores("test/scores.npz").settings["convention"] == "pyslowfast"
    code, _, err = run(capsys, "evaluate", "a.pyth", "videos", "--clip", "8x8", *one_view)
    assert code == 1
    assert "--clip must be '4x2' for 'a.pyth': the stored config says so" in err


def test_what_a_published_file_does_not_tell_is_said_by_converting_it(work, capsys):
    network = knl.NLC2D(source="pyslowfast", **TINY)
    knl.save_checkpoint(network, "a.pkl", source="pyslowfast")
    blobs = pickle.loads(pathlib.Path("a.pkl").read_bytes())["blobs"]
    pathlib.Path("a.pkl").write_bytes(pickle.dumps({"blobs": blobs}))
    words = ("--source-of-weights", "pyslowfast", "--clip", "4x2", "--crop", "32", "--out", "test")
    code, _, err = run(capsys, "evaluate", "a.pkl", "videos", *words)
    assert code == 1
    assert "error: The mode is not stored in 'a.pkl'. Write a .keras file of it" in err
    assert "by keras-nonlocal convert with --mode 'embedded_gaussian' or --mode 'dot_" in err


def test_videos_that_cannot_be_read_are_named(work, capsys):
    (work / "videos" / "still" / "broken.mp4").write_bytes(b"junk")
    code, out, err = run(capsys, *KERAS, *VIEWS, "--out", "test")
    assert code == 0
    assert "videos      4 of 5; 1 could not be read and are left out" in out
    assert err.count("\n") == 1
    assert "warning: The video file 'videos/still/broken.mp4' cannot" in err
    assert "broken.mp4" in (work / "test" / "report.html").read_text()
    code, out, _ = run(capsys, *KERAS, *VIEWS, "--out", "test", "--count-unreadable-as-wrong")
    assert "videos      5 of 5; 1 could not be read and are counted as wrong" in out


def test_the_same_command_goes_on_and_another_is_refused(work, capsys, monkeypatch):
    true = knl.evaluation.views.VideoScorer.score
    done = []

    def count(self, clips):
        done.append(len(clips))
        return true(self, clips)

    def score(self, clips):
        if len(done) == 1:
            raise KeyboardInterrupt
        return count(self, clips)

    monkeypatch.setattr("keras_nonlocal.commands.evaluate.data.evaluation_clips", one_a_batch)
    monkeypatch.setattr("keras_nonlocal.evaluation.views.VideoScorer.score", score)
    # As Python has it, or as the command line says it.
    with contextlib.suppress(KeyboardInterrupt):
        run(capsys, *KERAS, *VIEWS, "--out", "test")
    assert done == [1]
    monkeypatch.setattr("keras_nonlocal.evaluation.views.VideoScorer.score", count)
    code, _, err = run(capsys, *KERAS, *VIEWS, "--over-views", "max", "--out", "test")
    assert code == 1
    assert "scores of another evaluation: over_views: 'mean' there, 'max' here" in err
    assert run(capsys, *KERAS, *VIEWS, "--out", "test")[0] == 0
    assert done == [1, 1, 1, 1]
    part = (work / "test" / "scores.npz").read_bytes()
    spoil(work / "test" / "scores.npz")
    assert run(capsys, *KERAS, *VIEWS, "--out", "test")[0] == 0
    assert (work / "test" / "scores.npz").read_bytes() != part
    assert run(capsys, *KERAS, *VIEWS, "--out", "test", "--overwrite")[0] == 0
    assert (work / "test" / "scores.npz").read_bytes() == part
    assert done == [1] * 8


def test_a_keras_file_is_told_its_classes(work, capsys):
    """Of which the folder has one alone."""
    shutil.copytree("videos/still", "some/still")
    (work / "names.txt").write_text("still\nanother\n")
    words = ("evaluate", "a.keras", "some", *KERAS[3:], *VIEWS, "--classes", "names.txt")
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    scores, _ = answers(python_in(out))
    assert scores.classes == ("still", "another")
    assert scores.labels.tolist() == [0, 0]
    (work / "names.txt").write_text("another\nstill\n")
    scores, _ = answers(python_in(run(capsys, *words)[1]))
    assert scores.labels.tolist() == [1, 1]
    (work / "names.txt").write_text("still\n")
    code, _, err = run(capsys, *words)
    assert code == 1
    assert "--classes must name the 2 classes of MODEL, in their order. Received: 1 names" in err


def test_videos_that_are_missing_are_told(work, capsys):
    (work / "list.txt").write_text("videos/still/0.mp4 0\nvideos/gone.mp4 1\n")
    words = ("evaluate", "a.keras", "list.txt", *KERAS[3:], *VIEWS, "--drop-missing")
    code, out, _ = run(capsys, *words, "--out", "test")
    assert code == 0
    told = "1 of the 2 videos that 'list.txt' lists are not in"
    assert f"missing     {told}" in out
    settings = json.loads((work / "test" / "report.json").read_text())["settings"]
    assert told in settings["missing"] and "gone.mp4" in settings["missing"]


def spoil(path):
    scores = evaluation.load_scores(path)
    scores.probabilities[:] = 0.5
    evaluation.save_scores(path, scores)


def one_a_batch(*arguments, **options):
    return knl.data.datasets.evaluation_clips(*arguments, **{**options, "batch_size": 1})


def test_scores_of_several_networks_are_fused(work, capsys):
    run(capsys, *KERAS, *VIEWS, "--out", "a")
    run(capsys, "evaluate", "b.keras", *KERAS[2:], *VIEWS, "--out", "b")
    words = ("fuse", "a", "b/scores.npz", "--weights", "3", "1")
    code, out, err = run(capsys, *words, "--out", "both")
    assert (code, err) == (0, "")
    parts = [evaluation.load_scores(f"{name}/scores.npz").probabilities for name in "ab"]
    expected = 0.75 * parts[0] + 0.25 * parts[1]
    np.testing.assert_allclose(
        evaluation.load_scores("both/scores.npz").probabilities, expected, atol=1e-6
    )
    (work / "both" / "scores.npz").unlink()
    scores, _ = answers(python_in(out))
    np.testing.assert_allclose(scores.probabilities, expected, atol=1e-6)
    assert (work / "both" / "scores.npz").exists()
    assert "2 networks fused" in (work / "both" / "report.html").read_text()
    code, _, err = run(capsys, *words, "--out", "both")
    assert code == 1
    assert "both/scores.npz exists already. Add --overwrite" in err
    code, _, err = run(capsys, "fuse", "a", "b", "--out", "b", "--overwrite")
    assert code == 1
    assert "--out must be another folder than those of SCORES: b" in err


FAULTS = {
    "no model": (["nothing", "videos"], "MODEL must be a name that `keras-nonlocal weights` lists"),
    "frames": (["a.keras", "videos", "--clip", "8x2", "--source-of-weights", "gluoncv"],
               "--clip must have the frames that a.keras takes: its input is (None, 4, 32"),
    "clip": (["camera_motion", "videos", "--clip", "8x8"],
             "--clip must be 8x2 for camera_motion. Received: 8x8. Leave it out"),
    "classes": (["camera_motion", "others"], "Received: 'jump'. The network's are 'pan_left', "),
    "out": (["camera_motion", "videos", "--out", "a.keras"], "--out must be a folder. Received"),
}  # fmt: skip


@pytest.mark.parametrize("words, message", FAULTS.values(), ids=FAULTS)
def test_mistakes_are_told_in_one_line(work, capsys, words, message):
    shutil.copytree("videos/still", "others/jump")
    code, out, err = run(capsys, "evaluate", *words)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert message in err

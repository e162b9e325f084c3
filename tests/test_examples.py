"""The examples run as they stand, and their videos show what their names say."""

import functools
import importlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from keras_nonlocal import data

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
REAL_CLIPS = sorted((ROOT / ".." / "shared" / "videos").glob("*.*"))


@pytest.fixture(scope="module", autouse=True)
def _on_the_path():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield


@pytest.fixture(scope="module")
def motion():
    """The module that makes the videos."""
    return importlib.import_module("camera_motion")


@pytest.fixture(scope="module")
def predict():
    """The module of predict.py, whose network is loaded once."""
    module = importlib.import_module("predict")
    module.load = functools.cache(module.load)
    return module


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs the `main` of an example with arguments, and gives what it printed."""

    def call(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, arguments)])
        module.main()
        return capsys.readouterr().out

    return call


def run(script, *arguments):
    """Runs an example in a process of its own, and gives what it printed."""
    result = subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # TensorFlow leaves oneDNN off on some processors, and then trains far more slowly.
            "TF_ENABLE_ONEDNN_OPTS": "1",
            "PATH": "",
        },
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


# A scene with one bright dot, right of the middle and above it: where the dot goes tells the
# motion. (x, y) of its way; y points down.
WAYS = {
    "pan_left": (1, 0),
    "pan_right": (-1, 0),
    "tilt_up": (0, 1),
    "tilt_down": (0, -1),
    "zoom_in": (1, -1),
    "zoom_out": (-1, 1),
    "turn_left": (1, 1),  # clockwise, as the camera turns the other way
    "turn_right": (-1, -1),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_picture_moves_against_the_camera(motion, name):
    scene = np.zeros((256, 256, 3), np.float32)
    scene[128 - 20 : 128 - 14, 128 + 14 : 128 + 20] = 255
    path = motion.camera_path(name, np.random.default_rng(3))
    frames = motion.look(scene, path, (motion.HEIGHT, motion.WIDTH)).astype(float).sum(-1)
    y, x = np.mgrid[: motion.HEIGHT, : motion.WIDTH]
    middle = len(frames) // 2
    places = []
    for frame in (frames[middle - 3], frames[middle + 3]):
        places.append(np.array([(frame * x).sum(), (frame * y).sum()]) / frame.sum())
    way = places[1] - places[0]
    direction = np.array(WAYS[name]) / np.hypot(*WAYS[name])
    # Along its way, and mostly along it: hands shake, and no motion is pure.
    assert way @ direction > 0.8 * np.hypot(*way) > 0.5


def test_a_still_camera_stays_about_where_it_is(motion):
    for seed in range(20):
        path = motion.camera_path("still", np.random.default_rng(seed))
        # Slower than the slowest of the motions, over the whole video.
        assert abs(path.x[-1] - path.x[0]) < motion.SPEEDS["pan"][0] * motion.FRAMES


def test_validation_scenes_are_other_photographs(motion):
    assert not set(motion.PHOTOGRAPHS["train"]) & set(motion.PHOTOGRAPHS["validation"])


def assert_same_frames(one, other):
    # Not byte for byte: on a busy machine x264 does not always choose the same blocks.
    frames = [data.decode_frames(path, range(0, 40, 8)).astype("float32") for path in (one, other)]
    assert np.abs(frames[0] - frames[1]).mean() < 2


def test_videos_are_made_once_and_the_same(motion, tmp_path):
    for folder in ("a", "b"):
        motion.make_videos(tmp_path / folder, "validation", 1)
    first, second = (sorted((tmp_path / folder).rglob("*.*")) for folder in ("a", "b"))
    assert [path.parent.name for path in first] == sorted(motion.CLASSES)
    assert all(path.suffix == ".mp4" for path in first)
    for one, other in zip(first, second, strict=True):
        assert_same_frames(one, other)
    assert data.probe_video(first[0]).frames == motion.FRAMES

    first[0].unlink()
    times = [path.stat().st_mtime_ns for path in first[1:]]
    motion.make_videos(tmp_path / "a", "validation", 1)
    assert_same_frames(first[0], second[0])
    assert times == [path.stat().st_mtime_ns for path in first[1:]]


def test_a_video_that_was_not_finished_is_made_anew(motion, tmp_path, monkeypatch):
    def break_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(motion.os, "replace", break_off)
    with pytest.raises(KeyboardInterrupt):
        motion.write_video(tmp_path / "a.mp4", np.zeros((2, 32, 32, 3), np.uint8))
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.slow
def test_quickstart_runs_goes_on_and_starts_clean(tmp_path):
    arguments = ["--out", tmp_path / "run", "--per-class", "1", "--epochs", "1"]
    printed = run("quickstart.py", *arguments)
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert {
        *("nli3d", "c2d", "saved_model", "model.tflite", "model-8bit.tflite"),
        *("learning_curves.png", "confusion.png", "attention.png", "camera_motion.weights.h5"),
    } <= made
    assert not [name for name in made if name.startswith("part.") or name.endswith(".part")]
    for words in ("What can be deployed", "SavedModel", "TFLite", "C2D", "nine views"):
        assert words in printed
    assert (tmp_path / "run" / "camera_motion.weights.h5").stat().st_size < 2e6

    trained = (tmp_path / "run" / "c2d" / "model.keras").stat().st_mtime_ns
    again = run("quickstart.py", *arguments, "--only", "C2D")
    assert "Going on with the run" in again and "epoch 1" not in again
    assert (tmp_path / "run" / "c2d" / "model.keras").stat().st_mtime_ns == trained


def test_a_run_of_other_settings_starts_clean(tmp_path):
    import workflow

    out = workflow.start(tmp_path / "run", {"epochs": 1})
    (out / "nli3d.keras").touch()
    assert (workflow.start(out, {"epochs": 1}) / "nli3d.keras").exists()
    assert not (workflow.start(out, {"epochs": 2}) / "nli3d.keras").exists()
    assert json.loads((out / "settings.json").read_text()) == {"epochs": 2}


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    import workflow

    (tmp_path / "thesis.txt").touch()
    with pytest.raises(SystemExit, match="holds files that are not of a run"):
        workflow.start(tmp_path, {"epochs": 1})
    assert (tmp_path / "thesis.txt").exists()


@pytest.fixture(scope="module")
def two_classes(motion, tmp_path_factory):
    """Two classes of two videos: the real clips where there are any, else made ones."""
    root = tmp_path_factory.mktemp("two")
    videos = REAL_CLIPS[:4]
    if len(videos) < 4:
        motion.make_videos(root / "made", "validation", 1)
        videos = sorted((root / "made").rglob("*.mp4"))[:4]
    for number, video in enumerate(videos):
        folder = root / "videos" / ("one", "other")[number // 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}{video.suffix}").symlink_to(video.resolve())
    return root / "videos"


def test_finetune_runs_on_a_folder_of_class_folders(two_classes, tmp_path, call, monkeypatch):
    import finetune
    import workflow

    exported = []

    def export(model, clips, out):
        """In place of what quickstart.py shows, which exports in the same way."""
        exported.append((model.name, model.output_shape, clips.shape[1:], out))
        return [("SavedModel", 1, 1.0, 0.0, out)]

    monkeypatch.setattr(workflow, "export_and_compare", export)
    out = tmp_path / "run"
    arguments = ("--videos", two_classes, "--out", out, "--epochs", "1", "--clips", "1")
    printed = call(finetune, *arguments)
    assert "2 videos to train on, 2 held out, of 2 classes: one, other" in printed
    assert "What can be deployed" in printed
    assert exported == [("finetuned", (None, 2), (8, 64, 64, 3), out)]
    for name in ("finetuned/model.keras", "learning_curves.png", "attention.png", "confusion.png"):
        assert (out / name).exists()


def test_predict_tells_how_the_camera_moves(motion, predict, tmp_path, call):
    names = ("pan_left", "tilt_up", "still")
    for seed, name in enumerate(names):
        generator = np.random.default_rng([7, seed])
        frames = motion.film(name, motion.load_photographs("validation"), generator)
        motion.write_video(tmp_path / f"{name}.mp4", frames)
    printed = call(predict, *(tmp_path / f"{name}.mp4" for name in names))
    for name, answer in zip(names, printed.split("on the whole: ")[1:], strict=True):
        assert answer.startswith(name.replace("_", " "))


@pytest.mark.parametrize("path", REAL_CLIPS, ids=[path.name for path in REAL_CLIPS])
def test_predict_runs_on_real_clips(path, predict, call):
    lines = call(predict, path, "--every", "1").splitlines()
    assert lines[0] == str(path)
    assert "on the whole" in lines[-1]

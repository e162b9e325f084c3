"""What `export` and `predict` print and write, and how they end."""

import json
import shutil

import keras
import pytest

import keras_nonlocal as knl
from keras_nonlocal.exporting import agreement
from keras_nonlocal.exporting.artefacts import load_artefact
from keras_nonlocal.models.config import ResNet3DConfig
from keras_nonlocal.models.video_resnet import VideoInput, VideoResNet
from tests.made_videos import moving_bars, write
from tests.subjects import fill

from .conftest import run

NAMES = knl.checkpoints.registry.CHECKPOINTS["camera_motion"].class_names


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two videos, a small network in a file of Keras, and the names of its classes."""
    root = tmp_path_factory.mktemp("made")
    for number in range(2):
        path = root / "videos" / ("a", "b")[number] / f"{number}.mp4"
        path.parent.mkdir(parents=True)
        write(path, moving_bars(20 + number, 48, 64))
    layers = [keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(2, "softmax")]
    fill(keras.Sequential([keras.Input((4, 32, 32, 3)), *layers])).save(root / "a.keras")
    config = {"source": "mmaction2", "clip": "4x2", "classes": 2, "class_names": NAMES[:2]}
    config = ResNet3DConfig(**config, include_preprocessing=True)
    clips = keras.Input((4, 32, 32, 3))
    outputs = layers[1](layers[0](VideoInput(config)(clips)))
    fill(VideoResNet(clips, outputs)).save(root / "network.keras")
    pixels = keras.layers.Rescaling(1 / 255)
    layers = [pixels, keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(2)]
    inputs = keras.Input((4, 32, 32, 3), dtype="uint8")
    fill(keras.Sequential([inputs, *layers])).save(root / "pixels.keras")
    inputs = keras.Input((4, None, None, 3))
    layers = [keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(2)]
    fill(keras.Sequential([inputs, *layers])).save(root / "open.keras")
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    fill(keras.Sequential([keras.Input((32, 32, 3)), *layers])).save(root / "images.keras")
    doubled = type("Doubled", (keras.layers.Layer,), {"call": lambda self, x: 2 * x})()
    layers = [doubled, keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(2)]
    keras.Sequential([keras.Input((4, 32, 32, 3)), *layers]).save(root / "own.keras")
    (root / "names.txt").write_text("still\nmoving\n")
    return root


@pytest.fixture
def work(folder, made):
    shutil.copytree(made, folder, dirs_exist_ok=True)
    return folder


TOLD = ("--source-of-weights", "gluoncv", "--clip", "4x2")
# Options of a model of normalized clips, and those that a network of pixels needs.
MODELS = pytest.mark.parametrize(
    "model, options",
    [("a.keras", (*TOLD, "--classes", "names.txt")), ("network.keras", ())],
    ids=["normalized", "pixels"],
)


@MODELS
def test_an_exported_file_predicts_as_its_network(model, options, work, capsys):
    words = (model, "--to", "a.tflite", *options, "--clips", "videos")
    code, out, noise = run(capsys, "export", *words)
    assert code == 0 and "warning" not in noise
    assert out.startswith("Wrote a.tflite, and a report, a.tflite.report.json\n")
    assert "; top-1 agrees on 2 of 2 clips (the clips given)" in out
    facts = load_artefact("a.tflite").facts
    known = ("gluoncv", "4x2", ("still", "moving"), False)
    if not options:
        known = ("mmaction2", "4x2", tuple(NAMES[:2]), True)
    fields = (facts.source, facts.clip, facts.class_names, facts.include_preprocessing)
    assert fields == known
    videos = ("videos/a/0.mp4", "videos/b/1.mp4", "--clips", "2", "--json")
    expected = run(capsys, "predict", model, *videos, *options)
    found = run(capsys, "predict", "a.tflite", *videos)
    assert (expected[0], found[0]) == (0, 0)
    for line, other in zip(found[1].splitlines(), expected[1].splitlines(), strict=True):
        line, other = json.loads(line), json.loads(other)
        assert line["video"] == other["video"]
        for row, same in zip(line["probabilities"], other["probabilities"], strict=True):
            assert row["class"] == same["class"]
            assert row["value"] == pytest.approx(same["value"], abs=1e-5)


@MODELS
def test_the_printed_python_does_the_same(model, options, work, capsys):
    words = (model, "--to", "a.tflite", *options, "--clips", "videos", "--quantize", "int8")
    code, out, _ = run(capsys, "export", *words)
    assert code == 0
    written = (work / "a.tflite").read_bytes()
    (work / "a.tflite").unlink()
    exec(out.partition("\nThe same in Python:\n\n")[2], {})
    assert (work / "a.tflite").read_bytes() == written


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_network_of_pixels_behind_other_layers_is_refused(command, work, capsys):
    network = keras.saving.load_model("network.keras")
    scale = keras.layers.Rescaling(255.0)
    keras.Sequential([keras.Input((4, 32, 32, 3)), scale, network]).save("scaled.keras")
    videos = {"predict": "videos/a/0.mp4", "evaluate": "videos"}[command]
    code, out, err = run(capsys, command, "scaled.keras", videos, *TOLD)
    assert (code, out) == (1, "")
    assert "error: MODEL must normalize pixels before all else. Received: scaled.keras" in err


@pytest.mark.parametrize(
    "source, convention, file",
    [
        ("mmaction2", "mmaction2", "a.keras"),
        ("gluoncv", "video-nonlocal-net", "a.keras"),
        ("mmaction2", "mmaction2", "network.keras"),
    ],
)
def test_clips_are_spread_and_normalized_as_the_source_does(source, convention, file, work, capsys):
    given = (*TOLD[:1], source, *TOLD[2:]) if file == "a.keras" else ()
    code, out, _ = run(capsys, "predict", file, "videos/a/0.mp4", *given, "--clips", "3", "--json")
    views = knl.data.evaluation_clips(
        knl.data.VideoList(["videos/a/0.mp4"], labels=[0], class_names=["unknown"]),
        knl.data.UniformClipSampler("4x2", 3, convention),
        size=32,
    ).dataset()
    model = keras.saving.load_model(file)
    ((clips, _),) = views.as_numpy_iterator()
    clips = clips[0].astype("float32")
    assert clips.min() >= 0 and clips.max() > 200
    if file == "a.keras":
        clips = knl.preprocess_input(clips, source)
    expected = model.predict(clips, verbose=0).mean(0)
    rows = {row["index"]: row["value"] for row in json.loads(out)["probabilities"]}
    assert code == 0
    assert [rows[0], rows[1]] == pytest.approx(expected.tolist(), abs=1e-6)


def test_few_videos_give_several_clips_each_to_calibrate_by(work, capsys):
    words = ("a.keras", "--to", "a.tflite", "--quantize", "int8", *TOLD, "--clips", "videos")
    code, out, noise = run(capsys, "export", *words)
    assert code == 0, noise
    words = " ".join(out.split())
    assert "7 clips (clips held out from calibration)" in words and "num_clips=10" in words


def test_an_export_that_does_not_tell_how_clips_are_prepared_says_so(work, capsys):
    code, _, noise = run(capsys, "export", "a.keras", "--to", "served/1")
    assert code == 0
    assert "keras-nonlocal: warning: It does not tell how clips are prepared" in noise
    code, _, noise = run(capsys, "predict", "served", "videos/a/0.mp4")
    assert code == 1 and "--source-of-weights must be given, as served does not tell it" in noise
    code, _, noise = run(capsys, "export", "a.keras", "--to", "served/1", *TOLD[:2], "--overwrite")
    assert code == 0 and "keras-nonlocal: warning: It does not tell" in noise
    code, _, noise = run(capsys, "export", "a.keras", "--to", "served/2", *TOLD)
    assert (code, noise) == (0, "")
    assert run(capsys, "predict", "served", "videos/a/0.mp4")[0] == 0


def test_versions_follow_each_other(work, capsys):
    for number in ("1", "2"):
        code, out, _ = run(capsys, "export", "a.keras", "--to", "served", "--next-version")
        assert (code, (work / "served" / number / "saved_model.pb").exists()) == (0, True)
    assert f"Wrote served/{number}" in out


def test_a_network_is_named_and_its_classes_printed(work, capsys):
    code, out, _ = run(capsys, "predict", "camera_motion", "videos/a/0.mp4", "--clips", "1")
    video, *rows = out.splitlines()
    assert (code, video, len(rows)) == (0, "videos/a/0.mp4", 5)
    values = [float(row.split()[0]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert {row.split()[1] for row in rows} <= set(NAMES)


def test_a_video_that_cannot_be_read_does_not_stop_the_others(work, capsys):
    (work / "broken.mp4").write_bytes(b"nothing")
    words = ("broken.mp4", "videos/a/0.mp4", "--clips", "1", "--top", "1")
    code, out, noise = run(capsys, "predict", "camera_motion", *words)
    assert code == 1
    assert out.splitlines()[0] == "videos/a/0.mp4"
    (line,) = [line for line in noise.splitlines() if line.startswith("keras-nonlocal")]
    assert line.startswith("keras-nonlocal: error: ") and "broken.mp4" in line


@pytest.mark.parametrize(
    "words, message",
    [
        (("predict", "a.keras", "v.mp4"), "--source-of-weights must be given, as a.keras"),
        (("predict", "a.keras", "v.mp4", *TOLD[:2]), "--clip must be given, as a.keras"),
        (("predict", "nothing", "v.mp4"), "MODEL must be a name that"),
        (("predict", "nothing.tflite", "v.mp4"), "MODEL must be an exported network"),
        (("predict", "a.keras", "v.mp4", *TOLD, "--crop", "64"), "--crop must be left out"),
        (
            ("predict", "a.keras", "v.mp4", *TOLD[:2], "--clip", "8x2"),
            "--clip must have the 4 frames",
        ),
        (("predict", "pixels.keras", "v.mp4", *TOLD), "MODEL must take clips of floats"),
        (
            ("export", "pixels.keras", "--to", "x", "--clips", "videos", *TOLD),
            "MODEL must take clips of floats",
        ),
        (("export", "a.keras", "--to", "a.onnx", "--format", "tflite"), "--to must end in"),
        (("export", "a.keras", "--to", "a.keras"), "--to must be that of a folder"),
        (("export", "a.keras", "--to", "a.h5"), "--format must be given where --to ends in .h5"),
        (
            ("export", "source=a/x.keras", "--to", "x"),
            "Received: 'source=a/x.keras', which is neit",
        ),
        (
            ("export", "a.keras", "--to", "x", "--clip", "4x2", "--crop", "64"),
            "the shape of --clip and --crop must fit the model's own",
        ),
        (
            ("export", "a.keras", "--to", "a.keras", "--format", "saved_model"),
            "--to must be that of a folder",
        ),
        (("export", "a.keras", "--to", "a.TFLITE"), "--to must end in '.tflite'"),
        (
            ("export", "a.keras", "--to", "a.onnx", "--next-version"),
            "--next-version must be left out for onnx",
        ),
        (("export", "own.keras", "--to", "x"), "'own.keras' cannot be loaded: it holds 'Doubled'"),
        (("predict", "own.keras", "v.mp4", *TOLD), "'own.keras' cannot be loaded: it holds 'Doub"),
        (("evaluate", "own.keras", "videos", *TOLD), "'own.keras' cannot be loaded: it holds 'Dou"),
        (
            ("train", "videos", "--validation", "videos", "--run", "r", "--weights", "own.keras"),
            "'own.keras' cannot be loaded: it holds 'Doub",
        ),
        (("predict", "images.keras", "v.mp4"), "MODEL must take square clips"),
        (
            ("predict", "camera_motion", "v.mp4", "--source-of-weights", "gluoncv"),
            "--source-of-weights must be 'video-nonlocal-net' for 'camera_motion'",
        ),
        (
            ("export", "camera_motion", "--to", "x", "--source-of-weights", "gluoncv"),
            "--source-of-weights must be 'video-nonlocal-net' for 'camera_motion'",
        ),
        (
            ("predict", "camera_motion", "v.mp4", "--clip", "8x4"),
            "--clip must be 8x2 for camera_motion, which tells it",
        ),
        (("export", "open.keras", "--to", "a.tflite"), "Add for example --clip 4x2 --crop 224."),
        (
            ("export", "a.keras", "--to", "a.tflite", "--quantize", "int8"),
            "Received: no --clips. Pass some tens of them or use --quantize 'dynamic'",
        ),
        (
            ("export", "a.keras", "--to", "x", "--clips", "nothing", *TOLD),
            "--clips must be a folder or a file",
        ),
        (
            ("export", "a.keras", "--to", "x", "--clips", "videos/a/0.mp4", *TOLD),
            "one video. Pass one of these.\n",
        ),
        (("export", "a.keras", "--to", "x", "--classes", "nothing"), "There is no file 'nothing'"),
        (("export", "a.keras", "--to", "x", "--clip", "4by2"), "--clip must be frames x stride"),
        (
            ("export", "a.keras", "--to", "videos", "--overwrite"),
            "--to must be an export, and nothing else, to be replaced",
        ),
        (("export", "a.keras", "--to", "x", "--clips", "videos"), "--source-of-weights must be"),
        (("export", "a.keras", "--to", "x", "--crop", "64"), "--clip must be given with --crop"),
        (
            ("export", "a.keras", "--to", "videos"),
            "--to must not exist yet. Received: --to 'videos'. Pass --overwrite to replace it",
        ),
        (("export", "names.weights.h5", "--to", "x"), "MODEL must be a name"),
        (("export", "a.keras", "--to", "x", "--clip", "8x2"), "--clip must have the 4 frames"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(words, message, work, capsys):
    before = sorted(work.rglob("*"))
    code, out, noise = run(capsys, *words)
    assert (code, out) == (1, "")
    assert message in noise and len(noise.splitlines()) == 1
    assert sorted(work.rglob("*")) == before


def test_a_broken_video_among_the_clips_is_one_line(work, capsys):
    (work / "videos" / "a" / "broken.mp4").write_bytes(b"nothing")
    words = ("a.keras", "--to", "a.tflite", *TOLD, "--clips", "videos")
    code, out, noise = run(capsys, "export", *words)
    assert (code, out) == (1, "") and not (work / "a.tflite").exists()
    (line,) = [line for line in noise.splitlines() if line.startswith("keras-nonlocal")]
    assert line.startswith("keras-nonlocal: error: ") and "broken.mp4" in line


def test_an_export_that_answers_otherwise_is_one_line_too(work, capsys, monkeypatch):
    monkeypatch.setitem(agreement.TOLERANCES, None, -1)
    code, out, noise = run(capsys, "export", "a.keras", "--to", "a.tflite")
    assert (code, out) == (1, "")
    assert noise.startswith("keras-nonlocal: error: The export of 'sequential")
    assert "where no more is let through than " in noise
    assert noise.endswith("pass typical --clips, or a milder --quantize.\n")
    assert len(noise.splitlines()) == 1 and not (work / "a.tflite").exists()

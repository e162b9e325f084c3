"""What `train` makes of its arguments, what it prints, and how it ends."""

import argparse
import contextlib
import functools
import json
import logging
import os
import pathlib
import re
import shlex
import tempfile
import types

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal import cli
from keras_nonlocal.commands import data_manifest, training_settings
from keras_nonlocal.data import read_folder
from keras_nonlocal.training import fitting
from keras_nonlocal.training.loop import TrainingDiverged
from keras_nonlocal.training.recipes import RECIPES
from tests.made_videos import moving_bars, write
from tests.training import small_trainings

from .conftest import run

SMALL = {"depth": (1, 1, 1, 1), "width": 4, "input_shape": (4, 32, 32, 3), "classes": 2}
TINY = "--network C2D --depth 1,1,1,1 --width 4 --clip 4x2 --crop 32 --batch-size 2".split()
START = ["train", "videos", "--run", "runs/first"]
WORDS = [*START, *TINY, "--weights", "tiny.weights.h5"]
FIRST = [*WORDS, "--epochs", "1", "--validation", "0.2", "--seed", "3"]


@functools.cache
def tiny_weights():
    """Weights as after a training, the bytes of a file."""
    model = knl.C2D(**SMALL)
    model.get_layer("conv1_norm").moving_mean.assign([0.1, 0.2, 0.3, 0.4])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "tiny.weights.h5")
        model.save_weights(path)
        return path.read_bytes()


@functools.cache
def video():
    """The bytes of a video."""
    with tempfile.TemporaryDirectory() as folder:
        return write(pathlib.Path(folder, "a.mp4"), moving_bars(8, 36, 40)).read_bytes()


def make_videos(folder):
    (folder / "tiny.weights.h5").write_bytes(tiny_weights())
    for number in range(10):
        path = folder / "videos" / ("run", "jump")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video())


@pytest.fixture
def videos(folder):
    make_videos(folder)
    return folder / "videos"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the first command has run."""
    folder = tmp_path_factory.mktemp("trained")
    make_videos(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with open("printed", "w") as file, contextlib.redirect_stdout(file):
            assert cli.main(FIRST) == 0
    return folder


@pytest.fixture
def there(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def given(videos, monkeypatch):
    """What `fitting.train` is given, in place of training."""
    given = {}

    def train(model, training, validation, **options):
        given.update(options, model=model, training=training, validation=validation)
        os.makedirs(options["run"], exist_ok=True)
        facts = {"settings": {"settings": options["settings"]}}
        pathlib.Path(options["run"], "run.json").write_text(json.dumps(facts))
        for callback in options["callbacks"]:
            if isinstance(callback, data_manifest.Keep):
                callback.on_train_begin()
        history = keras.callbacks.History()
        history.history = {"loss": [1.0], "val_loss": [1.0]}
        return history

    monkeypatch.setattr(fitting, "train", train)
    return given


def weights_of(path):
    return keras.saving.load_model(path, compile=False).get_weights()


def script_in(printed):
    return printed.partition("\nThe same in Python:\n\n")[2].partition("\n\nTrained ")[0]


def test_the_run_says_what_it_does_and_what_came_out(there):
    printed = (there / "printed").read_text()
    for line in (
        "videos      8 of 2 classes, 2 to validate with",
        "network     C2D, depth 1-1-1-1, width 4, 33,254 parameters",
        "weights     tiny.weights.h5",
        "clips       4x2, crop 32",
        "pixels      normalized as by video-nonlocal-net",
        "recipe      fine-tuning",
        "frozen      statistics of norms",
        "length      1 epochs of 4 steps of 2 clips",
        "rate        peak 0.0025, half-cosine, warm-up 5%",
        "epoch       1",
    ):
        assert f"  {line}\n" in printed
    assert re.search(r"\n  loss        \d\.\d{4} in training, \d\.\d{4} in validation\n", printed)
    assert re.search(r"\n  top-1       \d\.\d{4} in training, \d\.\d{4} in validation\n", printed)
    assert (there / "runs/first/train.py").read_text().strip() == script_in(printed).strip()


def test_the_printed_python_ends_with_the_same_weights(there, tmp_path, monkeypatch):
    script = (there / "runs/first/train.py").read_text()
    monkeypatch.chdir(tmp_path)
    for name in ("videos", "tiny.weights.h5"):
        os.symlink(there / name, name)
    keras.utils.set_random_seed(99)
    exec(script, {})
    for mine, its in zip(
        weights_of("runs/first/model.keras"),
        weights_of(there / "runs/first/model.keras"),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, its)


def test_the_folder_tells_how_to_repeat_it(there):
    facts = json.loads((there / "runs/first/run.json").read_text())["settings"]["settings"]
    assert facts["recipe"]["crop"] == 32 and facts["recipe"]["epochs"] == 1
    assert facts["seed"] == 3 and facts["batch_size"] == 2 and facts["replicas"] == 1
    assert (facts["network"], facts["depth"], facts["width"]) == ("C2D", [1, 1, 1, 1], 4)
    rows = (there / "runs/first/videos.csv").read_text().splitlines()
    assert rows[0] == "part,path,labels,bytes" and len(rows) == 11
    size = os.path.getsize(there / "videos/run/0.mp4")
    assert any(row.endswith(f",videos/run/0.mp4,1,{size}") for row in rows)


OTHERS = {
    "seed": (["--seed", "4"], "--seed: was 3, is 4"),
    "share": (["--validation", "0.3"], "--validation: was '0.2', is '0.3'"),
    "rate": (["--learning-rate", "0.5"], "--learning-rate: was 0.005, is 0.5"),
    "recipe": (["--recipe", "charades"], "--recipe: was 'fine-tuning', is 'charades'"),
    "width": (["--width", "8"], "--width: was 4, is 8"),
    "weights": (["--weights", "imagenet"], "--weights: was 'tiny.weights.h5', is 'imagenet'"),
    "replicas": (["--replicas", "2"], "--replicas: was 1, is 2"),
}


@pytest.mark.parametrize("words, told", OTHERS.values(), ids=OTHERS)
def test_other_arguments_are_refused_in_the_same_folder(words, told, there, capsys, monkeypatch):
    monkeypatch.setattr(training_settings, "find_devices", lambda count: ["a", "b"][: count or 0])
    before = (there / "runs/first/train.py").read_text()
    code, printed, noise = run(capsys, *FIRST, *words)
    assert (code, printed) == (1, "")
    assert f"see runs/first/run.json. Received: {told}. Give those, name another" in noise
    assert noise.endswith("or begin anew with --overwrite.\n")
    assert (there / "runs/first/train.py").read_text() == before


def test_a_finished_run_says_so_and_trains_no_more(there, capsys):
    facts = (there / "runs/first/run.json").read_text()
    code, printed, noise = run(capsys, *FIRST)
    assert (code, noise) == (0, "")
    assert printed.startswith("runs/first is finished: ") and "--overwrite." in printed
    assert "Trained" not in printed and "The same in Python" not in printed
    assert (there / "runs/first/run.json").read_text() == facts


def test_the_printed_python_loads_the_finished_run(there):
    facts = (there / "runs/first/run.json").read_text()
    scope = {}
    exec((there / "runs/first/train.py").read_text(), scope)
    assert (there / "runs/first/run.json").read_text() == facts
    for mine, its in zip(
        scope["model"].get_weights(), weights_of("runs/first/model.keras"), strict=True
    ):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("words", [[], ["--overwrite"]], ids=["anew", "overwrite"])
def test_a_folder_of_something_else_is_left_as_it_is(words, given, folder, capsys):
    theirs = folder / "runs" / "first" / "train.py"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    code, printed, noise = run(capsys, *FIRST, *words)
    assert (code, printed, given) == (1, "", {})
    assert noise.startswith("keras-nonlocal: error: --run must be a folder that is new, empty or")
    assert "Received: runs/first, which has none and holds 'train.py'. Name another" in noise
    assert [each.name for each in theirs.parent.iterdir()] == ["train.py"]
    assert theirs.read_text() == "mine"


def test_a_file_is_no_folder_of_a_run(given, folder, capsys):
    (folder / "runs").write_text("")
    code, _, noise = run(capsys, *FIRST, "--run", "runs")
    assert (code, noise) == (
        1,
        "keras-nonlocal: error: --run must be a folder. Received: runs, a file. Name another.\n",
    )


@pytest.mark.parametrize("content", ["", '{"settings": ', "[]", "{}"])
def test_damaged_settings_are_named_with_the_way_out(content, given, folder, capsys):
    facts = folder / "runs" / "first" / "run.json"
    facts.parent.mkdir(parents=True)
    facts.write_text(content)
    code, printed, noise = run(capsys, *FIRST)
    assert (code, printed) == (1, "") and len(noise.splitlines()) == 1
    assert "runs/first/run.json must be as an earlier start" in noise and "name another" in noise
    assert run(capsys, *FIRST, "--overwrite")[2] == noise
    assert facts.read_text() == content and given == {}


def test_a_folder_named_as_a_number_is_a_source(given, folder, capsys):
    for name in ("run", "jump"):
        (folder / "2023" / name).mkdir(parents=True)
        write(folder / "2023" / name / "a.mp4", moving_bars(8, 36, 40))
    code, printed, noise = run(capsys, *WORDS, "--validation", "2023")
    assert code == 0, noise
    assert "10 of 2 classes, 2 to validate with" in printed
    assert 'validation = knl.data.read_videos("2023")' in printed


def test_what_is_logged_is_told(given, capsys, monkeypatch):
    def train(*arguments, **options):
        log = logging.getLogger("keras_nonlocal")
        log.info("Goes on.")
        log.warning("A checkpoint is damaged.")
        raise TrainingDiverged("The loss is nan.")

    monkeypatch.setattr(fitting, "train", train)
    _, printed, noise = run(capsys, *FIRST)
    assert printed.endswith("\n\nGoes on.\n")
    assert noise == (
        "keras-nonlocal: warning: A checkpoint is damaged.\n"
        "keras-nonlocal: error: The loss is nan.\n"
    )
    assert logging.getLogger("keras_nonlocal").handlers == []


def test_the_test_that_it_prints_is_a_command(there, capsys):
    _, printed, _ = run(capsys, *FIRST)
    words = shlex.split(printed.splitlines()[-1])
    assert words[:3] == ["keras-nonlocal", "evaluate", "runs/first/model.keras"]
    chosen = cli._build_parser(words[1:]).parse_args(words[1:])
    assert (chosen.clip, chosen.source_of_weights) == (None, None)  # The file tells them.
    listed = knl.data.read_videos(chosen.source, class_names=chosen.class_names)
    assert len(listed) == 2 and listed.class_names == ("jump", "run")
    kept = {os.path.relpath(path) for path in listed.paths}
    rows = (there / "runs/first/videos.csv").read_text().splitlines()
    assert kept == {row.split(",")[1] for row in rows if row.startswith("validation,")}


def test_videos_that_changed_are_named(videos, given, capsys):
    assert run(capsys, *FIRST)[0] == 0
    write(videos / "run" / "4.mp4", moving_bars(9, 36, 40))
    code, printed, noise = run(capsys, *FIRST)
    assert (code, printed) == (1, "")
    assert re.search(r"'videos/run/4.mp4' of \d+ bytes then, of \d+ now. Bring them back", noise)
    assert run(capsys, *FIRST, "--overwrite")[0] == 0
    assert run(capsys, *FIRST)[0] == 0


CHANGES = {
    "a video more": ([0], [0, 1], "nothing more then, 'b' (training) now"),
    "a video less": ([0, 1], [0], "'b' (training) then, nothing more now"),
    "another video": ([0], [1], "'a' (training) then, 'b' (training) now"),
}


@pytest.mark.parametrize("then, now, message", CHANGES.values(), ids=CHANGES)
def test_other_videos_are_named(then, now, message, folder, monkeypatch):
    listed = knl.data.VideoList(["a", "b"], [0, 1], ["x", "y"])
    with pytest.raises(ValueError) as error:
        keep_and_check(listed.select(then), listed.select(now), folder, monkeypatch)
    assert message in str(error.value)


def keep_and_check(then, now, folder, monkeypatch):
    monkeypatch.setattr(data_manifest, "_size", len)
    data_manifest.Keep(folder, data_manifest.list_rows(then, None), "").on_train_begin()
    data_manifest.check_videos(folder, data_manifest.list_rows(now, None))


def test_other_labels_are_named(folder, monkeypatch):
    then, now = (knl.data.VideoList(["a"], [label], ["x", "y"]) for label in (0, 1))
    with pytest.raises(ValueError, match="'a' of class 0 then, of 1 now"):
        keep_and_check(then, now, folder, monkeypatch)


def test_other_segments_are_named(folder, monkeypatch):
    then, now = (
        knl.data.VideoList(["a"], [0], ["x"], segments=[(0.5, end)], time_unit="seconds")
        for end in (2, 3)
    )
    with pytest.raises(ValueError, match="'a 0.5-2 seconds' .* then, 'a 0.5-3 seconds'"):
        keep_and_check(then, now, folder, monkeypatch)


OPTIONS = {
    "recipe": (["--recipe", "kinetics"], {"epochs": 3_200_000, "precise_norm_batches": 200}),
    "epochs": (["--epochs", "7"], {"epochs": 7}),
    "checkpoint steps": (["--checkpoint-steps", "5"], {"checkpoint_steps": 5}),
    "overwrite": (["--overwrite"], {"overwrite": True}),
    "folder": (["--run", "other"], {"run": "other"}),
}


@pytest.mark.parametrize("words, expected", OPTIONS.values(), ids=OPTIONS)
def test_options_reach_the_training(words, expected, given, capsys):
    assert run(capsys, *WORDS, "--validation", "0.2", *words)[0] == 0
    assert {name: given[name] for name in expected} == expected


def test_a_rate_is_that_of_the_batch(given, capsys):
    words = ["--validation", "0.2", "--learning-rate", "0.03", "--accumulation", "2"]
    _, printed, _ = run(capsys, *WORDS, *words, "--recipe", "kinetics")
    assert float(given["model"].optimizer.learning_rate) == pytest.approx(0.03)
    assert "rate        peak 0.03, steps\n" in printed
    assert "learning_rate=0.03, batch_size=4)" in script_in(printed + "\n\nTrained ")


def test_the_network_and_its_pixels_are_those_asked_for(given, capsys):
    words = ["--network", "NLI3D", "--layers-of", "pyslowfast", "--recipe", "kinetics"]
    code, printed, noise = run(capsys, *START, *TINY, *words)
    assert code == 0, noise
    assert given["model"].name == "nli3d" and given["validation"] is None
    assert given["model"].source == "pyslowfast"
    assert "batch_size=2, seed=0, **recipe.data)" in printed
    assert "pixels      normalized as by pyslowfast" in printed
    assert 'knl.NLI3D(depth=(1, 1, 1, 1), width=4, source="pyslowfast"' in printed


def test_charades_ends_in_a_sigmoid(given, capsys, monkeypatch):
    listed = read_folder("videos")
    table = np.eye(2, dtype="float32")[listed.labels]
    events = [[(int(label), 0.0, 9.0)] for label in listed.labels]
    several = knl.data.VideoList(listed.paths, table, listed.class_names, events=events)
    monkeypatch.setattr("keras_nonlocal.commands.sources.read_source", lambda chosen: several)
    code, printed, noise = run(capsys, *WORDS, "--recipe", "charades")
    assert code == 0, noise
    assert 'classifier_activation="sigmoid"' in printed
    assert given["training"].dataset().element_spec[1].shape == (2, 2)


def test_weights_of_a_model_file_are_transferred(given, folder, capsys):
    shape = {"depth": (1, 1, 1, 1), "width": 4, "input_shape": (8, 32, 32, 3), "classes": 2}
    giver = knl.C2D(**shape)
    giver.get_layer("conv1_norm").moving_mean.assign([0.1, 0.2, 0.3, 0.4])
    giver.save(folder / "short.keras")
    code, printed, noise = run(capsys, *WORDS, "--recipe", "long-clips", "--weights", "short.keras")
    assert code == 0, noise
    for mine, its in zip(given["model"].get_weights(), giver.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)
    assert given["model"].get_layer("conv1_norm").frozen
    load = 'keras.saving.load_model("short.keras", compile=False)'
    assert f"knl.transfer_weights(model, {load})\n" in printed


@pytest.fixture
def giver(folder):
    """A small trained network in a file of its own, whose clips no run tells."""
    shape = {"depth": (1, 1, 1, 1), "width": 4, "input_shape": (4, 64, 64, 3), "classes": 2}
    model = knl.NLI3D(non_local=[(3, 0)], mode="dot_product", clip="4x2", pool2=False, **shape)
    for weight in model.weights:
        random = np.random.default_rng(len(weight.path))
        weight.assign(random.uniform(0.1, 0.9, weight.shape))
    model.save(folder / "giver.keras")
    return model


def test_a_model_file_brings_its_network_and_crop(given, giver, folder, capsys):
    words = [*START, "--weights", "giver.keras", "--validation", "0.2"]
    code, printed, noise = run(capsys, *words)
    assert code == 0, noise
    model = given["model"]
    assert model.name == "nli3d" and model.input_shape == (None, 4, 64, 64, 3)
    for mine, its in zip(model.weights, giver.weights, strict=True):
        assert mine.path == its.path
        np.testing.assert_array_equal(mine, its)
    assert "  clips       4x2, crop 64\n" in printed
    (build,) = [line for line in printed.splitlines() if line.startswith("model = ")]
    assert eval(build.partition(" = ")[2], {"knl": knl, "training": read_folder("videos")})
    # Another clip and crop can be asked for, and are pointed out.
    code, printed, noise = run(
        capsys, *words, "--clip", "8x1", "--crop", "32", "--run", "runs/other"
    )
    assert code == 0, noise
    assert given["model"].input_shape == (None, 8, 32, 32, 3)
    assert "  clips       8x1, crop 32 (weights trained at 4x2, 64)\n" in printed


def test_the_file_of_a_run_brings_its_clip(there, capsys):
    words = ["train", "videos", "--run", "runs/second", "--weights", "runs/first/model.keras"]
    chosen = cli._build_parser(words).parse_args(words)
    assert training_settings.changes_of(chosen) == {"clip": "4x2", "crop": 32}
    network = {"network": "C2D", "depth": (1, 1, 1, 1), "width": 4}
    network["layers_of"] = "video-nonlocal-net"
    assert training_settings.network_of(chosen) == network
    chosen.recipe = "long-clips"
    assert training_settings.changes_of(chosen) == {"crop": 32}
    chosen.depth, chosen.recipe = 50, "fine-tuning"
    with pytest.raises(ValueError) as error:
        training_settings.changes_of(chosen)
    assert str(error.value) == (
        "--weights runs/first/model.keras is of --depth 1,1,1,1 --width 4. Received: --depth 50. "
        "Leave it out."
    )


@pytest.mark.parametrize("source", ["pyslowfast", "keras-applications"])
def test_a_model_file_brings_its_layers(source, given, folder, capsys):
    """So that neither padding nor pixels are another's."""
    model = knl.I3D(source=source, clip="4x3", **SMALL)
    model.get_layer("conv1_norm").moving_mean.assign([0.1, 0.2, 0.3, 0.4])
    model.save(folder / "best.keras")
    code, _, noise = run(capsys, *START, "--weights", "best.keras")
    assert code == 0, noise
    assert given["model"].source == model.source
    assert given["settings"]["recipe"]["clip"] == "4x3"


def test_a_damaged_model_file_is_named(given, giver, folder, capsys):
    os.truncate(folder / "giver.keras", 300)
    code, _, noise = run(capsys, *START, "--weights", "giver.keras")
    assert code == 1 and len(noise.splitlines()) == 1
    assert "--weights must be a whole .keras file. Received: giver.keras" in noise


def test_precision_holds_for_the_network_and_ends_with_the_command(given, capsys):
    words = ["--validation", "0.2", "--precision", "mixed_bfloat16"]
    _, printed, _ = run(capsys, *WORDS, *words)
    assert given["model"].get_layer("conv1_conv").compute_dtype == "bfloat16"
    assert 'keras.config.set_dtype_policy("mixed_bfloat16")\n' in printed
    assert keras.config.dtype_policy().name == "float32"


def test_replicas_share_the_batch(given, capsys):
    code, printed, noise = run(capsys, *WORDS, "--validation", "0.2", "--replicas", "2")
    assert code == 0, noise
    assert given["model"].distribute_strategy.num_replicas_in_sync == 2
    assert 'strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])\n' in printed
    compile(script_in(printed + "\n\nTrained "), "script", "exec")


def test_the_batch_is_raised_to_divide_by_the_devices(given, capsys, monkeypatch):
    monkeypatch.setattr(training_settings, "count_devices", lambda devices: 3)
    words = [each for each in WORDS if each not in ("--batch-size", "2")]
    code, printed, noise = run(capsys, *words)
    assert code == 0, noise
    assert given["training"].dataset().element_spec[0].shape[0] == 6
    assert given["settings"]["batch_size"] == 6
    # The warm-up begins at a tenth.
    assert float(given["model"].optimizer.learning_rate) == pytest.approx(0.0005 * 6 / 4)
    assert " steps of 6 clips, divided among 3 devices\n" in printed
    assert "  rate        peak 0.0075, " in printed
    # A rate that is given is that of the batch.
    code, printed, noise = run(capsys, *words, "--learning-rate", "0.03", "--overwrite")
    assert code == 0, noise
    assert "  rate        peak 0.03, " in printed


def test_devices_of_all_processes_count(monkeypatch):
    mesh = keras.distribution.DeviceMesh((8,), ["batch"], [f"cpu:{n}" for n in range(8)])
    layout = types.SimpleNamespace(device_mesh=mesh)
    monkeypatch.setattr(keras.distribution, "distribution", lambda: layout)
    chosen = argparse.Namespace(batch_size=None)
    assert training_settings.batch_size_of(chosen, RECIPES["fine-tuning"], []) == 8
    chosen.batch_size = 20
    message = "devices \\(8\\).*Received: --batch-size 20.*Take 16 or 24"
    with pytest.raises(ValueError, match=message):
        training_settings.batch_size_of(chosen, RECIPES["fine-tuning"], [])


def test_a_name_brings_its_network_clip_and_crop(given, folder, capsys):
    words = [*START, "--weights", "camera_motion", "--batch-size", "2", "--validation", "0.2"]
    changes = training_settings.changes_of(cli._build_parser(words).parse_args(words))
    assert changes == {"clip": "8x2", "crop": 64}
    # Another crop can be asked for, and is pointed out.
    code, printed, noise = run(capsys, *words, "--crop", "32")
    assert code == 0, noise
    assert given["model"].input_shape == (None, 8, 32, 32, 3)
    assert given["training"].dataset().element_spec[0].shape[1:] == (8, 32, 32, 3)
    settings = json.loads((folder / "runs/first/run.json").read_text())["settings"]["settings"]
    facts = {name: settings[name] for name in ("network", "depth", "width")}
    assert facts == {"network": "NLI3D", "depth": [1, 1, 1, 1], "width": 16}
    assert (settings["recipe"]["clip"], settings["recipe"]["crop"]) == ("8x2", 32)
    assert "  network     NLI3D, depth 1-1-1-1, width 16, " in printed
    assert "  clips       8x2, crop 32 (weights trained at 64)\n" in printed
    lines = script_in(printed + "\n\nTrained ").splitlines()
    (build,) = [line for line in lines if line.startswith("model = ")]
    assert 'knl.NLI3D(weights="camera_motion", input_shape=(8, 32, 32, 3), class_names=' in build


FROZEN = {
    "by default": ([], "--recipe fine-tuning starts"),
    "norms": (
        ["--recipe", "kinetics", "--norms", "frozen"],
        "--recipe kinetics with --norms frozen starts",
    ),
}


@pytest.mark.parametrize("words, begin", FROZEN.values(), ids=FROZEN)
def test_random_weights_are_not_frozen(words, begin, given, folder, capsys):
    code, printed, noise = run(capsys, *START, *words)
    assert (code, printed, given) == (1, "", {})
    assert f"{begin} from trained weights. Received: no --weights. Add --weights cam" in noise
    assert "or train from random weights by --recipe kinetics-cosine." in noise
    assert not (folder / "runs").exists()


_NETWORK = "is of --network NLI3D --depth 1,1,1,1 --width 16 --layers-of video-nonlocal-net."
CONTRADICTIONS = {
    "clip": (
        ["--clip", "4x2"],
        "are of clips 8x2. Received: clips of 4x2. Give --clip 8x2 or leave it out.",
    ),
    "recipe": (
        ["--recipe", "long-clips"],
        "are of clips 8x2. Received: clips of 32x4 by --recipe long-clips. Give --clip 8x2.",
    ),
    "depth": (["--depth", "50"], f"{_NETWORK} Received: --depth 50. Leave it out."),
    "blocks": (["--depth", "1,1,2,1"], f"{_NETWORK} Received: --depth 1,1,2,1. Leave it out."),
    "width": (["--width", "64"], f"{_NETWORK} Received: --width 64. Leave it out."),
    "network": (["--network", "I3D"], f"{_NETWORK} Received: --network I3D. Leave it out."),
    "layers": (
        ["--layers-of", "pyslowfast"],
        f"{_NETWORK} Received: --layers-of pyslowfast. Leave it out.",
    ),
}


@pytest.mark.parametrize("words, message", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_contradicts_the_weights_is_refused(words, message, given, folder, capsys):
    code, printed, noise = run(capsys, *START, "--weights", "camera_motion", *words)
    assert (code, printed, given) == (1, "", {})
    assert noise == f"keras-nonlocal: error: --weights camera_motion {message}\n"
    assert not (folder / "runs").exists()


def test_what_agrees_with_the_weights_is_taken():
    network = "--network NLI3D --depth 1,1,1,1 --width 16 --layers-of video-nonlocal-net".split()
    words = [*START, "--weights", "camera_motion", *network, "--clip", "8x2@15"]
    changes = training_settings.changes_of(cli._build_parser(words).parse_args(words))
    assert changes == {"clip": "8x2@15", "crop": 64}
    words = [*START, "--weights", "nl_i3d_r50_8x8.kinetics400_vnl", "--depth", "3,4,6,3"]
    assert training_settings.changes_of(cli._build_parser(words).parse_args(words)) == {}


FAILURES = {
    "published file": (
        ["--weights", "a.pkl", "--validation", "0.2"],
        "convert a.pkl --to OUT.keras",
    ),
    "replicas": (
        ["--validation", "0.2", "--replicas", "2", "--batch-size", "3"],
        "--batch-size must divide by the number of devices (2). Received: --batch-size 3, for all "
        "devices together. Take 2 or 4.",
    ),
    "devices": (["--validation", "0.2", "--replicas", "9"], "must not exceed the devices"),
    "processes": (["--num-processes", "2"], "Set KERAS_BACKEND=jax"),
    "class order": (["--validation", "other"], "class 0 is 'jump' in training and 'run'"),
    "no such recipe": (["--recipe", "mine"], "invalid choice: 'mine'"),
    "share": (["--validation", "20"], "--validation must be a source.*Received: 20, which is no"),
    "no weights": (
        ["--weights", "none.keras", "--validation", "0.2"],
        "--weights must be a file that is there. Received: none.keras",
    ),
    "weights of images": (
        ["--weights", "resnet_r50.imagenet_psf", "--validation", "0.2"],
        "`--weights 'resnet_r50.imagenet_psf'` are .*Received them in C2D",
    ),
    "damaged weights": (
        ["--weights", "bad.keras", "--validation", "0.2"],
        "--weights must be a file of Keras.*Received: bad.keras",
    ),
    "damaged weights of HDF5": (
        ["--weights", "bad.weights.h5", "--validation", "0.2"],
        "--weights must be a file of HDF5.*Received: bad.weights.h5",
    ),
    "seed": (["--seed", "4294967296"], "argument --seed: must be a number from 0 to 4294967295"),
    "crop": (["--crop", "31"], "argument --crop: must be a number of at least 32 pixels, not '31'"),
    "depth": (["--depth", "1,2"], "must be 50, 101, or four block counts, not '1,2'"),
}


@pytest.mark.parametrize("words, message", FAILURES.values(), ids=FAILURES)
def test_mistakes_end_in_one_line_and_leave_nothing(words, message, given, folder, capsys):
    for name in ("run", "swim"):
        (folder / "other" / name).mkdir(parents=True)
        write(folder / "other" / name / "a.mp4", moving_bars(8, 36, 40))
    for name in ("bad.keras", "bad.weights.h5"):
        (folder / name).write_text("text")
    code, printed, noise = run(capsys, *WORDS, *words)
    assert code in (1, 2) and printed == "" and given == {}
    assert len(noise.splitlines()) == 1
    for part in message.split(".*"):
        assert part in noise
    assert not (folder / "runs").exists()


class _Interrupted(KeyboardInterrupt):
    signal = 15


ENDS = {
    "interrupted": (_Interrupted("Stopped after step 3."), 143, "Stopped after step 3."),
    "diverged": (TrainingDiverged("The loss is nan."), 1, "The loss is nan."),
    "in words of Python": (
        ValueError("`run` must be new. Give `overwrite=True`."),
        1,
        "--run must be new. Give --overwrite.",
    ),
    "busy": (BlockingIOError("Another process trains."), 1, "Another process trains."),
}


@pytest.mark.parametrize("fault, code, message", ENDS.values(), ids=ENDS)
def test_an_end_before_the_end_is_told(fault, code, message, given, capsys, monkeypatch):
    def train(*arguments, **options):
        raise fault

    monkeypatch.setattr(fitting, "train", train)
    ended, _, noise = run(capsys, *WORDS, "--validation", "0.2")
    assert (ended, noise) == (code, f"keras-nonlocal: error: {message}\n")


def test_other_faults_are_not_hidden(given, monkeypatch):
    def train(*arguments, **options):
        raise RuntimeError("a mistake of the code")

    monkeypatch.setattr(fitting, "train", train)
    with pytest.raises(RuntimeError, match="a mistake of the code"):
        cli.main(FIRST)


def test_a_broken_video_is_named_in_one_line(given, videos, capsys, monkeypatch):
    os.truncate(videos / "run" / "4.mp4", 300)
    monkeypatch.setattr(
        fitting, "train", lambda model, training, *_, **options: list(training.dataset(0))
    )
    code, _, noise = run(capsys, *WORDS, "--recipe", "kinetics")
    assert code == 1
    assert re.fullmatch(r"keras-nonlocal: error: .*'videos/run/4.mp4' cannot be read.*\n", noise)


def test_recipes_are_listed(capsys):
    code, printed, _ = run(capsys, "train", "--list-recipes")
    assert code == 0
    for recipe in RECIPES.values():
        assert recipe.describe() in printed


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_command_of_each_recipe_is_one(recipe):
    text = recipe.description.partition("Command:\n")[2].partition("Expected result:")[0]
    words = shlex.split(text.replace("\\\n", " "))
    assert words[:2] == ["keras-nonlocal", "train"]
    chosen = cli._build_parser(words[1:]).parse_args(words[1:])
    assert chosen.recipe == recipe.name
    assert chosen.batch_size in (None, recipe.batch_size)


def test_stopped_and_started_again_it_ends_with_the_same_weights(
    trained, folder, capsys, monkeypatch
):
    for name in ("videos", "tiny.weights.h5"):
        os.symlink(trained / name, name)
    command = [*FIRST, "--checkpoint-steps", "1"]
    train = fitting.train

    def stopped(*arguments, callbacks=(), **options):
        train(*arguments, callbacks=[*callbacks, small_trainings.StopAt(0, 2)], **options)

    with monkeypatch.context() as patch, pytest.raises(small_trainings.Stop):
        patch.setattr(fitting, "train", stopped)
        cli.main(command)
    assert not (folder / "runs/first/model.keras").exists()
    code, printed, noise = run(capsys, *command)
    assert code == 0, noise
    assert re.search(r"^Goes on at step 2 of 4 in epoch 1 of 1, from ", printed, re.MULTILINE)
    assert len(json.loads((folder / "runs/first/run.json").read_text())["starts"]) == 2
    for mine, its in zip(
        weights_of("runs/first/model.keras"),
        weights_of(trained / "runs/first/model.keras"),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, its)

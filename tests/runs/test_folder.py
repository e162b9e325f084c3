"""The folder of a run holds what it says, and is refused where it is another's."""

import json
import platform

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_nonlocal.runs import curves
from keras_nonlocal.runs.folder import Run
from keras_nonlocal.training.fitting import train
from tests.training import small_trainings as small


@pytest.fixture(scope="module")
def start():
    return small.Starter()


@pytest.fixture(scope="module")
def resumed(start, tmp_path_factory):
    """A run that was interrupted in its second epoch, and finished by a second start."""
    folder = tmp_path_factory.mktemp("run")
    arguments = {"settings": {"seed": 7, "data": ("a", "b")}}
    start.interrupt(folder, small.StopAt(1, 2), **arguments)
    return folder, start(folder, fresh=False, **arguments)[0]


def test_a_run_leaves_these_files(resumed):
    names = {path.name for path in resumed[0].iterdir()}
    assert names == {
        "run.json",
        "curves.csv",
        "curves.png",
        "tensorboard",
        "checkpoints",
        "best.keras",
        "model.keras",
    }


def test_run_json_says_what_repeats_it(resumed):
    facts = json.loads((resumed[0] / "run.json").read_text())
    assert facts["settings"]["settings"] == {"seed": 7, "data": ["a", "b"]}
    assert facts["settings"]["epochs"] == small.EPOCHS
    assert facts["settings"]["steps_per_epoch"] == small.STEPS
    assert facts["settings"]["compile"]["optimizer"]["config"]["momentum"] == 0.9
    assert [(s["epoch"], s["step"]) for s in facts["starts"]] == [(0, 0), (1, 2)]
    for begun in facts["starts"]:
        assert begun["python"] == platform.python_version()
        assert begun["keras"] == keras.__version__
        assert begun["numpy"] == np.__version__
        assert begun["tensorflow"] == tf.__version__
        assert begun["backend"] == "tensorflow"
        assert begun["devices"] == "2 cpu"


def test_curves_hold_an_epoch_once_and_to_the_bit(resumed):
    folder, history = resumed
    lines = (folder / "curves.csv").read_text().splitlines()
    names = lines[0].split(",")
    assert sorted(names) == sorted(["epoch", *history])
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    for name in history:
        column = [float(line.split(",")[names.index(name)]) for line in lines[1:]]
        assert column == history[name]


def test_tensorboard_holds_an_epoch_once(resumed):
    folder, history = resumed
    points = {}
    for path in (folder / "tensorboard").iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                points.setdefault(value.tag, []).append((event.step, tf.make_ndarray(value.tensor)))
    assert sorted(points) == sorted(history)
    for name, values in history.items():
        assert points[name] == [(n, np.float32(value)) for n, value in enumerate(values, 1)]


def test_the_picture_is_one(resumed):
    content = (resumed[0] / "curves.png").read_bytes()
    image = tf.io.decode_png(content).numpy()
    assert image.shape[:2] == (300, 1200)
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 10


def test_the_final_model_loads_as_it_is(resumed):
    model = keras.models.load_model(resumed[0] / "model.keras")
    result = model.evaluate(small.validation(), verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(resumed[1]["val_loss"][-1], rel=1e-6)


def test_a_missing_matplotlib_is_said_once(tmp_path, start, monkeypatch, caplog):
    monkeypatch.setattr(curves, "can_draw", lambda: False)
    start(tmp_path)
    assert caplog.text.count("matplotlib") == 1
    assert not (tmp_path / "curves.png").exists()
    with pytest.raises(ImportError, match=r"pip install keras_nonlocal\[viz\]"):
        curves.draw_png(str(tmp_path / "curves.png"), [{"loss": 1.0}])


def test_other_settings_are_refused_with_all_that_differ(tmp_path, start):
    start.interrupt(tmp_path, small.StopAt(0, 1), settings={"seed": 1, "crop": {"size": 224}})
    with pytest.raises(ValueError) as error:
        start(tmp_path, epochs=7, settings={"seed": 2, "crop": {"size": 224}, "new": 0})
    assert "epochs: was 3, is 7" in str(error.value)
    assert "settings.seed: was 1, is 2" in str(error.value)
    assert "settings.new: was '(not set)', is 0" in str(error.value)
    assert "crop" not in str(error.value)
    assert "another folder" in str(error.value) and "overwrite=True" in str(error.value)


def test_another_optimizer_is_refused(tmp_path, start):
    start.interrupt(tmp_path, small.StopAt(0, 1))
    model = small.make_model(small.make_optimizer(momentum=0.8))
    with pytest.raises(ValueError, match="optimizer.config.momentum: was 0.9, is 0.8"):
        train(model, small.Batches(), small.validation(), epochs=small.EPOCHS, run=tmp_path)


def test_overwriting_starts_anew_and_spares_what_is_not_its_own(tmp_path, start):
    _, expected = start(tmp_path / "new")
    start(tmp_path / "run", epochs=1, settings={"seed": 1})
    (tmp_path / "run" / "notes.txt").write_text("mine")
    _, state = start(tmp_path / "run", overwrite=True)
    small.assert_same(state, expected)
    assert (tmp_path / "run" / "notes.txt").exists()
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(facts["starts"]) == 1


def test_settings_that_json_cannot_hold_are_an_error(tmp_path, start):
    with pytest.raises(TypeError, match="`settings` must hold what JSON can"):
        start(tmp_path, settings={"data": {1, 2}})


def test_one_process_at_a_time(tmp_path, start):
    with Run(tmp_path).opened({}), pytest.raises(BlockingIOError, match="Another process"):
        start(tmp_path)


@pytest.mark.parametrize("overwrite", [False, True], ids=["plain", "overwrite"])
@pytest.mark.parametrize("name", ["curves.csv", "checkpoints/mine", "song.part", "run.json"])
def test_a_folder_of_something_else_is_refused_and_spared(name, overwrite, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("[1]")
    message = f"`run` must be a new or empty folder.*with '{name.split('/')[0]}' and without"
    with pytest.raises(ValueError, match=message):
        with Run(tmp_path).opened({}, overwrite):
            pass
    assert file.read_text() == "[1]"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_first_start_leaves_is_no_hindrance(tmp_path):
    for name in (".lock", "run.json.0123abcd.part"):
        (tmp_path / name).write_text("")
    with Run(tmp_path).opened({}):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "run.json"}


def test_names_of_unfinished_files_are_those_that_are_removed(tmp_path, start, monkeypatch):
    begun = []

    def save(path):
        begun.extend(tmp_path.glob("*.part"))
        raise small.Stop

    with Run(tmp_path).opened({}):
        with monkeypatch.context() as patch, pytest.raises(small.Stop):
            patch.setattr(start.model, "save", save)
            Run(tmp_path).save_model(start.model, "model.keras")
    (path,) = begun
    path.mkdir()
    with Run(tmp_path).opened({}):
        assert not path.exists()


def test_an_overwriting_that_was_killed_leaves_a_run(tmp_path, monkeypatch):
    with Run(tmp_path).opened({}):
        pass
    (tmp_path / "notes.txt").write_text("mine")

    def stop(*arguments):
        raise small.Stop

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_write_facts", stop)
        with pytest.raises(small.Stop), Run(tmp_path).opened({"seed": 1}, overwrite=True):
            pass
    with Run(tmp_path).opened({"seed": 1}, overwrite=True):
        assert (tmp_path / "notes.txt").exists()


def test_what_a_killed_process_left_half_is_removed_and_nothing_else(tmp_path, start):
    start.interrupt(tmp_path, small.StopAt(0, 1))
    (tmp_path / "best.keras.ab_12xyz.part").mkdir()
    for name in (
        "best.keras.ab_12xyz.part/best.keras",
        "run.json.0123abcd.part",
        "checkpoints/epoch-9.1.part",
    ):
        (tmp_path / name).write_text("half")
    others = [tmp_path / "song.part", tmp_path / "notes.0123abcd.part"]
    for other in others:
        other.write_text("mine")
    start(tmp_path, fresh=False)
    assert sorted(tmp_path.rglob("*.part")) == sorted(others)


def test_other_versions_are_told(tmp_path, start, caplog):
    start.interrupt(tmp_path, small.StopAt(0, 1))
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace(f'"{keras.__version__}"', '"1.2.3"'))
    start(tmp_path, fresh=False)
    assert f"keras was '1.2.3', is '{keras.__version__}'" in caplog.text

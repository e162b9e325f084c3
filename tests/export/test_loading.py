"""The model that a name or a file stands for, and what it remembers."""

import pytest

import keras_nonlocal as knl
from keras_nonlocal.export.loading import load_model

SMALL = {"depth": (1, 1, 1, 1), "width": 8, "classes": 5}


def test_a_name_gives_its_network():
    model = load_model("camera_motion")
    assert (model.source, model.clip, model.input_shape[1:]) == (
        "video-nonlocal-net",
        "8x2",
        (8, 64, 64, 3),
    )
    assert model.class_names[0] == "pan_left"
    assert load_model("camera_motion", input_shape=(8, 96, 96, 3)).input_shape[2] == 96


def test_a_keras_file_remembers_what_it_is_told(tmp_path):
    path = str(tmp_path / "model.keras")
    knl.C2D(input_shape=(4, 32, 32, 3), **SMALL).save(path)
    told = load_model(path, source="gluoncv", clip="4x2")
    assert (told.source, told.clip) == ("gluoncv", "4x2")
    assert not hasattr(load_model(path), "source")


def test_a_published_file_is_built_for_the_size_that_is_wanted(tmp_path):
    path = str(tmp_path / "x.pyth")
    network = knl.I3D(source="pyslowfast", input_shape=(8, 64, 64, 3), **SMALL)
    knl.save_checkpoint(network, path, source="pyslowfast")
    model = load_model(path, "pyslowfast", "8x8", (8, 96, 96, 3))
    assert model.input_shape[1:] == (8, 96, 96, 3)
    assert (model.source, model.clip) == ("pyslowfast", "8x8")
    assert load_model(path, "pyslowfast", "8x8").input_shape[2] == 224


@pytest.mark.parametrize(
    "name, fault, message",
    [
        (
            "nothing",
            FileNotFoundError,
            "`model` must be a name that .* 'nothing', which is neither",
        ),
        ("x.weights.h5", ValueError, "`model` must hold a whole network.*weights alone"),
    ],
)
def test_what_is_no_network_is_refused(name, fault, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.weights.h5").write_bytes(b"")
    with pytest.raises(fault, match=message):
        load_model(name)

"""The model that a name or a file stands for, and its configuration."""

import zipfile

import keras
import pytest

from keras_nonlocal import builders
from keras_nonlocal.exporting import loading
from keras_nonlocal.exporting.loading import load_model


def test_a_name_gives_its_network(monkeypatch):
    model = load_model("camera_motion")
    assert (model.source, model.clip, model.input_shape[1:]) == (
        "video-nonlocal-net",
        "8x2",
        (8, 64, 64, 3),
    )
    assert model.class_names[0] == "pan_left"
    with pytest.raises(ValueError, match=r"`source` must be 'video-nonlocal-net' for 'camera_mo"):
        load_model("camera_motion", source="torchvision")
    built = []
    monkeypatch.setattr(builders, "NLI3D", lambda **options: built.append(options))
    load_model("camera_motion", "video-nonlocal-net", input_shape=[8, 96, 96, 3])
    assert built == [{"weights": "camera_motion", "input_shape": (8, 96, 96, 3)}]


def test_a_keras_file_has_the_configuration(video_network, tmp_path):
    path = str(tmp_path / "model.keras")
    pool = keras.layers.GlobalAveragePooling3D()
    video_network([pool], (4, 32, 32, 3), source="gluoncv", clip="4x2").save(path)
    model = load_model(path)
    assert (model.source, model.clip) == ("gluoncv", "4x2")


def test_a_published_file_is_built_for_the_size_that_is_wanted(tmp_path, monkeypatch):
    path, read = tmp_path / "x.pyth", []
    path.touch()
    monkeypatch.setattr(
        loading, "load_checkpoint", lambda path, **options: read.append((path, options))
    )
    load_model(str(path), "pyslowfast", "8x8@30", (8, 96, 96, 3))
    load_model(str(path))
    assert read == [
        (str(path), {"source": "pyslowfast", "clip": "8x8", "crop": 96}),
        (str(path), {"source": None, "clip": None, "crop": 224}),
    ]


@pytest.mark.parametrize(
    "name, fault, message",
    [
        (
            "nothing",
            FileNotFoundError,
            "`model` must be a name that .* 'nothing', which is neither",
        ),
        ("x.h5", ValueError, "`model` must be a .keras file or a published one.*'x.h5'"),
        ("x.tflite", ValueError, "`model` must be a network that was not exported yet.*x.tflite"),
        ("served", ValueError, "`model` must be a network that was not exported yet.*'served'"),
        ("half.keras", ValueError, "'half.keras' is no .keras file, or a damaged one"),
        ("damaged.keras", ValueError, "'damaged.keras' is no .keras file, or a damaged one"),
        ("zip.keras", ValueError, "'zip.keras' cannot be loaded: .*config.json"),
        ("not_built.keras", ValueError, "must be a functional or a built.*Build it: model.build"),
    ],
)
def test_what_is_no_network_is_refused(name, fault, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "served").mkdir()
    for each in ("x.h5", "x.tflite"):
        (tmp_path / each).write_bytes(b"")
    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([keras.layers.Dense(2)]).save("not_built.keras")
    (tmp_path / "half.keras").write_bytes((tmp_path / "not_built.keras").read_bytes()[:-200])
    with zipfile.ZipFile("zip.keras", "w") as file:
        file.writestr("other", "")
    content = (tmp_path / "not_built.keras").read_bytes()
    assert b'"class_name"' in content
    (tmp_path / "damaged.keras").write_bytes(content.replace(b'"class_name"', b'"class nome"'))
    with pytest.raises(fault, match=message):
        load_model(name)


def test_a_layer_that_is_not_known_here_is_named(tmp_path):
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    path = str(tmp_path / "own.keras")
    keras.Sequential([keras.Input((4,)), Doubled(), keras.layers.Dense(2)]).save(path)
    with pytest.raises(ValueError, match=r"own.keras' cannot be loaded: it holds 'Doubled', which"):
        load_model(path)


def test_a_function_that_is_not_known_here_is_named(tmp_path):
    def doubled(x):
        return 2 * x

    path = str(tmp_path / "own.keras")
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(2, activation=doubled)(inputs)).save(path)
    with pytest.raises(ValueError, match=r"own.keras' cannot be loaded: it holds 'doubled', which"):
        load_model(path)

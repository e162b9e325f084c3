"""Each public name is reached by the path that the documentation gives."""

import importlib
import pkgutil

import pytest

import keras_nonlocal as knl


def test_everything_public_is_imported_by_a_star():
    names = {}
    exec("from keras_nonlocal import *", names)
    assert {"NLI3D", "export", "exporting"} <= names.keys()


def test_rooms_imported_late_are_listed():
    assert {"data", "evaluation", "training", "visualization", "NLI3D"} <= set(dir(knl))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        knl.nothing  # noqa: B018


def test_export_is_a_function_and_exporting_its_room():
    import keras_nonlocal.exporting as room

    assert knl.exporting is room
    assert knl.export is room.export
    assert callable(room.fold)


@pytest.mark.parametrize(
    "room", [knl, knl.exporting, knl.layers, knl.models], ids=lambda room: room.__name__
)
def test_no_name_hides_a_module(room):
    for _, name, _ in pkgutil.iter_modules(room.__path__):
        module = importlib.import_module(f"{room.__name__}.{name}")
        assert getattr(room, name) is module, name

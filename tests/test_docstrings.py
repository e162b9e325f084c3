"""Every example in a docstring runs, and gives what it says."""

import doctest
import importlib
import pathlib

import keras
import numpy as np
import pytest

import keras_nonlocal

PACKAGE = pathlib.Path(keras_nonlocal.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


def examples_in(name):
    module = importlib.import_module(name)
    names = {"keras": keras, "keras_nonlocal": keras_nonlocal, "np": np}
    tests = doctest.DocTestFinder(exclude_empty=True).find(module, name)
    for test in tests:
        # What the module itself defines can be named as it stands.
        test.globs = {**vars(module), **names}
    return [test for test in tests if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in examples_in(name):
        keras.backend.clear_session(free_memory=False)
        assert runner.run(test).failed == 0, f"see the report above for {test.name}"

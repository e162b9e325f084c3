"""What is said of a source reaches its reader."""

import argparse

import pytest

from keras_nonlocal.commands import sources
from keras_nonlocal.data import annotations

GIVEN = {
    "nothing": ([], {}),
    "format": (["--format", "ucf101"], {"format": "ucf101"}),
    "videos": (["--videos", "here"], {"videos": "here"}),
    "classes": (["--classes", "names.txt"], {"class_names": "names.txt"}),
    "columns": (["--columns", "path labels"], {"columns": "path labels"}),
    "time_unit": (["--time-unit", "frames"], {"time_unit": "frames"}),
    "separator": (["--separator", ";"], {"separator": ";"}),
    "split and part": (["--split", "2", "--part", "test"], {"split": 2, "part": "test"}),
    "drop missing": (["--drop-missing"], {"missing": "drop"}),
}


@pytest.mark.parametrize("words, expected", GIVEN.values(), ids=GIVEN)
def test_options_reach_the_reader(words, expected, monkeypatch):
    found = {}

    def read(source, missing="raise", **options):
        found.update({"source": source, "missing": missing, **options})
        return "videos"

    monkeypatch.setattr(annotations, "read_videos", read)
    parser = argparse.ArgumentParser()
    sources.add_source_arguments(parser)
    assert sources.read_source(parser.parse_args(["list.csv", *words])) == "videos"
    given = {name: value for name, value in found.items() if value is not None}
    assert given == {"source": "list.csv", "missing": "raise", **expected}

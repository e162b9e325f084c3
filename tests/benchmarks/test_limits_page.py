"""The page of limits is what benchmarks/export_limits.py writes."""

import importlib
import json
import pathlib
import re
import sys

import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "export-limits.md"


@pytest.fixture
def limits(monkeypatch):
    # As scripts they find their neighbours beside them.
    monkeypatch.syspath_prepend("benchmarks")
    yield importlib.import_module("export_limits")
    for name in ("export_limits", "limits_page", "networks", "machine"):
        sys.modules.pop(name, None)


def row(**more):
    return {"seconds": 0.25, "times": [1.0, 0.9, 1.1], "memory": 3_400_000, **more}


def test_a_page_shows_what_was_measured(limits, tmp_path):
    export = {"bytes": 31_000_000, "relative": 0.0213, "same_top": 0.995, "clips": 216}
    rows = {"the network": row(top1=0.9769), "TFLite, int8": row(**export, top1=0.9722)}
    path = tmp_path / "page.md"
    small = {"machine": "2 cores\nkeras 3", "rows": rows}
    large = {**small, "machine": "4 cores\nkeras 3"}
    limits.write_page(path, {"small": small, "large": large})
    text = path.read_text()
    assert "compared on 216 clips" in text
    assert "Measured on 2 cores; keras 3, unless a section names another machine." in text
    assert "## small\n\n|" in text
    assert "## large\n\nMeasured on 4 cores; keras 3.\n\n|" in text
    assert "| the network |  | 0.25 | 1 | 3 |  |  | 97.69% |" in text
    assert "| TFLite, int8 | 31.0 | 0.25 | 1.00 [0.90, 1.10] | 3 | 0.02 | 99.5% | 97.22% |" in text


def test_the_page_holds_all_formats_of_all_networks(limits, tmp_path):
    text = PAGE.read_text()
    _, *sections, _ = re.split(r"^## ", text, flags=re.MULTILINE)
    assert [section.partition("\n")[0] for section in sections] == list(limits.NETWORKS)
    for section in sections:
        labels = re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)
        assert labels == ["---", "the network", *limits.FORMATS]
    # Nobody changed by hand what would be lost when it is written anew.
    anew = tmp_path / PAGE.name
    limits.write_page(anew, json.loads(PAGE.with_suffix(".json").read_text()))
    assert anew.read_text() == text


def test_the_networks_are_built_with_numbers_everywhere(limits, monkeypatch):
    small = {"depth": (1, 1, 1, 1), "width": 4, "input_shape": (8, 64, 64, 3), "classes": 5}
    monkeypatch.setitem(limits.NETWORKS, "small", ("NLI3D", small))
    model = limits.build("small")
    # Shift and scale of norms as well: zeros would hide whole branches.
    assert not [v.path for v in model.trainable_variables if not v.numpy().all()]
    calibration, clips, classes = limits.make_clips("small", model, out=None)
    assert calibration.shape == (10, 8, 64, 64, 3) and len(clips) == 2 and classes is None
    assert limits.build("small").get_weights()[0].tolist() == model.get_weights()[0].tolist()

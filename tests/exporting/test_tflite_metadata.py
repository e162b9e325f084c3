"""Labels and preprocessing travel inside the file, where the public schema says."""

import dataclasses
import struct
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_nonlocal.exporting import fold
from keras_nonlocal.exporting.facts import Facts
from keras_nonlocal.exporting.tflite import convert
from keras_nonlocal.exporting.tflite_metadata import add_metadata, read_facts
from keras_nonlocal.implementations import IMPLEMENTATIONS

NAMES = ("pan_left", "zoom in", "Größe", "still")
FACTS = Facts((8, 224, 224, 3), class_names=NAMES, source="gluoncv", clip="8x8", short_side=256)


class Table:
    """A flatbuffer's table, read from its bytes with nothing but the format's definition."""

    def __init__(self, data, place):
        self.data, self.place = data, place

    @classmethod
    def root(cls, data):
        return cls(data, struct.unpack_from("<I", data)[0])

    def _find(self, field):
        table = self.place - struct.unpack_from("<i", self.data, self.place)[0]
        size = struct.unpack_from("<H", self.data, table)[0]
        assert 4 + 2 * field < size, "the field is not there"
        offset = struct.unpack_from("<H", self.data, table + 4 + 2 * field)[0]
        assert offset, "the field is not there"
        return self.place + offset

    def _follow(self, place):
        return place + struct.unpack_from("<I", self.data, place)[0]

    def number(self, field, form="<B"):
        return struct.unpack_from(form, self.data, self._find(field))[0]

    def table(self, field):
        return Table(self.data, self._follow(self._find(field)))

    def _text(self, place):
        size = struct.unpack_from("<I", self.data, place)[0]
        return self.data[place + 4 : place + 4 + size].decode()

    def text(self, field):
        return self._text(self._follow(self._find(field)))

    def _places(self, field):
        place = self._follow(self._find(field))
        size = struct.unpack_from("<I", self.data, place)[0]
        return [place + 4 + 4 * i for i in range(size)]

    def tables(self, field):
        return [Table(self.data, self._follow(place)) for place in self._places(field)]

    def texts(self, field):
        return [self._text(self._follow(place)) for place in self._places(field)]

    def floats(self, field):
        return [struct.unpack_from("<f", self.data, place)[0] for place in self._places(field)]


@pytest.fixture(scope="module")
def content(tiny):
    return convert(fold(tiny, batch_size=1))


def metadata_in(content):
    """The buffer that a model names TFLITE_METADATA."""
    model = schema.Model.GetRootAs(content)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    (entry,) = [entry for entry in entries if entry.Name() == b"TFLITE_METADATA"]
    data = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    assert data[4:8] == b"M001"
    return Table.root(data)


def test_the_schema_finds_normalization_and_labels(content):
    model = metadata_in(add_metadata(content, FACTS, "network"))
    assert model.text(0) == "network"
    assert "8x8" in model.text(1)
    assert "256 pixels" in model.text(1)
    assert model.text(7) == "1.0.0"
    (graph,) = model.tables(3)
    ((clip,), (answer,)) = graph.tables(2), graph.tables(3)

    assert clip.text(0) == "clip"
    assert clip.texts(2) == ["batch", "frames", "height", "width", "channels"]
    images = clip.table(3)
    assert images.number(0) == 2, "ImageProperties"
    assert images.table(1).number(0) == 1, "RGB"
    assert [images.table(2).number(i, "<i") for i in (0, 1)] == [2, 4]
    (unit,) = clip.tables(4)
    assert unit.number(0) == 1, "NormalizationOptions"
    normalization = IMPLEMENTATIONS["gluoncv"]
    np.testing.assert_allclose(unit.table(1).floats(0), normalization.mean, rtol=1e-6)
    np.testing.assert_allclose(unit.table(1).floats(1), normalization.std, rtol=1e-6)

    assert answer.text(0) == "probabilities"
    (labels,) = answer.tables(6)
    assert (labels.text(0), labels.number(2)) == ("labels.txt", 2), "TENSOR_AXIS_LABELS"
    (facts,) = model.tables(6)
    assert (facts.text(0), facts.number(2)) == ("facts.json", 1), "DESCRIPTIONS"


def test_pixels_are_not_normalized_by_tools_if_the_network_does(content, tmp_path):
    facts = dataclasses.replace(FACTS, include_preprocessing=True)
    path = tmp_path / "x.tflite"
    path.write_bytes(add_metadata(content, facts, "network"))
    (graph,) = metadata_in(path.read_bytes()).tables(3)
    (unit,) = graph.tables(2)[0].tables(4)
    assert unit.number(0) == 1, "NormalizationOptions"
    assert unit.table(1).floats(0) == [0, 0, 0]
    assert unit.table(1).floats(1) == [1, 1, 1]
    assert read_facts(path) == facts


def test_a_file_is_an_archive_of_labels_and_facts(content, tmp_path):
    path = tmp_path / "x.tflite"
    path.write_bytes(add_metadata(content, FACTS, "network"))
    with zipfile.ZipFile(path) as files:
        assert files.testzip() is None
        assert files.read("labels.txt").decode("utf-8").splitlines() == list(NAMES)
    assert read_facts(path) == FACTS


def test_what_is_not_known_is_not_told(content, tmp_path):
    facts = Facts((8, 8, 3), output="scores")
    path = tmp_path / "x.tflite"
    path.write_bytes(add_metadata(content, facts, "network"))
    assert zipfile.ZipFile(path).namelist() == ["facts.json"]
    (graph,) = metadata_in(path.read_bytes()).tables(3)
    for table, field in ((graph.tables(2)[0], 4), (graph.tables(3)[0], 6)):
        with pytest.raises(AssertionError, match="not there"):
            table.tables(field)
    assert graph.tables(3)[0].text(0) == "scores"
    assert read_facts(path) == facts


def test_other_files_hold_no_facts(content, tmp_path):
    (tmp_path / "x.tflite").write_bytes(content)
    assert read_facts(tmp_path / "x.tflite") is None
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as files:
        files.writestr("labels.txt", "a")
    assert read_facts(tmp_path / "labels.zip") is None


def test_the_same_gives_the_same_bytes(content):
    first, second = (add_metadata(content, FACTS, "network") for _ in range(2))
    assert first == second

"""What `weights` tells of the weights that are known by name."""

import json

import pytest

import keras_nonlocal as knl
from keras_nonlocal.checkpoints import download, registry

from .conftest import run


def test_the_table_has_a_line_for_all_weights(capsys):
    code, printed, _ = run(capsys, "weights")
    heading, *lines = printed.splitlines()
    assert code == 0
    assert heading.split() == "name network clip top-1 top-5 license source".split()
    assert [line.split()[0] for line in lines] == [each.name for each in knl.list_weights()]
    assert max(map(len, printed.splitlines())) <= 120
    (line,) = (line for line in lines if line.startswith("nl_c2d_r50_32x2.kinetics400_vnl"))
    facts = "NLC2D R50 32x2 73.90 91.00 CC-BY-NC-4.0 video-nonlocal-net"
    assert line.split()[1:] == facts.split()


def test_the_json_holds_the_records(capsys):
    _, printed, _ = run(capsys, "weights", "--json")
    rows = {row["name"]: row for row in json.loads(printed)}
    assert list(rows) == [each.name for each in knl.list_weights()]
    for each in knl.list_weights():
        row = rows[each.name]
        assert (row["url"], row["file"], row["top1"]) == (each.url, each.file, each.top1)
        assert json.loads(json.dumps(dict(each.arguments))) == row["arguments"]


@pytest.mark.parametrize("checkpoint", knl.list_weights(), ids=lambda each: each.name)
def test_a_name_gives_the_whole_record(checkpoint, folder, capsys):
    code, printed, _ = run(capsys, "weights", checkpoint.name)
    words = " ".join(printed.split())
    assert code == 0
    for fact in (checkpoint.license, checkpoint.file, checkpoint.url, checkpoint.note):
        assert (fact or "") in words
    if checkpoint.builder:
        assert f'load model = knl.{checkpoint.builder}(weights="{checkpoint.name}")' in words
    if checkpoint.builder and checkpoint.url:
        assert f"put it at {download.folder() / checkpoint.file}" in words
    if checkpoint.checksum:
        assert "{} begins with {}".format(*checkpoint.checksum) in words


def test_an_unknown_name_is_told_those_like_it(capsys):
    code, _, noise = run(capsys, "weights", "nl_i3d_r50_8x8")
    assert code == 1
    assert "nl_i3d_r50_8x8.kinetics400_vnl" in noise
    assert "nl_i3d_r50_8x8" not in registry.CHECKPOINTS

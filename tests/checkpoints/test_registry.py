"""Every published checkpoint: whole, regular, and of a network that a builder makes."""

import math
import pathlib
import re

import pytest

import keras_nonlocal as knl
from keras_nonlocal.implementations import IMPLEMENTATIONS
from keras_nonlocal.models.config import inflated_blocks
from keras_nonlocal.models.video_resnet import build_network
from keras_nonlocal.preprocessing import kinetics400_classes

README = pathlib.Path(__file__).parents[2] / "weights" / "README.md"
RECORDS = {record.name: record for record in knl.list_weights()}
VIDEO = {name: record for name, record in RECORDS.items() if ".kinetics400_" in name}


def check(records, condition):
    """Names the records that fail, which is much faster than a test for each of them."""
    assert [record.name for record in records.values() if not condition(record)] == []


def test_names_and_files_are_distinct():
    assert len(RECORDS) == len(knl.list_weights())
    assert len({record.file for record in RECORDS.values()}) == len(RECORDS)


def test_every_publisher_has_its_files():
    sources = [record.source for record in VIDEO.values()]
    counts = {source: sources.count(source) for source in set(sources)}
    assert counts == {
        "video-nonlocal-net": 15,
        "pyslowfast": 3,
        "pytorchvideo": 2,
        "mmaction2": 12,
        "gluoncv": 6,
    }
    assert sorted(name for name in RECORDS if name not in VIDEO) == [
        "camera_motion",
        "resnet_r50.imagenet_psf",
        "resnet_r50_r101.imagenet_vnl",
    ]


def test_licenses_are_those_of_the_publishers():
    theirs = {"video-nonlocal-net": "CC-BY-NC-4.0"}
    check(RECORDS, lambda r: r.license == theirs.get(r.url and r.source, "Apache-2.0"))


def test_sources_have_a_normalisation():
    check(RECORDS, lambda r: r.source in IMPLEMENTATIONS and r.short_side >= r.crop > 0)


def test_what_builders_load_has_names_for_its_classes():
    check(RECORDS, lambda r: len(r.class_names) == (r.classes if r.builder else 0))
    check(VIDEO, lambda r: r.class_names == kinetics400_classes())


def test_accuracies_are_shares_with_their_test():
    check(RECORDS, lambda r: r.top1 is None or (50 < r.top1 < 100 and r.test))
    check(RECORDS, lambda r: r.top5 is None or r.top1 < r.top5 < 100)


def test_addresses_are_whole():
    check(RECORDS, lambda r: r.url is None or re.fullmatch(r"https://[\w./-]+", r.url))


def test_checksums_are_at_the_end_of_the_file_names():
    check(RECORDS, lambda r: not r.checksum or r.file.endswith(f"-{r.checksum[1]}.pth"))
    with_checksum = {"mmaction2": "sha256", "gluoncv": "sha1"}
    unknown = "nl_slowonly_r50_8x8.kinetics400_mma"
    expected = {n: with_checksum.get(r.source) if n != unknown else None for n, r in VIDEO.items()}
    assert {n: r.checksum and r.checksum[0] for n, r in VIDEO.items()} == expected


def test_records_are_printed_without_their_class_names():
    check(RECORDS, lambda r: "abseiling" not in repr(r) and "pan_left" not in repr(r))


def test_networks_are_those_of_the_names():
    for record in VIDEO.values():
        network, depth, clip = re.match(r"(.+?)_r(\d+)_(\d+x\d+)", record.name).groups()
        assert record.builder == network.replace("slowonly", "i3d").replace("_", "").upper()
        assert record.arguments["depth"] == int(depth)
        assert record.arguments["clip"] == record.clip == clip
        assert record.arguments["source"] == record.source


def test_files_are_of_the_networks_that_the_names_tell():
    """Publishers say in file names, each in words of its own, what our names say in order."""
    for record in VIDEO.values():
        name, file = record.name, record.file.lower().replace("-", "_")
        depth = {50: "r50|resnet50|^c2d_[bn]|^i3d_[bn]", 101: "r101|resnet101"}
        assert re.search(depth[record.arguments["depth"]], file), name
        assert record.clip in file or record.source == "gluoncv", name
        assert ("nl" in name.split("_")) == bool(re.search("nonlocal|_nl", file)), name
        assert ("c2d" in name) == ("c2d" in file), name
        assert ("_gaussian" in name) == ("nl_gaussian" in file), name
        assert ("affine" in name) == ("i3d_pretrain" in file), name
        for variant in ("nopool", "heavy", "dense", "dot_product", "300k", "600k_4gpu", "nl10"):
            ours = "4gpu_600k" if variant == "600k_4gpu" else variant
            assert (ours in name) == (variant in file), (name, variant)


def test_builders_make_the_networks_that_the_names_tell():
    for name, record in VIDEO.items():
        facts = record.config
        assert facts.frozen_norm == ("affine" in name), name
        assert facts.pool2 == ("nopool" not in name and "slowonly" not in name), name
        blocks = 0 if not name.startswith("nl_") else 10 if "nl10" in name else 5
        assert len(facts.non_local) == blocks, name
        mode = re.search("dot_product|gaussian", name)
        expected = mode[0] if mode else "embedded_gaussian"
        assert facts.mode == expected, name
        inflated = "all" if "heavy" in name else "late" if "slowonly" in name else None
        expected = () if "c2d" in name else inflated_blocks(facts.depth, inflated)
        assert facts.inflated == expected, name


# Millions of parameters, as MMAction2, PyTorchVideo and third parties count them.
PARAMETERS = {
    "nl_i3d_r50_32x2_dot_product.kinetics400_mma": 35.40,
    "nl_i3d_r50_32x2_gaussian.kinetics400_mma": 31.72,
    "i3d_r50_32x2.kinetics400_mma": 28.04,
    "i3d_r50_32x2_heavy.kinetics400_mma": 33.0,
    "c2d_r50_8x8_nopool.kinetics400_mma": 24.3,
    "c2d_r101_8x8_nopool.kinetics400_mma": 43.3,
    "nl_slowonly_r50_4x16.kinetics400_mma": 39.81,
    "c2d_r50_8x8.kinetics400_ptv": 24.33,
    "i3d_r50_8x8.kinetics400_ptv": 28.04,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_networks_have_the_published_number_of_parameters(name):
    record = RECORDS[name]
    model = build_network(record.config, initialize=False)
    trainable = sum(math.prod(variable.shape) for variable in model.trainable_weights)
    assert trainable / 1e6 == pytest.approx(PARAMETERS[name], abs=0.06)


@pytest.mark.parametrize("name", ["resnet_r50.imagenet_psf", "resnet_r50_r101.imagenet_vnl"])
def test_what_no_builder_loads_says_what_it_is_for(name):
    with pytest.raises(ValueError, match="keras_nonlocal.inflate_weights.*Download https://"):
        knl.NLI3D(weights=name)


@pytest.mark.parametrize("name", ["nl_i3d_r50_8x8.kinetics400", "nli3d_r50_8x8.kinetics400_vnl"])
def test_names_that_are_nearly_right_get_a_hint(name):
    with pytest.raises(ValueError, match="Names like it:.*'nl_i3d_r50_8x8.kinetics400_vnl'"):
        knl.NLI3D(weights=name)


def row_of(record):
    """A record as a row of the table in weights/README.md."""
    accuracy = " / ".join(
        "–" if value is None else f"{value}" for value in (record.top1, record.top5)
    )
    network = f"{record.builder} {record.arguments['depth']}" if record.builder else "image network"
    cells = (
        f"`{record.name}`",
        network,
        record.clip or "–",
        accuracy,
        record.test or "–",
        record.license,
        f"[{record.file}]({record.url})",
    )
    return f"| {' | '.join(cells)} |"


def test_the_table_of_the_readme_is_that_of_the_records():
    rows = [row_of(record) for record in RECORDS.values() if record.url]
    written = [line for line in README.read_text().splitlines() if "](https://" in line]
    assert written == rows

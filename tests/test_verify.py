"""What verify says of files is true, and no file makes it fail."""

import dataclasses
import hashlib
import os
import pathlib
import pickle
import re
import runpy
import sys

import numpy as np
import pytest

import keras_nonlocal as knl
from keras_nonlocal import cli
from keras_nonlocal.checkpoints import key_maps, registry
from keras_nonlocal.checkpoints.state_dict import read_state_dict
from tests.checkpoints import hostile_files, networks
from tests.subjects import fill

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _clean_state():
    """Nothing here leaves a state behind, and clearing it would take most of the time."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def verify(capsys, *paths):
    """Gives the exit code, the lines printed without their spaces at both ends, and stderr."""
    code = cli.main(["verify", *map(str, paths)])
    printed, noise = capsys.readouterr()
    return code, [line.strip() for line in printed.splitlines()], noise


def rename(path, change):
    """Writes a pickle of the arrays of a file, changed."""
    arrays = dict(read_state_dict(path).tensors)
    change(arrays)
    path.write_bytes(pickle.dumps({"blobs": arrays}, protocol=2))


SAYS = {
    "vnl_nlc2d_32x2": (
        "names       of Caffe2 (source 'video-nonlocal-net' or 'pyslowfast')",
        "network     NLC2D, 1-2-1-1 blocks, width 8",
        "source      unknown: pass `source`",
        "mode        unknown: pass `mode`",
        "pool2       unknown: pass `pool2`",
        "clip        unknown: pass `clip`",
        'loads       model = knl.load_checkpoint("a.pkl", source="video-nonlocal-net", clip=..., '
        "mode=...)",
        'loads       model = knl.load_checkpoint("a.pkl", source="pyslowfast", clip=..., mode=..., '
        "pool2=...)",
        'note        put in what the file does not tell: clip such as "8x8"; mode '
        '"embedded_gaussian" or',
        "note        these give different numbers; pass the source that wrote the file",
    ),
    "vnl_nli3d_affine": (
        "file        pickle, 1.2 MB",
        "tensors     86 (86 float32), 0.19 million numbers",
        "norms       affine (frozen)",
        "non-local   3, after stage 3 block 0 1, stage 4 block 0",
    ),
    "vnl_nli3d_3x3x3": (
        "inflated    3x3x3 in stage 2 block 0, stage 3 block 0, stage 4 block 0",
        "norms       batch norm",
    ),
    "psf_nli3d_dot_product": (
        "mode        dot_product, as the stored config says",
        "pool2       yes, as the stored config says",
        "clip        8x8, as the stored config says",
        'loads       model = knl.load_checkpoint("a.pyth", source="pyslowfast", clip="8x8")',
    ),
    "ptv_slow": (
        "names       of PyTorchVideo (without pool2) (source 'pytorchvideo')",
        "network     I3D, 1-2-1-1 blocks, width 8",
        "pool2       no, as the numbers in the names tell",
        'loads       model = knl.load_checkpoint("a.pyth", source="pytorchvideo", clip="8x8")',
    ),
    "mma_nli3d_gaussian": (
        "mode        gaussian, as the tensors tell",
        'loads       model = knl.load_checkpoint("a.pth", source="mmaction2", clip="8x8")',
    ),
    "gcv_nli3d": (
        "mode        embedded_gaussian, as always in GluonCV",
        "pool2       yes, as always in networks of gluoncv",
        'loads       model = knl.load_checkpoint("a.pth", source="gluoncv", clip=...)',
    ),
}


@pytest.mark.parametrize("name", SAYS)
def test_what_is_in_a_file_is_said(name, folder, capsys):
    _, path = networks.save(name, folder)
    if path.suffix == ".pkl":
        rename(path, lambda arrays: None)  # Published pickles hold no config.
    code, lines, noise = verify(capsys, path.name)
    assert (code, noise) == (0, "")
    assert lines[0] == path.name
    assert "classes     5" in lines
    for line in SAYS[name]:
        assert line in lines


def test_the_calls_that_are_printed_load(folder, capsys):
    model, path = networks.save("psf_nli3d_caffe2", folder)
    filled = []
    for _ in ("with its config", "without"):
        _, lines, _ = verify(capsys, "a.pkl")
        for call in [line.removeprefix("loads").strip() for line in lines if "loads" in line]:
            filled.append("..." in call)
            for key, value in (("clip", "8x8"), ("mode", "dot_product"), ("pool2", True)):
                call = call.replace(f"{key}=...", f"{key}={value!r}")
            loaded = {}
            exec(call, {"knl": knl}, loaded)
            found = loaded["model"].get_layer("res3_1_c_conv").get_weights()
            np.testing.assert_array_equal(found, model.get_layer("res3_1_c_conv").get_weights())
        rename(path, lambda arrays: None)
    assert filled == [False, True, True]


def test_a_file_without_a_classifier_loads_without(folder, capsys):
    _, path = networks.save("ptv_i3d", folder)
    rename(path, lambda arrays: [arrays.pop(f"blocks.6.proj.{k}") for k in ("weight", "bias")])
    code, lines, _ = verify(capsys, "a.pyth")
    assert code == 0
    assert "classes     none, the file has no classifier" in lines
    call = 'knl.load_checkpoint("a.pyth", source="pytorchvideo", clip=..., '
    assert f'loads       model = {call}except_for="predictions")' in lines


def test_a_file_that_does_not_fit_ends_with_one(folder, capsys):
    _, path = networks.save("ptv_i3d", folder)
    rename(path, lambda arrays: arrays.pop("blocks.0.norm.bias"))
    code, lines, noise = verify(capsys, "a.pyth")
    assert code == 1
    assert "network     I3D, 1-2-1-1 blocks, width 8" in lines
    assert not any(line.startswith("loads") for line in lines)
    assert re.fullmatch(r"keras-nonlocal: error: .*blocks\.0\.norm\.bias.*\n", noise)


def test_numbers_that_are_none_are_told(folder, capsys):
    _, path = networks.save("ptv_i3d", folder)
    rename(path, lambda arrays: arrays.update({"blocks.0.norm.bias": np.full(8, np.nan, "f4")}))
    code, lines, noise = verify(capsys, "a.pyth")
    assert code == 1
    assert "corrupt     NaN or infinity in 1 tensors: blocks.0.norm.bias" in lines
    assert "NaN or infinite values are in blocks.0.norm.bias. Nothing was loaded" in noise


def test_names_cannot_move_the_cursor(folder, capsys):
    path = folder / "a\x1b[2J.pkl"
    path.write_bytes(pickle.dumps({"\x1b[31mred\r\nloads\ud800": np.zeros(3, "f4")}))
    code, lines, noise = verify(capsys, path.name)
    assert code == 1
    assert lines[0] == r"a\x1b[2J.pkl"
    assert (
        r"names       of no supported implementation, such as \x1b[31mred\r\nloads\ud800" in lines
    )
    assert re.fullmatch(r"keras-nonlocal: error: [^\x00-\x1f]+\n", noise)


def test_one_bad_file_among_good_ones_ends_with_one(folder, capsys):
    _, path = networks.save("ptv_i3d", folder)
    code, lines, noise = verify(capsys, "missing.pkl", path)
    assert code == 1
    assert "No such file" in noise
    assert any(line.startswith("loads") for line in lines)


def image_network(path, spoilt=False):
    """Writes a small ResNet for images with torchvision's names."""
    import torch

    model = fill(knl.C2D(depth=(1, 1, 1, 1), width=8, source="torchvision", classes=3))
    state = {
        name: torch.from_numpy(key_maps.from_keras(v.path, np.array(v), flat=True))
        for v in model.weights
        for name in key_maps.TORCHVISION.keys_of(v.path)
    }
    if spoilt:
        state["layer1.0.conv1.weight"] = torch.zeros(8, 9, 1, 1)
    torch.save(state, path)
    return model


def test_an_image_network_is_to_be_inflated(folder, capsys):
    pytest.importorskip("torch")
    image_network("resnet.pth")
    code, lines, noise = verify(capsys, "resnet.pth")
    assert (code, noise) == (0, "")
    build, inflate = lines[-2:]
    assert build == (
        'loads       model = knl.NLI3D(depth=(1, 1, 1, 1), width=8, source="torchvision")'
    )
    assert inflate == 'knl.inflate_weights(model, "resnet.pth")'


def test_an_image_network_that_does_not_fit_ends_with_one(folder, capsys):
    pytest.importorskip("torch")
    image_network("resnet.pth", spoilt=True)
    code, lines, noise = verify(capsys, "resnet.pth")
    assert code == 1
    assert not any(line.startswith("loads") for line in lines)
    assert "layer1.0.conv1.weight" in noise


@pytest.fixture
def record(folder, monkeypatch):
    """A published file, with its checksum, and the record of the registry."""
    model = networks.make("ptv_i3d")
    knl.save_checkpoint(model, folder / "published.pyth")
    digest = hashlib.sha256((folder / "published.pyth").read_bytes()).hexdigest()
    (checkpoint,) = [c for c in knl.list_weights() if c.name == "i3d_r50_8x8.kinetics400_ptv"]
    arguments = {"depth": (1, 2, 1, 1), "width": 8, "source": "pytorchvideo", "clip": "16x4"}
    checkpoint = dataclasses.replace(
        checkpoint,
        path="i3d/published.pyth",
        checksum=("sha256", digest[:8]),
        arguments=arguments,
        classes=5,
        class_names=(),
        clip="16x4",
    )
    monkeypatch.setitem(registry.CHECKPOINTS, checkpoint.name, checkpoint)
    monkeypatch.setenv("KERAS_HOME", "home")
    return checkpoint


def test_a_published_file_is_known_by_its_name(record, folder, capsys):
    code, lines, _ = verify(capsys, "published.pyth")
    assert code == 0
    assert f"published   has the name of {record.name} (Apache-2.0)" in lines
    assert "checksum    its sha256 is the publisher's" in lines
    assert f"clip        16x4, as the record of {record.name} says" in lines
    assert f'by name     knl.I3D(weights="{record.name}") loads it from' in " ".join(lines)


def test_a_changed_file_has_another_checksum(record, folder, capsys):
    _, path = networks.save("ptv_i3d", folder, seed=1)
    os.replace(path, "published.pyth")
    _, lines, _ = verify(capsys, "published.pyth")
    text = " ".join(lines)
    assert re.search(
        rf"checksum +its sha256 begins with \w{{8}}, the .* {record.checksum[1]}:", text
    )
    # What its own config says counts.
    assert "clip        8x8, as the stored config says" in lines


@pytest.mark.parametrize("content", [b"", b"PK\3\4" + bytes(500)], ids=["empty", "broken"])
def test_a_damaged_published_file_is_still_named(content, record, folder, capsys):
    pathlib.Path("published.pyth").write_bytes(content)
    code, lines, noise = verify(capsys, "published.pyth")
    assert code == 1
    assert f"published   has the name of {record.name} (Apache-2.0)" in lines
    assert noise.startswith("keras-nonlocal: error: Cannot read the checkpoint 'published.pyth': ")
    assert len(noise.splitlines()) == 1


@pytest.mark.parametrize("name", ["os.system", "a list in itself", "torch: sparse", "HTML"])
def test_hostile_files_end_in_one_line(name, folder, capsys):
    if name.startswith("torch"):
        pytest.importorskip("torch")
    path = folder / "i3d_nonlocal_8x8_IN_pretrain_400k.pkl"
    path.write_bytes(hostile_files.make(name, str(folder / "canary")))
    code, _, noise = verify(capsys, path)
    assert code == 1
    assert re.fullmatch(r"keras-nonlocal: error: [^\x00-\x1f]+\n", noise)
    assert not (folder / "canary").exists()


LIES = {
    "no numbers": {"conv1_w": np.zeros((0, 3, 5, 7, 7), "f4")},
    "no axes": {"conv1_w": np.zeros((), "f4"), "pred_w": np.zeros((), "f4")},
    "letters": {"conv1_w": np.array(["a", "b"])},
    "billions of classes": {"pred_w": np.zeros((1 << 40, 0), "f4")},
    "hundreds of blocks": {
        f"res{s}_{b}_branch2a_w": np.zeros(1) for s in "2345" for b in range(250)
    },
    "one block of each stage": {f"res{s}_0_branch2a_w": np.zeros(1, "i8") for s in "2345"},
    "complex numbers": {"conv1_w": np.full((4, 3, 5, 7, 7), 1j)},
}


@pytest.mark.parametrize("arrays", LIES.values(), ids=LIES)
def test_tensors_that_lie_end_in_one_line(arrays, folder, capsys):
    (folder / "a.pkl").write_bytes(pickle.dumps({"blobs": arrays}))
    code, _, noise = verify(capsys, "a.pkl")
    assert code == 1
    assert re.fullmatch(r"keras-nonlocal: error: [^\x00-\x1f]+\n", noise)


def test_the_script_does_the_same(folder, capsys, monkeypatch):
    networks.save("ptv_i3d", folder)
    monkeypatch.setattr(sys, "argv", ["verify.py", "a.pyth"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "weights" / "verify.py"), run_name="__main__")
    assert ended.value.code == 0
    call = 'model = knl.load_checkpoint("a.pyth", source="pytorchvideo", clip="8x8")'
    assert capsys.readouterr().out.splitlines()[-1].endswith(call)

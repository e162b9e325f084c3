"""What `convert` writes, what it prints, and how it ends."""

import functools
import pathlib
import pickle
import re
import tempfile

import keras
import numpy as np
import pytest

import keras_nonlocal as knl
from tests.subjects import fill
from tests.test_readme import write_video

from .conftest import run

SMALL = {"depth": (1, 1, 1, 1), "width": 4, "classes": 5, "input_shape": (8, 64, 64, 3)}


@functools.cache
def network(builder, source, **arguments):
    return fill(builder(source=source, **{**SMALL, **arguments}))


@functools.cache
def content(suffix, *which, **arguments):
    with tempfile.TemporaryDirectory() as room:
        path = pathlib.Path(room, f"a{suffix}")
        knl.save_checkpoint(network(*which, **arguments), path)
        return path.read_bytes()


def publish(path, builder=knl.NLI3D, source="pyslowfast", **arguments):
    """Writes the file of a small network, and gives the network."""
    suffix = pathlib.Path(path).suffix
    pathlib.Path(path).write_bytes(content(suffix, builder, source, **arguments))
    return network(builder, source, **arguments)


def snippets_in(text):
    """The two pieces of Python that a conversion prints."""
    _, _, text = text.partition("\nThe same in Python:\n\n")
    first, _, second = text.partition("\nFrom a video to what it shows, with ")
    return first, second.partition("\n")[2]


def answers(model):
    clip = np.random.default_rng(3).integers(0, 256, (1, *model.input_shape[1:]), np.uint8)
    return keras.ops.convert_to_numpy(model(clip))


FORMATS = {
    "whole model": ("out.keras", []),
    "weights": ("out.weights.h5", ["--logits"]),
    "Caffe2": ("out.pkl", ["--logits"]),
    "torch": ("out.pyth", []),
}


@pytest.mark.parametrize("out, words", FORMATS.values(), ids=FORMATS)
def test_the_printed_python_does_the_same(out, words, folder, capsys):
    publish("a.pkl", mode="dot_product", input_shape=(4, 64, 64, 3), clip="4x2")
    words = [*words, "--source", "pyslowfast", "--clip", "4x2", "--mode", "dot_product"]
    code, printed, _ = run(capsys, "convert", "a.pkl", "--to", out, "--crop", "64", *words)
    assert code == 0
    write_video(folder / "video.mp4", seed=1)
    convert, predict = snippets_in(printed)
    used, made = {}, {}
    exec(predict, used)
    (folder / out).unlink()
    exec(convert, made)
    assert (folder / out).is_file()
    np.testing.assert_allclose(answers(used["model"]), answers(made["model"]), atol=1e-6)
    assert used["model"].get_layer("res4_0_nonlocal").mode == "dot_product"
    assert used["probabilities"].sum() == pytest.approx(1, abs=1e-5)


def test_a_conversion_says_what_was_read_and_written(folder, capsys):
    model = publish("a.pyth", mode="dot_product")
    _, printed, noise = run(capsys, "convert", "a.pyth", "--to", "b.keras", "--clip", "8x8")
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_weights)
    for line in (
        "Read a.pyth",
        "file        torch, ",
        "names       of PySlowFast (source 'pyslowfast')",
        "network     NLI3D, 1-1-1-1 blocks, width 4",
        "inflated    3x1x1 in stage 2 block 0, stage 3 block 0, stage 4 block 0",
        "non-local   2, after stage 3 block 0, stage 4 block 0",
        "mode        dot_product, as the stored config says",
        "pool2       yes, as the stored config says",
        "classes     5",
        "clip        8x8, as given",
        "source      pyslowfast, as the names tell",
        f"parameters  {parameters:,}",
        "Wrote b.keras, ",
    ):
        assert re.search(rf"^ *{re.escape(line)}", printed, re.MULTILINE), line
    assert noise == ""


def forget_config(path):
    """Leaves tensors alone in a pickle, as the published ones are."""
    content = pickle.loads(pathlib.Path(path).read_bytes())
    pathlib.Path(path).write_bytes(pickle.dumps({"blobs": content["blobs"]}, protocol=2))


UNTOLD = {
    "source": "--source is not stored in 'a_16x4.pkl'. Pass --source 'video-nonlocal-net' or --sou",
    "clip": "--clip is not stored in 'a_16x4.pkl'. Pass --clip '8x8', or .* mentions 16x4",
    "mode": "--mode is not .* Pass --mode 'embedded_gaussian' or --mode 'dot_product'",
    "pool2": "--pool2 is not .* Pass --pool2 or --no-pool2",
}


@pytest.mark.parametrize("missing, words", UNTOLD.items(), ids=UNTOLD)
def test_what_nothing_tells_must_be_given(missing, words, folder, capsys):
    publish("a_16x4.pkl")
    forget_config("a_16x4.pkl")
    options = {
        "source": ["--source", "pyslowfast"],
        "clip": ["--clip", "8x8"],
        "mode": ["--mode", "dot_product"],
        "pool2": ["--pool2"],
    }
    given = [word for key, some in options.items() if key != missing for word in some]
    code, _, noise = run(capsys, "convert", "a_16x4.pkl", *given, "--to", "b.keras")
    assert code == 1
    assert re.search(words, noise), noise


def test_the_clip_of_a_config_is_taken_and_printed(folder, capsys):
    publish("a_8x8.pyth", knl.C2D, clip="16x4", input_shape=(16, 64, 64, 3))
    _, printed, _ = run(capsys, "convert", "a_8x8.pyth", "--to", "b.keras", "--crop", "64")
    assert re.search(r"^  clip +16x4, as the stored config says$", printed, re.MULTILINE)
    assert 'clip="16x4"' in printed


OPTIONS = {
    "crop": (["--crop", "96"], {"crop": 96}),
    "any crop": (["--crop", "any"], {"crop": None}),
    "clip": (["--clip", "32x2"], {"clip": "32x2"}),
    "mode": (["--mode", "dot_product"], {"mode": "dot_product"}),
    "pool2": (["--pool2"], {"pool2": True}),
    "no pool2": (["--no-pool2"], {"pool2": False}),
    "classes": (["--classes", "7"], {"classes": 7}),
    "logits": (["--logits"], {"classifier_activation": None}),
    "except for": (["--except-for", "a", "b*"], {"except_for": ["a", "b*"]}),
}


@pytest.mark.parametrize("words, expected", OPTIONS.values(), ids=OPTIONS)
def test_options_reach_the_loading(words, expected, folder, capsys, monkeypatch):
    model = publish("a.pyth")
    given = {}
    monkeypatch.setattr(
        knl, "load_checkpoint", lambda path, **options: given.update(options) or model
    )
    code, _, noise = run(capsys, "convert", "a.pyth", *words, "--to", "b.keras")
    assert code == 0, noise
    assert given == expected


def test_a_new_classifier_is_told_in_one_line(folder, capsys):
    publish("a.pyth")
    code, printed, noise = run(
        capsys, "convert", "a.pyth", "--classes", "7", "--to", "b.keras", "--crop", "64"
    )
    assert code == 0
    assert "classes     7, a new classifier" in printed
    (line,) = noise.splitlines()
    assert line.startswith("keras-nonlocal: warning: The classifier is initialized")
    assert keras.saving.load_model("b.keras").output_shape == (None, 7)


def test_a_published_name_of_another_file_is_told(folder, capsys):
    publish("I3D_8x8_R50.pkl", knl.I3D)
    forget_config("I3D_8x8_R50.pkl")
    _, _, noise = run(capsys, "convert", "I3D_8x8_R50.pkl", "--to", "b.keras")
    assert "The file has the name of i3d_r50_8x8.kinetics400_psf, but not its content." in noise


def test_what_exists_is_kept_unless_overwriting_is_asked_for(folder, capsys):
    publish("a.pyth")
    (folder / "b.keras").write_text("mine")
    words = ["convert", "a.pyth", "--to", "b.keras"]
    code, _, noise = run(capsys, *words)
    assert (code, (folder / "b.keras").read_text()) == (1, "mine")
    assert "b.keras exists already. Add --overwrite" in noise
    code, _, _ = run(capsys, *words, "--overwrite")
    assert code == 0
    assert keras.saving.load_model("b.keras").name == "nli3d"


def test_a_folder_is_never_overwritten(folder, capsys):
    publish("a.pyth")
    (folder / "b.keras").mkdir()
    code, _, _ = run(capsys, "convert", "a.pyth", "--to", "b.keras", "--overwrite")
    assert code == 1
    assert (folder / "b.keras").is_dir()


FAILURES = {
    "no network of PySlowFast": (
        ["--to", "b.pyth", "--to-source", "pyslowfast"],
        "pyslowfast would",
    ),
    "another clip": (["--to", "b.keras", "--clip", "8"], "--clip must be '8x8' for 'a.pth'"),
    "no such format": (["--to", "b.onnx"], "--to must end in one of"),
    "the source's other format": (["--to", "b.pkl"], "`path` must end in .pth"),
    "not its source": (
        ["--to", "b.keras", "--source", "gluoncv"],
        "has the tensor names of mmaction2",
    ),
}


@pytest.mark.parametrize("words, message", FAILURES.values(), ids=FAILURES)
def test_failures_end_in_one_line_and_leave_nothing(words, message, folder, capsys):
    publish("a.pth", source="mmaction2")
    code, printed, noise = run(capsys, "convert", "a.pth", *words)
    assert (code, printed) == (1, "")
    assert re.fullmatch(rf"keras-nonlocal: error: .*{re.escape(message)}.*\n", noise)
    assert [path.name for path in folder.iterdir()] == ["a.pth"]


def test_a_full_disk_leaves_nothing(folder, capsys, monkeypatch):
    publish("a.pyth")

    def save(model, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", save)
    code, _, noise = run(capsys, "convert", "a.pyth", "--to", "b.keras")
    assert code == 1
    assert noise == "keras-nonlocal: error: [Errno 28] No space left on device\n"
    assert [path.name for path in folder.iterdir()] == ["a.pyth"]


def test_errors_of_many_lines_become_one(folder, capsys):
    publish("a.pyth")
    torch = pytest.importorskip("torch")
    content = torch.load("a.pyth", weights_only=True)
    del content["model_state"]["s1.pathway0_stem.bn.weight"]
    torch.save(content, "a.pyth")
    code, _, noise = run(capsys, "convert", "a.pyth", "--to", "b.keras")
    assert code == 1
    assert re.fullmatch(
        r"keras-nonlocal: error: .* describe; 1 missing keys: s1.pathway0_stem.bn.weight .4,.; "
        r"Nothing was loaded.*\n",
        noise,
    )


def test_a_missing_file_ends_with_one(folder, capsys):
    code, _, noise = run(capsys, "convert", "a.pkl", "--to", "b.keras")
    assert code == 1
    assert re.fullmatch(r"keras-nonlocal: error: .*'a.pkl'.*No such file.*\n", noise)

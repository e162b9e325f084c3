"""Every snippet of the documents runs, and their numbers are those of the code."""

import pathlib
import re
import shlex
import subprocess
import warnings

import av
import keras
import numpy as np
import pytest

import keras_nonlocal
from keras_nonlocal import cli
from keras_nonlocal.checkpoints import download, key_maps, registry
from keras_nonlocal.models import config as config_module

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "weights" / "README.md"]
    + list((ROOT / "docs").glob("*.md"))
)


SMALL = {"depth": (1, 1, 1, 1), "width": 4}


def snippets_of(path, languages="python"):
    """Pairs of language and code."""
    text = path.read_text()
    return re.findall(rf"^```({languages})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def write_video(path, seed, frames=24, height=72, width=96):
    """Writes an h264 file of random blocks that wander to the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), "uint8")
    picture = blocks.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for shift in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, shift, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class _FirstBlocks(keras.Model):
    """The stem and the first block of each stage of a ResNet of keras.applications."""

    def __init__(self, resnet):
        super().__init__(name=resnet.name)
        self.kept = [x for x in resnet.layers if re.match("conv1_|conv._block1_", x.name)]


def shrink(monkeypatch):
    """Makes the networks of 50 layers small where they begin with published weights."""
    full = keras.applications.ResNet50

    def small(weights, **arguments):
        resnet = full(weights=None, **arguments)
        return _FirstBlocks(resnet) if weights == "imagenet" else resnet

    monkeypatch.setattr(keras.applications, "ResNet50", small)
    monkeypatch.setitem(config_module.DEPTHS, 50, (1, 1, 1, 1))


def publish(folder, monkeypatch):
    """Puts small networks where a document wants published files."""
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    monkeypatch.delattr(keras.utils, "get_file")  # Nothing is to be downloaded.
    kept = download.folder()
    kept.mkdir(parents=True)
    # 2-D kernels under torchvision's names.
    import torch

    image_network = keras_nonlocal.C2D(depth=(1, 1, 1, 1), source="torchvision")
    state = {
        name: torch.from_numpy(key_maps.from_keras(v.path, np.array(v), flat=True))
        for v in image_network.weights
        for name in key_maps.TORCHVISION.keys_of(v.path)
    }
    torch.save(state, folder / "resnet50-11ad3fa6.pth")
    network = keras_nonlocal.NLI3D(source="pyslowfast", **SMALL)
    keras_nonlocal.save_checkpoint(network, folder / "I3D_NLN_8x8_R50.pkl")
    network = keras_nonlocal.NLI3D(**SMALL)
    keras_nonlocal.save_checkpoint(network, folder / "i3d_nonlocal_8x8_IN_pretrain_400k.pkl")
    name = "nl_i3d_r50_8x8.kinetics400_vnl"
    keras_nonlocal.save_checkpoint(
        keras_nonlocal.NLI3D(depth=(1, 1, 1, 1)), kept / registry.CHECKPOINTS[name].file
    )


def run_shell(text):
    """Runs the commands of this package, in this process; others need a machine of their own."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["keras-nonlocal"]:
            assert cli.main(words[1:]) == 0, line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_snippets_run_one_after_the_other(path, tmp_path, monkeypatch):
    """In one folder, so that one snippet finds what the one before it wrote."""
    monkeypatch.chdir(tmp_path)
    for seed in range(8):
        write_video(tmp_path / "videos" / ("jump", "run")[seed % 2] / f"{seed}.mp4", seed)
    write_video(tmp_path / "video.mp4", seed=8)
    if "list_weights" in path.read_text() or "load_checkpoint" in path.read_text():
        shrink(monkeypatch)
        publish(tmp_path, monkeypatch)
    for number, (language, snippet) in enumerate(snippets_of(path, "python|bash")):
        keras.utils.set_random_seed(0)
        if language == "bash":
            run_shell(snippet)
        else:
            code = compile(snippet, f"{path.name}, snippet {number + 1}", "exec")
            with warnings.catch_warnings():
                # Other classes than the file's, which a document may show.
                warnings.filterwarnings("ignore", "The classifier (is init|keeps its values)")
                exec(code, {"__name__": "__main__"})


def test_the_readme_has_its_snippets():
    text = (ROOT / "README.md").read_text()
    assert len(snippets_of(ROOT / "README.md")) == 8
    assert sum("keras-nonlocal" in code for _, code in snippets_of(ROOT / "README.md", "bash")) == 4
    for heading in ("## Build", "## Fine-tune", "## Export"):
        assert f"{heading}\n\n```python" in text
    assert "## Train by a recipe\n\n```bash\n" in text


@pytest.mark.parametrize(
    "depth", [50, pytest.param(101, marks=pytest.mark.slow)], ids=["R50", "R101"]
)
@pytest.mark.parametrize("name", ["C2D", "I3D", "NLC2D", "NLI3D"])
def test_the_table_of_networks_is_what_the_code_counts(name, depth):
    network = getattr(keras_nonlocal, name)(depth=depth)
    _, row = keras_nonlocal.summary_table([network]).splitlines()
    _, _, parameters, gflops = row.split()
    assert f"| {name} R{depth} | {parameters} | {gflops} |" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_that_exist(path):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
    local = [link for link in links if "://" not in link]
    missing = [link for link in local if not (path.parent / link).exists()]
    assert missing == []


def test_make_knows_the_commands_of_the_documents():
    commands = set()
    for path in DOCUMENTS:
        for block in re.findall(r"```bash\n(.*?)```", path.read_text(), re.DOTALL):
            commands |= set(re.findall(r"^make ([\w-]+)", block, re.MULTILINE))
    assert {"demo", "test"} <= commands
    for command in commands:
        subprocess.run(
            ["make", "--dry-run", command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )

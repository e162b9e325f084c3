"""Every Python snippet of the documents runs, and their numbers are those of the code."""

import pathlib
import re
import subprocess

import av
import keras
import numpy as np
import pytest

import keras_nonlocal

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "weights" / "README.md"]
    + list((ROOT / "docs").glob("*.md"))
)


def snippets_of(path):
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


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


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_snippets_run_one_after_the_other(path, tmp_path, monkeypatch):
    """In one folder, so that one snippet finds what the one before it wrote."""
    monkeypatch.chdir(tmp_path)
    for seed in range(8):
        write_video(tmp_path / "videos" / ("jump", "run")[seed % 2] / f"{seed}.mp4", seed)
    write_video(tmp_path / "video.mp4", seed=8)
    for number, snippet in enumerate(snippets_of(path)):
        keras.utils.set_random_seed(0)
        code = compile(snippet, f"{path.name}, snippet {number + 1}", "exec")
        exec(code, {"__name__": "__main__"})


def test_the_readme_has_its_three_snippets():
    text = (ROOT / "README.md").read_text()
    assert len(snippets_of(ROOT / "README.md")) == 3
    for heading in ("## Build", "## Fine-tune", "## Export"):
        assert f"{heading}\n\n```python" in text


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

"""Who may import whom, as data; and that setup.cfg packs every room."""

import ast
import configparser
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "keras_nonlocal"

EVERY_ROOM = set(
    "layers implementations models checkpoints builders preprocessing data training "
    "evaluation exporting visualization commands prepare lists video transforms runs "
    "files keras_models".split()
)
# Each room or file, with the rooms of ours that it may import besides its own.
ARROWS = {
    "layers": set(),
    "implementations.py": set(),
    "preprocessing.py": {"implementations"},
    "files.py": set(),
    "keras_models.py": set(),
    "models": {"layers", "implementations", "preprocessing", "keras_models"},
    "checkpoints": {"layers", "models", "implementations", "preprocessing", "keras_models"},
    "builders.py": {"models", "checkpoints", "keras_models"},
    "lists": set(),
    "video": set(),
    "transforms": set(),
    "data": {"lists", "video", "transforms"},
    "prepare": {"data", "lists", "video", "transforms", "files"},
    "training": {"models", "runs", "files", "keras_models"},
    "runs": {"files"},
    "evaluation": {"models", "files", "keras_models"},
    "exporting": {
        "implementations",
        "models",
        "preprocessing",
        "transforms",
        "files",
        "keras_models",
    },
    "exporting/loading.py": {"builders", "checkpoints"},
    "visualization.py": {"models"},
    "commands": EVERY_ROOM,
    "cli.py": EVERY_ROOM,
    "__init__.py": EVERY_ROOM,
}
# What comes with an extra, or only with the development tools.
OPTIONAL = {
    "apache_beam",
    "torch",
    "jax",
    "matplotlib",
    "skimage",
    "PIL",
    "scipy",
    "official",
    "gradio",
    "sklearn",
    "tensorboard",
    "ai_edge_litert",
    "onnx",
    "onnxruntime",
    "tf2onnx",
    "openvino",
    "tensorflow_serving",
    "grpc",
}
# What `import keras_nonlocal` imports, also on a machine that has JAX alone.
WITHOUT_TENSORFLOW = (
    "layers",
    "implementations.py",
    "models",
    "checkpoints",
    "builders.py",
    "exporting",
    "lists",
    "preprocessing.py",
    "keras_models.py",
    "runs",
    "training",
    "__init__.py",
)

FILES = sorted(PACKAGE.rglob("*.py"))


def _name(path):
    return path.relative_to(PACKAGE).as_posix()


def _arrows_of(name):
    return ARROWS.get(name, ARROWS.get(name.split("/")[0]))


def _modules_in(nodes, path):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parts[: -node.level]
                module = ".".join((*package, *filter(None, [node.module])))
            yield module
            # `from keras_nonlocal import data` names a room as well.
            if module == "keras_nonlocal":
                yield from (f"keras_nonlocal.{alias.name}" for alias in node.names)


def _imports(path):
    """All modules a file imports, and those it imports as soon as it is imported itself."""
    tree = ast.parse(path.read_text())
    late = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for inner in ast.walk(node)
    }
    everything = list(ast.walk(tree))
    return (
        set(_modules_in(everything, path)),
        set(_modules_in((node for node in everything if node not in late), path)),
    )


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_imports_follow_the_arrows(path):
    name = _name(path)
    arrows = _arrows_of(name)
    assert arrows is not None, f"{name} stands in no room that ARROWS knows: add it there"
    own = name.split("/")[0].removesuffix(".py")
    rooms = {
        module.split(".")[1] for module in _imports(path)[0] if module.startswith("keras_nonlocal.")
    }
    assert rooms <= arrows | {own}


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_optional_packages_are_imported_late(path):
    at_once = {module.split(".")[0] for module in _imports(path)[1]}
    assert not at_once & OPTIONAL
    if _name(path).split("/")[0] in WITHOUT_TENSORFLOW:
        assert "tensorflow" not in at_once


def test_setup_packs_every_room():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packed = set(config["options"]["packages"].split())
    rooms = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert packed == rooms | {"keras_nonlocal.weights"}

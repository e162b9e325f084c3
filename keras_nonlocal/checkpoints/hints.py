"""What the words around the tensors tell: stored configs, and the names of files."""

import pathlib
import re

_MODE = r"""(?:mode\s*=\s*|INSTANTIATION:\s*)['"]?(dot_product|embedded_gaussian|softmax)\b"""
_NETWORK = r"""(?:type\s*=\s*|ARCH:\s*)['"]?(?:mmaction\.)?(C2D|ResNet|2d|c2d|\w+_nopool)\b"""


def read_hints(path, meta):
    """Gives what only the words around the tensors tell, where they do.

    MMAction2 and PySlowFast store their config with the weights, as Python and as YAML;
    published files without one carry the rest in their names.

    Args:
        path: path of the file.
        meta: what its container holds besides tensors.

    Returns:
        Dictionary of mode ("dot_product" or "embedded_gaussian") and pool2 (a bool), with
        `None` where nothing is said.
    """
    inner = meta.get("meta") if isinstance(meta.get("meta"), dict) else {}
    config = meta.get("cfg", inner.get("cfg"))
    config = config if isinstance(config, str) else ""
    name = pathlib.Path(path).name.lower().replace("-", "_")
    mode = pool2 = None
    if match := re.search(_MODE, config):
        mode = "dot_product" if match[1] == "dot_product" else "embedded_gaussian"
    elif match := re.search("dot_product|embedded_gaussian", name):
        mode = match[0]
    if match := re.search(_NETWORK, config):
        # MMAction2's 2-D ResNet and PySlowFast's "2d" see each frame alone.
        pool2 = match[1] not in ("ResNet", "2d") and not match[1].endswith("_nopool")
    elif "nopool" in name:
        pool2 = False
    return {"mode": mode, "pool2": pool2}


def write_python_config(network, frames, stride):
    """MMAction2's config of a network and its clips, as far as tensors leave them open."""
    kind = "ResNet3d" if network["inflated"] else "C2D" if network["pool2"] else "ResNet"
    blocks = f", non_local_cfg=dict(mode={network['mode']!r})" if network["non_local"] else ""
    sampling = f"dict(type='SampleFrames', clip_len={frames}, frame_interval={stride})"
    return f"model = dict(backbone=dict(type={kind!r}{blocks}))\ntrain_pipeline = [{sampling}]\n"


def write_yaml_config(network, frames, stride):
    """PySlowFast's config of a network and its clips, as far as tensors leave them open."""
    flat = "c2d" if network["pool2"] else "2d"
    mode = "dot_product" if network["mode"] == "dot_product" else "softmax"
    architecture = "i3d" if network["inflated"] else flat
    return (
        f"DATA:\n  NUM_FRAMES: {frames}\n  SAMPLING_RATE: {stride}\n"
        f"MODEL:\n  ARCH: {architecture}\nNONLOCAL:\n  INSTANTIATION: {mode}\n"
    )

"""The configs that MMAction2 (in Python) and PySlowFast (in YAML) store with weights."""

import re

from keras_nonlocal.models.config import parse_clip

_FRAMES = r"\b(?:clip_len\s*=|NUM_FRAMES:)\s*([1-9][0-9]{0,2})\b"
_STRIDE = r"\b(?:frame_interval\s*=|SAMPLING_RATE:)\s*([1-9][0-9]?)\b"
_MODE = r"""(?:mode\s*=\s*|INSTANTIATION:\s*)['"]?(dot_product|embedded_gaussian|softmax)\b"""
_NETWORK = r"""(?:type\s*=\s*['"](?:mmaction\.)?|ARCH:\s*['"]?)(\w+)"""
# Backbones of MMAction2 and networks of PySlowFast: whether they pool frames after stage 2.
_POOL2 = {
    "C2D": True,
    "ResNet": False,
    "ResNet3d": True,
    "ResNet3dSlowOnly": False,
    "c2d": True,
    "i3d": True,
    "2d": False,
    "slow": False,
    "slow_c2d": False,
    "slow_i3d": False,
    "c2d_nopool": False,
    "i3d_nopool": False,
}


def read_config(metadata):
    """Returns what the config in a file tells of its network.

    What a config gives two values for, such as one clip for training and another for tests, is
    unknown.

    Args:
        metadata: plain values that the file stores beside its tensors.

    Returns:
        Dictionary of clip, mode ("dot_product" or "embedded_gaussian"), pool2 (a bool) and source,
        with `None` for what is unknown.
    """
    inner = metadata.get("meta") if isinstance(metadata.get("meta"), dict) else {}
    config = metadata.get("cfg", inner.get("cfg"))
    config = config if isinstance(config, str) else ""
    frames, stride = _only(_FRAMES, config), _only(_STRIDE, config)
    mode = _only(_MODE, config)
    networks = {name for name in re.findall(_NETWORK, config) if name in _POOL2}
    pool2 = _POOL2[networks.pop()] if len(networks) == 1 else None
    if (stated := _only(r"\bwith_pool2\s*=\s*(True|False)\b", config)) is not None:
        pool2 = stated == "True"
    return {
        "clip": f"{frames}x{stride}" if frames and stride and int(frames) >= 4 else None,
        "mode": "embedded_gaussian" if mode == "softmax" else mode,
        "pool2": pool2,
        "source": _only(r"^SOURCE: ([\w-]+)$", config),
    }


def _only(pattern, config):
    """Returns what a pattern finds, if it finds one value."""
    found = set(re.findall(pattern, config, re.MULTILINE))
    return found.pop() if len(found) == 1 else None


def write_python_config(config):
    """Returns what MMAction2's config says of a network that its tensors do not tell."""
    frames, stride = parse_clip(config.clip)
    backbone = "type='C2D'" if config.pool2 else "type='ResNet'"
    if config.inflated:
        backbone = f"type='ResNet3d', with_pool2={config.pool2}"
    if config.non_local:
        backbone += f", non_local_cfg=dict(mode={config.mode!r})"
    sampling = f"dict(type='SampleFrames', clip_len={frames}, frame_interval={stride})"
    return f"model = dict(backbone=dict({backbone}))\ntrain_pipeline = [{sampling}]\n"


def write_yaml_config(config):
    """Returns what PySlowFast's config says of a network that its tensors do not tell."""
    frames, stride = parse_clip(config.clip)
    late = config.inflated and not any(stage == 2 for stage, _ in config.inflated)
    if config.pool2:
        architecture = "i3d" if config.inflated else "c2d"
    else:
        architecture = "slow" if late else "slow_i3d" if config.inflated else "2d"
    mode = "dot_product" if config.mode == "dot_product" else "softmax"
    return (
        f"SOURCE: {config.source}\n"
        f"DATA:\n  NUM_FRAMES: {frames}\n  SAMPLING_RATE: {stride}\n"
        f"MODEL:\n  ARCH: {architecture}\nNONLOCAL:\n  INSTANTIATION: {mode}\n"
    )

"""From a network of ours to a file that another implementation reads."""

import os
import pathlib
import pickle

import keras
import numpy as np

from keras_nonlocal.checkpoints import facts, hints, kernels, rules
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.checkpoints.load import build_network
from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.models import architecture

# What a layer does that its tensors do not tell.
_SETTINGS = ("strides", "padding", "pool_size", "pool_position", "window", "scale")
_SETTINGS += ("frames_per_group", "axes")
_CLIPS = ("8x8", "32x2", "32x4")


def save_checkpoint(model, path, source=None, clip=None):
    """Writes a network in the format of another implementation.

    So a network that was fine-tuned here goes on there. It must be one that the implementation
    has: built with its `source`, or of the same layers by chance.

    Args:
        model: a network of `C2D`, `I3D`, `NLC2D` or `NLI3D`, or of `load_checkpoint`.
        path: file to write. ".pkl" gives a Caffe2 pickle (video-nonlocal-net, pyslowfast);
            ".pth" and ".pyth" a PyTorch file (pyslowfast, pytorchvideo, mmaction2, gluoncv).
        source: whose format: "video-nonlocal-net", "pyslowfast", "pytorchvideo", "mmaction2"
            or "gluoncv". `None`: the one whose layers the model has.
        clip: frames x stride of the clips. `None`: what the model remembers, else any that
            fits its steps over frames.

    Raises:
        CheckpointError: a `ValueError`, if the implementation has no such network; nothing is
            written then.

    Example:

    >>> model = keras_nonlocal.NLI3D(depth=(1, 1, 1, 1), width=8, source="pyslowfast")
    >>> keras_nonlocal.save_checkpoint(model, "nl.pkl")
    >>> keras_nonlocal.load_checkpoint("nl.pkl", source="pyslowfast").name
    'nli3d'
    """
    refuse_tf_keras("model", model)
    path = pathlib.Path(path)
    source = source or getattr(model, "network_source", None)
    layout = _choose_layout(model, path, source)
    tensors = {v.path: keras.ops.convert_to_numpy(v).astype("float32") for v in model.weights}
    network, clip = _check_network(model, tensors, layout, source, clip)
    tensors = _adapt(tensors, layout, network)
    flat = layout.flat_c2d and not network["inflated"]
    arrays = {
        name: kernels.from_keras(address, array, flat)
        for address, array in tensors.items()
        for name in layout.names_of(address)
    }
    _write(arrays, path, layout, network, source, clip)


def _choose_layout(model, path, source):
    suffixes = {
        "video-nonlocal-net": {".pkl": rules.CAFFE2},
        "pyslowfast": {".pkl": rules.CAFFE2, ".pyth": rules.PYSLOWFAST, ".pth": rules.PYSLOWFAST},
        "pytorchvideo": dict.fromkeys((".pyth", ".pth"), rules.PYTORCHVIDEO),
        "mmaction2": {".pth": rules.MMACTION2},
        "gluoncv": {".pth": rules.GLUONCV},
    }
    if source not in suffixes:
        raise CheckpointError(
            f"`source` must be one of {', '.join(map(repr, suffixes))}. Received: {source!r}."
        )
    if path.suffix not in suffixes[source]:
        raise CheckpointError(
            f"`path` must end in {' or '.join(suffixes[source])} for source={source!r}. "
            f"Received: {path.name!r}."
        )
    layout = suffixes[source][path.suffix]
    if layout is rules.PYTORCHVIDEO and not _has_layer(model, "pool2"):
        return rules.PYTORCHVIDEO_WITHOUT_POOL2
    return layout


def _check_network(model, tensors, layout, source, clip):
    """Gives the model's facts and clip, or raises where the implementation has no such network."""
    strangers = [address for address in tensors if not layout.names_of(address)]
    strangers = [a for a in strangers if layout.out_bias or not a.endswith("/out/bias")]
    if strangers:
        raise CheckpointError(
            f"{layout.name} has no place for {len(strangers)} variables of {model.name}: "
            f"{', '.join(strangers[:8])}. Its files hold the networks of C2D, I3D and what the "
            "builders of this package make of `source`."
        )
    network = facts.read_facts(tensors)
    network["pool2"] = _has_layer(model, "pool2")
    blocks = [layer for layer in model.layers if layer.name.endswith("_nonlocal")]
    network["mode"] = blocks[0].mode if blocks else "embedded_gaussian"
    # Frozen norms hide in the layers; in the tensors all norms look alike.
    network["frozen_norm"] = model.get_layer("conv1_norm").frozen
    if blocks and network["mode"] not in layout.modes:
        raise CheckpointError(
            f"{layout.name} has no non-local blocks of mode={network['mode']!r}, only "
            f"{' and '.join(layout.modes)}."
        )
    if network["frozen_norm"] and blocks and layout is not rules.CAFFE2:
        raise CheckpointError(
            f"{layout.name} has no affine non-local networks. Use transfer_weights(model, "
            "from_model) to take the weights into a network with frozen_norm=False, and save that."
        )
    if not network["pool2"] and source in ("video-nonlocal-net", "gluoncv"):
        raise CheckpointError(f"{source} has no networks without pool2. Build with pool2=True.")
    clip = clip or getattr(model, "clip", None)
    clips = [clip] if clip else _CLIPS
    differences = [_differences(model, network, source, each) for each in clips]
    if all(differences):
        raise CheckpointError(
            f"{source} would compute other numbers with these weights, because its network "
            f"differs: {'; '.join(min(differences, key=len)[:6])}. Build with "
            f"source={source!r} and the right `clip`, and train that network."
        )
    return network, clips[differences.index([])]


def _differences(model, network, source, clip):
    """What the layers of the source's network do otherwise than the model's."""
    reference = build_network(
        {**network, "width": 4, "classes": 2},
        source=source,
        clip=clip,
        input_shape=(architecture.parse_clip(clip)[0], None, None, 3),
        classifier_activation=None,
    )
    head = _has_layer(model, "predictions")
    found = []
    for layer in reference.layers:
        if layer.name == "average" and not head:
            continue
        config = layer.get_config()
        ours = model.get_layer(layer.name).get_config() if _has_layer(model, layer.name) else {}
        found += [
            f"{layer.name} has {key}={config[key]} there, {ours.get(key)} here"
            for key in _SETTINGS
            if key in config and config[key] != ours.get(key)
        ]
    return found


def _adapt(tensors, layout, network):
    """Gives the tensors the form in which the format keeps them."""
    tensors = dict(tensors)
    if network["frozen_norm"] and layout is rules.CAFFE2:
        for address in [a for a in tensors if a.endswith("/moving_variance")]:
            norm = address.removesuffix("moving_variance")
            variance = tensors.pop(address).astype("float64")
            mean = tensors.pop(norm + "moving_mean").astype("float64")
            scale = tensors[norm + "gamma"] / np.sqrt(variance + kernels.NORM_EPSILON)
            tensors[norm + "gamma"] = scale.astype("float32")
            tensors[norm + "beta"] = (tensors[norm + "beta"] - mean * scale).astype("float32")
    if not layout.out_bias:
        for address in [a for a in tensors if a.endswith("_nonlocal/out/bias")]:
            mean = address.replace("out/bias", "norm/moving_mean")
            tensors[mean] = tensors[mean] - tensors.pop(address)
    return tensors


def _write(arrays, path, layout, network, source, clip):
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            if layout is rules.CAFFE2:
                config = hints.write_yaml_config(network, source, *architecture.parse_clip(clip))
                _write_pickle({"blobs": arrays, "cfg": config}, file)
            else:
                _write_torch(arrays, file, layout, network, source, clip)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_pickle(content, file):
    data = pickle.dumps(content, protocol=2)
    # NumPy 1, which those who read these files may have, knows its modules by the old name.
    file.write(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1))


def _write_torch(arrays, file, layout, network, source, clip):
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Writing a PyTorch file needs torch: pip install 'keras_nonlocal[torch]'."
        ) from error
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    frames, stride = architecture.parse_clip(clip)
    if layout is rules.GLUONCV:
        content = state
    elif layout is rules.MMACTION2:
        content = {
            "state_dict": state,
            "meta": {"cfg": hints.write_python_config(network, frames, stride)},
        }
    else:
        config = hints.write_yaml_config(network, source, frames, stride)
        content = {"model_state": state, "cfg": config}
    torch.save(content, file)


def _has_layer(model, name):
    return any(layer.name == name for layer in model.layers)

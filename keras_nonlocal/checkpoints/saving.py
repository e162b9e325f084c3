"""From a network of ours to a file that another implementation reads."""

import dataclasses
import os
import pathlib
import pickle

import keras
import numpy as np

from keras_nonlocal.checkpoints import hints, kernels, rules
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.implementations import IMPLEMENTATIONS
from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.models.video_resnet import config_of


def save_checkpoint(model, path, source=None):
    """Writes a network in the format of another implementation.

    So a network that was fine-tuned here goes on there. It must be one that the implementation
    has: built with its `source`, or of the same layers by chance.

    Args:
        model: a network of `C2D`, `I3D`, `NLC2D` or `NLI3D`, or of `load_checkpoint`.
        path: file to write. ".pkl" gives a Caffe2 pickle (video-nonlocal-net, pyslowfast);
            ".pth" and ".pyth" a PyTorch file (pyslowfast, pytorchvideo, mmaction2, gluoncv).
        source: whose format: "video-nonlocal-net", "pyslowfast", "pytorchvideo", "mmaction2"
            or "gluoncv". `None`: the one whose layers the model has.

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
    config = config_of(model)
    if config is None:
        raise ValueError(
            f"`model` must be a network of this package. Received: {model!r} without one inside."
        )
    source = source or config.source
    layout = _choose_layout(model, path, source)
    tensors = {v.path: keras.ops.convert_to_numpy(v).astype("float32") for v in model.weights}
    _check_network(model, config, tensors, layout, source)
    tensors = _adapt(tensors, layout, config)
    flat = layout.flat_c2d and not config.inflated
    arrays = {
        name: kernels.from_keras(address, array, flat)
        for address, array in tensors.items()
        for name in layout.names_of(address)
    }
    _write(arrays, path, layout, dataclasses.replace(config, source=source))


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


def _check_network(model, config, tensors, layout, source):
    """Raises if the implementation has no such network."""
    strangers = [address for address in tensors if not layout.names_of(address)]
    strangers = [a for a in strangers if layout.out_bias or not a.endswith("/out/bias")]
    if strangers:
        raise CheckpointError(
            f"{layout.name} has no place for {len(strangers)} variables of {model.name}: "
            f"{', '.join(strangers[:8])}. Its files hold the networks of C2D, I3D and what the "
            "builders of this package make of `source`."
        )
    if config.non_local and config.mode not in layout.modes:
        raise CheckpointError(
            f"{layout.name} has no non-local blocks of mode={config.mode!r}, only "
            f"{' and '.join(layout.modes)}."
        )
    if config.frozen_norm and config.non_local and layout is not rules.CAFFE2:
        raise CheckpointError(
            f"{layout.name} has no affine non-local networks. Use transfer_weights(model, "
            "from_model) to take the weights into a network with frozen_norm=False, and save that."
        )
    if not config.pool2 and source in ("video-nonlocal-net", "gluoncv"):
        raise CheckpointError(f"{source} has no networks without pool2. Build with pool2=True.")
    theirs = dataclasses.replace(config, source=source).settings
    differences = [
        f"{name} is {value} here, {theirs[name]} there"
        for name, value in config.settings.items()
        if value != theirs[name]
    ]
    if differences:
        raise CheckpointError(
            f"{source} would compute other numbers with these weights, because its network "
            f"differs: {'; '.join(differences[:6])}. Build with source={source!r}, and train that "
            "network."
        )
    pixels, given = IMPLEMENTATIONS[source], IMPLEMENTATIONS[config.normalization or config.source]
    if (pixels.mean, pixels.std) != (given.mean, given.std):
        raise CheckpointError(
            f"{source} normalizes pixels by its own mean and standard deviation, and the weights "
            f"of {model.name} need {config.normalization or config.source}'s."
        )


def _adapt(tensors, layout, config):
    """Gives the tensors the form in which the format keeps them."""
    tensors = dict(tensors)
    if config.frozen_norm and layout is rules.CAFFE2:
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


def _write(arrays, path, layout, config):
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            if layout is rules.CAFFE2:
                _write_pickle({"blobs": arrays, "cfg": hints.write_yaml_config(config)}, file)
            else:
                _write_torch(arrays, file, layout, config)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_pickle(content, file):
    data = pickle.dumps(content, protocol=2)
    # NumPy 1, which those who read these files may have, knows its modules by the old name.
    file.write(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1))


def _write_torch(arrays, file, layout, config):
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Writing a PyTorch file needs torch: pip install 'keras_nonlocal[torch]'."
        ) from error
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if layout is rules.GLUONCV:
        content = state
    elif layout is rules.MMACTION2:
        content = {
            "state_dict": state,
            "meta": {"cfg": hints.write_python_config(config)},
        }
    else:
        content = {"model_state": state, "cfg": hints.write_yaml_config(config)}
    torch.save(content, file)


def _has_layer(model, name):
    return any(layer.name == name for layer in model.layers)

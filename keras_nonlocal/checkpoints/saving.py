"""Writes networks as files of other implementations."""

import dataclasses
import os
import pathlib
import pickle

import keras
import numpy as np

from keras_nonlocal.checkpoints import key_maps, stored_config
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.implementations import IMPLEMENTATIONS
from keras_nonlocal.keras_models import refuse_tf_keras
from keras_nonlocal.models.video_resnet import config_of

_KEY_MAPS = {
    "video-nonlocal-net": {".pkl": key_maps.CAFFE2},
    "pyslowfast": {
        ".pkl": key_maps.CAFFE2,
        ".pyth": key_maps.PYSLOWFAST,
        ".pth": key_maps.PYSLOWFAST,
    },
    "pytorchvideo": dict.fromkeys((".pyth", ".pth"), key_maps.PYTORCHVIDEO),
    "mmaction2": {".pth": key_maps.MMACTION2},
    "gluoncv": {".pth": key_maps.GLUONCV},
}


def save_checkpoint(model, path, source=None):
    """Writes a network in the format of another implementation.

    A network that was fine-tuned here is then used there. The implementation must have the same
    network: build or load the network with its `source`.

    Args:
        model: a network of `C2D`, `I3D`, `NLC2D` or `NLI3D`, or of `load_checkpoint`.
        path: file to write. ".pkl" gives a Caffe2 pickle (video-nonlocal-net, pyslowfast);
            ".pth" and ".pyth" a PyTorch file (pyslowfast, pytorchvideo, mmaction2, gluoncv).
        source: the implementation: "video-nonlocal-net", "pyslowfast", "pytorchvideo",
            "mmaction2" or "gluoncv" (default: the `source` of the model).

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
    key_map = _choose_key_map(path, source, config)
    tensors = {v.path: keras.ops.convert_to_numpy(v).astype("float32") for v in model.weights}
    _check_network(model, config, tensors, key_map, source)
    if config.frozen_norm and key_map is key_maps.CAFFE2:
        _fold_statistics(tensors)
    if not key_map.out_bias:
        for bias in [path for path in tensors if path.endswith("_nonlocal/out/bias")]:
            mean = bias.replace("out/bias", "norm/moving_mean")
            tensors[mean] = tensors[mean] - tensors.pop(bias)
    flat = key_map.flat_c2d and not config.inflated
    arrays = {
        key: key_maps.from_keras(path, array, flat)
        for path, array in tensors.items()
        for key in key_map.keys_of(path)
    }
    _write(arrays, path, key_map, dataclasses.replace(config, source=source))


def _choose_key_map(path, source, config):
    if source not in _KEY_MAPS:
        raise CheckpointError(
            f"`source` must be one of {', '.join(map(repr, _KEY_MAPS))}. Received: {source!r}."
        )
    if path.suffix not in _KEY_MAPS[source]:
        raise CheckpointError(
            f"`path` must end in {' or '.join(_KEY_MAPS[source])} for source={source!r}. "
            f"Received: {path.name!r}."
        )
    key_map = _KEY_MAPS[source][path.suffix]
    if key_map is key_maps.PYTORCHVIDEO and not config.pool2:
        return key_maps.PYTORCHVIDEO_WITHOUT_POOL2
    return key_map


def _check_network(model, config, tensors, key_map, source):
    """Raises if the implementation has no such network."""
    lacking = [path for path in tensors if not key_map.keys_of(path)]
    lacking = [path for path in lacking if key_map.out_bias or not path.endswith("/out/bias")]
    if lacking:
        raise CheckpointError(
            f"{key_map.name} has no names for {len(lacking)} variables of {model.name}: "
            f"{', '.join(lacking[:8])}. Save a network of C2D, I3D, NLC2D or NLI3D that was built "
            "with its `source`."
        )
    if config.non_local and config.mode not in key_map.modes:
        raise CheckpointError(
            f"{key_map.name} has no non-local blocks of mode={config.mode!r}, only "
            f"{' and '.join(key_map.modes)}."
        )
    if config.frozen_norm and config.non_local and key_map is not key_maps.CAFFE2:
        raise CheckpointError(
            f"{key_map.name} has no affine non-local networks. Use transfer_weights(model, "
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


def _fold_statistics(tensors):
    """Folds the moving statistics of affine norms into scale and offset, in place."""
    for path in [path for path in tensors if path.endswith("/moving_variance")]:
        norm = path.removesuffix("moving_variance")
        variance = tensors.pop(path).astype("float64")
        mean = tensors.pop(norm + "moving_mean").astype("float64")
        scale = tensors[norm + "gamma"] / np.sqrt(variance + key_maps.NORM_EPSILON)
        tensors[norm + "gamma"] = scale.astype("float32")
        tensors[norm + "beta"] = (tensors[norm + "beta"] - mean * scale).astype("float32")


def _write(arrays, path, key_map, config):
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            if key_map is key_maps.CAFFE2:
                content = {"blobs": arrays, "cfg": stored_config.write_yaml_config(config)}
                data = pickle.dumps(content, protocol=2)
                # NumPy 1, which readers of these files may have, has the old name of the module.
                old, new = (
                    b"cnumpy.%score.multiarray\n" % underscore for underscore in (b"", b"_")
                )
                file.write(data.replace(new, old, 1))
            else:
                _write_torch(arrays, file, key_map, config)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_torch(arrays, file, key_map, config):
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Writing a PyTorch file needs torch: pip install 'keras_nonlocal[torch]'."
        ) from error
    content = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if key_map is key_maps.MMACTION2:
        config = {"cfg": stored_config.write_python_config(config)}
        content = {"state_dict": content, "meta": config}
    elif key_map is not key_maps.GLUONCV:
        content = {"model_state": content, "cfg": stored_config.write_yaml_config(config)}
    torch.save(content, file)

"""Loads checkpoint files into networks: every variable, or none and an error."""

import collections
import fnmatch
import re
import warnings

import numpy as np

from keras_nonlocal import preprocessing
from keras_nonlocal.checkpoints import detection, key_maps, registry, state_dict
from keras_nonlocal.checkpoints.errors import CheckpointError
from keras_nonlocal.layers.backend import check_positive_int
from keras_nonlocal.models.config import ResNet3DConfig, parse_clip
from keras_nonlocal.models.video_resnet import build_network

_SHOWN = 12


def load_checkpoint(
    path,
    source=None,
    clip=None,
    mode=None,
    crop=224,
    classes=None,
    classifier_activation="softmax",
    include_preprocessing=True,
    pool2=None,
    except_for=(),
):
    """Builds the network of a checkpoint file, and loads its weights.

    The network returns the numbers of the implementation that wrote the file. Depth, width,
    inflated blocks, non-local blocks, affine norms and classes are read from the tensors. What
    tensors cannot tell follows from `source` and `clip`: paddings, the order of pooling and
    phi and g, the scale of the softmax, steps over frames, groups of frames.

    `source`, `clip`, `mode` and `pool2` are detected where the names of the tensors tell them,
    where the file is a published one of `keras_nonlocal.list_weights()` under its own name, and in
    the config that MMAction2 and PySlowFast store. Otherwise they must be passed. Other file names
    are never used.

    Args:
        path: path of the file: a Caffe2 pickle (.pkl), a PyTorch file (.pth, .pyth) or
            safetensors, recognized by content. No code from the file is run. A prefix that a
            training framework put before all names ("module.", "model.") is removed.
        source: the implementation that wrote it: "video-nonlocal-net", "pyslowfast",
            "pytorchvideo", "mmaction2" or "gluoncv".
        clip: frames x stride of the clips that the network was trained on, such as "8x8".
        mode: "embedded_gaussian" or "dot_product", which have the same tensors.
        crop: height and width of the clips in pixels; `None` leaves them open.
        classes: number of classes (default: the file's). With another number the classifier is
            initialized, and a warning says so.
        classifier_activation: of the head; `None` for logits.
        include_preprocessing: whether the network takes RGB pixels from 0 to 255 and normalizes
            them (default). `False`: it takes normalized clips, see
            `keras_nonlocal.preprocess_input`.
        pool2: whether a max-pooling after stage 2 halves the frames.
        except_for: names of tensors or of our layers to leave out, with `*` for any letters.
            Their variables keep their initial values. `"predictions"` for a file without a
            classifier.

    Returns:
        A `VideoResNet` from clips to `(batch, classes)`, with `source`, `clip` and `class_names`.

    Raises:
        CheckpointError: a `ValueError`, if the file is corrupt, unsafe, of another source,
            contains NaN, or does not fit; it lists all names and shapes that do not. Also if an
            argument is neither detected nor passed, or contradicts what is detected.

    Example:

    >>> model = keras_nonlocal.load_checkpoint(
    ...     "i3d_nonlocal_8x8_IN_pretrain_400k.pkl"
    ... )  # doctest: +SKIP

    Reference:
        - [video-nonlocal-net](https://github.com/facebookresearch/video-nonlocal-net),
          [PySlowFast](https://github.com/facebookresearch/SlowFast),
          [PyTorchVideo](https://github.com/facebookresearch/pytorchvideo),
          [MMAction2](https://github.com/open-mmlab/mmaction2),
          [GluonCV](https://github.com/dmlc/gluon-cv).
    """
    except_for = (except_for,) if isinstance(except_for, str) else tuple(except_for)
    crop = None if crop is None else check_positive_int("crop", crop)
    classes = None if classes is None else check_positive_int("classes", classes)
    # Commands, which also describe the file, pass what they have read.
    contents = path if isinstance(path, detection.Contents) else detection.read_contents(path)
    path = contents.path
    check_key_map(contents.key_map, contents.arrays, path, source)
    fields = detection.resolve(contents, source=source, clip=clip, mode=mode, pool2=pool2)
    stored = fields["classes"]
    if classes is not None or stored is None:
        fields["classes"] = classes or 400
    if stored not in (None, fields["classes"]):
        warnings.warn(
            f"The classifier is initialized: {path!r} has {stored} classes. Received: "
            f"classes={classes}. All other weights are loaded.",
            stacklevel=2,
        )
        except_for = (*except_for, "predictions")
    keeps_classifier = not _is_excluded("predictions/kernel", contents.key_map, except_for)
    is_kinetics = stored == 400 and keeps_classifier
    config = ResNet3DConfig(
        **fields,
        input_shape=(parse_clip(fields["clip"])[0], crop, crop, 3),
        classifier_activation=classifier_activation,
        include_preprocessing=include_preprocessing,
        class_names=preprocessing.kinetics400_classes() if is_kinetics else None,
        weights=path,
    )
    model = build_network(config, initialize=False)
    assign(
        model,
        key_maps.add_identity_norms(contents.tensors, contents.key_map),
        contents.key_map,
        contents.unexpected,
        except_for,
        title=f"{path!r} does not fit the network that its tensors describe.",
    )
    if record := registry.find_file(path):
        registry.warn_license(record.name, record.license)
    return model


def load_weights(model, path, source, except_for=()):
    """Sets the variables of a model from a checkpoint file.

    Args:
        model: network of one of the builders, with or without its head.
        path: path of the file.
        source: implementation that wrote the file.
        except_for: see `load_checkpoint`.

    Raises:
        CheckpointError: if the file is corrupt or does not fit; the model is unchanged.
    """
    key_map, arrays = key_maps.recognize(state_dict.read_state_dict(path).tensors)
    check_key_map(key_map, arrays, path, source)
    tensors, unexpected = key_maps.rename(arrays, key_map)
    if all(layer.name != "predictions" for layer in model.layers):
        except_for = (*except_for, "predictions")
    assign(
        model,
        key_maps.add_identity_norms(tensors, key_map),
        key_map,
        unexpected,
        except_for,
        title=f"{str(path)!r} does not fit {model.name}.",
    )


def check_key_map(key_map, arrays, path, source):
    """Raises if a file is of no video network, or of another source than `source`, if given."""
    if source is not None and source not in key_maps.SOURCES:
        raise CheckpointError(
            f"`source` must be one of {', '.join(map(repr, key_maps.SOURCES))}. "
            f"Received: source={source!r}."
        )
    check_known(key_map, arrays, path)
    if is_image_network(key_map, arrays):
        raise CheckpointError(
            f"{str(path)!r} contains an image network ({key_map.name} names, 2-D kernels). Build a "
            "video network and call inflate_weights(model, path)."
        )
    if key_map is key_maps.TORCHVISION:
        raise CheckpointError(
            f"{str(path)!r} has torchvision's names but 3-D kernels, and no supported source names "
            f"its tensors so. Sources are {', '.join(map(repr, key_maps.SOURCES))}."
        )
    if source is not None and source not in key_map.sources:
        raise CheckpointError(
            f"{str(path)!r} has the tensor names of {' or '.join(key_map.sources)}. Received: "
            f"source={source!r}. Pass source={key_map.sources[0]!r}."
        )


def check_known(key_map, arrays, path):
    """Raises if the names of a file are of no supported implementation."""
    if key_map is None:
        raise CheckpointError(
            f"{str(path)!r} contains no tensor names of a supported implementation "
            f"({', '.join(key_maps.SOURCES)}). Found {len(arrays)} tensors: "
            f"{_join(sorted(arrays), 4)}."
        )


def is_image_network(key_map, arrays):
    """Returns whether kernels are 2-D in a format whose video networks have 3-D ones."""
    return not key_map.flat_c2d and any(array.ndim == 4 for array in arrays.values())


def assign(
    model,
    tensors,
    key_map,
    unexpected=(),
    except_for=(),
    title="",
    origin="file",
    hint="Check `source` and the network's arguments, or pass `except_for` to load_checkpoint.",
):
    """Sets every variable of a model, or none.

    Args:
        model: the model.
        tensors: arrays by path.
        key_map: the `KeyMap` by which messages name the tensors; `None`: by path.
        unexpected: arrays without a path, by key.
        except_for: patterns of keys, paths and layers. Their variables keep their values.
        title: first sentence of the message.
        origin: what the message calls the source of the tensors.
        hint: last sentence of the message.

    Raises:
        CheckpointError: with unexpected keys, missing keys and shapes that differ, or with the
            tensors that contain NaN or infinite values.
    """
    paths = {variable.path: variable for variable in model.weights}
    excluded = {p for p in {**paths, **tensors} if _is_excluded(p, key_map, except_for)}
    variables = {path: v for path, v in paths.items() if path not in excluded}
    tensors = {path: array for path, array in tensors.items() if path not in excluded}
    unexpected = {key: a for key, a in dict(unexpected).items() if not _matches(key, except_for)}
    unexpected |= {_key(p, key_map): a for p, a in tensors.items() if p not in variables}
    missing = {_key(p, key_map): v for p, v in variables.items() if p not in tensors}
    differing = [
        f"{_key(path, key_map)} {tensors[path].shape} against {tuple(variable.shape)}"
        for path, variable in variables.items()
        if path in tensors and tensors[path].shape != tuple(variable.shape)
    ]
    faults = {
        f"unexpected keys in the {origin}": [f"{key} {a.shape}" for key, a in unexpected.items()],
        "missing keys": [f"{key} {tuple(v.shape)}" for key, v in missing.items()],
        f"other shapes ({origin} against model, in Keras' order)": differing,
    }
    if any(faults.values()):
        listed = [f"{len(names)} {what}: {_join(names)}" for what, names in faults.items() if names]
        raise CheckpointError("\n".join([title, *listed, f"Nothing was loaded. {hint}"]))
    if not_finite := state_dict.non_finite(tensors):
        raise CheckpointError(
            f"{title} NaN or infinite values are in "
            f"{_join([_key(path, key_map) for path in not_finite])}. Nothing was loaded. The "
            f"training of the {origin} diverged, or it is corrupt: use an earlier one."
        )
    for path, variable in variables.items():
        # A copy, because JAX would keep a view, and with it the file that it is in.
        variable.assign(np.array(tensors[path], "float32", order="C"))
        state_dict.release(tensors[path])


def _is_excluded(path, key_map, patterns):
    """Returns whether patterns name a path, its layer, or one of its keys."""
    if not patterns:
        return False
    keys = key_map.keys_of(path) if key_map else []
    return any(_matches(name, patterns) for name in (path, path.split("/")[0], *keys))


def _matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _key(path, key_map):
    return next(iter(key_map.keys_of(path)), path) if key_map else path


def _join(names, shown=_SHOWN):
    """Returns some names, and how many more there are by their first words."""
    if len(names) <= shown:
        return ", ".join(names)
    groups = collections.Counter(re.split("[._ ]", name)[0] for name in names)
    summary = ", ".join(f"{count} in {group}" for group, count in groups.most_common(6))
    return f"{', '.join(names[:shown])}, and {len(names) - shown} more ({summary})"

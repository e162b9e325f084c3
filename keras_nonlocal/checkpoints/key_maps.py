"""Names of each implementation's tensors, and the paths of our variables: one table a format."""

import collections
import dataclasses
import functools
import re

import numpy as np

from keras_nonlocal.checkpoints.errors import CheckpointError

# A norm with these statistics gives gamma * x + beta, as affine networks have it.
NORM_EPSILON = 1e-5
IDENTITY_VARIANCE = np.float32(1 - NORM_EPSILON)


@dataclasses.dataclass(frozen=True, eq=False)
class KeyMap:
    """The names (keys) that one implementation gives its tensors.

    Attributes:
        name: what messages call it.
        sources: sources whose files have these keys.
        keys: dict from a key to a path, as Keras' `variable.path`. A field in braces has one
            meaning on both sides. Several keys of one path are aliases: files contain them all.
        spellings: dict from a field to a dict from its values in keys to those in paths, where
            they differ.
        ignored: patterns of keys that no network needs.
        modes: pairwise functions that the implementation has.
        pool2: whether the networks pool frames after stage 2; `None`: the keys do not tell.
        out_bias: whether the last convolution of a non-local block has a bias; without one, the
            norm that follows has absorbed it.
        flat_c2d: whether networks without inflated blocks have 2-D kernels.
    """

    name: str
    sources: tuple[str, ...]
    keys: dict[str, str]
    spellings: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    ignored: tuple[str, ...] = (r".*\.num_batches_tracked",)
    modes: tuple[str, ...] = ("embedded_gaussian", "dot_product")
    pool2: bool | None = None
    out_bias: bool = True
    flat_c2d: bool = False

    def path_of(self, key):
        """Returns the path that a key stands for; `None` for an unknown key."""
        return next(_translate(key, *self._directions[0]), None)

    def keys_of(self, path):
        """Returns all keys of a path; none if the format has no such tensor."""
        return list(_translate(path, *self._directions[1]))

    def ignores(self, key):
        """Returns whether no network needs the tensor of this key."""
        return any(re.fullmatch(pattern, key) for pattern in self.ignored)

    @functools.cached_property
    def _directions(self):
        """Patterns, templates and fields from keys to paths, and from paths to keys."""
        fields = {f: dict(zip(w, w, strict=True)) for f, w in _FIELDS.items()} | self.spellings
        inverse = {f: {ours: theirs for theirs, ours in w.items()} for f, w in fields.items()}
        rows = self.keys.items()
        return (
            ([(_pattern(key, fields), path) for key, path in rows], fields),
            ([(_pattern(path, inverse), key) for key, path in rows], inverse),
        )


def _pattern(template, fields):
    """Returns the regular expression of a template."""
    parts = re.split(r"\{(\w+)\}", template)
    pattern = re.escape(parts[0])
    for field, text in zip(parts[1::2], parts[2::2], strict=True):
        choice = "|".join(map(re.escape, fields[field])) if field in fields else r"\d{1,3}"
        pattern += f"(?P<{field}>{choice}){re.escape(text)}"
    return re.compile(pattern)


def _translate(text, patterns, fields):
    for pattern, template in patterns:
        if match := pattern.fullmatch(text):
            values = match.groupdict().items()
            yield template.format_map({f: fields.get(f, {}).get(v, v) for f, v in values})


STEM, STEM_NORM = "conv1_conv/kernel", "conv1_norm/{norm}"
CONV, NORM = "res{stage}_{block}_{conv}_conv/kernel", "res{stage}_{block}_{conv}_norm/{norm}"
SHORTCUT, SHORTCUT_NORM = (path.replace("{conv}", "shortcut") for path in (CONV, NORM))
NON_LOCAL = "res{stage}_{block}_nonlocal/{part}/{kind}"
NON_LOCAL_OUT = NON_LOCAL.replace("{part}", "out")
NON_LOCAL_NORM = "res{stage}_{block}_nonlocal/norm/{norm}"
NON_LOCAL_W_F = "res{stage}_{block}_nonlocal/w_f"
HEAD = "predictions/{kind}"


# Values of fields in paths.
_FIELDS = {
    "stage": "2345",
    "conv": "abc",
    "part": ("theta", "phi", "g", "out"),
    "kind": ("kernel", "bias"),
    "norm": ("gamma", "beta", "moving_mean", "moving_variance"),
}
_TORCH = {
    "norm": {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    },
    "kind": {"weight": "kernel", "bias": "bias"},
}
_STAGES_FROM_0 = {"0": "2", "1": "3", "2": "4", "3": "5"}
_STAGES_FROM_1 = {"1": "2", "2": "3", "3": "4", "4": "5"}
_CONVS = {"1": "a", "2": "b", "3": "c"}

CAFFE2 = KeyMap(
    name="Caffe2",
    sources=("video-nonlocal-net", "pyslowfast"),
    keys={
        "conv1_w": STEM,
        "res_conv1_bn_{norm}": STEM_NORM,
        "res{stage}_{block}_branch2{conv}_w": CONV,
        "res{stage}_{block}_branch2{conv}_bn_{norm}": NORM,
        "res{stage}_{block}_branch1_w": SHORTCUT,
        "res{stage}_{block}_branch1_bn_{norm}": SHORTCUT_NORM,
        "nonlocal_conv{stage}_{block}_{part}_{kind}": NON_LOCAL,
        "nonlocal_conv{stage}_{block}_bn_{norm}": NON_LOCAL_NORM,
        "pred_{kind}": HEAD,
    },
    spellings={
        "norm": {"s": "gamma", "b": "beta", "rm": "moving_mean", "riv": "moving_variance"},
        "kind": {"w": "kernel", "b": "bias"},
    },
    ignored=(r".*_momentum", "lr", "model_iter", "epoch"),
)
PYSLOWFAST = KeyMap(
    name="PySlowFast",
    sources=("pyslowfast",),
    keys={
        "s1.pathway0_stem.conv.weight": STEM,
        "s1.pathway0_stem.bn.{norm}": STEM_NORM,
        "s{stage}.pathway0_res{block}.branch2.{conv}.weight": CONV,
        "s{stage}.pathway0_res{block}.branch2.{conv}_bn.{norm}": NORM,
        "s{stage}.pathway0_res{block}.branch1.weight": SHORTCUT,
        "s{stage}.pathway0_res{block}.branch1_bn.{norm}": SHORTCUT_NORM,
        "s{stage}.pathway0_nonlocal{block}.conv_{part}.{kind}": NON_LOCAL,
        "s{stage}.pathway0_nonlocal{block}.bn.{norm}": NON_LOCAL_NORM,
        "head.projection.{kind}": HEAD,
    },
    spellings=_TORCH,
)
# Its blocks are numbered with pool2 among them, which has no tensors.
PYTORCHVIDEO_WITHOUT_POOL2 = KeyMap(
    name="PyTorchVideo (without pool2)",
    sources=("pytorchvideo",),
    keys={
        "blocks.0.conv.weight": STEM,
        "blocks.0.norm.{norm}": STEM_NORM,
        "blocks.{stage}.res_blocks.{block}.branch2.conv_{conv}.weight": CONV,
        "blocks.{stage}.res_blocks.{block}.branch2.norm_{conv}.{norm}": NORM,
        "blocks.{stage}.res_blocks.{block}.branch1_conv.weight": SHORTCUT,
        "blocks.{stage}.res_blocks.{block}.branch1_norm.{norm}": SHORTCUT_NORM,
        "blocks.5.proj.{kind}": HEAD,
    },
    spellings={"stage": _STAGES_FROM_1, **_TORCH},
    modes=(),
    pool2=False,
)
PYTORCHVIDEO = dataclasses.replace(
    PYTORCHVIDEO_WITHOUT_POOL2,
    name="PyTorchVideo",
    keys={
        key.replace("blocks.5", "blocks.6"): path
        for key, path in PYTORCHVIDEO_WITHOUT_POOL2.keys.items()
    },
    spellings={"stage": {"1": "2", "3": "3", "4": "4", "5": "5"}, **_TORCH},
    pool2=True,
)
MMACTION2 = KeyMap(
    name="MMAction2",
    sources=("mmaction2",),
    keys={
        "backbone.conv1.conv.weight": STEM,
        "backbone.conv1.bn.{norm}": STEM_NORM,
        "backbone.layer{stage}.{block}.conv{conv}.conv.weight": CONV,
        "backbone.layer{stage}.{block}.conv{conv}.bn.{norm}": NORM,
        "backbone.layer{stage}.{block}.downsample.conv.weight": SHORTCUT,
        "backbone.layer{stage}.{block}.downsample.bn.{norm}": SHORTCUT_NORM,
        "backbone.layer{stage}.{block}.non_local_block.{part}.{kind}": NON_LOCAL,
        "backbone.layer{stage}.{block}.non_local_block.conv_out.bn.{norm}": NON_LOCAL_NORM,
        "backbone.layer{stage}.{block}.non_local_block.concat_project.conv.weight": NON_LOCAL_W_F,
        "cls_head.fc_cls.{kind}": HEAD,
    },
    spellings={
        "stage": _STAGES_FROM_1,
        "conv": _CONVS,
        # What is sub-sampled is in a sequence with its pooling.
        "part": {
            "theta.conv": "theta",
            "phi.0.conv": "phi",
            "g.0.conv": "g",
            "conv_out.conv": "out",
        },
        **_TORCH,
    },
    modes=("gaussian", "embedded_gaussian", "dot_product", "concatenation"),
    out_bias=False,
    flat_c2d=True,
)
GLUONCV = KeyMap(
    name="GluonCV",
    sources=("gluoncv",),
    keys={
        "first_stage.0.weight": STEM,
        "first_stage.1.{norm}": STEM_NORM,
        "res_layers.{stage}.{block}.conv{conv}.weight": CONV,
        "res_layers.{stage}.{block}.bn{conv}.{norm}": NORM,
        "res_layers.{stage}.{block}.downsample.0.weight": SHORTCUT,
        "res_layers.{stage}.{block}.downsample.1.{norm}": SHORTCUT_NORM,
        "res_layers.{stage}.{block}.nonlocal_block.{part}.{kind}": NON_LOCAL,
        "res_layers.{stage}.{block}.nonlocal_block.bn.{norm}": NON_LOCAL_NORM,
        # The same modules, registered a second time in a sequence.
        "res_layers.{stage}.{block}.nonlocal_block.W_bn.0.{kind}": NON_LOCAL_OUT,
        "res_layers.{stage}.{block}.nonlocal_block.W_bn.1.{norm}": NON_LOCAL_NORM,
        "fc.{kind}": HEAD,
        "head.1.{kind}": HEAD,
    },
    spellings={
        "stage": _STAGES_FROM_0,
        "conv": _CONVS,
        "part": {"theta": "theta", "phi": "phi", "g": "g", "W": "out"},
        **_TORCH,
    },
    modes=("embedded_gaussian",),
)
TORCHVISION = KeyMap(
    name="torchvision",
    sources=("torchvision",),
    keys={
        "conv1.weight": STEM,
        "bn1.{norm}": STEM_NORM,
        "layer{stage}.{block}.conv{conv}.weight": CONV,
        "layer{stage}.{block}.bn{conv}.{norm}": NORM,
        "layer{stage}.{block}.downsample.0.weight": SHORTCUT,
        "layer{stage}.{block}.downsample.1.{norm}": SHORTCUT_NORM,
        "fc.{kind}": HEAD,
    },
    spellings={"stage": _STAGES_FROM_1, "conv": _CONVS, **_TORCH},
    modes=(),
)
# Keys of files. Those of models of keras.applications are "layer/variable".
KEY_MAPS = (
    CAFFE2,
    PYSLOWFAST,
    PYTORCHVIDEO,
    PYTORCHVIDEO_WITHOUT_POOL2,
    MMACTION2,
    GLUONCV,
    TORCHVISION,
)
KERAS_APPLICATIONS = KeyMap(
    name="keras.applications",
    sources=("keras-applications",),
    keys={
        "conv1_conv/{kind}": "conv1_conv/{kind}",
        "conv1_bn/{norm}": STEM_NORM,
        "conv{stage}_block{block}_{conv}_conv/{kind}": CONV.replace("kernel", "{kind}"),
        "conv{stage}_block{block}_{conv}_bn/{norm}": NORM,
    },
    spellings={
        # It counts blocks from one.
        "block": {str(block + 1): str(block) for block in range(200)},
        "conv": {"0": "shortcut", **_CONVS},
    },
    ignored=("predictions/.*",),
)
# Every source of video networks once.
SOURCES = tuple(dict.fromkeys(source for each in KEY_MAPS[:-1] for source in each.sources))


def recognize(arrays):
    """Finds the key map that knows most names of a file.

    A prefix that training frameworks put before all names, such as "module." or
    "model._orig_mod.", is removed if more than half of the names share it.

    Args:
        arrays: arrays by the names of the file.

    Returns:
        The `KeyMap`, `None` if no name is known, and the arrays by key, without the prefix.

    Raises:
        CheckpointError: if two names are equal without the prefix.
    """
    shared = collections.Counter(n[: m.end()] for n in arrays for m in re.finditer("[./]", n))
    prefixes = ["", *(prefix for prefix, count in shared.items() if 2 * count > len(arrays))]
    known = {
        (key_map, prefix): sum(
            key_map.path_of(name.removeprefix(prefix)) is not None for name in arrays
        )
        for prefix in prefixes
        for key_map in KEY_MAPS
    }
    key_map, prefix = max(known, key=known.get)
    if not known[key_map, prefix]:
        return None, arrays
    renamed = {name.removeprefix(prefix): array for name, array in arrays.items()}
    if len(renamed) < len(arrays):
        twice = next(name for name in arrays if name != prefix + name and prefix + name in arrays)
        raise CheckpointError(
            f"The file contains {twice!r} and {prefix + twice!r}, of which one is loaded. Save "
            "them in two files."
        )
    return key_map, renamed


def rename(arrays, key_map):
    """Returns the arrays of a file as a model has them.

    Args:
        arrays: arrays by key.
        key_map: the `KeyMap` of the file.

    Returns:
        Arrays by path, in the axis order of Keras, and the unexpected arrays by key.

    Raises:
        CheckpointError: if two keys of one tensor have different values.
    """
    tensors, unexpected = {}, {}
    for key, array in arrays.items():
        path = key_map.path_of(key)
        if path is None:
            if not key_map.ignores(key):
                unexpected[key] = array
            continue
        array = to_keras(path, array)
        if path in tensors and not np.array_equal(tensors[path], array, equal_nan=True):
            raise CheckpointError(
                f"{key!r} is another name of {key_map.keys_of(path)[0]!r} in files of "
                f"{key_map.name}, but has other values. The file is corrupt or was edited."
            )
        tensors.setdefault(path, array)
    return tensors, unexpected


def add_identity_norms(tensors, key_map):
    """Returns the tensors of a file with those that its format omits as they are constant."""
    tensors = dict(tensors)
    if not any(path.endswith("/moving_mean") for path in tensors):
        for path in [path for path in tensors if path.endswith("_norm/gamma")]:
            norm, gamma = path.removesuffix("gamma"), tensors[path]
            tensors[norm + "moving_mean"] = np.zeros_like(gamma)
            tensors[norm + "moving_variance"] = np.full_like(gamma, IDENTITY_VARIANCE)
    if not key_map.out_bias:
        for path in [path for path in tensors if path.endswith("_nonlocal/norm/beta")]:
            bias = path.replace("norm/beta", "out/bias")
            tensors.setdefault(bias, np.zeros_like(tensors[path]))
    return tensors


def to_keras(path, array):
    """Returns a tensor of a file, a view where possible, in the axis order of a variable.

    Kernels `(out, in, [frames,] height, width)` become `(frames, height, width, in, out)`; the
    classifier, of any rank, `(classes, channels)` becomes `(channels, classes)`.
    """
    if path == "predictions/kernel":
        return array.reshape(array.shape[0], -1).T if array.ndim else array
    if path.endswith("/kernel"):
        if array.ndim == 4:
            array = array[:, :, None]
        return array.transpose(2, 3, 4, 1, 0) if array.ndim == 5 else array
    return array.reshape(-1) if path.endswith("/w_f") else array


def from_keras(path, array, flat=False):
    """Inverts `to_keras`; `flat`: whether kernels of one frame lose that axis."""
    if path == "predictions/kernel":
        array = array.T
    elif path.endswith("/kernel"):
        array = array.transpose(4, 3, 0, 1, 2)
        if flat:
            array = array[:, :, 0]
    elif path.endswith("/w_f"):
        array = array.reshape(1, -1, 1, 1)
    return np.ascontiguousarray(array)

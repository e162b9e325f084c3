"""The published checkpoints: one row of `published.csv` each."""

import ast
import csv
import dataclasses
import difflib
import functools
import hashlib
import logging
import os
import pathlib
import types

from keras_nonlocal.models.config import KINDS, ResNet3DConfig
from keras_nonlocal.preprocessing import kinetics400_classes

_LOGGER = logging.getLogger("keras_nonlocal")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A published set of weights.

    Attributes:
        name: the value of `weights=`.
        builder: name of the builder of its network; `None` for image networks, which no builder
            loads: `note` says what they are for.
        arguments: arguments of that builder.
        path: path of the file below `base_url`; of weights that ship, below the package's
            `weights` folder.
        base_url: URL of the publisher's folder; `None` if the file ships.
        checksum: name of a hash algorithm and the first hexadecimal digits of the file's hash,
            if the file's name has them; otherwise `None`.
        source: the implementation that published it, whose layers and normalization the network
            has.
        clip: frames x stride of the clips; `None` for images.
        crop: height and width of the clips in training, in pixels.
        short_side: short side that frames are resized to before the crop, in pixels.
        classes: number of classes.
        class_names: their names in index order; empty if they do not ship.
        license: SPDX identifier.
        top1: published accuracy in percent; `None` if it was not published.
        top5: published top-5 accuracy in percent; `None` if it was not published.
        test: how the accuracy was measured.
        note: further information.
    """

    name: str
    builder: str | None
    arguments: types.MappingProxyType
    path: str
    base_url: str | None
    checksum: tuple[str, str] | None
    source: str
    clip: str | None
    crop: int
    short_side: int
    classes: int
    class_names: tuple[str, ...] = dataclasses.field(repr=False)
    license: str
    top1: float | None
    top5: float | None
    test: str
    note: str = ""

    @property
    def config(self):
        """The `ResNet3DConfig` of the network that was trained."""
        return ResNet3DConfig(
            **KINDS[self.builder] | dict(self.arguments) | {"classes": self.classes},
            class_names=self.class_names or None,
            weights=self.name,
        )

    @property
    def file(self):
        """The file's name."""
        return self.path.rpartition("/")[2]

    @property
    def url(self):
        """URL of the file; `None` if it ships with the package."""
        return None if self.base_url is None else self.base_url + self.path


@dataclasses.dataclass(frozen=True)
class _Publisher:
    """What all files of one publisher have in common."""

    source: str
    base_url: str | None
    test: str = "30 views (10 clips x 3 crops of 256)"
    license: str = "Apache-2.0"
    # Hash whose first eight digits end the names of files; `None`: they do not.
    algorithm: str | None = None


_META = "https://dl.fbaipublicfiles.com"
_PUBLISHERS = {
    "knl": _Publisher("video-nonlocal-net", None, "single clips of 540 videos of unseen scenes"),
    "vnl": _Publisher(
        "video-nonlocal-net",
        f"{_META}/video-nonlocal/",
        "30 views (10 clips x 3 crops of 256), fully convolutional",
        license="CC-BY-NC-4.0",
    ),
    "psf": _Publisher("pyslowfast", f"{_META}/pyslowfast/model_zoo/kinetics400/"),
    "ptv": _Publisher("pytorchvideo", f"{_META}/pytorchvideo/model_zoo/kinetics/"),
    "mma": _Publisher(
        "mmaction2",
        "https://download.openmmlab.com/mmaction/v1.0/recognition/",
        algorithm="sha256",
    ),
    "gcv": _Publisher(
        "gluoncv",
        "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/torch/models/",
        "30 views (10 clips x 3 crops)",
        algorithm="sha1",
    ),
}
# The name of this file repeats the hash of another one, the network without non-local blocks.
_CHECKSUM_UNKNOWN = ("nl_slowonly_r50_8x8.kinetics400_mma",)


def _make_checkpoint(name, publisher, builder, depth, clip, top1, top5, file, arguments, note):
    """Returns the `Checkpoint` of a row, whose values are text; empty ones have defaults."""
    publisher, given = _PUBLISHERS[publisher], ast.literal_eval(arguments or "{}")
    path, test, checksum = file, publisher.test, None
    names = given.pop("class_names", kinetics400_classes() if builder else ())
    if builder:
        fixed = {"depth": ast.literal_eval(depth), "clip": clip, "source": publisher.source}
        given = fixed | given
    else:
        test = "center crops of images" if top1 else ""
    if publisher.source == "mmaction2":
        # Files are in folders of their own names, without date and hash.
        path = f"{file.partition('_')[0]}/{file.rpartition('_')[0]}/{file}"
        test = test.replace("256", "224") if builder == "C2D" else test
    if publisher.algorithm and name not in _CHECKSUM_UNKNOWN:
        checksum = (publisher.algorithm, file.removesuffix(".pth")[-8:])
    crop = given.get("input_shape", (None, 224))[1]
    return Checkpoint(
        name=name,
        builder=builder or None,
        arguments=types.MappingProxyType(given),
        path=path,
        base_url=publisher.base_url,
        checksum=checksum,
        source=publisher.source,
        clip=clip or None,
        crop=crop,
        short_side=round(crop * 256 / 224),
        classes=len(names) or 1000,
        class_names=names,
        license=publisher.license,
        top1=float(top1) if top1 else None,
        top5=float(top5) if top5 else None,
        test=test,
        note=note,
    )


def _read_rows():
    path = pathlib.Path(__file__).with_name("published.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return [_make_checkpoint(**row) for row in csv.DictReader(file)]


CHECKPOINTS = {checkpoint.name: checkpoint for checkpoint in _read_rows()}


def list_weights():
    """Returns the records of all weights that builders load by name.

    Files that do not ship with the package are downloaded from their publisher and kept below
    Keras' home folder.

    Returns:
        List of `Checkpoint`.

    Example:

    >>> [c.name for c in keras_nonlocal.list_weights() if c.builder == "NLC2D"]
    ['nl_c2d_r50_32x2.kinetics400_vnl', 'nl_c2d_r50_8x8.kinetics400_vnl']
    """
    return list(CHECKPOINTS.values())


def find_file(path):
    """Returns the record whose file has this name, or `None`."""
    name = pathlib.Path(path).name
    return next((record for record in CHECKPOINTS.values() if record.file == name), None)


def digest(path, checkpoint):
    """Returns the first digits of a file's hash, as many as the publisher states."""
    algorithm, published = checkpoint.checksum
    found = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()[: len(published)]


def has_checksum(path, checkpoint):
    """Returns whether a file has the checksum that its publisher states, if there is one."""
    return checkpoint.checksum is None or digest(path, checkpoint) == checkpoint.checksum[1]


@functools.cache
def warn_license(name, license):
    """Logs once what a license forbids."""
    if "-NC-" in license:
        _LOGGER.warning(
            "The weights %s are under the license %s, which forbids commercial use.", name, license
        )


def locate(checkpoint):
    """Returns the path of a checkpoint that ships with the package."""
    package = pathlib.Path(__file__).parents[1]
    # Installed, the folder is in the package; in a checkout, beside it.
    for folder in (package / "weights", package.parent / "weights"):
        if (folder / checkpoint.file).is_file():
            return folder / checkpoint.file
    raise FileNotFoundError(
        f"The weights {checkpoint.name!r} are missing at {package / 'weights' / checkpoint.file}. "
        "Install keras_nonlocal again."
    )


def check_weights_path(weights):
    """Raises unless `weights` is a file that Keras can load into a model."""
    path = pathlib.Path(weights if isinstance(weights, (str, os.PathLike)) else "")
    if not path.is_file() or not path.name.endswith((".weights.h5", ".keras", ".weights.json")):
        like = difflib.get_close_matches(str(weights), CHECKPOINTS, n=3, cutoff=0.6)
        hint = f" Names like it: {', '.join(map(repr, like))}." if like else ""
        if path.is_file():
            hint = " Files of other implementations go through keras_nonlocal.load_checkpoint."
        raise ValueError(
            "`weights` must be None, 'imagenet', a name of keras_nonlocal.list_weights() such as "
            "'camera_motion' or 'nl_i3d_r50_8x8.kinetics400_vnl', or an existing .weights.h5 or "
            f".keras file. Received: weights={str(weights)!r}.{hint}"
        )

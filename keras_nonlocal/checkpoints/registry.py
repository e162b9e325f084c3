"""The published checkpoints: one row of `published.csv` each, and those of images."""

import ast
import csv
import dataclasses
import difflib
import hashlib
import os
import pathlib
import types

from keras_nonlocal.models.config import KINDS, ResNet3DConfig
from keras_nonlocal.preprocessing import kinetics400_classes


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A published set of weights.

    Attributes:
        name: the value of `weights=`.
        builder: name of the builder of its network; `None` for files that no builder loads,
            whose `note` says what they are for.
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
        licence: SPDX identifier.
        top1: published accuracy in percent.
        top5: published top-5 accuracy; `None` if it was not published.
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
    licence: str
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
    base_url: str
    licence: str
    test: str
    # Hash whose first eight digits end the names of files; `None`: they do not.
    algorithm: str | None = None


_META = "https://dl.fbaipublicfiles.com"
_VIEWS = "30 views (10 clips x 3 crops of 256)"
_PUBLISHERS = {
    "vnl": _Publisher(
        "video-nonlocal-net",
        f"{_META}/video-nonlocal/",
        "CC-BY-NC-4.0",
        f"{_VIEWS}, fully convolutional",
    ),
    "psf": _Publisher(
        "pyslowfast", f"{_META}/pyslowfast/model_zoo/kinetics400/", "Apache-2.0", _VIEWS
    ),
    "ptv": _Publisher(
        "pytorchvideo", f"{_META}/pytorchvideo/model_zoo/kinetics/", "Apache-2.0", _VIEWS
    ),
    "mma": _Publisher(
        "mmaction2",
        "https://download.openmmlab.com/mmaction/v1.0/recognition/",
        "Apache-2.0",
        _VIEWS,
        "sha256",
    ),
    "gcv": _Publisher(
        "gluoncv",
        "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/torch/models/",
        "Apache-2.0",
        "30 views (10 clips x 3 crops)",
        "sha1",
    ),
}
# The name of this file repeats the hash of another one, the network without non-local blocks.
_CHECKSUM_UNKNOWN = ("nl_slowonly_r50_8x8.kinetics400_mma",)


def _read_rows():
    """Returns the records of the weights that were trained on Kinetics-400."""
    path = pathlib.Path(__file__).with_name("published.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return [_make_record(**row) for row in csv.DictReader(file)]


def _make_record(name, builder, depth, clip, top1, top5, file, arguments, note):
    publisher = _PUBLISHERS[name.rpartition("_")[2]]
    path, test, checksum = file, publisher.test, None
    if publisher.source == "mmaction2":
        # Files are in folders of their own names, without date and hash.
        path = f"{file.partition('_')[0]}/{file.rpartition('_')[0]}/{file}"
        test = test.replace("256", "224") if builder == "C2D" else test
    if publisher.algorithm and name not in _CHECKSUM_UNKNOWN:
        checksum = (publisher.algorithm, file.removesuffix(".pth")[-8:])
    given = {"depth": int(depth), "clip": clip, "source": publisher.source}
    return Checkpoint(
        name=name,
        builder=builder,
        arguments=types.MappingProxyType(given | ast.literal_eval(arguments or "{}")),
        path=path,
        base_url=publisher.base_url,
        checksum=checksum,
        source=publisher.source,
        clip=clip,
        crop=224,
        short_side=256,
        classes=400,
        class_names=kinetics400_classes(),
        licence=publisher.licence,
        top1=float(top1),
        top5=float(top5) if top5 else None,
        test=test,
        note=note,
    )


def _image_row(name, publisher, file, top1, top5, test, note):
    """Returns the record of an image network, from which video networks start."""
    return Checkpoint(
        name=name,
        builder=None,
        arguments=types.MappingProxyType({}),
        path=file,
        base_url=publisher.base_url,
        checksum=None,
        source=publisher.source,
        clip=None,
        crop=224,
        short_side=256,
        classes=1000,
        class_names=(),
        licence=publisher.licence,
        top1=top1,
        top5=top5,
        test=test,
        note=note,
    )


_ROWS = (
    Checkpoint(
        name="camera_motion",
        builder="NLI3D",
        arguments=types.MappingProxyType(
            {
                "depth": (1, 1, 1, 1),
                "width": 16,
                "clip": "8x2",
                "input_shape": (8, 64, 64, 3),
                "classes": 9,
                "dropout": 0.2,
            }
        ),
        path="camera_motion.weights.h5",
        base_url=None,
        checksum=None,
        source="video-nonlocal-net",
        clip="8x2",
        crop=64,
        short_side=73,
        classes=9,
        class_names=(
            "pan_left",
            "pan_right",
            "still",
            "tilt_down",
            "tilt_up",
            "turn_left",
            "turn_right",
            "zoom_in",
            "zoom_out",
        ),
        licence="Apache-2.0",
        top1=98.3,
        top5=None,
        test="single clips of 540 videos of unseen scenes",
        note="ships with the package; 99.6 % by nine views",
    ),
    *_read_rows(),
    _image_row(
        "resnet_r50_r101.imagenet_vnl",
        _PUBLISHERS["vnl"],
        "pretrained_model.tar.gz",
        None,
        None,
        "",
        "an archive: unpack it, give r50_pretrain_c2_model_iter450450_clean.pkl or its r101 "
        "sister to keras_nonlocal.inflate_weights, and affine_model_400k.pkl (an I3D with "
        "affine layers) to keras_nonlocal.load_checkpoint",
    ),
    _image_row(
        "resnet_r50.imagenet_psf",
        _PUBLISHERS["psf"],
        "R50_IN1K.pyth",
        76.4,
        93.2,
        "centre crops of images",
        "an image network: give it to keras_nonlocal.inflate_weights",
    ),
)
CHECKPOINTS = {checkpoint.name: checkpoint for checkpoint in _ROWS}


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


def digest(path, algorithm):
    """Returns the hash of a file in hexadecimal digits."""
    found = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def has_checksum(path, checkpoint):
    """Whether a file has the checksum that its publisher states, if there is one."""
    if checkpoint.checksum is None:
        return True
    algorithm, beginning = checkpoint.checksum
    return digest(path, algorithm).startswith(beginning)


def locate(checkpoint):
    """Returns the path of a checkpoint that ships with the package."""
    package = pathlib.Path(__file__).parents[1]
    # Installed, the folder lies in the package; in a checkout, beside it.
    for folder in (package / "weights", package.parent / "weights"):
        if (folder / checkpoint.file).is_file():
            return folder / checkpoint.file
    raise FileNotFoundError(
        f"The weights {checkpoint.name!r} should lie at {package / 'weights' / checkpoint.file}, "
        "but do not. Install keras_nonlocal again."
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

"""The checkpoints that builders load by name."""

import difflib
import hashlib
import os
import pathlib
import re
import types

from keras_nonlocal.checkpoints import published
from keras_nonlocal.checkpoints.record import Checkpoint
from keras_nonlocal.preprocessing import kinetics400_classes

_CAMERA_MOTION = Checkpoint(
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
)


def _kinetics400(publisher, short_name, path, top1, top5):
    """Makes the record of a row of `published.KINETICS400`."""
    network, depth, clip, variant = re.fullmatch(
        r"(.+?)_r(\d+)_(\d+x\d+)(?:_(.+))?", short_name
    ).groups()
    builder, arguments = published.NETWORKS[network]
    more_arguments, note = published.VARIANTS[variant] if variant else ({}, "")
    facts = published.PUBLISHERS[publisher]
    name = f"{short_name}.kinetics400_{publisher}"
    checksum = None
    if facts.algorithm and name not in published.CHECKSUM_UNKNOWN:
        checksum = (facts.algorithm, path.removesuffix(".pth")[-8:])
    arguments = {
        "depth": int(depth),
        "clip": clip,
        "source": facts.source,
        **arguments,
        **more_arguments,
    }
    return Checkpoint(
        name=name,
        builder=builder,
        arguments=types.MappingProxyType(arguments),
        path=path,
        base_url=facts.base_url,
        checksum=checksum,
        source=facts.source,
        clip=clip,
        crop=224,
        short_side=256,
        classes=400,
        class_names=kinetics400_classes(),
        licence=facts.licence,
        top1=top1,
        top5=top5,
        test=facts.tests.get(network, facts.tests[""]),
        note=note,
    )


def _imagenet(publisher, short_name, path, top1, top5, test, note):
    """Makes the record of a row of `published.IMAGENET`."""
    facts = published.PUBLISHERS[publisher]
    return Checkpoint(
        name=f"{short_name}.imagenet_{publisher}",
        builder=None,
        arguments=types.MappingProxyType({}),
        path=path,
        base_url=facts.base_url,
        checksum=None,
        source=facts.source,
        clip=None,
        crop=224,
        short_side=256,
        classes=1000,
        class_names=(),
        licence=facts.licence,
        top1=top1,
        top5=top5,
        test=test,
        note=note,
    )


def _records(make, rows):
    return [make(publisher, *row) for publisher, some in rows.items() for row in some]


CHECKPOINTS = {
    checkpoint.name: checkpoint
    for checkpoint in (
        _CAMERA_MOTION,
        *_records(_kinetics400, published.KINETICS400),
        *_records(_imagenet, published.IMAGENET),
    )
}


def list_weights():
    """Returns the records of all weights that are known by name.

    Builders load them with `weights=name`. What does not ship with the package is downloaded
    from its publisher and kept below Keras' home folder.

    Returns:
        List of `Checkpoint`.

    Example:

    >>> [c.name for c in keras_nonlocal.list_weights() if c.builder == "NLC2D"]
    ['nl_c2d_r50_32x2.kinetics400_vnl', 'nl_c2d_r50_8x8.kinetics400_vnl']
    """
    return list(CHECKPOINTS.values())


def find_file(path):
    """Gives the record whose file bears this name, or `None`."""
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
    """Gives the path of a checkpoint that ships with the package."""
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

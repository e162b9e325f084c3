"""The checkpoints that builders load by name."""

import dataclasses
import pathlib
import types


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One set of weights, with all that it takes to use them.

    Attributes:
        name: what `weights=` takes.
        builder: name of the builder whose network it fills.
        arguments: arguments of that builder, where they differ from its defaults.
        file: file name in the package's `weights` folder.
        class_names: names of the classes, in index order.
        source: whose mean and standard deviation the clips are normalised by.
        clip: frames x stride of the clips.
        crop: height and width of the clips, in pixels.
        short_side: short side that frames are resized to before the crop, in pixels.
        licence: SPDX identifier.
        accuracy: what was measured, on what.
    """

    name: str
    builder: str
    arguments: types.MappingProxyType
    file: str
    class_names: tuple[str, ...]
    source: str
    clip: str
    crop: int
    short_side: int
    licence: str
    accuracy: str


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
    file="camera_motion.weights.h5",
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
    source="video-nonlocal-net",
    clip="8x2",
    crop=64,
    short_side=73,
    licence="Apache-2.0",
    accuracy="98.3 % of single clips, 99.6 % by nine views, of 540 videos of unseen scenes",
)

CHECKPOINTS = {checkpoint.name: checkpoint for checkpoint in (_CAMERA_MOTION,)}


def list_weights():
    """Gives the records of all weights that builders load by name.

    Returns:
        List of `Checkpoint`.

    Example:

    >>> [checkpoint.name for checkpoint in keras_nonlocal.list_weights()]
    ['camera_motion']
    """
    return list(CHECKPOINTS.values())


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
    path = pathlib.Path(weights)
    if not path.is_file() or not path.name.endswith((".weights.h5", ".keras", ".weights.json")):
        raise ValueError(
            "`weights` must be None, a name of keras_nonlocal.list_weights() "
            f"({', '.join(map(repr, CHECKPOINTS))}), or an existing .weights.h5 or .keras file. "
            f"Received: weights={str(weights)!r}."
        )

"""What a client of an exported network must know; it travels inside the export."""

import dataclasses
import json
import re

import keras

from keras_nonlocal.implementations import IMPLEMENTATIONS, check_source
from keras_nonlocal.models.video_resnet import config_of, find_input, first_layer
from keras_nonlocal.preprocessing import preprocess_input


@dataclasses.dataclass(frozen=True)
class Facts:
    """From pixels to an exported network's input, from its output to names.

    Attributes:
        input_shape: of one example as the network takes it, `None` where sizes are free.
        dtype: of the network's input.
        output: `"probabilities"`, or `"scores"` of which no softmax was taken.
        class_names: in index order, or `None` if they are unknown.
        source: the implementation whose mean and standard deviation normalize the pixels, see
            `preprocess_input`. `None`: the range of the input is unknown, and exports take what
            the network takes.
        clip: frames x stride of the clips that it is meant for, such as "8x8", or `None`.
        short_side: pixels to which the shorter side of frames is resized before the middle is
            cut out, or `None` where the network has no fixed size.
        include_preprocessing: whether the network takes RGB pixels from 0 to 255 and normalizes
            them itself. `False`: its input is normalized before, as by `source`.
    """

    input_shape: tuple[int | None, ...]
    dtype: str = "float32"
    output: str = "probabilities"
    class_names: tuple[str, ...] | None = None
    source: str | None = None
    clip: str | None = None
    short_side: int | None = None
    include_preprocessing: bool = False

    def prepare(self, pixels):
        """Returns clips of RGB pixels from 0 to 255 as the network takes them."""
        return pixels if self.include_preprocessing else preprocess_input(pixels, self.source)

    def names_as_lines(self):
        """Gives the names of the classes as text, one a line, in index order."""
        return "".join(f"{name}\n" for name in self.class_names)

    def to_json(self):
        """Returns the facts as text, with the numbers of a normalization that clients must do."""
        facts = dataclasses.asdict(self)
        if self.source is not None and not self.include_preprocessing:
            implementation = IMPLEMENTATIONS[self.source]
            facts["normalization"] = {"mean": implementation.mean, "std": implementation.std}
        return json.dumps(facts, indent=1)

    @classmethod
    def from_json(cls, text):
        """Reads what `to_json` wrote."""
        facts = json.loads(text)
        facts.pop("normalization", None)
        names = facts["class_names"]
        facts["class_names"] = None if names is None else tuple(names)
        return cls(**{**facts, "input_shape": tuple(facts["input_shape"])})


def facts_of(model, input_shape, class_names=None, source=None, clip=None):
    """Returns the facts of a model: those of its configuration, unless they are given.

    Args:
        model: `keras.Model` of one input and one output.
        input_shape: of one example, as it is to be exported.
        class_names, source, clip: see `Facts`; `None`: those of the network in the model. Its
            source, and that it takes pixels, are those of the model only if no layer changes
            clips before the network.

    Returns:
        A `Facts`.

    Raises:
        ValueError: if there are not as many names as classes, if `clip` has other frames than the
            input, if the source is unknown, is not the network's, or is given for a model that
            takes no RGB clips of floats.
    """
    dtype = keras.backend.standardize_dtype(model.inputs[0].dtype)
    network = find_input(model)
    inside = network is not None and network.config.include_preprocessing
    first = network is not None and first_layer(model) is network
    own = network.normalization if first else None
    takes_pixels = first and inside
    takes_clips = (
        len(input_shape) == 4 and input_shape[-1] == 3 and (takes_pixels or "float" in dtype)
    )
    if source is not None:
        check_source("source", source)
        if inside and not first:
            raise ValueError(
                "`source` must be None for a model that normalizes its pixels behind other layers. "
                f"Received: source={source!r}. Leave it out."
            )
        if own not in (None, source):
            raise ValueError(
                f"`source` must be {own!r}, whose normalization the model has. Received: "
                f"source={source!r}. Leave it out."
            )
        if not takes_clips:
            raise ValueError(
                "`source` must be None but for models of RGB clips (frames, height, width, 3) of "
                f"floats. Received: source={source!r} for an input of shape {input_shape} and "
                f"type {dtype}. Leave it out."
            )
    if takes_clips:
        source = source or own
    height, width = input_shape[1:3] if takes_clips else (None, None)
    square = height is not None and height == width
    return Facts(
        input_shape=tuple(input_shape),
        # What computes in half precision is exported in float32.
        dtype="float32" if dtype in ("float16", "bfloat16") else dtype,
        output=_output_of(model),
        class_names=_class_names_of(model, class_names),
        source=source,
        clip=_clip_of(model, clip, input_shape[0] if takes_clips else None),
        short_side=_short_side_of(height) if source is not None and square else None,
        include_preprocessing=takes_pixels,
    )


def frames_of(clip):
    """Gives the number of frames of a clip such as "8x8", or `None` if it is none."""
    frames = re.fullmatch(r"(\d+)x\d+(@.+)?", clip) if isinstance(clip, str) else None
    return frames and int(frames[1])


def _clip_of(model, clip, frames):
    """Returns the clip that is given, or the network's, unless it has other numbers of frames."""
    network = config_of(model)
    given, clip = clip is not None, clip or (network and network.clip)
    if clip is None or (frames_of(clip) is not None and frames in (None, frames_of(clip))):
        return clip
    if given:
        rule = f"have the {frames} frames of the model's input"
        if frames_of(clip) is None:
            rule = "be frames x stride"
        raise ValueError(
            f"`clip` must {rule}. Received: clip={clip!r}. Pass for example clip='{frames or 8}x2'."
        )
    return None


def _short_side_of(size):
    from keras_nonlocal.transforms import short_sides_of

    return short_sides_of(size)[0]


def _class_names_of(model, names):
    given, classes = names is not None, model.output_shape[-1]
    network = config_of(model)
    names = names if given else network and network.class_names
    if names is None:
        return None
    usable = not isinstance(names, (str, dict)) and hasattr(names, "__iter__")
    listed = tuple(names) if usable else ()
    # Each takes a line of its own in what an export carries.
    lines = [name for name in listed if isinstance(name, str) and name.splitlines() == [name]]
    if len(lines) != classes or len(listed) != classes:
        if not given:
            # Those of a classifier that the user has replaced since.
            return None
        raise ValueError(
            f"`class_names` must be a list of one name, a text of one line, for each of the "
            f"{classes} classes of the model. Received: {names!r:.80}. "
            "keras_nonlocal.lists.classes.read_classes gives those of a file."
        )
    return listed


def _output_of(model):
    """Whether a softmax or a sigmoid stands behind the last weights."""
    for layer in reversed(model.layers):
        if isinstance(layer, keras.Model):
            return _output_of(layer)
        activation = getattr(layer, "activation", None)
        if isinstance(layer, keras.layers.Softmax):
            return "probabilities"
        if activation is not None and activation is not keras.activations.linear:
            name = getattr(activation, "__name__", "")
            return "probabilities" if name in ("softmax", "sigmoid") else "scores"
        if layer.weights:
            return "scores"
    return "scores"

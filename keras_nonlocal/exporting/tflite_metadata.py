"""Labels and preprocessing inside a TFLite file, where Android's tools look for them.

TFLite's own metadata are a second flatbuffer inside the model's, and the files that it names lie in
a zip archive appended to the whole: a model to an interpreter, an archive to `unzip`.
The package that defines them, tflite-support, is no longer kept up; its schema is, and the numbers
below are those of the fields in its `metadata_schema.fbs`, version 1.1.0.
"""

import dataclasses
import io
import zipfile

from keras_nonlocal.exporting.facts import Facts
from keras_nonlocal.implementations import IMPLEMENTATIONS

LABELS = "labels.txt"
FACTS = "facts.json"
_BUFFER = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
# Kinds of what is described.
_DESCRIPTION_FILE, _AXIS_LABELS = 1, 2
_IMAGE, _NORMALIZATION = 2, 1
_RGB = 1


def add_metadata(content, facts, name):
    """Adds to a TFLite file what its clients must know.

    Args:
        content: bytes of a TFLite file.
        facts: `Facts` of its network.
        name: of its network.

    Returns:
        Bytes of a TFLite file, which is also a zip archive of `facts.json` and, where the names of
        the classes are known, `labels.txt`, one a line.

    Example:

    >>> import io, zipfile
    >>> from keras_nonlocal.exporting.tflite import convert
    >>> inputs = keras.Input((4, 8, 8, 3), batch_size=1)
    >>> model = keras.Model(inputs, keras.layers.GlobalAveragePooling3D()(inputs))
    >>> content = convert(model)
    >>> facts = Facts((4, 8, 8, 3), class_names=("red", "green", "blue"))
    >>> content = add_metadata(content, facts, "mean_colour")
    >>> zipfile.ZipFile(io.BytesIO(content)).read("labels.txt")
    b'red\\ngreen\\nblue\\n'
    """
    from tensorflow.lite.python.schema_py_generated import BufferT, MetadataT
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(content)
    buffer, entry = BufferT(), MetadataT()
    buffer.data = _serialize(_describe(facts, name))
    entry.name, entry.buffer = _BUFFER, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    archive = io.BytesIO(flatbuffer_utils.convert_object_to_bytearray(model))
    with zipfile.ZipFile(archive, "a") as files:
        for file, text in _write_files(facts).items():
            # Without the time of day, so that the same export gives the same bytes.
            files.writestr(zipfile.ZipInfo(file), text)
    return archive.getvalue()


def read_facts(path):
    """Reads the facts of a TFLite file.

    Args:
        path: file that `add_metadata` completed, or any other.

    Returns:
        `Facts`, or `None` if the file holds none.
    """
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as files:
        if FACTS not in files.namelist():
            return None
        return Facts.from_json(files.read(FACTS).decode("utf-8"))


def _write_files(facts):
    files = {FACTS: facts.to_json()}
    if facts.class_names is not None:
        files[LABELS] = facts.names_as_lines()
    return files


@dataclasses.dataclass(frozen=True)
class _Table:
    """A table of the schema: values by the number of their field.

    A value is a string, a table, a list of either, a list of floats, or a byte; `ints` are 32 bits
    wide.
    """

    fields: dict[int, object]
    ints: bool = False


def _describe(facts, name):
    """The table ModelMetadata."""
    clip, answer = _describe_clip(facts), _describe_answer(facts)
    network = _Table({0: name, 2: [clip], 3: [answer]})
    known = _file(FACTS, "What the network takes and gives, as JSON", _DESCRIPTION_FILE)
    return _Table({0: name, 1: _describe_use(facts), 3: [network], 6: [known], 7: "1.0.0"})


def _describe_use(facts):
    parts = [f"Gives {facts.output} of a video's classes."]
    if facts.clip is not None:
        parts.append(f"Takes clips of {facts.clip} frames x stride.")
    if facts.short_side is not None:
        parts.append(
            f"Frames are resized to a shorter side of {facts.short_side} pixels, then cut to their "
            "middle."
        )
    return " ".join(parts)


def _describe_clip(facts):
    """The table TensorMetadata of the input."""
    fields = {0: "clip", 1: "Frames of a video, one clip at a time"}
    axes = {4: ["frames", "height", "width", "channels"], 3: ["height", "width", "channels"]}
    rank = len(facts.input_shape)
    if rank in axes:
        fields[2] = ["batch", *axes[rank]]
        colors = _Table({0: _RGB})
        # An image is the last three axes of the tensor; those before count images.
        images = _Table({0: rank - 2, 1: rank}, ints=True)
        fields[3] = _Table({0: _IMAGE, 1: colors, 2: images})
    if facts.source is not None:
        implementation = IMPLEMENTATIONS[facts.source]
        numbers = {0: list(implementation.mean), 1: list(implementation.std)}
        if facts.include_preprocessing:
            # By these, tools that ask for a normalization of floats pass pixels as they are.
            numbers = {0: [0.0] * 3, 1: [1.0] * 3}
        fields[4] = [_Table({0: _NORMALIZATION, 1: _Table(numbers)})]
    return _Table(fields)


def _describe_answer(facts):
    """The table TensorMetadata of the output."""
    fields = {0: facts.output, 1: "One value a class"}
    if facts.class_names is not None:
        fields[6] = [_file(LABELS, "Names of the classes in index order", _AXIS_LABELS)]
    return _Table(fields)


def _file(name, description, kind):
    return _Table({0: name, 1: description, 2: kind})


def _serialize(table):
    import flatbuffers

    builder = flatbuffers.Builder()
    builder.Finish(_put(builder, table), _IDENTIFIER)
    return bytes(builder.Output())


def _put(builder, value):
    """Writes a value that is stored elsewhere than in its table, and gives its place."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, list):
        if isinstance(value[0], float):
            builder.StartVector(4, len(value), 4)
            for number in reversed(value):
                builder.PrependFloat32(number)
        else:
            places = [_put(builder, one) for one in value]
            builder.StartVector(4, len(places), 4)
            for place in reversed(places):
                builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    places = {
        number: _put(builder, one)
        for number, one in value.fields.items()
        if not isinstance(one, int)
    }
    builder.StartObject(max(value.fields) + 1)
    for number, one in value.fields.items():
        if number in places:
            builder.PrependUOffsetTRelativeSlot(number, places[number], 0)
        elif value.ints:
            builder.PrependInt32Slot(number, one, 0)
        else:
            builder.PrependUint8Slot(number, one, 0)
    return builder.EndObject()

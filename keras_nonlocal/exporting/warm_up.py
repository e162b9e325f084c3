"""Requests that TF Serving runs when it loads a network, so that no client waits for the first.

They are protocol buffers of TF Serving, whose package is an extra. The few that are needed here
consist of strings and of one another alone, which is simple to write.
"""

import numpy as np

# Numbers of the fields in prediction_log.proto, predict.proto and model.proto.
_PREDICT_LOG, _REQUEST = 6, 1
_MODEL_SPEC, _INPUTS = 1, 2
_NAME, _SIGNATURE_NAME = 1, 3
_KEY, _VALUE = 1, 2


def write_warm_up(path, signatures, name, facts):
    """Writes one request for each signature: a clip of one gray.

    Where sizes are free, 8 frames of 64 x 64 stand for all. A network that does not take these
    gets no request, for one that fails keeps TF Serving from loading it.

    Args:
        path: file to write, TFRecords.
        signatures: dict of `tf.function`, each of one input signature.
        name: of the network, for the server's log.
        facts: `Facts` of the network.
    """
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, function in signatures.items():
            (spec,) = function.input_signature
            proto = _make_example(spec, facts)
            # Frames may be free where space is not; where it is resized, height and width may be.
            free = spec.shape[1:] if facts.short_side is None else spec.shape[1:2]
            if None in free and not _runs(function, proto):
                continue
            writer.write(_predict_log(name, signature, spec.name, proto))


def _make_example(spec, facts):
    """A `TensorProto` of one clip, which states its one value once."""
    import tensorflow as tf

    rank, short_side = spec.shape.rank, facts.short_side
    # As clients send them, wider than high and not yet cut.
    space = (64, 64) if short_side is None else (short_side, short_side * 4 // 3)
    free = (1, 8, *space, 3) if rank == 5 else (1, 8) if rank == 2 else (1, *(64,) * (rank - 1))
    shape = [size or usual for size, usual in zip(spec.shape, free, strict=True)]
    if spec.dtype == tf.string:
        picture = tf.io.encode_jpeg(np.full((*space, 3), 128, np.uint8))
        value = tf.make_tensor_proto(picture)
    else:
        pixels = spec.dtype.is_integer or facts.include_preprocessing
        value = tf.make_tensor_proto(128 if pixels else 0.5, spec.dtype)
    value.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return value


def _runs(function, proto):
    import tensorflow as tf

    try:
        function.get_concrete_function()(tf.constant(tf.make_ndarray(proto)))
    except tf.errors.OpError:
        return False
    return True


def _predict_log(name, signature, key, proto):
    spec = _message((_NAME, name.encode()), (_SIGNATURE_NAME, signature.encode()))
    entry = _message((_KEY, key.encode()), (_VALUE, proto.SerializeToString()))
    request = _message((_MODEL_SPEC, spec), (_INPUTS, entry))
    return _message((_PREDICT_LOG, _message((_REQUEST, request))))


def _message(*fields):
    """A protocol buffer of fields that have a length: strings and other messages."""
    return b"".join(_varint(number << 3 | 2) + _varint(len(part)) + part for number, part in fields)


def _varint(number):
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])

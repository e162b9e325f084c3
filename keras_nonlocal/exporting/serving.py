"""What clients of a served network send and get: pixels or JPEG frames in, classes out."""


def make_signatures(serve, output_shape, facts, top):
    """Gives the functions that a server offers, around the network alone.

    Args:
        serve: `tf.function` that is the network, of one input signature.
        output_shape: of what it gives, with the batch.
        facts: `Facts` of the network.
        top: how many classes to name.

    Returns:
        A `tf.function` that takes whatever clients send and tells it by its type, and a dict of
        those of one input signature, by name. None is traced yet: saving traces them in a context
        of its own, and would do it once more.

    Raises:
        ValueError: if the facts do not fit the network.
    """
    import tensorflow as tf

    (spec,) = serve.input_signature
    answer = _make_answer(output_shape, facts, top)
    if facts.source is None:
        prepare, specs = tf.identity, {"serving_default": spec}
    else:
        prepare, specs = _make_prepare(spec, facts)
    # The library of functions holds the network once, as `serve`, however many call it.
    classify = tf.function(lambda clips: answer(serve(prepare(clips)), top), autograph=False)
    signatures = {name: _bind(classify, wanted) for name, wanted in specs.items()}
    return classify, {**signatures, "network": _bind(lambda clips: answer(serve(clips), 0), spec)}


def _bind(function, spec):
    import tensorflow as tf

    return tf.function(lambda clips: function(clips), input_signature=[spec], autograph=False)


def _make_answer(output_shape, facts, top):
    """A function from what the network gives, and how many classes to name, to named outputs."""
    import tensorflow as tf

    if top < 1:
        raise ValueError(f"`top` must be at least 1. Received: top={top}. The default is 5.")
    classes = output_shape[-1] if len(output_shape) == 2 else None
    if classes is None:
        return lambda values, top: {"features": values}
    names = facts.class_names
    if names is not None and len(names) != classes:
        raise ValueError(
            "`facts.class_names` must have one name for each class of the network "
            f"({classes}). Received: {len(names)} names. Name them all, or none."
        )

    def answer(values, top):
        values = tf.cast(values, tf.float32)
        answers = {facts.output: values}
        if top:
            # Of equal values it takes the one of the lower index first.
            answers[f"top_{facts.output}"], indices = tf.math.top_k(values, min(top, classes))
            answers["top_indices"] = indices
            if names is not None:
                answers["top_classes"] = tf.gather(tf.constant(names), indices)
        return answers

    return answer


def _make_prepare(spec, facts):
    """A function from pixels or JPEG frames to what the network takes, and what it is sent."""
    import tensorflow as tf

    if spec.shape.rank != 5 or spec.shape[-1] != 3:
        raise ValueError(
            "`facts.source` must be None but for networks of RGB clips (frames, height, width, "
            f"3). Received: source={facts.source!r} for an input of shape "
            f"{tuple(spec.shape[1:])}. Clients are to send what the network takes."
        )
    frames, *sizes = spec.shape[1:4]
    fit = _make_fit(sizes, facts.short_side)
    pixels = (None, frames, *(sizes if fit is None else (None, None)), 3)

    def prepare(clips):
        # Servers do not check shapes: here the message is about what the client sent.
        if clips.dtype == tf.string:
            clips = _decode(tf.ensure_shape(clips, (None, frames)), fit, sizes)
        else:
            clips = tf.ensure_shape(clips, pixels)
            if fit is not None:
                clips = _for_each(fit, clips, (*sizes, 3), clips.dtype)
        clips = tf.ensure_shape(facts.prepare(clips), (None, frames, *sizes, 3))
        return tf.cast(clips, spec.dtype)

    specs = {
        "serving_default": tf.TensorSpec(pixels, tf.uint8, name="clips"),
        "float_pixels": tf.TensorSpec(pixels, tf.float32, name="clips"),
        "jpeg": tf.TensorSpec((None, frames), tf.string, name="frames"),
    }
    if spec.dtype.is_integer:
        del specs["float_pixels"]
    return prepare, specs


def _make_fit(sizes, short_side):
    """A function from a picture of any size to the one that the network takes, as in its tests.

    `None` where only the network's own sizes will do.
    """
    import tensorflow as tf

    if short_side is None or None in sizes or sizes[0] != sizes[1]:
        return None
    size = sizes[0]
    if short_side < size:
        raise ValueError(
            f"`facts.short_side` must not be below the network's size ({size}), which is cut out "
            f"of it. Received: short_side={short_side}. Published networks of 224 take 256."
        )

    def fit(picture):
        shape = tf.shape(picture)[:2]
        short = tf.reduce_min(shape)
        # Who sends the network's own size has cut already.
        wanted = tf.where(tf.reduce_all(shape == size), size, short_side)
        sides = shape * wanted // short
        picture = tf.cond(short == wanted, lambda: picture, lambda: _resize(picture, sides))
        top, left = tf.unstack((tf.shape(picture)[:2] - size) // 2)
        return picture[top : top + size, left : left + size]

    return fit


def _resize(picture, sides):
    import tensorflow as tf

    # As the decoder shrinks frames: `antialias` averages over all pixels of a large frame.
    resized = tf.image.resize(tf.cast(picture, tf.float32), sides, antialias=True)
    return tf.cast(tf.round(resized) if picture.dtype.is_integer else resized, picture.dtype)


def _decode(clips, fit, sizes):
    """Pixels `(batch, frames, height, width, 3)` of JPEG pictures `(batch, frames)`."""
    import tensorflow as tf

    shapes = _for_each(tf.io.extract_jpeg_shape, clips, (3,), tf.int32)[..., :2]
    # Where the sizes are free and nothing is resized, the clips of a batch have to be alike.
    alike = "a batch, where the network fixes no size," if None in sizes else "a clip"
    first = shapes[:1, :1] if None in sizes else shapes[:, :1]
    check = tf.debugging.assert_equal(
        shapes,
        tf.broadcast_to(first, tf.shape(shapes)),
        f"`frames` of {alike} must have one height and width. Send those of other sizes apart.",
    )

    def decode(picture):
        # TensorFlow's own choice is the faster, less exact way; other decoders take this one.
        pixels = tf.io.decode_jpeg(picture, channels=3, dct_method="INTEGER_ACCURATE")
        return pixels if fit is None else fit(pixels)

    with tf.control_dependencies([check]):
        return _for_each(decode, clips, (*sizes, 3), tf.uint8)


def _for_each(function, clips, shape, dtype):
    """Does something to each frame of a batch of clips, several at a time.

    Of large frames, only what is left of them takes room.
    """
    import tensorflow as tf

    given = tf.shape(clips)
    pictures = tf.reshape(clips, tf.concat([[-1], given[2:]], 0))

    def apply(picture):
        return tf.ensure_shape(function(picture), shape)

    done = tf.map_fn(apply, pictures, fn_output_signature=tf.TensorSpec(shape, dtype))
    return tf.reshape(done, tf.concat([given[:2], tf.shape(done)[1:]], 0))

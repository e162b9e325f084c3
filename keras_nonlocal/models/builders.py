"""The public networks, as calls with numbers."""

from keras_nonlocal.models.assembly import build_network

_FLAT = {"inflation": None, "inflated": None}


def C2D(
    depth=50,
    weights=None,
    clip="8x8",
    input_shape=None,
    classes=400,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source="video-nonlocal-net",
    width=64,
    name=None,
    pool2=True,
    frozen_norm=False,
    dropout=0.5,
):
    """Builds C2D: a 2-D ResNet over frames, which meets time in two max-poolings alone.

    The baseline of the paper, and a first network where motion matters little.

    Args:
        depth: 50, 101, or four block counts for a network of one's own.
        weights: a name of `keras_nonlocal.list_weights()`, which is downloaded once if it does
            not ship; "imagenet" to begin with the image weights of `keras.applications` (depth
            50 or 101, follows `source="keras-applications"`); a path for `Model.load_weights`;
            or `None`. A name also fixes every argument that is left at its default; other
            `classes` than the checkpoint's start the classifier anew.
        clip: frames x stride of the clips that the network is meant for. It fixes the steps
            over frames: 32 frames or more at stride 1 or 2 are thinned by four in the stem
            where the authors' layer list is followed.
        input_shape: `(frames, height, width, channels)`; sizes may be `None`. `None`: the
            frames of `clip` at 224x224, RGB.
        classes: number of classes.
        include_top: `False` leaves out the head.
        pooling: without the head, `"avg"` or `"max"` over all places of all frames, or
            `None` for the 5-D map.
        classifier_activation: of the head; `None` for logits. Above 224x224 the head gives
            the mean over the places of its 7x7 window.
        source: whose layer list to follow, one of "video-nonlocal-net", "pyslowfast",
            "pytorchvideo", "mmaction2", "gluoncv": they differ in padding, pooling and steps
            over frames. "torchvision" and "keras-applications" follow these image networks,
            to begin with their weights.
        width: channels of the stem.
        name: name of the model.
        pool2: whether a max-pooling after stage 2 halves the frames.
        frozen_norm: `True` for affine layers in place of batch norm, as the authors train
            long clips; non-local blocks then have no norm.
        dropout: share of features dropped before the classifier in training.

    Returns:
        A functional `keras.Model` from clips, normalised by `source`'s mean and standard
        deviation, to `(batch, classes)`, or to features without the head.

    Raises:
        ValueError: on arguments outside these rules.

    Example:

    >>> model = keras_nonlocal.C2D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> model.output_shape
    (None, 400)

    Reference:
        - Table 1 of [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return build_network(C2D, locals(), **_FLAT, non_local=(), mode="embedded_gaussian")


def I3D(
    depth=50,
    weights=None,
    clip="8x8",
    input_shape=None,
    classes=400,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source="video-nonlocal-net",
    width=64,
    name=None,
    inflation="3x1x1",
    inflated=None,
    pool2=True,
    frozen_norm=False,
    dropout=0.5,
):
    """Builds I3D: C2D with every other block's convolution inflated to three frames.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, source, width, name, pool2, frozen_norm, dropout: as in
            `C2D`.
        inflation: which kernel spans three frames: `"3x1x1"` the first 1x1 of a block,
            `"3x3x3"` its 3x3.
        inflated: which blocks do so: `None` every other one, "all", "late" for stages 4 and 5
            whole (as in the slow path of SlowFast networks), or `(stage, block)` places. The
            stem spans five frames if a block of stage 2 spans three.

    Returns:
        A functional `keras.Model`, as `C2D`.

    Raises:
        ValueError: on arguments outside these rules.

    Example:

    >>> model = keras_nonlocal.I3D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> model.get_layer("res2_0_a_conv").kernel.shape
    TensorShape([3, 1, 1, 16, 16])

    Reference:
        - Section 3.3 and Table 2e of
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return build_network(I3D, locals(), non_local=(), mode="embedded_gaussian")


def NLC2D(
    depth=50,
    weights=None,
    clip="8x8",
    input_shape=None,
    classes=400,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source="video-nonlocal-net",
    width=64,
    name=None,
    non_local=5,
    mode="embedded_gaussian",
    pool2=True,
    frozen_norm=False,
    dropout=0.5,
):
    """Builds the non-local C2D: motion reaches it through non-local blocks alone.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, source, width, name, pool2, frozen_norm, dropout: as in
            `C2D`.
        non_local: 1, 5 or 10 non-local blocks where the paper puts them, or a list of
            `(stage, block)` places with stages from 2 to 5 and blocks from 0.
        mode: pairwise function of these blocks, see `NonLocal3D`.

    Returns:
        A functional `keras.Model`, as `C2D`.

    Raises:
        ValueError: on arguments outside these rules.

    Example:

    >>> model = keras_nonlocal.NLC2D(
    ...     depth=(1, 2, 2, 1), width=16, input_shape=(8, 64, 64, 3), non_local=[(3, 1), (4, 1)]
    ... )
    >>> model.get_layer("res4_1_nonlocal").mode
    'embedded_gaussian'

    Reference:
        - Section 3.3 and Table 2c of
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return build_network(NLC2D, locals(), **_FLAT)


def NLI3D(
    depth=50,
    weights=None,
    clip="8x8",
    input_shape=None,
    classes=400,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source="video-nonlocal-net",
    width=64,
    name=None,
    non_local=5,
    mode="embedded_gaussian",
    inflation="3x1x1",
    inflated=None,
    pool2=True,
    frozen_norm=False,
    dropout=0.5,
):
    """Builds the non-local I3D, the most accurate network of the paper.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, source, width, name, pool2, frozen_norm, dropout: as in
            `C2D`.
        non_local, mode: as in `NLC2D`.
        inflation, inflated: as in `I3D`.

    Returns:
        A functional `keras.Model`, as `C2D`.

    Raises:
        ValueError: on arguments outside these rules.

    Example:

    >>> model = keras_nonlocal.NLI3D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> [layer.name for layer in model.layers if "nonlocal" in layer.name]
    ['res3_0_nonlocal', 'res4_0_nonlocal']

    Reference:
        - Section 3.3 and Table 2f of
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return build_network(NLI3D, locals())

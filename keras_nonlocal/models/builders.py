"""The public networks, as calls with numbers."""

from keras_nonlocal.models.assembly import build_network

_FLAT = {"inflation": None, "inflated": None}


def C2D(
    depth=None,
    weights=None,
    clip=None,
    input_shape=None,
    classes=None,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source=None,
    width=None,
    name=None,
    dropout=None,
    pool2=None,
    frozen_norm=None,
    input_tensor=None,
):
    """Builds C2D, a frame-wise 2-D ResNet whose only temporal operations are two max-poolings.

    The baseline of the paper, and a first network where motion matters little.

    Args:
        depth: 50, 101, or four block counts for a network of your own. Here and below, `None`
            stands for the value of the weights, and without weights for the default, 50.
        weights: a name of `keras_nonlocal.list_weights()`, which is downloaded once if it does
            not ship; "imagenet" to begin with the image weights of `keras.applications` (depth
            50 or 101, `source="keras-applications"`); the path of a .weights.h5 or .keras file,
            built with the same arguments, where the others are as without weights; or `None` for
            random values.
            With a name, these arguments may differ from the published network: `input_shape`,
            `input_tensor`, `classes` (the classifier starts anew), `include_top`, `pooling`,
            `classifier_activation`, `name`, `dropout`. Any other one that differs is an error.
        clip: frames x stride of the clips that the network is meant for (default: "8x8"). It
            fixes the steps over frames: where the authors' layer list is followed, the stem
            thins 32 frames or more at stride 1 or 2 by four.
        input_shape: `(frames, height, width, channels)`; sizes may be `None`. `None`: the
            frames of `clip` at 224x224, RGB, or the size of the published network.
        classes: number of classes (default: 400).
        include_top: `False` leaves out the head.
        pooling: without the head, `"avg"` or `"max"` over all positions of all frames, or
            `None` for the 5-D map.
        classifier_activation: of the head; `None` for logits. Above 224x224 the head returns
            the mean over the positions of its 7x7 window.
        source: the implementation to follow, one of "video-nonlocal-net" (default),
            "pyslowfast", "pytorchvideo", "mmaction2", "gluoncv": they differ in padding,
            pooling and steps over frames. "torchvision" and "keras-applications" follow these
            image networks, to begin with their weights.
        width: channels of the stem (default: 64).
        name: name of the model.
        dropout: share of features dropped before the classifier in training (default: 0.5);
            0 for none.
        pool2: whether a max-pooling after stage 2 halves the frames (default: `True`).
        frozen_norm: `True` for affine layers in place of batch norm, as the authors train
            long clips; non-local blocks then have no norm (default: `False`).
        input_tensor: output of `keras.Input` or of another layer to build on, of shape
            `(batch, frames, height, width, channels)`. The model then begins at the inputs of
            that tensor.

    Returns:
        A functional `keras.Model` from clips, normalised by `source`'s mean and standard
        deviation, to `(batch, classes)`, or to features without the head.

    Raises:
        ValueError: if an argument is outside these rules, or contradicts the weights.

    Example:

    >>> model = keras_nonlocal.C2D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> model.output_shape
    (None, 400)

    Reference:
        - Table 1 of [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return build_network(C2D, locals(), **_FLAT, non_local=(), mode="embedded_gaussian")


def I3D(
    depth=None,
    weights=None,
    clip=None,
    input_shape=None,
    classes=None,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source=None,
    width=None,
    name=None,
    dropout=None,
    pool2=None,
    frozen_norm=None,
    inflation=None,
    inflated=None,
    input_tensor=None,
):
    """Builds I3D: C2D with every other block's convolution inflated to three frames.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, source, width, name, dropout, pool2, frozen_norm,
            input_tensor: as in `C2D`.
        inflation: which kernel spans three frames: `"3x1x1"` the first 1x1 of a block
            (default), `"3x3x3"` its 3x3.
        inflated: which blocks do so: "all", "late" for stages 4 and 5 whole (as in the slow
            path of SlowFast networks), or `(stage, block)` pairs. `None`: as the weights say,
            and without weights every other block. The stem spans five frames if a block of
            stage 2 spans three.

    Returns:
        A functional `keras.Model`, as `C2D`.

    Raises:
        ValueError: if an argument is outside these rules, or contradicts the weights.

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
    depth=None,
    weights=None,
    clip=None,
    input_shape=None,
    classes=None,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source=None,
    width=None,
    name=None,
    dropout=None,
    pool2=None,
    frozen_norm=None,
    non_local=None,
    mode=None,
    input_tensor=None,
):
    """Builds C2D with non-local blocks, its only learned temporal operations.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, source, width, name, dropout, pool2, frozen_norm,
            input_tensor: as in `C2D`.
        non_local: 1, 5 or 10 non-local blocks where the paper puts them (default: 5), or a
            list of `(stage, block)` pairs with stages from 2 to 5 and blocks from 0.
        mode: pairwise function of these blocks, see `NonLocal3D` (default:
            "embedded_gaussian").

    Returns:
        A functional `keras.Model`, as `C2D`.

    Raises:
        ValueError: if an argument is outside these rules, or contradicts the weights.

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
    depth=None,
    weights=None,
    clip=None,
    input_shape=None,
    classes=None,
    include_top=True,
    pooling=None,
    classifier_activation="softmax",
    source=None,
    width=None,
    name=None,
    dropout=None,
    pool2=None,
    frozen_norm=None,
    non_local=None,
    mode=None,
    inflation=None,
    inflated=None,
    input_tensor=None,
):
    """Builds the non-local I3D, the most accurate network of the paper.

    Args:
        depth, weights, clip, input_shape, classes, include_top, pooling,
            classifier_activation, source, width, name, dropout, pool2, frozen_norm,
            input_tensor: as in `C2D`.
        non_local, mode: as in `NLC2D`.
        inflation, inflated: as in `I3D`.

    Returns:
        A functional `keras.Model`, as `C2D`.

    Raises:
        ValueError: if an argument is outside these rules, or contradicts the weights.

    Example:

    >>> model = keras_nonlocal.NLI3D(depth=(1, 1, 1, 1), width=16, input_shape=(8, 64, 64, 3))
    >>> [layer.name for layer in model.layers if "nonlocal" in layer.name]
    ['res3_0_nonlocal', 'res4_0_nonlocal']

    Reference:
        - Section 3.3 and Table 2f of
          [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """
    return build_network(NLI3D, locals())

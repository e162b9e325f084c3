"""The one graph that all networks of this package are: stem, bottleneck stages, head."""

import keras

from keras_nonlocal.layers import (
    BatchNormalization,
    Conv3D,
    Dropout,
    MaxPooling3D,
    NonLocal3D,
    SlidingAverage,
)


def build_backbone(architecture, inputs):
    """Applies the network up to its last stage.

    Args:
        architecture: an `Architecture`.
        inputs: Keras tensor of shape `(batch, frames, height, width, 3)`.

    Returns:
        Keras tensor of shape `(batch, frames, height, width, 32 * width)`.
    """
    facts = architecture
    x = _conv_norm(
        facts,
        inputs,
        facts.width,
        (facts.stem_frames, 7, 7),
        (facts.stem_strides[0], 2, 2),
        "conv1",
    )
    x = keras.layers.Activation("relu", name="conv1_relu")(x)
    x = MaxPooling3D(
        (facts.pool1_frames, 3, 3),
        (facts.stem_strides[1], 2, 2),
        (0, facts.pool1_padding, facts.pool1_padding),
        name="pool1",
    )(x)
    for stage, count in zip((2, 3, 4, 5), facts.blocks, strict=True):
        for block in range(count):
            x = _bottleneck(facts, x, stage, block)
            if (stage, block) in facts.non_local:
                x = NonLocal3D(
                    **dict(facts.non_local_options),
                    frames_per_group=dict(facts.frames_per_group).get(stage),
                    name=f"res{stage}_{block}_nonlocal",
                )(x)
        if stage == 2 and facts.pool2:
            x = MaxPooling3D((2, 1, 1), (2, 1, 1), name="pool2")(x)
    return x


def _bottleneck(facts, x, stage, block):
    """1x1, 3x3, 1x1, and the shortcut; one kernel strides, one is inflated where it is due."""
    name = f"res{stage}_{block}"
    inner = facts.width * 2 ** (stage - 2)
    stride = 2 if block == 0 and stage > 2 else 1
    stride_a, stride_b = (stride, 1) if facts.stride_kernel == "a" else (1, stride)
    frames_a = frames_b = 1
    if (stage, block) in facts.inflated:
        frames_a, frames_b = (3, 1) if facts.inflation == "3x1x1" else (1, 3)

    y = _conv_norm(facts, x, inner, (frames_a, 1, 1), (1, stride_a, stride_a), f"{name}_a")
    y = keras.layers.Activation("relu", name=f"{name}_a_relu")(y)
    y = _conv_norm(facts, y, inner, (frames_b, 3, 3), (1, stride_b, stride_b), f"{name}_b")
    y = keras.layers.Activation("relu", name=f"{name}_b_relu")(y)
    # A zero gamma starts each block as its shortcut, as the authors do.
    y = _conv_norm(facts, y, 4 * inner, 1, 1, f"{name}_c", gamma_initializer="zeros")
    if block == 0:
        x = _conv_norm(facts, x, 4 * inner, 1, (1, stride, stride), f"{name}_shortcut")
    x = keras.layers.Add(name=f"{name}_add")([y, x])
    return keras.layers.Activation("relu", name=f"{name}_out")(x)


def _conv_norm(facts, x, filters, kernel_size, strides, name, gamma_initializer="ones"):
    x = Conv3D(
        filters,
        kernel_size,
        strides,
        kernel_initializer=facts.kernel_initializer or "he_normal",
        name=f"{name}_conv",
    )(x)
    return BatchNormalization(
        frozen=facts.frozen_norm, gamma_initializer=gamma_initializer, name=f"{name}_norm"
    )(x)


def build_head(architecture, x, classes, classifier_activation, dropout):
    """Applies the classifier at each position of a 7x7 window, and takes the mean over them.

    At the training size there is one position. On larger maps this is how the authors test
    whole frames: softmax at each place, then the mean. Sources that average the whole map
    have one position at any size.
    """
    x = SlidingAverage(architecture.head_window, name="average")(x)
    if dropout:
        x = Dropout(dropout, name="dropout")(x)
    # Under a mixed policy probabilities and logits stay in the precision of the variables.
    dtype = keras.config.dtype_policy().variable_dtype
    x = keras.layers.Dense(
        classes,
        activation=classifier_activation,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype=dtype,
        name="predictions",
    )(x)
    return keras.layers.GlobalAveragePooling2D(
        data_format="channels_last", name="places", dtype=dtype
    )(x)

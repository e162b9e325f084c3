"""NL-I3D R50 out of Keras' own layers, as a careful user without this package would write it."""

import keras
from keras import layers, ops


def nl_i3d_r50(input_shape, places):
    """Builds the network with logits for 400 classes and non-local blocks after `places`."""
    inputs = keras.Input(input_shape)
    x = layers.ZeroPadding3D((2, 3, 3))(inputs)
    x = conv_norm(x, 64, (5, 7, 7), (1, 2, 2), padding="valid")
    x = layers.ReLU()(x)
    x = layers.ZeroPadding3D((0, 1, 1))(x)
    x = layers.MaxPooling3D((1, 3, 3), (1, 2, 2))(x)
    for stage, blocks in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True):
        for block in range(blocks):
            inflated = stage == 2 or block % 2 == (1 if stage == 5 else 0)
            x = bottleneck(x, 2 ** (stage + 4), 2 if block == 0 and stage > 2 else 1, inflated)
            if (stage, block) in places:
                x = non_local(x)
        if stage == 2:
            x = layers.MaxPooling3D((2, 1, 1))(x)
    x = layers.GlobalAveragePooling3D()(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(400, dtype="float32")(x))


def conv_norm(x, filters, kernel_size, strides=1, padding="same"):
    x = layers.Conv3D(filters, kernel_size, strides, padding, use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def bottleneck(x, width, stride, inflated):
    y = layers.ReLU()(conv_norm(x, width, (3, 1, 1) if inflated else 1))
    if stride == 2:
        y = layers.ZeroPadding3D((0, 1, 1))(y)
        y = conv_norm(y, width, (1, 3, 3), (1, 2, 2), padding="valid")
    else:
        y = conv_norm(y, width, (1, 3, 3))
    y = conv_norm(layers.ReLU()(y), 4 * width, 1)
    if x.shape[-1] != 4 * width:
        x = conv_norm(x, 4 * width, 1, (1, stride, stride))
    return layers.ReLU()(layers.Add()([x, y]))


def non_local(x):
    _, frames, height, width, channels = x.shape
    pooled = layers.MaxPooling3D((1, 2, 2))(x)
    theta = layers.Reshape((-1, channels // 2))(layers.Conv3D(channels // 2, 1)(x))
    phi = layers.Reshape((-1, channels // 2))(layers.Conv3D(channels // 2, 1)(pooled))
    g = layers.Reshape((-1, channels // 2))(layers.Conv3D(channels // 2, 1)(pooled))
    weights = ops.matmul(theta, ops.transpose(phi, (0, 2, 1))) * (channels // 2) ** -0.5
    y = ops.matmul(ops.softmax(weights), g)
    y = layers.Reshape((frames, height, width, channels // 2))(y)
    y = layers.Conv3D(channels, 1)(y)
    return layers.Add()([x, layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(y)])

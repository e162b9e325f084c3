"""The network of C2D, I3D and their non-local forms: stem, bottleneck stages, head."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_nonlocal import preprocessing
from keras_nonlocal.layers import (
    BatchNormalization,
    Conv3D,
    Dropout,
    MaxPooling3D,
    NonLocal3D,
    SlidingWindowAveragePooling,
)
from keras_nonlocal.models.config import ResNet3DConfig, parse_clip


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class VideoInput(keras.layers.Layer):
    """First layer of a video network: normalizes pixels, and holds the network's configuration.

    The configuration is saved, copied and cloned with this layer, and so with any model around it.

    Args:
        config: a `ResNet3DConfig`, or its `to_dict()`.

    Input shape:
        `(batch, frames, height, width, channels)`. With `config.include_preprocessing` RGB from
        0 to 255, otherwise normalized clips.

    Output shape:
        That of the input. Pixels are normalized in float32 under any dtype policy.
    """

    def __init__(self, config, **kwargs):
        # Half precision does not hold all pixels of 8 bits once their mean is subtracted.
        super().__init__(autocast=False, **kwargs)
        self.config = config if isinstance(config, ResNet3DConfig) else ResNet3DConfig(**config)

    def call(self, clips):
        if not self.config.include_preprocessing:
            return clips
        normalized = preprocessing.preprocess_input(clips, self.normalization)
        return ops.cast(normalized, self.compute_dtype)

    @property
    def normalization(self):
        """The implementation whose mean and standard deviation normalize the pixels."""
        return self.config.normalization or self.config.source

    def get_config(self):
        return {**super().get_config(), "config": self.config.to_dict()}

    # Loaded weights may be normalized by another implementation than `source`, which files of
    # weights alone must tell.
    def save_own_variables(self, store):
        store["normalization"] = np.frombuffer(self.normalization.encode(), "uint8")

    def load_own_variables(self, store):
        if "normalization" in store.keys():
            stored = bytes(np.asarray(store["normalization"])).decode()
            self.config = dataclasses.replace(self.config, normalization=stored)


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class VideoResNet(keras.Model):
    """A video network that carries its configuration.

    `C2D`, `I3D`, `NLC2D`, `NLI3D` and `load_checkpoint` return it. The configuration survives
    saving and loading, `keras.models.clone_model`, `copy.deepcopy`, pickling and
    `insert_non_local`.

    Args:
        inputs: Keras tensor of clips, `(batch, frames, height, width, channels)`.
        outputs: Keras tensor that the layers of the network, a `VideoInput` first, make of it.
        name: name of the model.

    Example:

    >>> model = keras_nonlocal.C2D(depth=(1, 1, 1, 1), width=8, classes=3)
    >>> model.clip, model.config["width"]
    ('8x8', 8)
    """

    # These arguments, so that Keras takes the class for a functional one.
    def __init__(self, inputs, outputs, name=None, **kwargs):
        super().__init__(inputs, outputs, name=name, **kwargs)

    @property
    def config(self):
        """The configuration as a dictionary of JSON values, see `ResNet3DConfig`.

        It describes the network as it was built. Blocks that `insert_non_local` added are layers
        of the model, and of `get_config()`, alone.
        """
        return config_of(self).to_dict()

    @property
    def source(self):
        """The implementation that the layers follow, such as "video-nonlocal-net"."""
        return config_of(self).source

    @property
    def normalization(self):
        """The implementation whose mean and standard deviation normalize pixels."""
        return find_input(self).normalization

    @property
    def clip(self):
        """Frames x stride of the clips that the network is meant for, such as "8x8"."""
        return config_of(self).clip

    @property
    def class_names(self):
        """Names of the classes in index order, a tuple; `None` if they are unknown."""
        return config_of(self).class_names

    @class_names.setter
    def class_names(self, names):
        if names is not None:
            names = preprocessing.check_class_names(names, self.output_shape[-1])
        change_config(self, class_names=names)

    def decode_predictions(self, probabilities, top=5):
        """Returns the most probable classes by name, see `decode_predictions`."""
        return preprocessing.decode_predictions(probabilities, top, self.class_names)


def find_input(model):
    """Returns the `VideoInput` of a model or of the models inside it; `None` if there is none."""
    for layer in getattr(model, "layers", ()):
        found = layer if isinstance(layer, VideoInput) else find_input(layer)
        if found is not None:
            return found
    return None


def config_of(model):
    """Returns the `ResNet3DConfig` of a network, or of the one inside a model; `None` if none."""
    found = find_input(model)
    return None if found is None else found.config


def takes_pixels(model):
    """Returns whether a model takes pixels; `False` for normalized clips, `None` if unknown.

    It is unknown without a network of this package, or with other layers before it.
    """
    network = find_input(model)
    if network is None or first_layer(model) is not network:
        return None
    return network.config.include_preprocessing


def first_layer(model):
    """Returns the layer or operation, of a model or of one inside it, that takes its input."""
    # Layers alone where there are no operations: sequential models.
    steps = getattr(model, "operations", model.layers)
    first = next((step for step in steps if not isinstance(step, keras.layers.InputLayer)), None)
    return first_layer(first) if isinstance(first, keras.Model) else first


def check_pixels(argument, model, dtype):
    """Raises if clips of integers, which are pixels, are passed to a model of normalized clips."""
    if takes_pixels(model) is False and "float" not in str(dtype):
        raise ValueError(
            f"`{argument}` must be normalized for a network with include_preprocessing=False. "
            f"Received: clips of {dtype}. Build the network with include_preprocessing=True, or "
            "map `keras_nonlocal.preprocess_input` over the dataset."
        )


def clip_of(model):
    """Returns the clip of a network, unless its input has other frames; `None` if there is none."""
    config = config_of(model)
    frames = model.input_shape[1]
    if config is None or frames not in (None, parse_clip(config.clip)[0]):
        return None
    return config.clip


def change_config(model, **fields):
    """Changes fields of the configuration of a network.

    What was compiled is compiled again, as the normalization of pixels may be another.
    """
    layer = find_input(model)
    layer.config = dataclasses.replace(layer.config, **fields)
    model.train_function = model.test_function = model.predict_function = None


def build_network(config, name=None, inputs=None, initialize=True):
    """Builds the network of a configuration.

    Args:
        config: `ResNet3DConfig`.
        name: name of the model. `None`: that of the builder, in small letters.
        inputs: Keras tensor to build on, of `config.input_shape`; `None`: a new one.
        initialize: whether kernels get random values. `False` if values are assigned next: on
            JAX drawing them takes most of the time.

    Returns:
        A `VideoResNet`.
    """
    graph = _Graph(config, initialize)
    tensor = keras.Input(config.input_shape, name="clip") if inputs is None else inputs
    x = graph.backbone(tensor)
    if config.include_top:
        x = graph.head(x)
    elif config.pooling == "avg":
        x = keras.layers.GlobalAveragePooling3D("channels_last", name="avg_pool")(x)
    elif config.pooling == "max":
        x = keras.layers.GlobalMaxPooling3D("channels_last", name="max_pool")(x)
    # Other layers may have made the tensor, which then are part of the model.
    sources = keras.utils.get_source_inputs(tensor)
    sources = sources[0] if len(sources) == 1 else sources
    return VideoResNet(sources, x, name=name or config.kind.lower())


class _Graph:
    """Applies the layers of a network."""

    def __init__(self, config, initialize):
        self.config, self.initialize = config, initialize

    def backbone(self, x):
        """Applies the network up to its last stage."""
        config = self.config
        stride, pool_stride = config.stem_strides
        x = VideoInput(config, name="preprocessing")(x)
        x = self.conv_norm(x, config.width, (config.stem_frames, 7, 7), (stride, 2, 2), "conv1")
        x = keras.layers.Activation("relu", name="conv1_relu")(x)
        padding = (0, config.pool1_padding, config.pool1_padding)
        pool_size = (config.pool1_frames, 3, 3)
        x = MaxPooling3D(pool_size, (pool_stride, 2, 2), padding, name="pool1")(x)
        for stage, count in zip((2, 3, 4, 5), config.depth, strict=True):
            for block in range(count):
                x = self.bottleneck(x, stage, block)
                if (stage, block) in config.non_local:
                    layer = NonLocal3D(
                        **config.non_local_options,
                        frames_per_group=config.frames_per_group(stage),
                        name=f"res{stage}_{block}_nonlocal",
                    )
                    x = self.apply(layer, x)
            if stage == 2 and config.pool2:
                x = MaxPooling3D((2, 1, 1), (2, 1, 1), name="pool2")(x)
        return x

    def bottleneck(self, x, stage, block):
        """Applies 1x1, 3x3, 1x1, and the shortcut; one kernel strides, one may be inflated."""
        config, name = self.config, f"res{stage}_{block}"
        inner = config.width * 2 ** (stage - 2)
        stride = 2 if block == 0 and stage > 2 else 1
        in_a = config.implementation.stride_kernel == "a"
        stride_a, stride_b = (stride, 1) if in_a else (1, stride)
        frames_a = frames_b = 1
        if (stage, block) in config.inflated:
            frames_a, frames_b = (3, 1) if config.inflation == "3x1x1" else (1, 3)
        y = self.conv_norm(x, inner, (frames_a, 1, 1), (1, stride_a, stride_a), f"{name}_a")
        y = keras.layers.Activation("relu", name=f"{name}_a_relu")(y)
        y = self.conv_norm(y, inner, (frames_b, 3, 3), (1, stride_b, stride_b), f"{name}_b")
        y = keras.layers.Activation("relu", name=f"{name}_b_relu")(y)
        # A zero gamma starts each block as its shortcut, as the authors do.
        y = self.conv_norm(y, 4 * inner, 1, 1, f"{name}_c", gamma_initializer="zeros")
        if block == 0:
            x = self.conv_norm(x, 4 * inner, 1, (1, stride, stride), f"{name}_shortcut")
        x = keras.layers.Add(name=f"{name}_add")([y, x])
        return keras.layers.Activation("relu", name=f"{name}_out")(x)

    def conv_norm(self, x, filters, kernel_size, strides, name, **norm):
        options = {"kernel_initializer": "he_normal", "name": f"{name}_conv"}
        x = self.apply(Conv3D(filters, kernel_size, strides, **options), x)
        frozen = self.config.frozen_norm
        return BatchNormalization(frozen=frozen, name=f"{name}_norm", **norm)(x)

    def head(self, x):
        """Applies the classifier at each position of a 7x7 window, and takes the mean over them.

        At the training size there is one position. On larger maps this is how the authors test
        whole frames. Implementations that average the whole map have one position at any size.
        """
        config = self.config
        x = SlidingWindowAveragePooling(config.implementation.head_window, name="average")(x)
        if config.dropout:
            x = Dropout(config.dropout, name="dropout")(x)
        # Under a mixed policy probabilities and logits stay in the precision of the variables.
        dtype = keras.config.dtype_policy().variable_dtype
        x = keras.layers.Dense(
            config.classes,
            activation=keras.activations.get(config.classifier_activation),
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            dtype=dtype,
            name="predictions",
        )(x)
        return keras.layers.GlobalAveragePooling2D("channels_last", name="places", dtype=dtype)(x)

    def apply(self, layer, x):
        """Applies a layer with kernels, which it starts with zeros if they are not initialized."""
        initializer = layer.kernel_initializer
        if not self.initialize:
            layer.kernel_initializer = keras.initializers.Zeros()
        x = layer(x)
        # A clone of the model starts as any other network.
        layer.kernel_initializer = initializer
        return x

"""The non-local blocks for sequences, images and clips."""

import math

import keras
from keras import ops

from keras_nonlocal.layers import pairwise
from keras_nonlocal.layers.backend import (
    cast_inputs,
    check_choice,
    check_positive_int,
    check_sizes,
    is_int,
)
from keras_nonlocal.layers.convolution import Conv3D
from keras_nonlocal.layers.normalization import BatchNormalization
from keras_nonlocal.layers.pooling import max_pool

MODES = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
_CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: Conv3D}


class NonLocal(keras.layers.Layer):
    """Base class of `NonLocal1D`, `NonLocal2D` and `NonLocal3D`."""

    rank = None
    # Arguments of `NonLocal3D`, which splits clips into parts that do not attend to each other.
    axes = "spacetime"
    frames_per_group = None
    # Arguments that the configuration stores as they are.
    _options = ("inner_channels", "mode", "scale", "pool_size", "pool_position", "memory_budget")

    def __init__(
        self,
        inner_channels=None,
        mode="embedded_gaussian",
        scale=True,
        pool_size=2,
        pool_position="before",
        norm="batch_norm",
        memory_budget=256 * 2**20,
        norm_options=None,
        kernel_initializer=None,
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice("mode", mode, MODES)
        check_choice("pool_position", pool_position, ("before", "after"))
        check_choice("norm", norm, ("batch_norm", None))
        if inner_channels is not None:
            inner_channels = check_positive_int("inner_channels", inner_channels)
        if pool_size is not None:
            sizes = check_sizes("pool_size", pool_size, self.rank)
            pool_size = sizes[0] if is_int(pool_size) else sizes
        if taken := {"name", "dtype", "gamma_initializer", "axis"} & set(norm_options or {}):
            raise ValueError(
                "`norm_options` must leave out 'name', 'dtype', 'axis' and 'gamma_initializer', "
                f"which the block sets. Received: {', '.join(map(repr, sorted(taken)))}."
            )
        if kernel_initializer is None:
            kernel_initializer = keras.initializers.RandomNormal(stddev=0.01)
        self.inner_channels = inner_channels
        self.mode = mode
        self.scale = scale
        self.pool_size = pool_size
        self.pool_position = pool_position
        self.norm_kind = norm
        self.norm_options = dict(norm_options or {})
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.memory_budget = check_positive_int("memory_budget", memory_budget)
        self.supports_masking = True
        self._lora = {}

    def build(self, input_shape):
        self._check_input_shape(input_shape)
        channels = input_shape[-1]
        inner = self.inner_channels or max(channels // 2, 1)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2, axes={-1: channels})
        for name in ("g",) if self.mode == "gaussian" else ("theta", "phi", "g"):
            self._add_convolution(name, inner, input_shape, self.kernel_initializer)
        if self.mode == "concatenation":
            # The paper's w_f: theta's half first.
            self.w_f = self.add_weight(
                shape=(2 * inner,),
                initializer=keras.initializers.RandomNormal(stddev=inner**-0.5),
                regularizer=self.kernel_regularizer,
                name="w_f",
            )
        # With a norm, its zero gamma makes a new block the identity; without one, the kernel.
        initializer = self.kernel_initializer if self.norm_kind else "zeros"
        self._add_convolution("out", channels, (*input_shape[:-1], inner), initializer)
        self.norm = None
        if self.norm_kind:
            self.norm = BatchNormalization(
                gamma_initializer="zeros",
                name="norm",
                dtype=self.dtype_policy,
                **self.norm_options,
            )
            self.norm.build(input_shape)
        if not self.trainable:
            # Sub-layers start trainable, also those of a saved block that is frozen.
            for layer in self._layers:
                layer.trainable = False

    def _add_convolution(self, name, filters, input_shape, initializer):
        if isinstance(initializer, keras.Initializer):
            # One initializer gives all kernels of a shape the same values.
            initializer = initializer.clone()
        layer = _CONVOLUTIONS[self.rank](
            filters,
            1,
            use_bias=True,
            kernel_initializer=initializer,
            kernel_regularizer=self.kernel_regularizer,
            data_format="channels_last",
            name=name,
            dtype=self.dtype_policy,
            **self._lora.get(name, {}),
        )
        # A kernel of one position leaves masked positions where they are.
        layer.supports_masking = True
        layer.build(input_shape)
        setattr(self, name, layer)

    def call(self, inputs, training=None, return_attention_scores=False, mask=None):
        # Eager calls and traces may bring other sizes than those of `build`.
        self._check_input_shape(inputs.shape)
        inputs = cast_inputs(self, inputs)
        x, valid = self._split(inputs), self._split_mask(mask, inputs)
        pooled = self._pool(x, valid) if self.pool_position == "before" else x
        if self.mode == "gaussian":
            theta, phi, g = x, pooled, self.g(pooled)
        else:
            theta, phi, g = self.theta(x), self.phi(pooled), self.g(pooled)
        if self.pool_position == "after":
            phi, g = self._pool(phi, valid), self._pool(g, valid)
        theta, phi, g = _flatten(theta), _flatten(phi), _flatten(g)
        if valid is not None:
            valid = ops.squeeze(_flatten(self._pool(valid)), -1) > 0
        if self.mode == "concatenation":
            # `w_f . [theta_i, phi_j]` is the sum of a term in i and a term in j.
            w_f, inner = ops.convert_to_tensor(self.w_f), theta.shape[-1]
            theta = ops.matmul(theta, w_f[:inner, None])[:, :, 0]
            phi = ops.matmul(phi, w_f[inner:, None])[:, :, 0]

        matrices = _product(self._sizes(inputs.shape)[0])
        y = self._join(self._weighted_mean(theta, phi, g, valid, matrices), inputs)
        z = self.out(y)
        if self.norm is not None:
            z = self.norm(z, training=training, mask=mask)
        outputs = ops.add(z, inputs)
        if not return_attention_scores:
            return outputs
        scores = self._scores(theta, phi, valid)
        parts, _ = self._sizes(ops.shape(inputs))
        return outputs, ops.reshape(scores, (-1, *parts, *ops.shape(scores)[1:]))

    def _sizes(self, input_shape):
        """Returns the sizes over which attention is split, and the sizes of one part."""
        if self.rank < 3:
            return (), tuple(input_shape[1:-1])
        frames, height, width = input_shape[1:-1]
        if self.axes == "space":
            return (frames,), (1, height, width)
        parts, space = ((height, width), (1, 1)) if self.axes == "time" else ((), (height, width))
        if self.frames_per_group is None:
            return parts, (frames, *space)
        groups = None if frames is None else frames // self.frames_per_group
        return (*parts, groups), (self.frames_per_group, *space)

    def _split(self, x):
        """Returns the parts of each example as examples of their own."""
        frames = ops.shape(x)[1]
        if self.frames_per_group is not None and not isinstance(frames, int):
            # Only TensorFlow leaves sizes open. With the real batch axis below, no group reaches
            # into the next clip; this makes the error a clear one.
            import tensorflow as tf

            message = (
                "`frames_per_group` must divide the number of frames. Received: frames_per_group="
                f"{self.frames_per_group} in layer {self.name!r}. Frames of the input:"
            )
            check = tf.debugging.Assert(frames % self.frames_per_group == 0, [message, frames])
            with tf.control_dependencies([check]):
                x = tf.identity(x)
        batch, *_, channels = ops.shape(x)
        parts, part = self._sizes(ops.shape(x))
        if not parts:
            return x
        if self.axes == "time":
            x = ops.transpose(x, (0, 2, 3, 1, 4))
        x = ops.reshape(x, (batch, *parts, *part[: 1 if self.axes == "time" else 3], channels))
        return ops.reshape(x, (-1, *part, channels))

    def _join(self, y, inputs):
        """Returns the means of all parts, (batch * parts, N, C), in the shape of the inputs."""
        _, *sizes, _ = ops.shape(inputs)
        if self.axes != "time":
            return ops.reshape(y, (-1, *sizes, y.shape[-1]))
        frames, height, width = sizes
        y = ops.reshape(y, (-1, height, width, frames, y.shape[-1]))
        return ops.transpose(y, (0, 3, 1, 2, 4))

    def _split_mask(self, mask, inputs):
        """Returns a mask as a tensor of one channel, 1 where a position counts."""
        if mask is None:
            return None
        if len(mask.shape) != self.rank + 1:
            raise ValueError(
                "`mask` must have an entry per position, the shape of the input without its "
                f"channels. Received: a mask of shape {tuple(mask.shape)} for an input of shape "
                f"{tuple(inputs.shape)} in layer {self.name!r}."
            )
        return self._split(ops.expand_dims(ops.cast(mask, inputs.dtype), -1))

    def _pool(self, x, valid=None):
        """Pools keys; what is not valid takes part in no maximum."""
        if self.pool_size is None:
            return x
        if valid is None:
            return max_pool(x, self._pools())
        pooled = max_pool(ops.where(valid > 0, x, float("-inf")), self._pools())
        return ops.where(self._pool(valid) > 0, pooled, 0)

    def _pools(self):
        """Returns the pool size of each axis."""
        if not is_int(self.pool_size):
            return self.pool_size or (1,) * self.rank
        if self.rank < 3:
            return (self.pool_size,) * self.rank
        space = 1 if self.axes == "time" else self.pool_size
        return (1, space, space)

    def _weighted_mean(self, theta, phi, g, valid, matrices):
        if "gaussian" in self.mode:
            scale = self._scale_of(theta)
            return pairwise.softmax_mean(theta, phi, g, scale, self.memory_budget, matrices, valid)
        if valid is not None:
            g = pairwise.mask_keys(g, valid, axis=1)
        if self.mode == "dot_product":
            return pairwise.dot_product_mean(theta, phi, g)
        return pairwise.concatenation_mean(theta, phi, g)

    def _scores(self, theta, phi, valid):
        if "gaussian" in self.mode:
            return pairwise.softmax_scores(theta, phi, self._scale_of(theta), valid)
        dot_product = self.mode == "dot_product"
        scores = pairwise.dot_product_scores if dot_product else pairwise.concatenation_scores
        scores = scores(theta, phi)
        return scores if valid is None else pairwise.mask_keys(scores, valid, axis=2)

    def _scale_of(self, theta):
        return theta.shape[-1] ** -0.5 if self.scale else 1.0

    def _check_input_shape(self, input_shape):
        name, shape = type(self).__name__, tuple(input_shape)
        if len(shape) != self.rank + 2:
            raise ValueError(
                f"{name} takes inputs of rank {self.rank + 2}, channels last. Received: an input "
                f"of shape {shape}. Use NonLocal1D for sequences, NonLocal2D for images, "
                "NonLocal3D for clips."
            )
        if shape[-1] is None:
            raise ValueError(
                f"{name} needs to know the number of channels, the last axis. Received: an input "
                f"of shape {shape}. Set it in the input's shape."
            )
        sizes = self._sizes(shape)[1]
        if any(n is not None and n < p for n, p in zip(sizes, self._pools(), strict=True)):
            raise ValueError(
                "`pool_size` must not exceed the axes that it pools. Received: "
                f"pool_size={self.pool_size} for axes of {sizes}, from an input of shape {shape}. "
                "Lower `pool_size`, or set it to None."
            )
        frames, group = shape[1], self.frames_per_group
        if group is not None and frames is not None and frames % group:
            raise ValueError(
                "`frames_per_group` must divide the number of frames. Received: "
                f"frames_per_group={group} for an input of shape {shape} with {frames} frames. "
                f"Pick a divisor of {frames}, or None."
            )

    def key_sizes(self, input_shape):
        """Returns the sizes of the grid of keys that each query attends to."""
        sizes = self._sizes(input_shape)[1]
        pools = self._pools()
        return tuple(None if n is None else n // p for n, p in zip(sizes, pools, strict=True))

    def compute_output_shape(self, input_shape, return_attention_scores=False):
        self._check_input_shape(input_shape)
        if not return_attention_scores:
            return tuple(input_shape)
        parts, part = self._sizes(input_shape)
        keys = _product(self.key_sizes(input_shape))
        return tuple(input_shape), (input_shape[0], *parts, _product(part), keys)

    def compute_output_spec(self, inputs, training=None, return_attention_scores=False, mask=None):
        shape, scores_shape = self.compute_output_shape(inputs.shape, return_attention_scores=True)
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return outputs
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        return outputs, keras.KerasTensor(scores_shape, dtype=dtype)

    def get_config(self):
        norm_options = dict(self.norm_options)
        if getattr(self, "norm", None) is not None:
            # The norm may have been frozen or synchronized since.
            norm_options["frozen"] = self.norm.frozen
            norm_options["synchronized"] = self.norm.synchronized
        config = {
            **super().get_config(),
            **{name: getattr(self, name) for name in self._options},
            "norm": self.norm_kind,
            "norm_options": norm_options,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
        lora = {
            layer.name: {"lora_rank": layer.lora_rank, "lora_alpha": layer.lora_alpha}
            for layer in self._layers
            if getattr(layer, "lora_enabled", False)
        }
        return config | ({"lora": lora or dict(self._lora)} if lora or self._lora else {})

    @classmethod
    def from_config(cls, config):
        # Sub-layers that had LoRA enabled have it again, as a `keras.layers.Dense` has.
        config = dict(config)
        lora = config.pop("lora", {})
        layer = super().from_config(config)
        layer._lora = lora
        return layer


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class NonLocal1D(NonLocal):
    """Non-local block over sequences, in which all positions attend to all positions.

    The output is the input plus, at each position, a weighted mean over all positions. A new
    block is the identity.

    Args:
        pool_size: max-pooling of the keys: an int, or `None` for no pooling.
        inner_channels, mode, scale, pool_position, norm, memory_budget, norm_options,
            kernel_initializer, kernel_regularizer, **kwargs: as in `NonLocal3D`.

    Call arguments:
        inputs, training, return_attention_scores, mask: as in `NonLocal3D`. The scores have the
            shape `(batch, queries, keys)`.

    Input shape:
        `(batch, positions, channels)`; all but the channels may be unknown.

    Output shape:
        That of the input.

    Example:

    >>> layer = keras_nonlocal.NonLocal1D()
    >>> layer(np.ones((2, 100, 32), "float32")).shape
    TensorShape([2, 100, 32])
    """

    rank = 1


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class NonLocal2D(NonLocal):
    """Non-local block over images, in which all positions attend to all positions.

    The output is the input plus, at each position, a weighted mean over all positions. A new
    block is the identity.

    Args:
        pool_size: max-pooling of the keys: an int, `(height, width)`, or `None` for no pooling.
        inner_channels, mode, scale, pool_position, norm, memory_budget, norm_options,
            kernel_initializer, kernel_regularizer, **kwargs: as in `NonLocal3D`.

    Call arguments:
        inputs, training, return_attention_scores, mask: as in `NonLocal3D`. The scores have the
            shape `(batch, queries, keys)`.

    Input shape:
        `(batch, height, width, channels)`; all but the channels may be unknown.

    Output shape:
        That of the input.

    Example:

    >>> layer = keras_nonlocal.NonLocal2D(mode="dot_product")
    >>> layer(np.ones((2, 28, 28, 32), "float32")).shape
    TensorShape([2, 28, 28, 32])
    """

    rank = 2


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class NonLocal3D(NonLocal):
    """Non-local block over clips, with a choice of the axes that attend to each other.

    Computes `z = x + norm(out(y))` with `y_i = sum_j f(x_i, x_j) g(x_j) / C(x)`: the response at
    each position of each frame is a weighted mean over all positions of all frames. A new block
    is the identity, so it can be inserted into a trained network. It takes maps of any size and
    does not materialize the attention scores of all pairs unless it must.

    The names of the sub-layers are stable: `theta`, `phi`, `g`, `out` (1x1 kernels with bias)
    and `norm`. "gaussian" has no `theta` and `phi`; "concatenation" adds the vector `w_f`,
    theta's half first.

    Args:
        inner_channels: channels of theta, phi and g. `None`: half of the input's.
        mode: the pairwise function. `"gaussian"` and `"embedded_gaussian"` apply a softmax
            over the keys to the inner products of inputs or embeddings; `"dot_product"` and
            `"concatenation"` divide by the number of keys.
        scale: whether the two gaussian modes divide by the square root of the length of the
            compared vectors before the softmax. The authors' code does, the paper does not.
        pool_size: max-pooling of the keys, which changes no output size. An int pools height
            and width as far as attention spans them (so nothing where `axes="time"`), a
            tuple pools `(frames, height, width)`; `None`: no pooling.
        pool_position: `"before"` pools x, then computes phi and g (the authors' code);
            `"after"` computes phi and g, then pools (the paper's text). The two differ.
        axes: `"spacetime"`: all positions of all frames attend to each other. `"space"`: those of
            one frame. `"time"`: the frames of one position.
        frames_per_group: attention stays inside groups of so many successive frames. `None`:
            all frames are one group.
        norm: `"batch_norm"` after `out`, its gamma starting at zero, or `None`, and the
            kernel of `out` starts at zero.
        memory_budget: bytes that the attention scores of one clip may take in the gaussian
            modes (4 per pair). Above it, queries are processed in chunks of that size, in
            training too: the same result, with less memory and one more matrix product. Where
            the sizes of a clip are unknown when the graph is built, it holds for the whole
            batch, and the graph has a loop.
        norm_options: arguments of the norm, such as `{"frozen": True}`; see
            `BatchNormalization`.
        kernel_initializer: of theta, phi, g and, with a norm, out. `None`: normal with a standard
            deviation of 0.01, as the authors.
        kernel_regularizer: of the same kernels and `w_f`.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: clips.
        training: whether the norm uses the batch's statistics.
        return_attention_scores: also return the factors of g, at least in float32, of shape
            `(batch, queries, keys)`; `(batch, frames, queries, keys)` for `axes="space"`;
            `(batch, height, width, queries, keys)` for `axes="time"`; groups add an axis
            before the queries. Queries and keys count row by row, frame after frame.
        mask: booleans of the shape of the inputs without channels, as `keras.layers.Masking`
            makes them. Positions that are false are no keys and do not enter the statistics of
            the norm.

    Input shape:
        `(batch, frames, height, width, channels)`; all but the channels may be unknown.

    Output shape:
        That of the input.

    Raises:
        ValueError: on inputs of another rank, pools larger than the input, groups that do not
            divide the frames, unknown names.

    Example:

    >>> layer = keras_nonlocal.NonLocal3D(mode="gaussian", pool_size=None)
    >>> outputs, scores = layer(np.ones((2, 4, 7, 7, 32), "float32"), return_attention_scores=True)
    >>> outputs.shape, scores.shape
    (TensorShape([2, 4, 7, 7, 32]), TensorShape([2, 196, 196]))

    Reference:
        - Section 3 of [Non-local Neural Networks](https://arxiv.org/abs/1711.07971); Table 2d
          for `axes`.
    """

    rank = 3
    _options = (*NonLocal._options, "axes", "frames_per_group")

    def __init__(
        self,
        inner_channels=None,
        mode="embedded_gaussian",
        scale=True,
        pool_size=2,
        pool_position="before",
        axes="spacetime",
        frames_per_group=None,
        norm="batch_norm",
        memory_budget=256 * 2**20,
        norm_options=None,
        kernel_initializer=None,
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(
            inner_channels,
            mode,
            scale,
            pool_size,
            pool_position,
            norm,
            memory_budget,
            norm_options,
            kernel_initializer,
            kernel_regularizer,
            **kwargs,
        )
        check_choice("axes", axes, ("spacetime", "space", "time"))
        if frames_per_group is not None:
            frames_per_group = check_positive_int("frames_per_group", frames_per_group)
            if axes == "space":
                raise ValueError(
                    "`frames_per_group` needs attention across frames. Received: "
                    f"frames_per_group={frames_per_group} with axes='space'. Omit one of them."
                )
        self.axes = axes
        self.frames_per_group = frames_per_group
        frames, *space = self._pools()
        if axes == "space" and frames != 1 or axes == "time" and space != [1, 1]:
            free = {"space": "frames", "time": "height and width"}[axes]
            form = {"space": "(1, height, width)", "time": "(frames, 1, 1)"}[axes]
            raise ValueError(
                f"`pool_size` must be 1 over {free} where axes={axes!r}, which do not attend to "
                f"each other. Received: pool_size={self.pool_size}. Use {form}."
            )


def _flatten(x):
    """Reshapes (batch, ..., channels) to (batch, positions, channels)."""
    shape = ops.shape(x)
    # The batch is -1, not the positions: it may be the one size that is unknown.
    return ops.reshape(x, (-1, _product(shape[1:-1]), shape[-1]))


def _product(sizes):
    """Returns the product of sizes, `None` if one of them is."""
    return None if None in sizes else math.prod(sizes)

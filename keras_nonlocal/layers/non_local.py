"""The non-local block, as far as its forms for sequences, images and clips are one."""

import keras
from keras import ops

from keras_nonlocal.layers import affinity
from keras_nonlocal.layers.arguments import (
    cast_inputs,
    check_choice,
    check_pool_size,
    check_positive_int,
)
from keras_nonlocal.layers.convolution import Conv3D
from keras_nonlocal.layers.normalization import BatchNormalization
from keras_nonlocal.layers.pooling import max_pool

MODES = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
_CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: Conv3D}


class NonLocal(keras.layers.Layer):
    """What the three ranks share; use `NonLocal1D`, `NonLocal2D` or `NonLocal3D`."""

    rank = None

    def __init__(
        self,
        inner_channels=None,
        mode="embedded_gaussian",
        scale=True,
        pool_size=2,
        pool_position="before",
        norm="batch_norm",
        norm_options=None,
        kernel_initializer=None,
        kernel_regularizer=None,
        memory_budget=256 * 2**20,
        **kwargs,
    ):
        for name in {"axes", "frames_per_group"} & set(kwargs):
            raise ValueError(
                f"`{name}` is an argument of NonLocal3D, whose inputs have frames and space to "
                f"choose from. Received: {name}={kwargs[name]!r} in {type(self).__name__}, where "
                "all positions see each other. Leave it out."
            )
        super().__init__(**kwargs)
        check_choice("mode", mode, MODES)
        check_choice("pool_position", pool_position, ("before", "after"))
        check_choice("norm", norm, ("batch_norm", None))
        if inner_channels is not None:
            inner_channels = check_positive_int("inner_channels", inner_channels)
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
        self.pool_size = check_pool_size(pool_size, self.rank)
        self.pool_position = pool_position
        self.norm_kind = norm
        self.norm_options = dict(norm_options or {})
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        self.memory_budget = check_positive_int("memory_budget", memory_budget)

    def build(self, input_shape):
        self._check_input_shape(input_shape)
        channels = input_shape[-1]
        inner = self._inner_channels(channels)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2, axes={-1: channels})
        embedded = ("theta", "phi", "g") if self.mode != "gaussian" else ("g",)
        for name in embedded:
            sub_layer = self._convolution(inner, name, _fresh(self.kernel_initializer))
            sub_layer.build(input_shape)
            setattr(self, name, sub_layer)
        if self.mode == "concatenation":
            # The paper's w_f: theta's half first.
            self.w_f = self.add_weight(
                shape=(2 * inner,),
                initializer=keras.initializers.RandomNormal(stddev=inner**-0.5),
                regularizer=self.kernel_regularizer,
                name="w_f",
            )
        # With a norm, its zero gamma makes a new block the identity; without one, the kernel.
        first = _fresh(self.kernel_initializer) if self.norm_kind else "zeros"
        self.out = self._convolution(channels, "out", first)
        self.out.build((*input_shape[:-1], inner))
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
            # A saved layer may come fixed, while sub-layers begin trainable.
            for layer in self._layers:
                layer.trainable = False

    def _convolution(self, filters, name, initializer):
        convolution = _CONVOLUTIONS[self.rank](
            filters,
            1,
            use_bias=True,
            kernel_initializer=initializer,
            kernel_regularizer=self.kernel_regularizer,
            data_format="channels_last",
            name=name,
            dtype=self.dtype_policy,
        )
        # A kernel of one position leaves masked positions where they are.
        convolution.supports_masking = True
        return convolution

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

        y = self._weighted_mean(theta, phi, g, valid, _product(self._parts(inputs.shape)))
        y = ops.reshape(y, (*ops.shape(x)[:-1], y.shape[-1]))
        z = self.out(self._join(y, inputs))
        if self.norm is not None:
            z = self.norm(z, training=training, mask=mask)
        outputs = ops.add(z, inputs)
        if return_attention_scores:
            return outputs, self._name_axes(self._scores(theta, phi, valid), inputs)
        return outputs

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

    def _weighted_mean(self, theta, phi, g, valid, matrices):
        if "gaussian" in self.mode:
            scale = self._scale_of(theta)
            return affinity.softmax_mean(theta, phi, g, scale, self.memory_budget, matrices, valid)
        if valid is not None:
            g = affinity.mask_keys(g, valid, axis=1)
        if self.mode == "dot_product":
            return affinity.dot_product_mean(theta, phi, g)
        return affinity.concatenation_mean(*self._concatenated(theta, phi), g)

    def _scores(self, theta, phi, valid):
        if "gaussian" in self.mode:
            return affinity.softmax_scores(theta, phi, self._scale_of(theta), valid)
        if self.mode == "dot_product":
            scores = affinity.dot_product_scores(theta, phi)
        else:
            scores = affinity.concatenation_scores(*self._concatenated(theta, phi))
        return scores if valid is None else affinity.mask_keys(scores, valid, axis=2)

    def _concatenated(self, theta, phi):
        """`w_f . [theta_i, phi_j]` as the sum of a term in i and a term in j."""
        w_f = ops.convert_to_tensor(self.w_f)
        inner = theta.shape[-1]
        halves = (ops.matmul(theta, w_f[:inner, None]), ops.matmul(phi, w_f[inner:, None]))
        return [half[:, :, 0] for half in halves]

    def _scale_of(self, theta):
        return theta.shape[-1] ** -0.5 if self.scale else 1.0

    def _inner_channels(self, channels):
        return self.inner_channels or max(channels // 2, 1)

    def _pool(self, x, valid=None):
        """Pools keys; what is not valid takes part in no maximum."""
        if self.pool_size is None:
            return x
        if valid is None:
            return max_pool(x, self._pool_sizes())
        pooled = max_pool(ops.where(valid > 0, x, float("-inf")), self._pool_sizes())
        return ops.where(self._pool(valid) > 0, pooled, 0)

    def _pool_sizes(self):
        """One pool size an axis of `x`."""
        if isinstance(self.pool_size, int):
            return (self.pool_size,) * self.rank
        return self.pool_size

    # The axes that see each other; `NonLocal3D` cuts clips into smaller parts here.

    def _parts(self, input_shape):
        """Sizes of the axes over which attention is split, as far as they are known."""
        return ()

    def _split(self, inputs):
        return inputs

    def _join(self, outputs, inputs):
        return outputs

    def _name_axes(self, scores, inputs):
        return scores

    def _attended_sizes(self, input_shape):
        """Sizes of the axes of `_split(inputs)`, as far as they are known."""
        return input_shape[1:-1]

    def _check_input_shape(self, input_shape):
        name = type(self).__name__
        if len(input_shape) != self.rank + 2:
            axes = ("frames", "height", "width")[-self.rank :] if self.rank > 1 else ("positions",)
            raise ValueError(
                f"{name} takes inputs of rank {self.rank + 2}: (batch, {', '.join(axes)}, "
                f"channels). Received: an input of shape {tuple(input_shape)}. Reshape it, or use "
                "NonLocal1D, NonLocal2D or NonLocal3D by its number of axes."
            )
        if input_shape[-1] is None:
            raise ValueError(
                f"{name} needs to know the number of channels, the last axis. Received: an input "
                f"of shape {tuple(input_shape)}. Set it in the input's shape."
            )
        sizes = self._attended_sizes(input_shape)
        pools = self._pool_sizes() if self.pool_size is not None else (1,) * len(sizes)
        if any(n is not None and n < pool for n, pool in zip(sizes, pools, strict=True)):
            raise ValueError(
                "`pool_size` must not exceed the axes that it pools. Received: "
                f"pool_size={self.pool_size} for axes of {tuple(sizes)}, from an input of shape "
                f"{tuple(input_shape)}. Lower `pool_size`, or set it to None."
            )

    def compute_output_shape(self, input_shape, return_attention_scores=False):
        self._check_input_shape(input_shape)
        if not return_attention_scores:
            return tuple(input_shape)
        return tuple(input_shape), self._scores_shape(input_shape)

    def _scores_shape(self, input_shape):
        sizes = self._attended_sizes(input_shape)
        return (input_shape[0], *self._parts(input_shape), _product(sizes), self._num_keys(sizes))

    def _num_keys(self, sizes):
        if self.pool_size is None:
            return _product(sizes)
        pools = self._pool_sizes()
        return _product(None if n is None else n // p for n, p in zip(sizes, pools, strict=True))

    def compute_output_spec(self, inputs, training=None, return_attention_scores=False, mask=None):
        shape = self.compute_output_shape(inputs.shape)
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return outputs
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        return outputs, keras.KerasTensor(self._scores_shape(inputs.shape), dtype=dtype)

    def get_build_config(self):
        config = super().get_build_config()
        lora = {
            layer.name: {"rank": layer.lora_rank, "lora_alpha": layer.lora_alpha}
            for layer in self._layers
            if getattr(layer, "lora_enabled", False)
        }
        return {**config, "lora": lora} if lora else config

    def build_from_config(self, config):
        super().build_from_config(config)
        # As a saved Dense does: LoRA is part of the stored kernel, and begins anew at zero.
        for name, arguments in (config or {}).get("lora", {}).items():
            getattr(self, name).enable_lora(**arguments)

    def get_config(self):
        norm_options = dict(self.norm_options)
        if getattr(self, "norm", None) is not None:
            # The norm may have been frozen or synchronised since.
            norm_options["frozen"] = self.norm.frozen
            norm_options["synchronized"] = self.norm.synchronized
        return {
            **super().get_config(),
            "inner_channels": self.inner_channels,
            "mode": self.mode,
            "scale": self.scale,
            "pool_size": self.pool_size,
            "pool_position": self.pool_position,
            "norm": self.norm_kind,
            "norm_options": norm_options,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "memory_budget": self.memory_budget,
        }


def _flatten(x):
    """(batch, ..., channels) to (batch, positions, channels)."""
    shape = ops.shape(x)
    # The batch is named, not the positions: it may be the one size that is unknown.
    positions = _product(shape[1:-1])
    return ops.reshape(x, (-1, positions, shape[-1]))


def _fresh(initializer):
    """Returns a copy, since one initializer gives all kernels of a shape the same values."""
    # Keras takes plain functions as well.
    return initializer.clone() if isinstance(initializer, keras.Initializer) else initializer


def _product(sizes):
    product = 1
    for size in sizes:
        product = None if size is None or product is None else product * size
    return product

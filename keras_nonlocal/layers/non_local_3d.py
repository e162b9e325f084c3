"""The non-local block over clips, with a choice of the axes that see each other."""

import keras
from keras import ops

from keras_nonlocal.layers.arguments import check_choice, check_positive_int
from keras_nonlocal.layers.non_local import NonLocal


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class NonLocal3D(NonLocal):
    """Non-local block over clips, `(batch, frames, height, width, channels)`.

    Computes `z = x + norm(out(y))` with `y_i = sum_j f(x_i, x_j) g(x_j) / C(x)`: the
    response at each position of each frame is a weighted mean over all positions of all frames.
    A new block is the identity, so it can be inserted into a trained network. Maps of any size
    work: the weights of all pairs are only computed where the mean needs them, and those of the
    gaussian modes for some queries at a time where they exceed `memory_budget`.

    The names of the sub-layers are stable: `theta`, `phi`, `g`, `out` (1x1 kernels with bias)
    and `norm`. "gaussian" has no `theta` and `phi`; "concatenation" adds the vector `w_f`,
    theta's half first.

    Args:
        inner_channels: channels of theta, phi and g. `None`: half of the input's.
        mode: the pairwise function. `"gaussian"` and `"embedded_gaussian"` take a softmax
            over the keys of the inputs' or embeddings' inner products; `"dot_product"` and
            `"concatenation"` divide by the number of keys.
        scale: whether the two gaussian modes divide by the square root of the length of the
            compared vectors before the softmax. The authors' code does, the paper does not.
        pool_size: max-pooling of the keys, which changes no output size. An int pools height
            and width as far as attention spans them (so nothing where `axes="time"`), a
            tuple pools `(frames, height, width)`; `None`: no pooling.
        pool_position: `"before"` pools x, then computes phi and g (the authors' code);
            `"after"` computes phi and g, then pools (the paper's text). The two differ.
        norm: `"batch_norm"` after `out`, its gamma starting at zero, or `None`, and the
            kernel of `out` starts at zero.
        norm_options: arguments of that norm, such as `{"frozen": True}`; see
            `BatchNormalization`.
        kernel_initializer: of theta, phi, g and, where a norm follows, out. `None`: normal
            with a standard deviation of 0.01, as the authors.
        kernel_regularizer: of the same kernels and `w_f`.
        memory_budget: bytes that the weights of all pairs of one clip may take in the gaussian
            modes (4 per pair). Above it, queries are processed in chunks of that size, in
            training too: the same result, with less memory and one more matrix product. Where
            the sizes of a clip are unknown when the graph is built, it holds for the whole
            batch, and the graph has a loop.
        axes: `"spacetime"` lets all places of all frames see each other, `"space"` those of
            one frame, `"time"` the frames of one place.
        frames_per_group: attention stays inside groups of so many successive frames. `None`:
            all frames are one group.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: clips.
        training: whether the norm uses the batch's statistics.
        mask: booleans of the shape of the inputs without channels, as `keras.layers.Masking`
            makes them. Positions that are false are no keys and do not enter the statistics of
            the norm.
        return_attention_scores: also return what multiplies g, at least in float32, of shape
            `(batch, queries, keys)`; `(batch, frames, queries, keys)` for `axes="space"`;
            `(batch, height, width, queries, keys)` for `axes="time"`; groups add an axis
            before the queries. Queries and keys count row by row, frame after frame.

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

    def __init__(self, *args, axes="spacetime", frames_per_group=None, **kwargs):
        super().__init__(*args, **kwargs)
        check_choice("axes", axes, ("spacetime", "space", "time"))
        if frames_per_group is not None:
            frames_per_group = check_positive_int("frames_per_group", frames_per_group)
            if axes == "space":
                raise ValueError(
                    "`frames_per_group` needs attention across frames. Received: "
                    f"frames_per_group={frames_per_group} with axes='space', where each frame "
                    "stands alone. Leave one of them out."
                )
        self.axes = axes
        self.frames_per_group = frames_per_group
        pools = self._pool_sizes() if self.pool_size is not None else (1, 1, 1)
        if axes == "space" and pools[0] != 1:
            raise ValueError(
                "`pool_size` must be 1 over frames where axes='space', as each frame stands "
                f"alone. Received: pool_size={self.pool_size}. Use (1, height, width)."
            )
        if axes == "time" and pools[1:] != (1, 1):
            raise ValueError(
                "`pool_size` must be 1 over height and width where axes='time', as each place "
                f"stands alone. Received: pool_size={self.pool_size}. Use (frames, 1, 1)."
            )

    def _pool_sizes(self):
        if not isinstance(self.pool_size, int):
            return self.pool_size
        space = 1 if self.axes == "time" else self.pool_size
        return (1, space, space)

    def _parts(self, input_shape):
        frames, height, width = input_shape[1:-1]
        parts = {"spacetime": (), "space": (frames,), "time": (height, width)}[self.axes]
        if self.frames_per_group is not None:
            parts += (None if frames is None else frames // self.frames_per_group,)
        return parts

    def _split(self, inputs):
        inputs = self._check_groups(inputs)
        batch, frames, height, width, channels = ops.shape(inputs)
        group = 1 if self.axes == "space" else self.frames_per_group or frames
        # With the real batch axis, so that no group can reach into the next clip.
        if self.axes == "time":
            x = ops.transpose(inputs, (0, 2, 3, 1, 4))
            x = ops.reshape(x, (batch, height, width, frames // group, group, channels))
            return ops.reshape(x, (-1, group, 1, 1, channels))
        if group is frames:
            return inputs
        x = ops.reshape(inputs, (batch, frames // group, group, height, width, channels))
        return ops.reshape(x, (-1, group, height, width, channels))

    def _check_groups(self, inputs):
        """Checks the frames when the graph runs, if they are unknown before."""
        if self.frames_per_group is None or isinstance(inputs.shape[1], int):
            return inputs
        import tensorflow as tf

        frames = tf.shape(inputs)[1]
        words = (
            "`frames_per_group` must divide the number of frames. Received: frames_per_group="
            f"{self.frames_per_group} in layer {self.name!r}. Frames of the input:"
        )
        check = tf.debugging.Assert(frames % self.frames_per_group == 0, [words, frames])
        with tf.control_dependencies([check] if check is not None else []):
            return tf.identity(inputs)

    def _join(self, outputs, inputs):
        _, frames, height, width, _ = ops.shape(inputs)
        channels = outputs.shape[-1]
        if self.axes == "time":
            y = ops.reshape(outputs, (-1, height, width, frames, channels))
            return ops.transpose(y, (0, 3, 1, 2, 4))
        return ops.reshape(outputs, (-1, frames, height, width, channels))

    def _name_axes(self, scores, inputs):
        parts = self._parts(ops.shape(inputs))
        return ops.reshape(scores, (-1, *parts, *ops.shape(scores)[1:]))

    def _attended_sizes(self, input_shape):
        frames, height, width = input_shape[1:-1]
        if self.axes == "space":
            return (1, height, width)
        frames = self.frames_per_group or frames
        return (frames, 1, 1) if self.axes == "time" else (frames, height, width)

    def _check_input_shape(self, input_shape):
        super()._check_input_shape(input_shape)
        frames, group = input_shape[1], self.frames_per_group
        if group is not None and frames is not None and frames % group:
            raise ValueError(
                "`frames_per_group` must divide the number of frames. Received: "
                f"frames_per_group={group} for an input of shape {tuple(input_shape)} with "
                f"{frames} frames. Pick a divisor of {frames}, or None."
            )

    def get_config(self):
        return {
            **super().get_config(),
            "axes": self.axes,
            "frames_per_group": self.frames_per_group,
        }

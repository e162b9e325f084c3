"""The non-local blocks for sequences, images and clips."""

import keras

from keras_nonlocal.layers.backend import check_choice, check_positive_int
from keras_nonlocal.layers.non_local_base import NonLocal


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class NonLocal1D(NonLocal):
    """Non-local block over sequences, in which all positions attend to all positions.

    The output is the input plus, at each position, a weighted mean over all positions. A new
    block is the identity. `NonLocal3D` describes the arguments and sub-layers in detail.

    Args:
        inner_channels: channels of theta, phi and g. `None`: half of the input's.
        mode: the pairwise function: `"gaussian"`, `"embedded_gaussian"`, `"dot_product"` or
            `"concatenation"`.
        scale: whether the two gaussian modes divide by the square root of the length of the
            compared vectors before the softmax.
        pool_size: max-pooling of the keys: an int, or `None` for no pooling.
        pool_position: `"before"` pools x, then computes phi and g; `"after"` computes phi and g,
            then pools.
        norm: `"batch_norm"` after `out`, or `None`.
        memory_budget: bytes that the attention scores of one sequence may take in the gaussian
            modes. Above it, queries are processed in chunks.
        norm_options: arguments of the norm, such as `{"frozen": True}`.
        kernel_initializer: of theta, phi, g and, with a norm, out. `None`: normal with a standard
            deviation of 0.01.
        kernel_regularizer: of the same kernels and `w_f`.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs, training, return_attention_scores, mask: as in `NonLocal3D`. The scores have the
            shape `(batch, queries, keys)`.

    Input shape:
        `(batch, positions, channels)`; all but the channels may be unknown.

    Output shape:
        That of the input.

    Raises:
        ValueError: on inputs of another rank, pools larger than the input, unknown names.

    Example:

    >>> layer = keras_nonlocal.NonLocal1D()
    >>> layer(np.ones((2, 100, 32), "float32")).shape
    TensorShape([2, 100, 32])

    Reference:
        - Section 3 of [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """

    rank = 1

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


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class NonLocal2D(NonLocal):
    """Non-local block over images, in which all positions attend to all positions.

    The output is the input plus, at each position, a weighted mean over all positions. A new
    block is the identity. `NonLocal3D` describes the arguments and sub-layers in detail.

    Args:
        inner_channels: channels of theta, phi and g. `None`: half of the input's.
        mode: the pairwise function: `"gaussian"`, `"embedded_gaussian"`, `"dot_product"` or
            `"concatenation"`.
        scale: whether the two gaussian modes divide by the square root of the length of the
            compared vectors before the softmax.
        pool_size: max-pooling of the keys: an int, `(height, width)`, or `None` for no pooling.
        pool_position: `"before"` pools x, then computes phi and g; `"after"` computes phi and g,
            then pools.
        norm: `"batch_norm"` after `out`, or `None`.
        memory_budget: bytes that the attention scores of one image may take in the gaussian
            modes. Above it, queries are processed in chunks.
        norm_options: arguments of the norm, such as `{"frozen": True}`.
        kernel_initializer: of theta, phi, g and, with a norm, out. `None`: normal with a standard
            deviation of 0.01.
        kernel_regularizer: of the same kernels and `w_f`.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs, training, return_attention_scores, mask: as in `NonLocal3D`. The scores have the
            shape `(batch, queries, keys)`.

    Input shape:
        `(batch, height, width, channels)`; all but the channels may be unknown.

    Output shape:
        That of the input.

    Raises:
        ValueError: on inputs of another rank, pools larger than the input, unknown names.

    Example:

    >>> layer = keras_nonlocal.NonLocal2D(mode="dot_product")
    >>> layer(np.ones((2, 28, 28, 32), "float32")).shape
    TensorShape([2, 28, 28, 32])

    Reference:
        - Section 3 of [Non-local Neural Networks](https://arxiv.org/abs/1711.07971).
    """

    rank = 2

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
            free, form = ("frames", "(1, height, width)")
            if axes == "time":
                free, form = ("height and width", "(frames, 1, 1)")
            raise ValueError(
                f"`pool_size` must be 1 over {free} where axes={axes!r}, which do not attend to "
                f"each other. Received: pool_size={self.pool_size}. Use {form}."
            )

    def get_config(self):
        return {
            **super().get_config(),
            "axes": self.axes,
            "frames_per_group": self.frames_per_group,
        }

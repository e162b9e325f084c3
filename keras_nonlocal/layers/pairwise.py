"""The pairwise functions of the non-local operation and their weighted mean.

Every function takes matrices, channels last, with one leading batch axis: `theta` (batch, N, D)
for the N queries, `phi` (batch, M, D) and `g` (batch, M, C) for the M keys. `*_mean` return
`y_i = sum_j w_ij g_j`, (batch, N, C), in the dtype of `g`, and do not materialize the N x M
weights unless they must. `*_scores` return the weights, (batch, N, M), at least in float32.
`valid` is a mask of the keys, (batch, M), true for those that count; `None` if all do.

Which form computes the mean is decided in Python, from sizes that are known when the graph is
built. Where sizes are unknown, the form that needs least memory is taken. So no graph holds a
condition, and only unknown sizes, or very many chunks, bring a loop.
"""

import functools

import keras
from keras import ops

# More steps than these are a loop: a graph of them would take a minute to build.
MAX_UNROLLED_CHUNKS = 128
# Measured break-even: above this many keys, sorting and one look-up per query beat the product.
SORTING_PAYS_ABOVE_KEYS = 512


def softmax_mean(theta, phi, g, scale, memory_budget, matrices=1, valid=None):
    """Returns the mean of the gaussian forms, weighted by `softmax_j(scale * theta_i . phi_j)`.

    Where the N x M weights of one clip exceed `memory_budget`, the queries are processed in
    chunks. The weights of a chunk are discarded and computed again for the gradient.

    Args:
        theta, phi, g, valid: see the module.
        scale: factor on the inner products.
        memory_budget: bytes that the weights of one clip may take at a time. Where sizes are
            unknown when the graph is built, bytes that those of the whole batch may take.
        matrices: number of N x M matrices per clip, `None` if unknown.
    """
    rows = _rows_in_budget(theta, phi, memory_budget, matrices)
    if rows is None:
        return ops.matmul(ops.cast(softmax_scores(theta, phi, scale, valid), g.dtype), g)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.executing_eagerly():
            # An eager tape would record every step, and so hold the weights of all chunks. A
            # tensor of `rows` makes a loop, which is traced faster than its steps.
            return _compile_chunks(scale)(theta, phi, g, valid, tf.constant(rows))
    return _softmax_mean_in_chunks(scale, theta, phi, g, valid, rows)


def _rows_in_budget(theta, phi, memory_budget, matrices):
    """Returns how many queries to process at a time, or `None` for all without chunks."""
    queries, keys = theta.shape[1], phi.shape[1]
    itemsize = 8 if theta.dtype == "float64" else 4
    if all(isinstance(size, int) for size in (matrices, queries, keys)):
        chunks = -(-matrices * queries * keys * itemsize // memory_budget)
        return None if chunks <= 1 else -(-queries // chunks)
    if keras.backend.backend() != "tensorflow":
        return None  # Only TensorFlow leaves sizes open.
    # In floats, since a product of int32 sizes may overflow.
    batch, queries, _ = (ops.cast(size, "float32") for size in ops.shape(theta))
    keys = ops.cast(ops.shape(phi)[1], "float32")
    rows = ops.minimum(memory_budget / (itemsize * batch * keys), queries)
    return ops.maximum(ops.cast(rows, "int32"), 1)


def softmax_scores(theta, phi, scale, valid=None):
    """Returns the weights of the gaussian forms.

    Half precision is widened before the product: its logits overflow in float16, and bfloat16
    keeps 8 bits of them.
    """
    logits = ops.matmul(_accumulate(theta), ops.swapaxes(_accumulate(phi), 1, 2))
    if logits.shape[-1] == 1:
        return logits * 0 + 1  # Keras warns of a softmax over one key.
    logits = ops.multiply(logits, scale)
    if valid is not None:
        logits = ops.where(ops.expand_dims(valid, 1), logits, -1e30)
    return ops.softmax(logits, axis=-1)


def dot_product_mean(theta, phi, g):
    """Returns the mean weighted by `theta_i . phi_j / M`, as `theta (phi^T g) / M` where cheaper.

    The product is associative: with D and C channels, N queries and M keys, the direct order
    costs N M (D + C) multiplications and the other one (N + M) D C.
    """
    queries, keys = theta.shape[1], phi.shape[1]
    depth, width = theta.shape[-1], g.shape[-1]
    known = isinstance(queries, int) and isinstance(keys, int)
    theta, phi, values = _accumulate(theta), _accumulate(phi), _accumulate(g)
    # Dividing first keeps the sums over keys in the range of one value.
    values = values / ops.cast(ops.shape(phi)[1], values.dtype)
    if known and queries * keys * (depth + width) <= (queries + keys) * depth * width:
        outputs = ops.matmul(ops.matmul(theta, ops.swapaxes(phi, 1, 2)), values)
    else:
        outputs = ops.matmul(theta, ops.matmul(ops.swapaxes(phi, 1, 2), values))
    return ops.cast(outputs, g.dtype)


def dot_product_scores(theta, phi):
    """Returns the weights of the dot product."""
    scores = ops.matmul(_accumulate(theta), ops.swapaxes(_accumulate(phi), 1, 2))
    return scores / ops.cast(ops.shape(phi)[1], scores.dtype)


def concatenation_mean(a, b, g):
    """Returns the mean weighted by `relu(a_i + b_j) / M`, by sorting where that is cheaper.

    A key counts for query i where `b_j > -a_i`, so with the keys sorted by `b` the sum is
    `a_i sum g_j + sum b_j g_j` over a suffix: two running sums of the keys and one look-up per
    query, (N + M) log (N + M) instead of N M, with no weight left out.

    Args:
        a: (batch, N), theta's half of the concatenation.
        b: (batch, M), phi's half.
        g: see the module.
    """
    keys = b.shape[1]
    a, b, values = _accumulate(a), _accumulate(b), _accumulate(g)
    values = values / ops.cast(ops.shape(b)[1], values.dtype)
    if isinstance(keys, int) and keys <= SORTING_PAYS_ABOVE_KEYS:
        outputs = ops.matmul(_rectified_sums(a, b), values)
    else:
        outputs = _concatenation_mean_by_sorting(a, b, values)
    return ops.cast(outputs, g.dtype)


def concatenation_scores(a, b):
    """Returns the weights of the concatenation."""
    scores = _rectified_sums(_accumulate(a), _accumulate(b))
    return scores / ops.cast(ops.shape(b)[1], scores.dtype)


def mask_keys(x, valid, axis):
    """Returns `g` or scores, masked, for the two forms that divide by the number of keys.

    Args:
        x: `g`, or scores.
        valid: see the module.
        axis: that of the keys in `x`, 1 or 2.
    """
    valid = ops.cast(valid, x.dtype)
    count = ops.maximum(ops.sum(valid, axis=1, keepdims=True), 1)
    share = valid * (ops.cast(ops.shape(valid)[1], x.dtype) / count)
    return x * ops.expand_dims(share, 3 - axis)


def _rectified_sums(a, b):
    return ops.relu(ops.expand_dims(a, 2) + ops.expand_dims(b, 1))


def _concatenation_mean_by_sorting(a, b, g):
    channels = g.shape[-1]
    # a + b stays the same, and the two sums below cancel less.
    center = ops.stop_gradient(ops.mean(b, axis=1, keepdims=True))
    a, b = a + center, b - center
    order = ops.argsort(b, axis=1)
    b, g = _take_rows(ops.expand_dims(b, 2), order), _take_rows(g, order)
    # Row k: the sums over all sorted keys from k on; the last row: over none.
    sums = ops.flip(ops.cumsum(ops.flip(ops.concatenate([g, b * g], axis=-1), 1), axis=1), 1)
    sums = ops.pad(sums, [(0, 0), (0, 1), (0, 0)])
    sums = _take_rows(sums, _count_not_above(b[:, :, 0], -a))
    return ops.expand_dims(a, 2) * sums[:, :, :channels] + sums[:, :, channels:]


def _count_not_above(sorted_values, limits):
    """Returns how many of the sorted values do not exceed each limit, without a gradient."""
    size = ops.shape(limits)[1]
    both = ops.concatenate([limits, sorted_values], axis=1)
    order = ops.argsort(ops.stop_gradient(both), axis=1)
    seen = ops.cumsum(ops.cast(order >= size, "int32"), axis=1)
    rank = ops.argsort(order, axis=1)
    return ops.squeeze(_take_rows(ops.expand_dims(seen, 2), rank[:, :size]), 2)


def _take_rows(x, rows):
    """Returns `x[b, rows[b, i]]` for x of shape (batch, M, C), through one flat look-up."""
    batch, size, channels = ops.shape(x)
    offsets = ops.expand_dims(ops.arange(batch, dtype="int32"), 1) * size
    flat = ops.reshape(ops.cast(rows, "int32") + offsets, (-1,))
    taken = ops.take(ops.reshape(x, (-1, channels)), flat, axis=0)
    return ops.reshape(taken, (-1, ops.shape(rows)[1], channels))


@functools.lru_cache(maxsize=64)
def _compile_chunks(scale):
    import tensorflow as tf

    return tf.function(functools.partial(_softmax_mean_in_chunks, scale))


def _softmax_mean_in_chunks(scale, theta, phi, g, valid, rows):
    """Returns `softmax_mean` with `rows` queries at a time, forward and backward."""
    batch, queries, _ = ops.shape(theta)
    # Rounded up without a negative number, which ONNX files would divide towards zero.
    chunks = (queries + rows - 1) // rows

    def split(x):
        """(batch, N, C) to (chunks, batch, rows, C), with zeros after the last query."""
        x = ops.pad(x, [(0, 0), (0, chunks * rows - queries), (0, 0)])
        return ops.swapaxes(ops.reshape(x, (batch, chunks, rows, x.shape[-1])), 0, 1)

    def join(x):
        x = ops.swapaxes(x, 0, 1)
        return ops.reshape(x, (batch, chunks * rows, x.shape[-1]))[:, :queries]

    @ops.custom_gradient
    def attend(theta, phi, g):
        wide_phi, wide_g = _accumulate(phi), _accumulate(g)

        def forward(carry, chunk):
            weights = softmax_scores(chunk[0], wide_phi, scale, valid)
            return carry, ops.matmul(ops.cast(weights, g.dtype), g)

        def backward(carry, chunk):
            d_phi, d_g = carry
            theta, dy = map(_accumulate, chunk)
            weights = softmax_scores(theta, wide_phi, scale, valid)
            d_weights = ops.matmul(dy, ops.swapaxes(wide_g, 1, 2))
            mean = ops.sum(weights * d_weights, axis=-1, keepdims=True)
            d_logits = scale * weights * (d_weights - mean)
            if valid is not None:
                d_logits = ops.where(ops.expand_dims(valid, 1), d_logits, 0)
            d_phi += ops.matmul(ops.swapaxes(d_logits, 1, 2), theta)
            d_g += ops.matmul(ops.swapaxes(weights, 1, 2), dy)
            return (d_phi, d_g), ops.matmul(d_logits, wide_phi)

        def gradient(upstream):
            zeros = (ops.zeros_like(wide_phi), ops.zeros_like(wide_g))
            xs = (split(theta), split(upstream))
            (d_phi, d_g), d_theta = _scan(backward, zeros, xs, chunks, like=wide_phi)
            slopes = zip((join(d_theta), d_phi, d_g), (theta, phi, g), strict=True)
            return tuple(ops.cast(slope, x.dtype) for slope, x in slopes)

        _, outputs = _scan(forward, (), (split(theta),), chunks, like=g)
        return join(outputs), gradient

    return attend(theta, phi, g)


def _scan(step, carry, xs, length, like):
    """`ops.scan` that, on TensorFlow, unrolls a known number of steps up to a limit.

    Args:
        step, carry, xs: as in `ops.scan`.
        length: number of steps, an int or a tensor.
        like: tensor with the dtype and the last axis of the outputs of `step`.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.scan(step, carry, xs)
    import tensorflow as tf

    # Steps in flight at the same time would hold the weights of several chunks.
    if isinstance(length, int) and length <= MAX_UNROLLED_CHUNKS:
        outputs = []
        for i in range(length):
            with tf.control_dependencies(outputs[-1:]):
                first, *rest = [x[i] for x in xs]
                if outputs:
                    # XLA knows no control dependencies. A sum is unequal to itself where it is
                    # NaN, and then all of the clip is.
                    last = tf.reduce_sum(outputs[-1], axis=(1, 2), keepdims=True)
                    first += tf.cast(last != last, first.dtype)
                carry, output = step(carry, [first, *rest])
            outputs.append(output)
        return carry, tf.stack(outputs)

    def body(i, carry, outputs):
        carry, output = step(carry, [tf.gather(x, i) for x in xs])
        return i + 1, carry, tf.tensor_scatter_nd_update(outputs, [[i]], output[None])

    # TFLite takes no TensorArray whose elements have unknown sizes.
    outputs = tf.zeros((*ops.shape(xs[0])[:-1], like.shape[-1]), like.dtype)
    # An empty batch has nothing to write.
    length *= tf.minimum(tf.shape(xs[0])[1], 1)
    _, carry, outputs = tf.while_loop(
        lambda i, *_: i < length, body, (0, carry, outputs), parallel_iterations=1
    )
    return carry, outputs


def _accumulate(x):
    """Casts half precision up to float32, in which products, sums and softmax are taken."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))

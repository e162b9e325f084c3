"""Axis orders: tensors as files store them, and as Keras' layers do."""

import numpy as np

# A norm with these statistics gives gamma * x + beta, as affine networks have it.
NORM_EPSILON = 1e-5
IDENTITY_VARIANCE = np.float32(1 - NORM_EPSILON)


def to_keras(address, array):
    """Gives a tensor of a file the axis order of the variable at `address`.

    Kernels turn from `(out, in, [frames,] height, width)` to `(frames, height, width, in, out)`;
    the classifier, of any rank, from `(classes, channels)` to `(channels, classes)`.

    Args:
        address: `layer/variable`.
        array: the tensor.

    Returns:
        A view of the array where NumPy can give one.
    """
    if address == "predictions/kernel":
        return array.reshape(array.shape[0], -1).T if array.ndim else array
    if address.endswith("/kernel"):
        if array.ndim == 4:
            array = array[:, :, None]
        return array.transpose(2, 3, 4, 1, 0) if array.ndim == 5 else array
    return array.reshape(-1) if address.endswith("/w_f") else array


def from_keras(address, array, flat=False):
    """Undoes `to_keras`.

    Args:
        address: `layer/variable`.
        array: the variable's values.
        flat: whether kernels of one frame lose that axis.

    Returns:
        A contiguous array.
    """
    if address == "predictions/kernel":
        array = array.T
    elif address.endswith("/kernel"):
        array = array.transpose(4, 3, 0, 1, 2)
        if flat:
            array = array[:, :, 0]
    elif address.endswith("/w_f"):
        array = array.reshape(1, -1, 1, 1)
    return np.ascontiguousarray(array)

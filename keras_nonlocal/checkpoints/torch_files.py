"""Files of torch.save, checked before torch sees them and then read by torch alone.

Torch trusts what a file says of its own sizes, and may read past the end of a record or ask for
any amount of memory. So the records, and the pickle that names them, are checked first.
"""

import os

from keras_nonlocal.checkpoints.errors import CheckpointError


def read_torch(path, data):
    torch = _torch()
    content = torch.load(
        os.fspath(path), map_location="cpu", weights_only=True, mmap=data[:2] == b"PK"
    )
    return _plain(content, {})


def _torch():
    try:
        import torch
    except ImportError:
        raise CheckpointError(
            'it is a file of torch.save. Install torch to read it: pip install "keras_nonlocal[torch]".'
        ) from None
    return torch


def _plain(value, seen):
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach()
        if value.dtype in (torch.float16, torch.bfloat16):
            value = value.float()
        return value.numpy()
    if isinstance(value, dict):
        return {key: _plain(item, seen) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, seen) for item in value]
    return value

"""Checks of constructor arguments that the layers share."""


def is_positive_int(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}. Received: {name}={value!r}."
        )


def check_pool_size(pool_size, rank):
    if pool_size is None or is_positive_int(pool_size):
        return pool_size
    if isinstance(pool_size, (tuple, list)) and len(pool_size) == rank:
        if all(map(is_positive_int, pool_size)):
            return tuple(pool_size)
    raise ValueError(
        f"`pool_size` must be a positive integer, a tuple of {rank} of them, or None for no "
        f"pooling. Received: pool_size={pool_size!r}."
    )

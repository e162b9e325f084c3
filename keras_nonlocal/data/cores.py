"""How much of the machine there is to work with."""

import os


def count_cores():
    """Gives the number of cores that this process may use, which a batch job has fewer of."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

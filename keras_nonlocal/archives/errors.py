"""The one kind of error that reading and loading weights raises."""


class CheckpointError(ValueError):
    """A file of weights is missing, damaged, unsafe, or does not fit the network.

    The message names the file, what was found in it, and the way out.
    """

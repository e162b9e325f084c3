"""The one kind of error that reading and loading weights raises."""


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or unsafe, or does not fit the network.

    The message names the file, what was found in it, and the way out.
    """


def damaged(what):
    """Returns the error for a file that contradicts itself."""
    return CheckpointError(f"it is cut short or damaged ({what}). Download or save it again.")


def unsafe(what):
    """Returns the error for a file that asks for more than tensors need."""
    return CheckpointError(
        f"it {what}. Nothing of the file was run. If you trust it, load it with the program that "
        "wrote it, and save the tensors alone: torch.save(model.state_dict(), path)."
    )

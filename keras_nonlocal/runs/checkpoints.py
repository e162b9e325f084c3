"""The checkpoints of one training: a folder in which the last good one is found."""

import logging
import pathlib

from keras_nonlocal.files import PART
from keras_nonlocal.runs.checkpoint_files import (
    CorruptCheckpoint,
    read_checkpoint,
    write_checkpoint,
)

SUFFIX = ".safetensors"
CORRUPT = ".corrupt"


class Checkpoints:
    """A folder of checkpoints, of which the last ones are kept.

    A file is one checkpoint with everything in it, in the layout of safetensors, without pickle:
    weights and statistics, optimizer, random generators, metrics, and JSON notes. It appears whole
    or not at all, and holds the SHA-256 of all its bytes.

    Args:
        folder: path, made at the first write.
        keep: how many stay. The one before the last is what a damaged last one falls back to.

    Raises:
        ValueError: if `keep` is no positive integer.

    Example:

    >>> checkpoints = Checkpoints("checkpoints", keep=2)
    >>> for step in range(3):
    ...     path = checkpoints.write(0, step, {"model/kernel": np.full(2, step)}, {"rows": []})
    >>> [path.name for path in checkpoints.paths()]
    ['epoch-00000-step-00000001.safetensors', 'epoch-00000-step-00000002.safetensors']
    >>> arrays, notes = checkpoints.read_last()
    >>> arrays["model/kernel"].tolist(), notes["step"]
    ([2, 2], 2)
    """

    def __init__(self, folder, keep=2):
        if not isinstance(keep, int) or keep < 1:
            raise ValueError(f"`keep` must be a positive integer. Received: keep={keep!r}.")
        self.folder = pathlib.Path(folder)
        self.keep = keep

    def paths(self):
        """All checkpoints, the last one last."""
        return sorted(self.folder.glob(f"epoch-*{SUFFIX}"))

    def write(self, epoch, step, arrays, notes):
        """Writes a checkpoint, and removes those that are then too many.

        Args:
            epoch: int, whole epochs done.
            step: int, steps done of the next.
            arrays: dict of names to NumPy arrays.
            notes: a dict of what JSON can hold, or NumPy arrays in it.

        Returns:
            The path.

        Raises:
            OSError: if there is no room, or another fault of the disk. What was there stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch-{epoch:05d}-step-{step:08d}{SUFFIX}"
        notes = {"epoch": epoch, "step": step} | notes
        write_checkpoint(str(path), str(self.folder), arrays, notes)
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def read_last(self):
        """Reads the last checkpoint that is whole.

        A damaged one is put aside under another name, with a warning in the log.

        Returns:
            The arrays and the notes, `epoch` and `step` among them; or None, if none was written.

        Raises:
            CorruptCheckpoint: if there are some, and all are damaged.
        """
        faults = []
        for path in reversed(self.paths()):
            try:
                checkpoint = read_checkpoint(str(path))
            except CorruptCheckpoint as fault:
                faults.append((path, fault))
                continue
            for corrupt, fault in faults:
                # Not among those that are counted any more: a good one would be removed for it.
                corrupt.rename(f"{corrupt}{CORRUPT}")
                logging.getLogger("keras_nonlocal").warning(
                    "%s It is now called %r, and the training goes on from the one before, %r.",
                    fault,
                    f"{corrupt.name}{CORRUPT}",
                    path.name,
                )
            return checkpoint
        if faults:
            raise CorruptCheckpoint(
                "None of the checkpoints is whole:\n"
                + "\n".join(f"  {fault}" for _, fault in faults)
                + "\nStart again in another folder, or with `overwrite=True`."
            )
        return None

    def remove_parts(self):
        """Removes what a killed process had not finished writing."""
        for part in self.folder.glob(f"*{PART}"):
            part.unlink()

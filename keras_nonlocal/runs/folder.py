"""A folder with all that one training leaves behind, and what is needed to repeat it."""

import contextlib
import json
import logging
import os
import pathlib
import platform
import re
import shutil
import tempfile
from importlib import metadata

import keras

from keras_nonlocal.files import PART, atomic_write, locked
from keras_nonlocal.runs import curves
from keras_nonlocal.runs.checkpoints import Checkpoints
from keras_nonlocal.runs.model_state import build_optimizer

FACTS = "run.json"
FINAL = "model.keras"
BEST = "best.keras"
CSV = "curves.csv"
PNG = "curves.png"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"
LOCK = ".lock"
# As `atomic_write` and `tempfile` name what is not finished.
_UNFINISHED = re.compile(
    rf"({'|'.join(map(re.escape, (FACTS, FINAL, BEST, CSV, PNG)))})\.[a-z0-9_]{{8}}\{PART}"
)


class Run:
    """A folder of one training.

    `run.json` has its settings and, for each time that it was started, where it went on and with
    what versions. `model.keras` appears last: a folder that holds it is finished.

    Args:
        folder: path.
        keep: how many checkpoints stay.
    """

    def __init__(self, folder, keep=2):
        self.folder = pathlib.Path(folder)
        self.checkpoints = Checkpoints(self.folder / CHECKPOINTS, keep)
        self._tensorboard = None

    @contextlib.contextmanager
    def opened(self, settings, overwrite=False):
        """Holds the folder for this process, if it is new or one of the same settings.

        Args:
            settings: a dict of what JSON can hold.
            overwrite: whether what the folder holds of another training is thrown away.

        Raises:
            BlockingIOError: if another process has it.
            ValueError: if it is one of other settings, with all that differ, or of no training.
        """
        settings = _as_json(settings)
        _check_folder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / LOCK))
            except BlockingIOError as error:
                raise BlockingIOError(
                    f"Another process is training in {str(self.folder)!r}. Wait for its end, or "
                    "train in another folder."
                ) from error
            goes_on = _is_run(self.folder) and not overwrite
            if overwrite:
                self._remove_all()
            self._remove_parts()
            if goes_on:
                self._check_settings(settings)
            else:
                self._write_facts({"settings": settings, "starts": []})
            try:
                yield
            finally:
                if self._tensorboard is not None:
                    self._tensorboard.close()

    @property
    def finished(self):
        """Whether the final model is there."""
        return (self.folder / FINAL).exists()

    def note_start(self, epoch, step):
        """Adds to `run.json` that a process goes on from here, and warns of other versions."""
        facts = self._read_facts()
        start = {"epoch": epoch, "step": step} | _describe_process()
        if facts["starts"]:
            before = facts["starts"][-1]
            changed = [
                f"{name} was {before.get(name)!r}, is {start[name]!r}"
                for name in start
                if name not in ("epoch", "step") and start[name] != before.get(name)
            ]
            if changed:
                logging.getLogger("keras_nonlocal").warning(
                    "%s goes on with other means than before, and may end with other last bits: %s",
                    self.folder,
                    "; ".join(changed),
                )
        facts["starts"].append(start)
        self._write_facts(facts)

    def start_curves(self, rows):
        """Begins the curves, with the rows of the epochs before this start."""
        if not curves.can_draw():
            logging.getLogger("keras_nonlocal").warning(
                "%s is not drawn: that needs matplotlib, `pip install keras_nonlocal[viz]`.", PNG
            )
        self._tensorboard = curves.TensorBoardCurves(self.folder / TENSORBOARD, rows)
        for name in (CSV, PNG):
            # Of a checkpoint that is lost now.
            (self.folder / name).unlink(missing_ok=True)
        if rows:
            self._write_curves(rows)

    def add_to_curves(self, rows):
        """Writes the curves anew when a row has come to them."""
        self._tensorboard.add(len(rows), rows[-1])
        self._write_curves(rows)

    def read_rows(self):
        """The rows of a finished run."""
        return curves.read_csv(self.folder / CSV)

    def save_model(self, model, name):
        """Saves a model whole, as `FINAL` or `BEST`."""
        # Keras writes to a name that ends in .keras, piece by piece; so it does that elsewhere.
        with tempfile.TemporaryDirectory(PART, f"{name}.", self.folder) as workplace:
            unfinished = os.path.join(workplace, name)
            model.save(unfinished)
            with (
                open(unfinished, "rb") as source,
                atomic_write(self.folder / name, workplace) as file,
            ):
                shutil.copyfileobj(source, file)

    def load_final(self, model):
        """Gives a model the weights of the final one."""
        # Else Keras warns of the optimizer's variables in the file that have no place.
        build_optimizer(model)
        model.load_weights(self.folder / FINAL)

    def _write_curves(self, rows):
        curves.write_csv(str(self.folder / CSV), rows)
        if curves.can_draw():
            curves.draw_png(str(self.folder / PNG), rows)

    def _read_facts(self):
        return json.loads((self.folder / FACTS).read_text())

    def _write_facts(self, facts):
        with atomic_write(self.folder / FACTS) as file:
            file.write(f"{json.dumps(facts, indent=1)}\n".encode())

    def _check_settings(self, settings):
        was, now = _flat(self._read_facts()["settings"]), _flat(settings)
        absent = "(not set)"
        differing = [
            f"  {name}: was {was.get(name, absent)!r}, is {now.get(name, absent)!r}"
            for name in dict.fromkeys([*was, *now])
            if was.get(name, absent) != now.get(name, absent)
        ]
        if differing:
            raise ValueError(
                f"`run` must be a new folder, or the same settings as before. Received: "
                f"{str(self.folder)!r}, where these differ:\n" + "\n".join(differing) + "\n"
                "Give another folder, the settings as they were, or `overwrite=True`, which throws "
                "away what is there."
            )

    def _remove_all(self):
        # The final model first: what is left of a folder that is half removed is not finished.
        # The facts stay until others take their place: without them it would be nobody's.
        for name in (FINAL, BEST, CSV, PNG):
            (self.folder / name).unlink(missing_ok=True)
        for name in (CHECKPOINTS, TENSORBOARD):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _remove_parts(self):
        for path in list(self.folder.iterdir()):
            if not _UNFINISHED.fullmatch(path.name):
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.checkpoints.remove_parts()


def _check_folder(folder):
    """Raises if a folder is neither new, nor empty, nor one of a run."""
    if not folder.exists() or _is_run(folder):
        return
    # A process that was killed at its very beginning leaves the lock, and a part of its facts.
    names = {path.name for path in folder.iterdir()} - {LOCK}
    others = [name for name in names if not _UNFINISHED.fullmatch(name)]
    if others:
        raise ValueError(
            f"`run` must be a new or empty folder, or one of an earlier start. Received: "
            f"{str(folder)!r}, with {min(others)!r} and without a {FACTS!r} of a training. Give "
            "another folder."
        )


def _is_run(folder):
    try:
        facts = json.loads((folder / FACTS).read_text())
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(facts, dict) and {"settings", "starts"} <= facts.keys()


def _describe_process():
    names = ("keras_nonlocal", "keras", "tensorflow", "jax", "numpy")
    versions = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"backend": keras.backend.backend(), "devices": _count_devices()} | versions


def _count_devices():
    """Which devices the backend sees, as text."""
    if keras.backend.backend() == "jax":
        import jax

        devices = [device.platform for device in jax.devices()]
    else:
        import tensorflow as tf

        devices = [device.device_type.lower() for device in tf.config.list_logical_devices()]
    return ", ".join(f"{devices.count(kind)} {kind}" for kind in sorted(set(devices)))


def _as_json(settings):
    """The settings as they are read again: lists for tuples, and text for names that are none."""
    try:
        return json.loads(json.dumps(settings))
    except TypeError as error:
        raise TypeError(f"`settings` must hold what JSON can. Received: {error}.") from error


def _flat(settings, prefix=""):
    """Nested settings as names with dots."""
    if not isinstance(settings, dict):
        return {prefix: settings}
    flat = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else name)
    return flat

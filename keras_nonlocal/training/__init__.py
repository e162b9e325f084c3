"""Training: the recipes of the published networks, and runs that survive any interruption."""

import importlib

# Public names by the module that defines them. Each module is imported when it is first used;
# those that define what a saved model may name, by `import keras_nonlocal`.
_PUBLIC = {
    "keras_nonlocal.runs.checkpoints": ("CorruptCheckpoint",),
    "keras_nonlocal.runs.interruption": ("TrainingInterrupted",),
    "keras_nonlocal.runs.progress": ("EpochLines", "ProgressBar"),
    f"{__name__}.checks": ("check_before_training",),
    f"{__name__}.fitting": ("train",),
    f"{__name__}.freezing": ("freeze_until", "layer_rates"),
    f"{__name__}.loop": ("TrainingDiverged",),
    f"{__name__}.norms": ("freeze_norms", "synchronize_norms", "update_norm_statistics"),
    f"{__name__}.optimizers": ("AdamW", "SGD"),
    f"{__name__}.recipe": ("Recipe",),
    f"{__name__}.recipes": (
        "CHARADES",
        "FINE_TUNING",
        "KINETICS",
        "KINETICS_COSINE",
        "LONG_CLIPS",
        "RECIPES",
    ),
    f"{__name__}.schedules": ("HalfCosine", "Steps"),
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}
_SUBMODULES = ("checks", "distribution")

__all__ = sorted([*_MODULES, *_SUBMODULES])


def __getattr__(name):
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})

"""Training: the recipes of the published networks, and runs that survive any interruption."""

from keras_nonlocal.runs.checkpoints import CorruptCheckpoint
from keras_nonlocal.runs.interruption import TrainingInterrupted
from keras_nonlocal.runs.progress import EpochLines, ProgressBar
from keras_nonlocal.training import distribution
from keras_nonlocal.training.checks import check_before_training
from keras_nonlocal.training.fitting import train
from keras_nonlocal.training.freezing import freeze_until, layer_rates
from keras_nonlocal.training.loop import TrainingDiverged
from keras_nonlocal.training.norms import (
    freeze_norms,
    synchronize_norms,
    update_norm_statistics,
)
from keras_nonlocal.training.optimizers import SGD, AdamW
from keras_nonlocal.training.recipe import Recipe
from keras_nonlocal.training.recipes import (
    CHARADES,
    FINE_TUNING,
    KINETICS,
    KINETICS_COSINE,
    LONG_CLIPS,
    RECIPES,
)
from keras_nonlocal.training.schedules import HalfCosine, Steps

__all__ = [
    "AdamW",
    "CHARADES",
    "CorruptCheckpoint",
    "EpochLines",
    "FINE_TUNING",
    "HalfCosine",
    "KINETICS",
    "KINETICS_COSINE",
    "LONG_CLIPS",
    "ProgressBar",
    "RECIPES",
    "Recipe",
    "SGD",
    "Steps",
    "TrainingDiverged",
    "TrainingInterrupted",
    "check_before_training",
    "distribution",
    "freeze_norms",
    "freeze_until",
    "layer_rates",
    "synchronize_norms",
    "train",
    "update_norm_statistics",
]

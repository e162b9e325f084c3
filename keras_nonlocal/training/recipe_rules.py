"""Which values a recipe may have."""

import math
import re

_CLIP = r"[1-9]\d*x[1-9]\d*(@\d+(\.\d+)?)?"
_CHOICES = {
    "weights": ("any", "trained"),
    "optimizer": ("sgd", "adamw"),
    "schedule": ("steps", "half_cosine"),
    "labels": ("one", "several"),
    "norms": ("trainable", "frozen", "synchronized"),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "labels_of": ("video", "clip"),
}
# The fields that count: the least, the greatest, and whether they can be None.
_COUNTS = {
    "batch_size": (1, math.inf, False),
    "clips_seen": (1, math.inf, True),
    "epochs": (1, math.inf, True),
    "accumulation": (1, math.inf, False),
    "precise_norm_batches": (0, math.inf, False),
    "freeze_until": (1, 5, True),
    "early_stopping": (1, math.inf, True),
    "crop": (1, math.inf, False),
}
# The others: which numbers, in words and as a test, and whether they can be None.
_POSITIVE = ("greater than 0 and finite", lambda value: 0 < value < math.inf)
_NOT_NEGATIVE = ("at least 0 and finite", lambda value: 0 <= value < math.inf)
_SHARE = ("from 0 to below 1", lambda value: 0 <= value < 1)
_FACTOR = ("greater than 0 and at most 1", lambda value: 0 < value <= 1)
_NUMBERS = {
    "learning_rate": (*_POSITIVE, False),
    "warmup": (*_SHARE, False),
    "warmup_start": (*_SHARE, False),
    "momentum": (*_SHARE, False),
    "l2": (*_NOT_NEGATIVE, False),
    "weight_decay": (*_NOT_NEGATIVE, True),
    "clip_norm": (*_POSITIVE, True),
    "ema": (*_SHARE, True),
    "label_smoothing": (*_SHARE, False),
    "dropout": (*_SHARE, True),
    "layer_rate": (*_FACTOR, False),
    "color": (*_NOT_NEGATIVE, False),
}


def check_recipe(recipe):
    """Raises a `ValueError` if a field of a `Recipe` is outside its rules, or fields clash.

    Args:
        recipe: the `Recipe`.
    """
    _check_each(recipe)
    _check_together(recipe)


def _check_each(recipe):
    for field, choices in _CHOICES.items():
        value = getattr(recipe, field)
        if value not in choices:
            raise _wrong(field, f"one of {', '.join(map(repr, choices))}", value)
    for field, (least, greatest, optional) in _COUNTS.items():
        value = getattr(recipe, field)
        if value is None and optional:
            continue
        if type(value) is not int or not least <= value <= greatest:
            words = f"of at least {least}"
            words = words if greatest == math.inf else f"from {least} to {greatest}"
            raise _wrong(field, f"an integer {words}", value, optional)
    for field, (words, holds, optional) in _NUMBERS.items():
        value = getattr(recipe, field)
        if value is None and optional:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not holds(value):
            raise _wrong(field, f"a number {words}", value, optional)
    # As `data.ClipSpec` reads it.
    if not isinstance(recipe.clip, str) or not re.fullmatch(_CLIP, recipe.clip):
        raise _wrong("clip", "frames x stride, such as '8x8', '32x2' or '8x8@30'", recipe.clip)


def _check_together(recipe):
    sizes = recipe.short_side
    if sizes is not None and not (
        isinstance(sizes, (tuple, list))
        and len(sizes) == 2
        and all(type(size) is int for size in sizes)
        and recipe.crop <= sizes[0] <= sizes[1]
    ):
        words = f"a pair of integers, the smaller first and at least crop={recipe.crop}"
        raise _wrong("short_side", words, sizes, optional=True)
    if recipe.epochs is None and recipe.clips_seen is None:
        raise ValueError(
            "A recipe must have `epochs` or `clips_seen`, the length of the training. "
            "Received: neither. Give `epochs`."
        )
    if recipe.early_stopping is not None and recipe.epochs is None:
        raise ValueError(
            "`early_stopping` counts epochs and must go with `epochs`. Received: early_stopping="
            f"{recipe.early_stopping}, epochs=None. Give `epochs` in place of `clips_seen`."
        )
    frozen = [f"freeze_until={recipe.freeze_until}"] if recipe.freeze_until else []
    frozen += ["norms='frozen'"] if recipe.norms == "frozen" else []
    if frozen and recipe.weights != "trained":
        raise ValueError(
            "`weights` must be 'trained' in a recipe that freezes weights or statistics: random "
            f"ones would stay random. Received: weights={recipe.weights!r}, {', '.join(frozen)}. "
            "Give weights='trained', or freeze nothing."
        )
    shares = (recipe.warmup, *recipe.decay_at)
    if sorted(shares) != list(shares) or not all(0 <= share < 1 for share in shares):
        raise ValueError(
            "`warmup` and `decay_at` must be rising shares of the length, from 0 to below 1. "
            f"Received: warmup={recipe.warmup}, decay_at={recipe.decay_at}."
        )
    if recipe.decay_at and recipe.schedule != "steps":
        raise ValueError(
            "`decay_at` must be left empty but for schedule='steps'. "
            f"Received: decay_at={recipe.decay_at}, schedule={recipe.schedule!r}."
        )
    if recipe.optimizer == "adamw" and (recipe.l2 or recipe.weight_decay is None):
        raise ValueError(
            "optimizer='adamw' must have its decay in `weight_decay`, and none in `l2`. "
            f"Received: l2={recipe.l2}, weight_decay={recipe.weight_decay}. Give l2=0.0 and "
            "weight_decay=0.05, the usual one, or 0.0 for none."
        )


def _wrong(field, words, value, optional=False):
    words = f"{words}, or None" if optional else words
    return ValueError(f"`{field}` must be {words}. Received: {field}={value!r}.")

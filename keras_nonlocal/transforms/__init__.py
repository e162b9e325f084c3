"""What is done to a clip between decoder and network, as TensorFlow operations.

Each factory returns a function from a clip `(frames, height, width, channels)` to a clip. The
random ones draw once a clip and do the same to all its frames, for motion is what a clip is
about. They take a second argument `seed`, two integers: the same seed gives the same clip, which
is how `training_clips` stays reproducible with many clips in preparation at a time. Without it
they draw anew. `random_flip` takes the clip's label along; `mixup`, `cutmix` and `mixup_or_cutmix`
take whole batches and their labels.

They work eagerly and inside `tf.data.Dataset.map`, on pixels from 0 to 255. Those that only choose
pixels keep uint8, which is a quarter of the bytes of float32.
"""

from keras_nonlocal.transforms.augmentations import rand_augment, random_erasing
from keras_nonlocal.transforms.color import random_color
from keras_nonlocal.transforms.cropping import (
    center_crop,
    random_crop,
    random_short_side,
    resize_short_side,
    short_sides_of,
    three_crops,
)
from keras_nonlocal.transforms.mirroring import mirror_labels, random_flip
from keras_nonlocal.transforms.mixing import cutmix, mixup, mixup_or_cutmix
from keras_nonlocal.transforms.seeds import fold_in

__all__ = [
    "center_crop",
    "compose",
    "cutmix",
    "fold_in",
    "mirror_labels",
    "mixup_or_cutmix",
    "mixup",
    "rand_augment",
    "random_color",
    "random_crop",
    "random_erasing",
    "random_flip",
    "random_short_side",
    "resize_short_side",
    "short_sides_of",
    "three_crops",
]


def compose(*transforms):
    """Chains transforms into one; a seed is divided among them.

    Args:
        *transforms: functions made by this module's factories, in the order of their work.

    Returns:
        A function `(clip, seed=None) -> clip`.

    Example:

    ```python
    prepare = compose(resize_short_side(256), center_crop(224))
    prepare(clip).shape  # (8, 224, 224, 3)
    ```
    """

    def apply(clip, seed=None):
        for number, transform in enumerate(transforms):
            clip = transform(clip, None if seed is None else fold_in(seed, number))
        return clip

    return apply

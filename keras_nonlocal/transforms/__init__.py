"""Transforms of clips, as TensorFlow operations.

Each constructor returns a function from a clip `(frames, height, width, channels)` to a clip. The
random ones draw once per clip and treat all frames alike, so that motion stays what it was. They
take a second argument `seed`, two integers: the same seed gives the same clip, however many clips
are prepared at a time. Without it they draw anew. `random_flip` takes a clip and its label;
`mixup`, `cutmix` and `mixup_or_cutmix` take batches of both.

Transforms work eagerly and in `tf.data.Dataset.map`, on pixels 0 to 255, and keep their dtype.
`keras.layers` such as `RandomCrop` or `RandAugment` draw once per frame, and count their draws, so
that clips prepared in parallel are not reproducible.
"""

from keras_nonlocal.transforms.color import random_color
from keras_nonlocal.transforms.mixing import cutmix, mixup, mixup_or_cutmix
from keras_nonlocal.transforms.randaugment import rand_augment, random_erasing
from keras_nonlocal.transforms.spatial import (
    center_crop,
    fold_in,
    mirror_labels,
    random_crop,
    random_flip,
    short_sides_of,
    three_crops,
)

__all__ = [
    "center_crop",
    "compose",
    "cutmix",
    "fold_in",
    "mirror_labels",
    "mixup",
    "mixup_or_cutmix",
    "rand_augment",
    "random_color",
    "random_crop",
    "random_erasing",
    "random_flip",
    "short_sides_of",
    "three_crops",
]


def compose(*transforms):
    """Chains transforms; each gets a seed of its own, derived from the one that is passed.

    Args:
        *transforms: functions `(clip, seed) -> clip`, in the order in which they are applied.

    Returns:
        A function `(clip, seed=None) -> clip`.

    Example:

    ```python
    prepare = compose(random_crop(224), random_color())
    prepare(clip).shape  # (8, 224, 224, 3)
    ```
    """

    def apply(clip, seed=None):
        for index, transform in enumerate(transforms):
            clip = transform(clip, None if seed is None else fold_in(seed, index))
        return clip

    return apply

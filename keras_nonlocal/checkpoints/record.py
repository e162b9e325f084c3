"""What is known of one set of weights."""

import dataclasses
import types

from keras_nonlocal.models.config import KINDS, ResNet3DConfig


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One set of weights, with all that it takes to use them.

    Attributes:
        name: what `weights=` takes.
        builder: name of the builder whose network it fills; `None` for files that no builder
            loads, whose `note` says what they are for.
        arguments: arguments of that builder.
        path: where the file lies, below `base_url`; of weights that ship, below the package's
            `weights` folder.
        base_url: address of the folder that its publisher keeps it in; `None` if it ships.
        checksum: name of a hash algorithm and the first hexadecimal digits of the file's hash,
            where the file's name tells them; otherwise `None`.
        source: who published it; follows whose layer list the network is built and whose mean
            and standard deviation the clips are normalised by.
        clip: frames x stride of the clips; `None` for images.
        crop: height and width of the clips in training, in pixels.
        short_side: short side that frames are resized to before the crop, in pixels.
        classes: number of classes.
        class_names: their names in index order; empty where they do not ship.
        licence: SPDX identifier.
        top1: published share of videos, in per cent, whose best class is right.
        top5: the same for the five best; `None` where it was not published.
        test: what these were measured on.
        note: what else to know.
    """

    name: str
    builder: str | None
    arguments: types.MappingProxyType
    path: str
    base_url: str | None
    checksum: tuple[str, str] | None
    source: str
    clip: str | None
    crop: int
    short_side: int
    classes: int
    class_names: tuple[str, ...] = dataclasses.field(repr=False)
    licence: str
    top1: float | None
    top5: float | None
    test: str
    note: str = ""

    @property
    def config(self):
        """The `ResNet3DConfig` of the network that was trained."""
        return ResNet3DConfig(
            **KINDS[self.builder] | dict(self.arguments) | {"classes": self.classes},
            class_names=self.class_names or None,
            weights=self.name,
        )

    @property
    def file(self):
        """The file's name."""
        return self.path.rpartition("/")[2]

    @property
    def url(self):
        """Where to download the file; `None` if it ships with the package."""
        return None if self.base_url is None else self.base_url + self.path

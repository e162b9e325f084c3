"""`Recipe`: everything that a training is told besides its network and its videos."""

import dataclasses
import math

import keras

from keras_nonlocal.training import applying, schedules
from keras_nonlocal.training.recipe_rules import check_recipe


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of a training that belong together, such as those of a paper.

    Rates and lengths are told for the batch of the source, and hold for any: the rate grows with
    the batch, and the number of steps shrinks with it (linear scaling). Boundaries of a schedule
    are shares of its length, so that `epochs` stretches it as a whole.

    `dataclasses.replace(recipe, epochs=30)` gives another one. `print(recipe.describe())` says
    everything in words.

    Args:
        name: by which `keras-nonlocal train --recipe` knows it.
        description: the command, the result to expect, and the source.
        weights: `"any"`, random ones too, or `"trained"`: of another training. What freezes
            weights or statistics needs trained ones. See `prepare` for what is checked.
        batch_size: clips in a step, of all devices, for which `learning_rate` is told.
        learning_rate: greatest rate at that batch.
        clips_seen: length of the training, counted in clips.
        epochs: length of the training in passes through the videos; given, it takes the place
            of `clips_seen`.
        schedule: `"steps"` divides the rate by ten at each of `decay_at`; `"half_cosine"` lets
            it fall to nothing.
        decay_at: of `"steps"`, as shares of the length.
        warmup: share of the length during which the rate rises.
        warmup_start: where it rises from, as a share of `learning_rate`.
        optimizer: `"sgd"` (Nesterov) or `"adamw"`.
        momentum: of `"sgd"`.
        momentum_correction: whether what momentum has gathered is scaled when the rate changes,
            as the authors do. PyTorch's momentum amounts to the same.
        l2: coupled weight decay, which is part of the gradient that momentum gathers.
        weight_decay: decoupled weight decay, a share of the rate. `"adamw"` needs it in place of
            `l2`: 0.05 is usual, 0 stands for none.
        no_decay: names of the variables that neither decay applies to.
        clip_norm: greatest norm of all gradients together; `None` for any.
        accumulation: batches whose gradients are averaged to one update, where memory holds no
            larger one. The rate is that of all of them.
        ema: share of the moving average of the weights that is kept at each update; `None` for
            none. Validation and the saved model have the averages.
        labels: `"one"` class a clip, or `"several"`: each class is decided by itself.
        label_smoothing: share of each label that is spread over all classes.
        dropout: before the classifier; `None` leaves what the network has.
        norms: `"trainable"`; `"frozen"` to the affine form, with the statistics that they have;
            or `"synchronized"`, with those of the whole batch of all devices.
        precise_norm_batches: training batches of which statistics are made before an
            evaluation; 0 leaves the moving averages.
        freeze_until: stage from 1 (the stem) to 5 up to which nothing is trained; `None` trains
            all.
        layer_rate: factor of the rate from each stage to the one before it; 1 for none.
        precision: policy under which the network must be built: `"float32"`,
            `"mixed_bfloat16"`, or `"mixed_float16"`, whose loss is scaled.
        early_stopping: epochs without a smaller validation loss after which training ends, with
            the weights of the best; `None` for never. Epochs of the warm-up do not count. It
            needs `epochs`.
        clip: frames x stride of the clips.
        crop: side of the square that the network sees, in pixels.
        short_side: pair of pixels from which the short side is drawn before cropping. `None`:
            256 to 320 for a crop of 224, in proportion for others.
        flip: whether half of the clips are mirrored.
        color: greatest change of brightness, contrast and saturation, as a share.
        labels_of: `"video"`, or `"clip"` for lists with events.

    Raises:
        ValueError: on a value outside these rules.

    Example:

    ```python
    recipe = dataclasses.replace(FINE_TUNING, epochs=20)
    clips = data.training_clips(videos, batch_size=8, **recipe.data)
    recipe.prepare(model)
    recipe.compile(model, clips.steps_per_epoch, batch_size=8)
    model.fit(clips.dataset(), epochs=20, callbacks=recipe.callbacks(), shuffle=False)
    ```

    Reference:
        - Linear scaling: [Accurate, Large Minibatch SGD](https://arxiv.org/abs/1706.02677),
          section 2.1; momentum correction: section 3.
    """

    name: str
    description: str
    batch_size: int
    learning_rate: float
    weights: str = "any"
    clips_seen: int | None = None
    epochs: int | None = None
    schedule: str = "half_cosine"
    decay_at: tuple[float, ...] = ()
    warmup: float = 0.0
    warmup_start: float = 0.1
    optimizer: str = "sgd"
    momentum: float = 0.9
    momentum_correction: bool = True
    l2: float = 0.0
    weight_decay: float | None = None
    no_decay: tuple[str, ...] = ("gamma", "beta")
    clip_norm: float | None = None
    accumulation: int = 1
    ema: float | None = None
    labels: str = "one"
    label_smoothing: float = 0.0
    dropout: float | None = None
    norms: str = "trainable"
    precise_norm_batches: int = 0
    freeze_until: int | None = None
    layer_rate: float = 1.0
    precision: str = "float32"
    early_stopping: int | None = None
    clip: str = "8x8"
    crop: int = 224
    short_side: tuple[int, int] | None = None
    flip: bool = True
    color: float = 0.0
    labels_of: str = "video"

    def __post_init__(self):
        check_recipe(self)

    @property
    def data(self):
        """Keyword arguments of `data.training_clips`."""
        return {
            "clip": self.clip,
            "size": self.crop,
            "scale": self.short_side,
            "flip": self.flip,
            "color": self.color,
            "clip_labels": self.labels_of == "clip",
        }

    def count_epochs(self, steps_per_epoch, batch_size):
        """Gives the length of the training in epochs, for `fit` and for the schedule.

        Args:
            steps_per_epoch: batches in an epoch.
            batch_size: clips in a batch, of all devices.

        Returns:
            `epochs`, or as many as it takes to see `clips_seen`, rounded up.
        """
        if self.epochs is not None:
            return self.epochs
        return math.ceil(self.clips_seen / (steps_per_epoch * batch_size))

    def make_schedule(self, steps_per_epoch, batch_size):
        """Gives the learning rate as a function of the update.

        Args:
            steps_per_epoch: batches in an epoch.
            batch_size: clips in a batch, of all devices.

        Returns:
            A `keras.optimizers.schedules.LearningRateSchedule`.

        Raises:
            ValueError: if the training has fewer batches than `accumulation`: no update is made.
        """
        batches = self.count_epochs(steps_per_epoch, batch_size) * steps_per_epoch
        if batches < self.accumulation:
            raise ValueError(
                "`accumulation` must be at most the number of steps, or nothing is ever updated. "
                f"Received: accumulation={self.accumulation} for {batches} steps. Lower "
                "`accumulation`, or raise `epochs`."
            )
        if self.epochs is None:
            # As long as the source has it, not to the end of the last epoch.
            batches = round(self.clips_seen / batch_size)
        # The optimizers count updates.
        total = max(batches // self.accumulation, 1)
        rate = self.learning_rate * batch_size * self.accumulation / self.batch_size
        warmup = {}
        if steps := round(self.warmup * total):
            warmup = {"warmup_steps": steps, "warmup_start": rate * self.warmup_start}
        if self.schedule == "half_cosine":
            return schedules.HalfCosine(rate, total, **warmup)
        # Of boundaries that fall together in a short training, the last one counts.
        rates = {0: rate}
        for power, share in enumerate(self.decay_at, start=1):
            rates[max(round(share * total), 1)] = rate * 0.1**power
        return schedules.Steps(list(rates.values()), list(rates), **warmup)

    def prepare(self, model):
        """Brings a network into the state in which it is trained: norms, dropout, what is frozen.

        It comes before `compile`, and inside the scope of a distribution strategy. It undoes
        nothing that was fixed before, by another recipe or by hand: what `freeze_until` and
        `norms="frozen"` leave alone here stays as it is. Begin with a new network.

        Args:
            model: a network of `C2D`, `I3D`, `NLC2D` or `NLI3D`. It is changed.

        Raises:
            ValueError: if the network was built under another policy than `precision`, has no
                dropout to set, or, with `weights="trained"`, if all of its batch norms have the
                means, variances and shifts that they are built with. Random weights of a network
                without batch norms, or with other statistics, are not noticed.
        """
        applying.prepare(self, model)

    def compile(self, model, steps_per_epoch, batch_size, from_logits=None):
        """Gives a network its optimizer, loss and metrics.

        On several replicas of a strategy it is compiled without XLA.

        Args:
            model: a `keras.Model` from clips to `(batch, classes)`.
            steps_per_epoch: batches in an epoch, such as `clips.steps_per_epoch`.
            batch_size: clips in a batch, of all devices.
            from_logits: whether the model gives logits. `None`: as its last activation says.

        Raises:
            ValueError: if the model's output does not go with `labels`, the network was built
                under another policy than `precision`, or `accumulation` exceeds the steps.
        """
        schedule = self.make_schedule(steps_per_epoch, batch_size)
        applying.compile(self, model, schedule, from_logits)

    @property
    def warmup_epochs(self):
        """Epochs in which the rate still rises, of a recipe with `epochs`."""
        return math.ceil(self.warmup * self.epochs)

    def callbacks(self):
        """Gives the callbacks of `fit` that the recipe asks for.

        Returns:
            List of `keras.callbacks.Callback`: early stopping, or none. It watches the validation
            loss from the end of the warm-up on, and `fit` must be given validation data then.
        """
        if self.early_stopping is None:
            return []
        return [
            keras.callbacks.EarlyStopping(
                monitor="val_loss",
                mode="min",
                patience=self.early_stopping,
                start_from_epoch=self.warmup_epochs,
                restore_best_weights=True,
            )
        ]

    def describe(self):
        """Says in words what the recipe is, with each setting that is not at its default."""
        fields = dataclasses.fields(self)
        settings = [
            f"{field.name} = {getattr(self, field.name)!r}"
            for field in fields
            if field.name not in ("name", "description")
            and getattr(self, field.name) != field.default
        ]
        return "\n".join([f"{self.name}: {self.description}", *(f"  {line}" for line in settings)])

"""SGD and AdamW whose weight decay, rates and momentum mean what the sources mean by them."""

import re

import keras
from keras import ops

from keras_nonlocal.training import replicas
from keras_nonlocal.training.schedules import check_rate


class _Rules:
    """Which variables decay and how fast each learns; stands before one of Keras' optimizers."""

    def __init__(self, *args, no_decay, rate_factors, **kwargs):
        super().__init__(*args, **kwargs)
        if isinstance(no_decay, str):
            raise ValueError(
                "`no_decay` must be a list of variable names. "
                f"Received: no_decay={no_decay!r}. Write ({no_decay!r},)."
            )
        self.no_decay = tuple(no_decay)
        self.rate_factors = dict(rate_factors or {})
        for pattern, factor in self.rate_factors.items():
            check_rate(f"rate_factors[{pattern!r}]", factor)
        if self.gradient_accumulation_steps and self.ema_overwrite_frequency:
            raise ValueError(
                "`ema_overwrite_frequency` must be None with `gradient_accumulation_steps`: Keras "
                "would overwrite the weights before the update, not after it. Received: "
                f"ema_overwrite_frequency={self.ema_overwrite_frequency}, "
                f"gradient_accumulation_steps={self.gradient_accumulation_steps}. Leave one out."
            )

    def build(self, variables):
        """Makes the optimizer's variables, and settles which rule each of the model's follows."""
        if self.built:
            return
        if self.ema_overwrite_frequency and replicas.needs_exchange():
            raise ValueError(
                "`ema_overwrite_frequency` must be None with several replicas, on which Keras "
                "cannot branch. Received: ema_overwrite_frequency="
                f"{self.ema_overwrite_frequency}. `fit` puts the averages in place at its end."
            )
        super().build(variables)
        self._decays = tuple(variable.name not in self.no_decay for variable in variables)
        self._factors = tuple(self._factor(variable.path) for variable in variables)
        if self.rate_factors and not any(self._matches(v.path) for v in variables):
            raise ValueError(
                "`rate_factors` must hold a pattern that is found in the path of a trainable "
                f"variable. Received: {', '.join(map(repr, self.rate_factors))}, and variables "
                f"such as {variables[0].path!r}. `[v.path for v in model.trainable_variables]` "
                "are all of them; factors for frozen layers alone are to be left out."
            )

    def _matches(self, path):
        return [factor for p, factor in self.rate_factors.items() if re.search(p, path)]

    def _factor(self, path):
        return next(iter(self._matches(path)), 1.0)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Is not for these optimizers: a saved model would forget it.

        Raises:
            ValueError: always; the names are given as `no_decay`.
        """
        raise ValueError(
            "`exclude_from_weight_decay` would be forgotten by a saved model. "
            f"Received: var_list={var_list}, var_names={var_names}. "
            "Name the variables in `no_decay`."
        )

    def _apply_weight_decay(self, variables):
        # Left to `update_step`, where a variable's own rate is known.
        pass

    def _decay(self, variable, rate):
        """Shrinks a variable as Keras does: by its share of the rate, before the step."""
        if self.weight_decay:
            decay = ops.cast(self.weight_decay, variable.dtype)
            self.assign_sub(variable, variable * decay * rate)

    def _get_current_learning_rate(self):
        # Keras asks a schedule for the rate of the micro-batch; `iterations` counts updates.
        if isinstance(self._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            return self._learning_rate(self.iterations)
        return super()._get_current_learning_rate()

    def _clip_gradients(self, grads):
        # Keras clips what each replica has before it adds them up, which is another gradient.
        if self.clipnorm or self.global_clipnorm or self.clipvalue:
            whole = super()._clip_gradients(replicas.sum_over_replicas(grads))
            return replicas.share_among_replicas(whole)
        return grads

    def _backend_apply_gradients(self, grads, trainable_variables):
        if self.gradient_accumulation_steps and replicas.needs_exchange():
            replicas.accumulate(self, grads, trainable_variables)
        else:
            super()._backend_apply_gradients(grads, trainable_variables)

    def _update_model_variables_moving_average(self, trainable_variables):
        # Keras averages after each micro-batch, and so again and again over the same weights.
        steps = self.gradient_accumulation_steps or 1
        updated = ops.equal((self._iterations + 1) % steps, 0)
        kept = ops.where(updated, ops.cast(self.ema_momentum, "float32"), 1.0)
        kept = ops.where(ops.equal(self.iterations, 0), 0.0, kept)
        averages = self._model_variables_moving_average
        for variable, average in zip(trainable_variables, averages, strict=True):
            if average is not None:  # float8 scales have none.
                share = ops.cast(kept, variable.dtype)
                average.assign(share * average + (1 - share) * variable)

    def get_config(self):
        own = {"no_decay": list(self.no_decay), "rate_factors": dict(self.rate_factors)}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class SGD(_Rules, keras.optimizers.SGD):
    """SGD with momentum as in Caffe2 and PyTorch: decay in the gradient, none on the norms.

    Each update takes the mean gradient of `gradient_accumulation_steps` batches, clips it as
    `clipnorm`, `global_clipnorm` or `clipvalue` say, adds `l2 * variable`, and steps: the order
    of PyTorch's `clip_grad_norm_` and `torch.optim.SGD`. Replicas clip the sum of their
    gradients, and so get the numbers of one device. Schedules and `use_ema` count updates.
    Keras' own SGD clips each replica's part, cannot accumulate on several, and lets schedules
    and averages count batches.

    Args:
        learning_rate: a float or a schedule, such as `Steps`.
        momentum: share of the velocity kept at each update, a float.
        nesterov: whether to look ahead by another step of momentum.
        l2: coupled weight decay, `weight_decay` in Caffe2 and PyTorch: `l2 * variable` is added
            to the gradient, and so runs through the momentum.
        weight_decay: decoupled weight decay, Keras' meaning: each update first takes
            `learning_rate * weight_decay * variable` off the variable. `None`: none.
        no_decay: names of variables that neither decay touches; those of norms by default, as
            in the authors' code, which lets biases decay.
        rate_factors: `{pattern: factor}`; the first regular expression found in a variable's
            path, such as `"res3_1_a_conv/kernel"`, multiplies its rate, decay included. 0
            keeps it exactly still, though its gradient counts in `global_clipnorm`.
        momentum_correction: Keras' and Caffe2's velocity holds the rates of past updates, so
            that after a jump of the rate the old, large steps go on for a while. `True` keeps
            the rate out of the velocity. That is how PyTorch steps, and what the authors'
            `SOLVER.SCALE_MOMENTUM` comes to, which scales the velocity by every change.
        **kwargs: further arguments of `keras.optimizers.SGD`.

    Raises:
        ValueError: if `l2` and `weight_decay` are both set, if an argument is out of range, or,
            when it is built, if no variable's path has one of `rate_factors`.

    Example:

    >>> optimizer = SGD(0.01, l2=1e-4, momentum_correction=True)
    >>> keras.optimizers.deserialize(keras.optimizers.serialize(optimizer)).l2
    0.0001

    Reference:
        [video-nonlocal-net](https://github.com/facebookresearch/video-nonlocal-net)
        `lib/models/model_builder_video.py`, and `_CorrectMomentum` there; Section 2.1 of
        [Accurate, Large Minibatch SGD](https://arxiv.org/abs/1706.02677) on the correction.
    """

    def __init__(
        self,
        learning_rate,
        momentum=0.9,
        nesterov=True,
        l2=0.0,
        weight_decay=None,
        no_decay=("gamma", "beta"),
        rate_factors=None,
        momentum_correction=False,
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            no_decay=no_decay,
            rate_factors=rate_factors,
            **kwargs,
        )
        check_rate("l2", l2)
        if l2 and weight_decay:
            raise ValueError(
                "`l2` and `weight_decay` are two meanings of one thing. Received: "
                f"l2={l2}, weight_decay={weight_decay}. The authors' and PySlowFast's is `l2`."
            )
        self.l2 = l2
        self.momentum_correction = momentum_correction

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable; Keras calls it."""
        index = self._get_variable_index(variable)
        if self._factors[index] == 0:
            return
        rate = ops.cast(learning_rate, variable.dtype) * self._factors[index]
        gradient = ops.cast(gradient, variable.dtype)
        if self._decays[index]:
            gradient = gradient + self.l2 * variable if self.l2 else gradient
            self._decay(variable, rate)
        if not self.momentum_correction or not self.momentum:
            super().update_step(gradient, variable, rate)
            return
        velocity = self.momentums[index]
        self.assign(velocity, self.momentum * velocity + gradient)
        step = gradient + self.momentum * velocity if self.nesterov else velocity
        self.assign_sub(variable, step * rate)

    def get_config(self):
        own = {"l2": self.l2, "momentum_correction": self.momentum_correction}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_nonlocal")
class AdamW(_Rules, keras.optimizers.AdamW):
    """AdamW with variables left out of the decay, and rates of their own, that a file keeps.

    Args:
        learning_rate: a float or a schedule, such as `HalfCosine`.
        weight_decay: decoupled: each update first takes `learning_rate * weight_decay *
            variable` off the variable.
        no_decay: names of variables that do not decay; norms and biases by default, which is
            `ZERO_WD_1D_PARAM` of PySlowFast.
        rate_factors: see `SGD`.
        **kwargs: further arguments of `keras.optimizers.AdamW`.

    Raises:
        ValueError: if an argument is out of range, or, when it is built, if no variable's path
            has one of `rate_factors`.

    Example:

    >>> optimizer = AdamW(1e-3, rate_factors={"^predictions/": 10.0, "^(conv1|res2)_": 0.0})
    >>> optimizer.get_config()["no_decay"]
    ['gamma', 'beta', 'bias']

    Reference:
        [Decoupled Weight Decay Regularization](https://arxiv.org/abs/1711.05101).
    """

    def __init__(
        self,
        learning_rate,
        weight_decay=0.05,
        no_decay=("gamma", "beta", "bias"),
        rate_factors=None,
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            no_decay=no_decay,
            rate_factors=rate_factors,
            **kwargs,
        )

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable; Keras calls it."""
        index = self._get_variable_index(variable)
        if self._factors[index] == 0:
            return
        rate = ops.cast(learning_rate, variable.dtype) * self._factors[index]
        if self._decays[index]:
            self._decay(variable, rate)
        super().update_step(gradient, variable, rate)

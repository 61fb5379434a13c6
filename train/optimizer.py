"""AdamW that remembers the norm of the last gradient, by which train/health.py knows whether anything is learned, and
averages of the weights, which are what is validated and kept in the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops


class WatchedAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW (Loshchilov and Hutter 2019); `gradient_norm` is the Euclidean norm of the last gradient, unclipped.

    No weight changes before all gradients are there, so that a step which fails before that has changed nothing.
    `averages` are those of the weights over about the last share `average`, 0 to 1, of the steps so far, of polynomial
    decay (Shamir and Zhang 2013), which suits runs of any length. (Keras' own, use_ema, look back over a number of
    steps, and take the weights' place at the end of every call of fit.)
    """

    def __init__(self, *arguments: Any, average: float | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.average = average
        self.averages: list[keras.Variable] = []
        """One for each weight that is trained; none without `average`."""

    def build(self, variables: Any) -> None:
        """Create the moments, the norm, and the averages."""
        fresh = not self.built
        super().build(variables)
        if fresh:
            self.gradient_norm = self.add_variable((), name="gradient_norm", initializer="ones")
            self.begun = self.add_variable((), dtype="int64", name="begun", initializer="zeros")
            if self.average is not None:
                self.averages = self.add_optimizer_variables(variables, "average")

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Take one step."""
        squares = [ops.sum(ops.square(ops.cast(grad, "float32"))) for grad in grads if grad is not None]
        norm = ops.sqrt(sum(squares))
        self.gradient_norm.assign(norm)
        # One, as a number that is not known before all gradients are, and `begun` says so.
        self.begun.assign(self.iterations + ops.where(norm == norm, 1, 1))
        one = ops.cast(self.begun - self.iterations, "float32")
        super().apply([None if grad is None else grad * one for grad in grads], trainable_variables)
        if self.average is not None:
            newest = 1 / (1 + self.average * (ops.cast(self.iterations, "float32") - 1))
            for average, weight in zip(self.averages, self._trainable_variables, strict=True):
                average.assign(average + newest * (weight - average))

    def unharmed(self, steps: int) -> bool:
        """Return whether the step after `steps`, which failed, has changed no weight; the count of steps, which waits
        for no gradient, is then put right."""
        if int(self.begun.numpy()) != steps:
            return False
        self.iterations.assign(steps)
        return True


class WatchedScale(keras.optimizers.LossScaleOptimizer):  # type: ignore[misc]
    """Another around a WatchedAdamW: scales the loss, so that small gradients do not vanish in 16 bits; a step whose
    gradient is not finite halves the scale and changes no weight (Micikevicius et al. 2018)."""

    @property
    def gradient_norm(self) -> keras.Variable:
        """The norm of the last finite gradient, unscaled."""
        return self.inner_optimizer.gradient_norm

    @property
    def averages(self) -> list[keras.Variable]:
        """The averages of the weights after steps that were taken."""
        return list(self.inner_optimizer.averages)

    def unharmed(self, steps: int) -> bool:
        """Return False: steps that were left out are not counted, so what a failed step has changed cannot be told."""
        return False


@contextmanager
def averaged(network: keras.Model) -> Iterator[None]:
    """Let `network` have the averages that its optimizer keeps meanwhile, if any, in place of its weights."""
    averages = network.optimizer.averages
    weights = network.trainable_variables if averages else []
    trained = [weight.numpy().copy() for weight in weights]
    try:
        for weight, average in zip(weights, averages, strict=True):
            weight.assign(average)
        yield
    finally:
        for weight, value in zip(weights, trained, strict=True):
            weight.assign(value)

"""AdamW that remembers the norm of the last gradient, by which train/health.py knows whether anything is learned."""

from typing import Any

import keras
from keras import ops


class WatchedAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW (Loshchilov and Hutter 2019); `gradient_norm` is the Euclidean norm of the last gradient, unclipped.

    No weight changes before all gradients are there, so that a step which fails before that has changed nothing.
    """

    def build(self, variables: Any) -> None:
        """Create the moments, and the norm."""
        fresh = not self.built
        super().build(variables)
        if fresh:
            self.gradient_norm = self.add_variable((), name="gradient_norm", initializer="ones")
            self.begun = self.add_variable((), dtype="int64", name="begun", initializer="zeros")

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Take one step."""
        squares = [ops.sum(ops.square(ops.cast(grad, "float32"))) for grad in grads if grad is not None]
        norm = ops.sqrt(sum(squares))
        self.gradient_norm.assign(norm)
        # One, as a number that is not known before all gradients are, and `begun` says so.
        self.begun.assign(self.iterations + ops.where(norm == norm, 1, 1))
        one = ops.cast(self.begun - self.iterations, "float32")
        super().apply([None if grad is None else grad * one for grad in grads], trainable_variables)

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

    def unharmed(self, steps: int) -> bool:
        """Return False: steps that were left out are not counted, so what a failed step has changed cannot be told."""
        return False

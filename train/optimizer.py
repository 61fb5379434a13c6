"""AdamW that remembers the norm of the last gradient, by which train/health.py knows whether anything is learned."""

from typing import Any

import keras
from keras import ops


class WatchedAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW (Loshchilov and Hutter 2019); `gradient_norm` is the Euclidean norm of the last gradient, unclipped."""

    def build(self, variables: Any) -> None:
        """Create the moments, and the norm."""
        fresh = not self.built
        super().build(variables)
        if fresh:
            self.gradient_norm = self.add_variable((), name="gradient_norm", initializer="ones")

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Take one step."""
        squares = [ops.sum(ops.square(ops.cast(grad, "float32"))) for grad in grads if grad is not None]
        self.gradient_norm.assign(ops.sqrt(sum(squares)))
        super().apply(grads, trainable_variables)

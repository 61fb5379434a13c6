"""Verifiers, which compare two embeddings, and the losses that train them."""

import math
from typing import Any

import keras
from keras import ops

INITIAL_SCALE = 5.0
INITIAL_BIAS = -2.0
"""A pair at a cosine of 0.4 starts undecided; unrelated pairs start at 0, once the embeddings are centred."""
MARGIN = 1.0
EPSILON = 1e-9
"""Inside the root of a distance, whose slope at zero is infinite."""


class SigmoidVerifier(keras.layers.Layer):  # type: ignore[misc]
    """The logit of "same artist": exp(t) * cosine + b with t and b learned (SigLIP, Zhai et al. 2023)."""

    def build(self, left_shape: Any, right_shape: Any) -> None:
        """Create t and b."""
        initial = keras.initializers.Constant
        self.log_scale = self.add_weight(shape=(), initializer=initial(math.log(INITIAL_SCALE)), name="log_scale")
        self.bias = self.add_weight(shape=(), initializer=initial(INITIAL_BIAS), name="bias")

    def call(self, left: Any, right: Any) -> Any:
        """Return logits float32 [m, 1] for unit vectors [m, d] on either hand."""
        return ops.exp(self.log_scale) * ops.sum(left * right, axis=-1, keepdims=True) + self.bias


class DistanceVerifier(keras.layers.Layer):  # type: ignore[misc]
    """The Euclidean distance of two embeddings, from 0 (one point) to 2 (opposite points of the sphere)."""

    def call(self, left: Any, right: Any) -> Any:
        """Return distances float32 [m, 1] for unit vectors [m, d] on either hand."""
        return ops.sqrt(ops.sum(ops.square(left - right), axis=-1, keepdims=True) + EPSILON)


class Contrastive(keras.losses.Loss):  # type: ignore[misc]
    """y d^2 + (1 - y) max(0, margin - d)^2, over two (Hadsell, Chopra, LeCun 2006, equation 4)."""

    def call(self, same: Any, distance: Any) -> Any:
        """Return the loss [m] of distances [m, 1] where `same` [m, 1] is 1 for one artist and 0 for two."""
        together = same * ops.square(distance)
        apart = (1 - same) * ops.square(ops.maximum(MARGIN - distance, 0))
        return ops.mean(together + apart, axis=-1) / 2


def make_verifier(loss: str) -> keras.layers.Layer:
    """Return the verifier that belongs to a loss of the configuration."""
    return SigmoidVerifier(name="verifier") if loss == "sigmoid" else DistanceVerifier(name="verifier")


def make_loss(loss: str) -> keras.losses.Loss:
    """Return the loss function of a loss of the configuration."""
    return keras.losses.BinaryCrossentropy(from_logits=True) if loss == "sigmoid" else Contrastive()


def score_sign(loss: str) -> int:
    """Return 1 where a larger verifier output means "same", -1 where it means "different"."""
    return 1 if loss == "sigmoid" else -1

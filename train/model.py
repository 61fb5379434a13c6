"""The embedder, which turns one picture into a point on a sphere, and the verifier, which compares two points."""

from typing import Any

import keras
from keras import layers, ops

from preprocess.common.config import Train
from preprocess.common.errors import ConfigError
from train.augment import Augment

GROUPS = 8
STAGES = 4
INITIAL_SCALE = 10.0
INITIAL_MARGIN = 1.0


def build_embedder(settings: Train) -> keras.Model:
    """Return a network from pictures, uint8 [n, size, size, 3] of any size, to unit vectors float32 [n, embedding].

    No layer looks at other pictures of the batch: no batch statistics. Raises ConfigError for an unknown model.
    """
    images = keras.Input((None, None, 3), dtype="float32", name="images")
    features = compact(images, settings.width) if settings.model == "compact" else application(images, settings.model)
    embeddings = layers.Dense(settings.embedding, name="embedding")(features)
    return keras.Model(images, layers.UnitNormalization(name="unit")(embeddings), name="embedder")


def compact(images: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Return features [n, 16 * width] of a small residual network: the mean and the spread of each last channel.

    How much of a mark there is, and how unevenly it is spread, says more of a hand than where it is.
    """
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    for stage in range(STAGES):
        x = residual(x, width * 2**stage, strides=1 if stage == 0 else 2)
    x = layers.Activation("relu")(layers.GroupNormalization(GROUPS)(x))
    mean = layers.GlobalAveragePooling2D()(x)
    square = layers.GlobalAveragePooling2D()(layers.Lambda(ops.square, output_shape=lambda shape: shape)(x))
    return layers.Concatenate()([mean, square])


def residual(x: keras.KerasTensor, channels: int, strides: int) -> keras.KerasTensor:
    """Return a pre-activation residual block (He et al. 2016) with GroupNorm (Wu and He 2018)."""
    y = layers.Activation("relu")(layers.GroupNormalization(GROUPS)(x))
    shortcut = layers.Conv2D(channels, 1, strides=strides, use_bias=False)(y) if strides > 1 else x
    y = layers.Conv2D(channels, 3, strides=strides, padding="same", use_bias=False)(y)
    y = layers.Activation("relu")(layers.GroupNormalization(GROUPS)(y))
    y = layers.Conv2D(channels, 3, padding="same", use_bias=False)(y)
    return layers.Add()([shortcut, y])

"""The embedder, which turns one picture into a point on a sphere, and the network that is trained to compare two."""

import importlib
import inspect
from typing import Any

import keras
from keras import layers, ops

from preprocess.common.config import Train
from preprocess.common.errors import ConfigError
from train.augment import augment
from train.losses import make_verifier

GROUPS = 8
STAGES = 4


def build_embedder(settings: Train) -> keras.Model:
    """Return a network from pictures, float32 [n, size, size, 3], 0 to 255, to unit vectors float32 [n, embedding].

    No layer looks at other pictures of the batch: no batch statistics. Raises ConfigError for an unknown model.
    """
    images = keras.Input((settings.size, settings.size, 3), dtype="float32", name="images")
    features = compact(images, settings.width) if settings.model == "compact" else application(images, settings)
    embeddings = layers.Dense(settings.embedding, name="embedding")(features)
    return keras.Model(images, layers.UnitNormalization(name="unit")(embeddings), name="embedder")


def compact(images: Any, width: int) -> Any:
    """Return features [n, 16 * width] of a small residual network: mean and mean square of each last channel.

    How much of a mark there is, and how unevenly it is spread, says more of a hand than where it is.
    """
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    for stage in range(STAGES):
        x = residual(x, width * 2**stage, strides=1 if stage == 0 else 2)
    x = layers.Activation("relu")(layers.GroupNormalization(GROUPS)(x))
    mean = layers.GlobalAveragePooling2D()(x)
    energy = layers.GlobalAveragePooling2D()(layers.Multiply()([x, x]))
    return layers.Concatenate()([mean, energy])


def residual(x: Any, channels: int, strides: int) -> Any:
    """Return a pre-activation residual block (He et al. 2016) with GroupNorm (Wu and He 2018)."""
    y = layers.Activation("relu")(layers.GroupNormalization(GROUPS)(x))
    shortcut = layers.Conv2D(channels, 1, strides=strides, use_bias=False)(y) if strides > 1 else x
    y = layers.Conv2D(channels, 3, strides=strides, padding="same", use_bias=False)(y)
    y = layers.Activation("relu")(layers.GroupNormalization(GROUPS)(y))
    y = layers.Conv2D(channels, 3, padding="same", use_bias=False)(y)
    return layers.Add()([shortcut, y])


def application(images: Any, settings: Train) -> Any:
    """Return the pooled features of a network of keras.applications, its batch norms frozen.

    Raises ConfigError where keras has no such network.
    """
    network: Any = getattr(keras.applications, settings.model, None)
    if not inspect.isfunction(network):
        raise ConfigError(f"train.model should be 'compact' or a class of keras.applications, got {settings.model!r}")
    weights = "imagenet" if settings.pretrained else None
    backbone = network(include_top=False, weights=weights, pooling="avg", input_shape=(settings.size, settings.size, 3))
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    prepare = importlib.import_module(network.__module__).preprocess_input
    return backbone(prepare(images * 1.0))


class PairNetwork(keras.Model):  # type: ignore[misc]
    """What is trained: pictures in, augmented and embedded, and one output per pair."""

    def __init__(self, settings: Train) -> None:
        super().__init__(name="pairs")
        self.embedder = build_embedder(settings)
        self.verifier = make_verifier(settings.loss)
        self.picture_size = settings.size

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Return the verifier's output float32 [m, 1] for pairs of inputs["images"] uint8 [n, stored, stored, 3]."""
        images = resized(inputs["images"], self.picture_size)
        if training:
            images = augment(images, inputs["augment"])
        embeddings = self.embedder(images, training=training)
        left = ops.take(embeddings, inputs["left"], axis=0)
        right = ops.take(embeddings, inputs["right"], axis=0)
        return self.verifier(left, right)


def centre(network: PairNetwork, pictures: Any) -> None:
    """Shift the embeddings so that those of `pictures`, uint8 [n, stored, stored, 3], average zero before scaling.

    An untrained network puts all pictures near one point, from where some runs never leave: every cosine is one, every
    output the same. From a data-dependent start (Salimans and Kingma 2016) pairs differ from the first step.
    """
    last = network.embedder.get_layer("embedding")
    outputs = keras.Model(network.embedder.input, last.output)(resized(pictures, network.picture_size))
    last.bias.assign(last.bias - ops.mean(outputs, axis=0))


def resized(images: Any, size: int) -> Any:
    """Return uint8 [n, stored, stored, 3] as float32 [n, size, size, 3], 0 to 255, resized on the device."""
    images = ops.cast(images, "float32")
    if images.shape[1] == size:
        return images
    return ops.image.resize(images, (size, size), interpolation="bilinear", antialias=True)


def count_parameters(network: keras.Model) -> int:
    """Return the number of trained numbers in `network`."""
    return int(sum(variable.shape.num_elements() for variable in network.trainable_variables))

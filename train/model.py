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
from train.table import Table

NEIGHBOURHOOD = 9
"""Pixels on a side over which local mean and spread are taken."""
FLAT = 0.004
"""Added to a local variance (values are -1 to 1), so that the noise of flat areas stays small."""
EPSILON = 1e-4
GROUPS = 8


def build_embedder(settings: Train) -> keras.Model:
    """Return a network from pictures, float32 [n, size, size, 3], 0 to 255, to unit vectors float32 [n, embedding].

    Where the size changes during training, or a part is seen, it takes pictures of any size. No layer looks at other
    pictures of the batch: no batch statistics. Raises ConfigError for an unknown model.
    """
    side = None if settings.stages or min(settings.view, settings.corners) < 1 else settings.size
    images = keras.Input((side, side, 3), dtype="float32", name="images")
    own = {"compact": compact, "plain": plain}.get(settings.model)
    features = own(images, settings.width) if own else application(images, settings)
    embeddings = layers.Dense(settings.embedding, name="embedding")(features)
    return keras.Model(images, layers.UnitNormalization(name="unit")(embeddings), name="embedder")


def build_evaluator(embedder: keras.Model, settings: Train) -> keras.Model:
    """Return what embeds pictures after training: float32 [n, size, size, 3], 0 to 255, to unit vectors [n, embedding].

    With train.corners below 1 they are the mean of the embeddings of four squares, one in each corner, of that share of
    the side; else the embedder is returned.
    """
    size, side = settings.size, round(settings.size * settings.corners)
    if side == size:
        return embedder
    images = keras.Input((size, size, 3), dtype="float32", name="images")
    first, last = slice(None, side), slice(size - side, None)
    corners = [embedder(images[:, y, x]) for y in (first, last) for x in (first, last)]
    return keras.Model(images, layers.UnitNormalization(name="unit")(layers.Average()(corners)), name="evaluator")


def compact(images: Any, width: int) -> Any:
    """Return features [n, 16 * width] of a small residual network: how much of each mark there is, and how unevenly.

    A hand shows in marks of every scale and in their contrast, so every level gives the mean and the spread of its
    channels, and nothing is normalised before they are taken: a norm between the layers takes away just what the
    statistics are to tell. Each level's statistics are then brought to one scale by a GroupNorm of one group.
    """
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = layers.Concatenate()([x, local_contrast(x)])
    x = layers.Conv2D(width, 5, strides=2, padding="same", activation="relu", name="stem")(x)
    levels = statistics(x)
    for channels in (width * 3 // 2, width * 2):
        x = layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu")(x)
        levels += statistics(x)
        x = layers.Add()([x, layers.Conv2D(channels, 3, padding="same", activation="relu")(x)])
        levels += statistics(x)
    return layers.Concatenate()([layers.GroupNormalization(1)(level) for level in levels])


def plain(images: Any, width: int) -> Any:
    """Return features of a residual network for small pictures of one thing each, such as digits and clothes, where it
    counts in which place a mark is: [n, 4 * width * (size // 8)^2].
    """
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = layers.Conv2D(width, 3, padding="same", activation="relu", name="stem")(x)
    for channels in (width, width * 2, width * 4):
        if channels > width:
            x = layers.Conv2D(channels, 3, padding="same", activation="relu")(layers.GroupNormalization(GROUPS)(x))
        inner = layers.Conv2D(channels, 3, padding="same", activation="relu")(layers.GroupNormalization(GROUPS)(x))
        x = layers.MaxPooling2D()(layers.Add()([x, inner]))
    return layers.Flatten()(layers.GroupNormalization(GROUPS)(x))


def local_contrast(x: Any) -> Any:
    """Return pictures [n, size, size, 3] less their local mean, over their local spread: strokes without light."""
    x = x - layers.AveragePooling2D(NEIGHBOURHOOD, strides=1, padding="same")(x)
    energy = layers.AveragePooling2D(NEIGHBOURHOOD, strides=1, padding="same")(ops.square(x))
    return x / ops.sqrt(ops.mean(energy, axis=-1, keepdims=True) + FLAT)


def statistics(x: Any) -> list[Any]:
    """Return mean and standard deviation, [n, channels] each, of the channels of x [n, height, width, channels]."""
    mean = layers.GlobalAveragePooling2D()(x)
    energy = layers.GlobalAveragePooling2D()(ops.square(x))
    return [mean, ops.sqrt(ops.maximum(energy - ops.square(mean), 0) + EPSILON)]


def application(images: Any, settings: Train) -> Any:
    """Return the pooled features of a network of keras.applications, its batch norms frozen.

    Raises ConfigError where keras has no such network.
    """
    network: Any = getattr(keras.applications, settings.model, None)
    if not inspect.isfunction(network):
        raise ConfigError(
            f"train.model should be 'compact', 'plain' or a class of keras.applications, got {settings.model!r}"
        )
    weights = "imagenet" if settings.pretrained else None
    backbone = network(include_top=False, weights=weights, pooling="avg", input_shape=images.shape[1:])
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
        self.evaluator = build_evaluator(self.embedder, settings)
        self.verifier = make_verifier(settings.loss)
        self.picture_size = self.training_size = settings.size
        self.view = settings.view
        self.table: Table | None = None

    def train_on(self, size: int, table: Table | None) -> None:
        """Train with pictures of `size` pixels from now on, taken out of `table` where their places are given."""
        if (size, table) != (self.training_size, self.table):
            self.training_size, self.table = size, table
            self.make_train_function(force=True)  # the one there was compiled for the former

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Return the verifier's output float32 [m, 1] for pairs of inputs["images"], uint8 [n, stored, stored, 3] or
        int64 [n], their places in the table."""
        images = inputs["images"] if self.table is None else self.table.take(inputs["images"])
        images = resized(images, self.training_size if training else self.picture_size)
        if training:
            images = augment(images, inputs["augment"], self.view)
        embeddings = self.embedder(images, training=True) if training else self.evaluator(images)
        left = ops.take(embeddings, inputs["left"], axis=0)
        right = ops.take(embeddings, inputs["right"], axis=0)
        return self.verifier(left, right)


def centre(network: PairNetwork, pictures: Any) -> None:
    """Shift the embeddings so that those of `pictures`, uint8 [n, stored, stored, 3], average zero before scaling.

    An untrained network puts all pictures near one point, from where some runs never leave: every cosine is one, every
    output the same. From a data-dependent start (Salimans and Kingma 2016) pairs differ from the first step.
    """
    last = network.embedder.get_layer("embedding")
    outputs = keras.Model(network.embedder.input, last.output)(resized(pictures, network.training_size))
    last.bias.assign(last.bias - ops.mean(outputs, axis=0))


def resized(images: Any, size: int) -> Any:
    """Return uint8 [n, stored, stored, 3] as float32 [n, size, size, 3], 0 to 255, resized on the device."""
    images = ops.cast(images, "float32")
    if images.shape[1] == size:
        return images
    return ops.image.resize(images, (size, size), interpolation="bilinear", antialias=True)

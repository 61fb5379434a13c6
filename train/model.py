"""The embedder, which turns one picture into a point on a sphere, and the network that is trained to compare two."""

import importlib
import inspect
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from preprocess.common.errors import ConfigError
from preprocess.common.learning import Train
from train.ahead import Ahead
from train.augment import augment
from train.devices import on_devices, shares
from train.losses import make_verifier
from train.pieces import in_pieces
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
    own = {"compact": compact, "plain": plain, "parts": parts}.get(settings.model)
    features = own(images, settings) if own else application(images, settings)
    number = math.prod(features.shape[1:-1])
    if settings.embedding % number:
        raise ConfigError(f"train.embedding should be a multiple of {number}, the parts of a picture, "
                          f"with train.model {settings.model}; got {settings.embedding}")  # fmt: skip
    embeddings = layers.Dense(settings.embedding // number, name="embedding")(features)
    if number > 1:
        embeddings = layers.Flatten()(layers.UnitNormalization(name="units")(embeddings))
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


def compact(images: Any, settings: Train) -> Any:
    """Return features [n, 16 * width] of a small residual network: how much of each mark there is, and how unevenly.

    A hand shows in marks of every scale and in their contrast, so every level gives the mean and the spread of its
    channels, and nothing is normalised before they are taken: a norm between the layers takes away just what the
    statistics are to tell. Each level's statistics are then brought to one scale by a GroupNorm of one group.
    """
    width, precision = settings.width, settings.precision
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = layers.Concatenate()([x, local_contrast(x)])
    x = layers.Conv2D(width, 5, strides=2, padding="same", activation="relu", name="stem", dtype=precision)(x)
    levels = statistics(x)
    for channels in (width * 3 // 2, width * 2):
        x = layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu", dtype=precision)(x)
        levels += statistics(x)
        more = layers.Conv2D(channels, 3, padding="same", activation="relu", dtype=precision)(x)
        x = layers.Add(dtype=precision)([x, more])
        levels += statistics(x)
    return layers.Concatenate()([layers.GroupNormalization(1)(level) for level in levels])


def plain(images: Any, settings: Train) -> Any:
    """Return features of a residual network for small pictures of one thing each, such as digits and clothes, where it
    counts in which place a mark is: [n, 4 * width * (size // 8)^2].
    """
    return layers.Flatten()(parts(images, settings))


def parts(images: Any, settings: Train) -> Any:
    """Return the features of `plain` part by part, [n, size // 8, size // 8, 4 * width]: the cosine of two pictures is
    then the mean of the cosines of their parts.
    """
    width, precision = settings.width, settings.precision

    def marks(x: Any, channels: int) -> Any:
        return layers.Conv2D(channels, 3, padding="same", activation="relu", dtype=precision)(x)

    x = marks(layers.Rescaling(1 / 127.5, offset=-1.0)(images), width)
    for channels in (width, width * 2, width * 4):
        if channels > width:
            x = marks(layers.GroupNormalization(GROUPS)(x), channels)
        inner = marks(layers.GroupNormalization(GROUPS)(x), channels)
        x = layers.MaxPooling2D()(layers.Add(dtype=precision)([x, inner]))
    return layers.GroupNormalization(GROUPS)(x)


def local_contrast(x: Any) -> Any:
    """Return pictures [n, size, size, 3] less their local mean, over their local spread: strokes without light."""
    x = x - layers.AveragePooling2D(NEIGHBOURHOOD, strides=1, padding="same")(x)
    energy = layers.AveragePooling2D(NEIGHBOURHOOD, strides=1, padding="same")(ops.square(x))
    return x / ops.sqrt(ops.mean(energy, axis=-1, keepdims=True) + FLAT)


def statistics(x: Any) -> list[Any]:
    """Return mean and standard deviation, [n, channels] each, of the channels of x [n, height, width, channels]."""
    x = ops.cast(x, "float32")  # with 16 bits squares would overflow, and their difference mean little
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
            "train.model should be 'compact', 'plain', 'parts' or a class of keras.applications, "
            f"got {settings.model!r}"
        )
    weights = "imagenet" if settings.pretrained else None
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.precision)
    try:
        backbone = network(include_top=False, weights=weights, pooling="avg", input_shape=images.shape[1:])
    finally:
        keras.config.set_dtype_policy(before)
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
        weights = {id(weight) for weight in self.embedder.weights}
        self.seeds = [variable for variable in self.embedder.variables if id(variable) not in weights]
        """From what dropout is drawn: a seed and a count for each layer that has it."""
        self.picture_size = self.training_size = settings.size
        self.view = settings.view
        self.table: Table | None = None
        self.piece: int | None = None
        """How many pictures a device embeds at once; None: all of its share."""
        self.devices: tuple[str, ...] = ("",)
        """On which devices of TensorFlow; an empty name: where it likes."""
        self.ahead = Ahead()
        self.waited = 0.0
        """Seconds that training has waited for batches."""

    def train_on(self, size: int, table: Table | None) -> None:
        """Train with pictures of `size` pixels from now on, taken out of `table` where their places are given."""
        if (size, table) != (self.training_size, self.table):
            self.training_size, self.table = size, table
            self.make_train_function(force=True)  # the one there was compiled for the former

    def make_train_function(self, force: bool = False) -> None:
        """Compile a training step, as Keras does, with a clock around the wait for its batch."""
        if self.train_function is not None and not force:
            return
        super().make_train_function(force)
        steps = self.train_function

        def timed(*given: Any) -> Any:
            *state, batches = given  # JAX keeps the weights outside, in a state
            began = time.perf_counter()
            batch = self.ahead.take(batches)
            self.waited += time.perf_counter() - began
            return steps(*state, iter([batch]))

        self.train_function: Any = timed

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Return the verifier's output float32 [m, 1] for pairs of inputs["images"], uint8 [n, stored, stored, 3] or
        int64 [n], their places in the table."""
        images = inputs["images"] if self.table is None else self.table.take(inputs["images"])
        embeddings = self.embed_batch(images, inputs["augment"]) if training else self.embed(images)
        left = ops.take(embeddings, inputs["left"], axis=0)
        right = ops.take(embeddings, inputs["right"], axis=0)
        return self.verifier(left, right)

    def embed_batch(self, *pictures: Any) -> Any:
        """Return the embeddings of a training batch, see `embed`: in pieces and on several devices if need be."""
        count, several = pictures[0].shape[0], len(self.devices) > 1
        if not several and (self.piece is None or self.piece >= count):
            return self.embed(*pictures)
        seeds = [seed.value * 1 for seed in self.seeds]
        embed = partial(self.embed_with, seeds)
        if self.piece is not None and self.piece < max(shares(count, len(self.devices))):
            embed = partial(in_pieces, embed, self.piece, self.embedder.output_shape[-1])
        if several:
            embed = partial(on_devices, embed, self.devices, "CPU" if self.table is None else self.devices[0])
        embeddings = embed([weight.value for weight in self.embedder.weights], ops.arange(count), *pictures)
        for seed, drawn in zip(self.seeds, seeds, strict=True):
            seed.assign(further(drawn, count))
        return embeddings

    def embed_with(self, seeds: Sequence[Any], weights: Sequence[Any], places: Any, *pictures: Any) -> Any:
        """Return embeddings, see `embed`, of the pictures at `places` [n] of a batch, by `weights` instead of the
        embedder's own; dropout is drawn from `seeds` and the first place, the same whenever this is done again."""
        drawn = [further(seed, places[0]) for seed in seeds]
        with keras.StatelessScope(zip([*self.embedder.weights, *self.seeds], [*weights, *drawn], strict=True)):
            return self.embed(*pictures)

    def embed(self, images: Any, drawn: Any = None) -> Any:
        """Return embeddings float32 [n, embedding] of pictures; in training, of their variants that `drawn`
        [n, columns] asks for."""
        if drawn is None:
            return self.evaluator(resized(images, self.picture_size), training=False)
        return self.embedder(augment(resized(images, self.training_size), drawn, self.view), training=True)


def further(seed: Any, count: Any) -> Any:
    """Return the state [2] of a random generator after `count` draws from `seed`."""
    return seed + ops.stack([ops.zeros((), seed.dtype), ops.cast(count, seed.dtype)])


def centre(network: PairNetwork, pictures: Any) -> None:
    """Shift the embeddings so that those of `pictures`, uint8 [n, stored, stored, 3], average zero before scaling.

    An untrained network puts all pictures near one point, from where some runs never leave: every cosine is one, every
    output the same. From a data-dependent start (Salimans and Kingma 2016) pairs differ from the first step.
    """
    last = network.embedder.get_layer("embedding")
    before, piece = keras.Model(network.embedder.input, last.output), network.piece or len(pictures)
    cut = (pictures[start : start + piece] for start in range(0, len(pictures), piece))
    outputs = ops.concatenate([before(resized(each, network.training_size)) for each in cut])
    last.bias.assign(last.bias - ops.mean(outputs, axis=range(outputs.ndim - 1)))


def resized(images: Any, size: int) -> Any:
    """Return uint8 [n, stored, stored, 3] as float32 [n, size, size, 3], 0 to 255, resized on the device."""
    images = ops.cast(images, "float32")
    if images.shape[1] == size:
        return images
    return ops.image.resize(images, (size, size), interpolation="bilinear", antialias=True)

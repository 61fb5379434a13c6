"""The first steps of a training run, by a recipe of config.yaml or as far as is known as in the report of 2017."""

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from pipeline.augmentation import drawer
from pipeline.dataset import training_dataset
from preprocess.common.config import Config
from train.feed import Feed
from train.fit import begin, compiled_network, make_stream
from train.health import Collapse, Health
from train.losses import Contrastive, DistanceVerifier
from train.model import PairNetwork
from train.run import Run
from train.validation import Validation

MOST_STEPS, EVERY = 300, 50
CONSTANT = 1e-3
"""The spread of predictions over their mean below which they count as one constant."""


class Outcome(NamedTuple):
    """How far a run came: at `step`, the AUC on the validation side that matters most, with the lower end of its 95 %
    interval; the sign of a collapse that the trainer's detectors saw, and whether the predictions are one constant."""

    step: int
    auc: float
    low: float
    sign: str
    constant: bool


class ReportNetwork(keras.Model):  # type: ignore[misc]
    """Two convolutions and a dense layer, and the Euclidean distance of their raw features: no norm of any kind."""

    def __init__(self, size: int) -> None:
        super().__init__(name="report")
        self.picture_size, self.piece = size, None
        self.embedder = keras.Sequential([
            keras.Input((size, size, 3)), layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(), layers.Flatten(), layers.Dense(128, activation="relu"),
        ])  # fmt: skip
        self.evaluator, self.verifier = self.embedder, DistanceVerifier()

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Return distances float32 [m, 1] for pairs of inputs["images"], uint8 [n, size, size, 3]."""
        features = self.embedder(ops.cast(inputs["images"], "float32"), training=training)
        return self.verifier(ops.take(features, inputs["left"], axis=0), ops.take(features, inputs["right"], axis=0))


def report_network(run: Run) -> ReportNetwork:
    """Return it, untrained, with contrastive loss and Adam at its defaults."""
    keras.utils.set_random_seed(run.settings.seed)
    network = ReportNetwork(run.settings.size)
    network.compile(optimizer=keras.optimizers.Adam(), loss=Contrastive())
    return network


def attempt(run: Run, config: Config, enough: float, as_reported: bool) -> Outcome:
    """Train until the AUC's lower bound is above `enough`, a detector fires, or MOST_STEPS are done."""
    feed = Feed(run, config.pipeline)
    validation = Validation(run, feed.validation(), config.pipeline.evaluation_pairs)
    network = report_network(run) if as_reported else prepared(run)
    health = None if as_reported else Health(network, validation)
    for step in trained(run, network, feed, augmented=not as_reported):
        side = validation.sides[-1]
        found = validation.with_intervals(network)[side]
        sign = seen(health, step)
        if found["low"] > enough or sign or step == MOST_STEPS:
            return Outcome(step, found["value"], found["low"], sign, is_constant(validation.scores(network)[side]))
    raise AssertionError("a range without an end has ended")


def prepared(run: Run) -> PairNetwork:
    """Return the network of a recipe, ready for its first step."""
    network = compiled_network(run)
    begin(run, network)
    return network


def trained(run: Run, network: Any, feed: Feed, augmented: bool) -> Iterator[int]:
    """Train EVERY steps at a time; yield how many are done."""
    span = run.settings.spans[0]
    source, table = feed.training(span.size)
    if table is not None:
        network.train_on(span.size, table)
    draw = drawer(run.settings.augment if augmented else "none", run.settings.seed)
    for start in count(0, EVERY):
        stream = make_stream(run, span.batch)
        steps = training_dataset(source, stream, draw, start, start + EVERY, feed.settings.prefetch)
        network.fit(steps, epochs=1, verbose=0, shuffle=False)
        yield start + EVERY


def seen(health: Health | None, step: int) -> str:
    """Return the sign of a collapse that the detectors see, or an empty string."""
    try:
        if health:
            health.check(step)
    except Collapse as collapse:
        return str(collapse)
    return ""


def is_constant(scores: np.ndarray) -> bool:
    """Return whether all pairs [m] get nearly the same answer."""
    return bool(scores.std() < CONSTANT * max(abs(float(scores.mean())), 1e-12))

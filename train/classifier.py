"""The report's stand-alone classifiers, and what two classifications tell of a pair: the other way to verify.

A classifier says nothing of classes that it was not trained on; only collections with prescribed sides (MNIST) suit it.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from pipeline.reader import Reader
from pipeline.split import TEST, TRAIN, VALIDATION, make_split, side_rows
from pipeline.streams import PairList, evaluation_pairs
from preprocess.common.config import Config
from preprocess.common.errors import SplitError
from preprocess.common.files import write_json
from preprocess.common.learning import Train
from preprocess.common.progress import Progress
from preprocess.store import store_of
from train.augment import augment, drawer
from train.calibrate import calibrate
from train.metrics import auc, rates
from train.model import plain
from train.sides import balance

BATCH, EPOCHS, LEARNING_RATE, SMOOTHING, DROPPED = 128, 8, 2e-3, 0.1, 0.2
READ = 4096
WIDTHS = {"small": 32, "large": 64}
"""Channels of the first stage of the network `plain`."""


class Classifier(keras.Model):  # type: ignore[misc]
    """Pictures uint8 [n, size, size, 3] in, logits [n, classes] out: the features of `plain`, and one layer more.

    In training it takes pictures with what their variants are drawn to be, see train/augment.py.
    """

    def __init__(self, settings: Train, classes: int) -> None:
        super().__init__(name="classifier")
        images = keras.Input((settings.size, settings.size, 3), dtype="float32")
        features = layers.Dropout(DROPPED)(plain(images, settings))
        self.network = keras.Model(images, layers.Dense(classes, name="classes")(features))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return logits float32 [n, classes]."""
        if not training:
            return self.network(ops.cast(inputs, "float32"), training=False)
        images, drawn = inputs
        return self.network(augment(ops.cast(images, "float32"), drawn), training=True)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """All epochs' batches of a training side, in an order and with variants that are functions of (seed, step)."""

    def __init__(self, train: "Pictures", epochs: int, variants: str, seed: int) -> None:
        super().__init__()
        self.train, self.epochs, self.draw, self.seed = train, epochs, drawer(variants, seed), seed
        self.batch = min(BATCH, len(train.rows))
        self.each = len(train.rows) // self.batch
        self.classes = np.eye(int(train.labels.max()) + 1, dtype=np.float32)

    def __len__(self) -> int:
        return self.epochs * self.each

    def __getitem__(self, step: int) -> tuple[tuple[Any, Any], Any]:
        """Return pictures, what is drawn for them, and their classes as probabilities [n, classes]."""
        epoch, place = divmod(step, self.each)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.train.rows))
        chosen = order[place * self.batch : (place + 1) * self.batch]
        return (self.train.images[chosen], self.draw(step, self.batch)), self.classes[self.train.labels[chosen]]


class Shown(keras.callbacks.Callback):  # type: ignore[misc]
    """Shows how far training is."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Count a step."""
        self.progress.advance(1)


class Pictures(NamedTuple):
    """One side: rows int64 [n], labels [n] and pictures uint8 [n, size, size, 3]."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int32]
    images: NDArray[np.uint8]


def classify(config: Config, name: str, seed: int) -> dict[str, Any]:
    """Train a classifier on the training side of a collection with prescribed sides, and measure it on the test side;
    write runs/<collection>-classifier-<name>-<seed>.json and return it.

    accuracy of classes, also on the validation side, by which choices are made; of pairs, `two_classifiers`: AUC and
    accuracy of "both classifications are of one class", by the probability sum over c of p(c) q(c) at the threshold
    that validation pairs choose.
    Raises SplitError where the test pictures have other classes than those of training.
    """
    store = store_of(config)
    split, reader = make_split(store, config), Reader(store, config.train.size)
    train, validation, test = (pictures(reader, *side_rows(split, *sides)) for sides in ((TRAIN,), VALIDATION, TEST))
    if set(test.labels.tolist()) - set(train.labels.tolist()):
        raise SplitError(f"{config.collection}: the test side has classes that a classifier was not trained on; "
                         "choose a collection with prescribed sides, such as recipe=fashion")  # fmt: skip
    keras.utils.set_random_seed(seed)
    most = config.pipeline.evaluation_pairs
    batches = Batches(train, EPOCHS, config.train.augment, seed)
    network = Classifier(config.train.model_copy(update={"width": WIDTHS[name]}), len(batches.classes))
    fit(network, batches)
    known, probability = (softmax(network, side.images) for side in (validation, test))
    chosen = evaluation_pairs(validation.rows, validation.labels, most, config.split.seed)
    pairs = evaluation_pairs(test.rows, test.labels, most, config.split.seed)
    calibration = calibrate(chosen.same, agreement(known, validation.rows, chosen), balance(chosen))
    scores = agreement(probability, test.rows, pairs)
    accuracy = rates(calibration.threshold)["accuracy"](pairs.same, calibration.probability(scores), None)
    answer = {
        "collection": config.collection, "kind": name, "seed": seed, "parameters": network.count_params(),
        "accuracy": float((probability.argmax(axis=1) == test.labels).mean()),
        "validation_accuracy": float((known.argmax(axis=1) == validation.labels).mean()),
        "two_classifiers": {"auc": auc(pairs.same, scores), "accuracy": accuracy},
    }  # fmt: skip
    config.runs.mkdir(parents=True, exist_ok=True)
    write_json(config.runs / f"{config.collection}-classifier-{name}-{seed}.json", answer)
    return answer


def pictures(reader: Reader, rows: NDArray[np.int64], labels: NDArray[np.int32]) -> Pictures:
    """Return one side, read whole."""
    parts = [reader.read(rows[start : start + READ]) for start in range(0, len(rows), READ)]
    return Pictures(rows, labels, np.concatenate(parts))


def fit(network: Classifier, batches: Batches) -> None:
    """Train with AdamW, its learning rate falling to zero along a cosine."""
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, len(batches))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING)
    network.compile(optimizer=keras.optimizers.AdamW(schedule, weight_decay=0.01), loss=loss, jit_compile=False)
    with Progress("train", len(batches), "step") as progress:
        network.fit(batches, verbose=0, shuffle=False, callbacks=[Shown(progress)])


def softmax(network: Classifier, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the probabilities [n, classes] of pictures uint8 [n, size, size, 3]."""
    logits = network.predict(images, batch_size=512, verbose=0)
    return np.asarray(ops.softmax(logits), np.float64)


def agreement(probability: NDArray[np.float64], rows: NDArray[np.int64], pairs: PairList) -> NDArray[np.float64]:
    """Return the logarithm [m] of the probability that both pictures of a pair are of one class."""
    left, right = np.searchsorted(rows, pairs.left), np.searchsorted(rows, pairs.right)
    same: NDArray[np.float64] = np.einsum("mc,mc->m", probability[left], probability[right])
    found: NDArray[np.float64] = np.log(same.clip(1e-12))
    return found


def classifier_text(answer: dict[str, Any]) -> str:
    """Return it as lines of text."""
    two, who = answer["two_classifiers"], "{collection}: {kind} classifier, {parameters:,} parameters, seed {seed}"
    classes = "\n  classes: accuracy {accuracy:.4f}; of the validation side {validation_accuracy:.4f}"
    pairs = f"\n  pairs by two classifications: AUC {two['auc']:.4f}, accuracy {two['accuracy']:.4f}"
    return who.format(**answer) + classes.format(**answer) + pairs

"""The report's stand-alone classifiers, and what two classifications tell of a pair: the other way to verify.

A classifier says nothing of classes that it was not trained on; only collections with prescribed sides (MNIST) suit it.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from pipeline.reader import Reader
from pipeline.split import TEST, TRAIN, VALIDATION, make_split, side_rows
from pipeline.streams import PairList, evaluation_pairs
from preprocess.common.config import Config
from preprocess.common.errors import SplitError
from preprocess.common.files import write_json
from preprocess.common.progress import Progress
from preprocess.store import store_of
from train.calibrate import calibrate
from train.metrics import auc, rates
from train.sides import balance

BATCH, LEARNING_RATE, SHIFT = 128, 2e-3, 0.07
READ = 4096


class Kind(NamedTuple):
    """Channels of each stage of two convolutions, numbers of the dense layer before the last, and epochs."""

    channels: tuple[int, ...]
    dense: int
    epochs: int


KINDS = {"small": Kind((32, 64), 128, 8), "large": Kind((64, 128, 256), 256, 30)}


def build_classifier(kind: Kind, size: int, classes: int, mirrored: bool) -> keras.Model:
    """Return a network from pictures, float32 [n, size, size, 3], 0 to 255, to logits [n, classes].

    In training pictures are shifted, and half of them mirrored where that leaves them what they are.
    """
    inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = layers.RandomTranslation(SHIFT, SHIFT, fill_mode="constant", fill_value=-1.0)(
        layers.RandomFlip("horizontal")(x)
    )
    for channels in kind.channels:
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
            x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Dropout(0.2)(layers.MaxPooling2D()(x))
    x = layers.Dense(kind.dense, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(classes)(layers.Dropout(0.5)(x)))


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

    accuracy of classes; of pairs, `two_classifiers`: AUC and accuracy of "both classifications are of one class", by
    the probability sum over c of p(c) q(c) at the threshold that validation pairs choose.
    Raises SplitError where the test pictures have other classes than those of training.
    """
    store = store_of(config)
    split, reader = make_split(store, config), Reader(store, config.train.size)
    train, validation, test = (pictures(reader, *side_rows(split, *sides)) for sides in ((TRAIN,), VALIDATION, TEST))
    if set(test.labels.tolist()) - set(train.labels.tolist()):
        raise SplitError(f"{config.collection}: the test side has classes that a classifier was not trained on; "
                         "choose a collection with prescribed sides, such as recipe=fashion")  # fmt: skip
    keras.utils.set_random_seed(seed)
    kind, most = KINDS[name], config.pipeline.evaluation_pairs
    network = build_classifier(kind, config.train.size, int(train.labels.max()) + 1, config.train.augment != "digits")
    fit(network, kind, train)
    known, probability = (softmax(network, side.images) for side in (validation, test))
    chosen = evaluation_pairs(validation.rows, validation.labels, most, config.split.seed)
    pairs = evaluation_pairs(test.rows, test.labels, most, config.split.seed)
    calibration = calibrate(chosen.same, agreement(known, validation.rows, chosen), balance(chosen))
    scores = agreement(probability, test.rows, pairs)
    accuracy = rates(calibration.threshold)["accuracy"](pairs.same, calibration.probability(scores), None)
    answer = {
        "collection": config.collection, "kind": name, "seed": seed, "parameters": network.count_params(),
        "accuracy": float((probability.argmax(axis=1) == test.labels).mean()),
        "two_classifiers": {"auc": auc(pairs.same, scores), "accuracy": accuracy},
    }  # fmt: skip
    config.runs.mkdir(parents=True, exist_ok=True)
    write_json(config.runs / f"{config.collection}-classifier-{name}-{seed}.json", answer)
    return answer


def pictures(reader: Reader, rows: NDArray[np.int64], labels: NDArray[np.int32]) -> Pictures:
    """Return one side, read whole."""
    parts = [reader.read(rows[start : start + READ]) for start in range(0, len(rows), READ)]
    return Pictures(rows, labels, np.concatenate(parts))


def fit(network: keras.Model, kind: Kind, train: Pictures) -> None:
    """Train with AdamW, its learning rate falling to zero along a cosine."""
    steps = kind.epochs * -(-len(train.rows) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer=keras.optimizers.AdamW(schedule, weight_decay=0.01), loss=loss, jit_compile=False)
    with Progress("train", steps, "step") as progress:
        network.fit(train.images, train.labels, batch_size=BATCH, epochs=kind.epochs, verbose=0,
                    callbacks=[Shown(progress)])  # fmt: skip


def softmax(network: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the probabilities [n, classes] of pictures uint8 [n, size, size, 3]."""
    logits = network.predict(images, batch_size=512, verbose=0)
    return np.asarray(keras.ops.softmax(logits), np.float64)


def agreement(probability: NDArray[np.float64], rows: NDArray[np.int64], pairs: PairList) -> NDArray[np.float64]:
    """Return the logarithm [m] of the probability that both pictures of a pair are of one class."""
    left, right = np.searchsorted(rows, pairs.left), np.searchsorted(rows, pairs.right)
    same: NDArray[np.float64] = np.einsum("mc,mc->m", probability[left], probability[right])
    found: NDArray[np.float64] = np.log(same.clip(1e-12))
    return found


def classifier_text(answer: dict[str, Any]) -> str:
    """Return it as lines of text."""
    two, who = answer["two_classifiers"], "{collection}: {kind} classifier, {parameters:,} parameters, seed {seed}"
    return (f"{who.format(**answer)}\n  classes: accuracy {answer['accuracy']:.4f}\n"
            f"  pairs by two classifications: AUC {two['auc']:.4f}, accuracy {two['accuracy']:.4f}")  # fmt: skip

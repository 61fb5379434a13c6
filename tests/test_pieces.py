"""A batch in pieces has the gradient of the whole batch, whatever loss, stream and feed."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.feeds import labelled
from pipeline.streams import Stream, training_stream
from preprocess.common.config import Pipeline
from preprocess.common.learning import Train
from tests.conftest import SOAK_ONLY
from train.augment import drawer
from train.losses import make_loss
from train.model import PairNetwork, compact
from train.table import Table

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (120, 32, 32, 3), dtype=np.uint8)
LABELS = np.repeat(np.arange(12), 10)
BATCH = 24


def stream(kind: str, batch: int = BATCH) -> Stream:
    settings = Pipeline.model_validate({"stream": kind})
    return training_stream(settings, np.arange(120), LABELS, None, batch, 0)  # type: ignore[arg-type]


def network_of(loss: str, piece: int | None, table: bool = False, precision: str = "float32") -> PairNetwork:
    """Return a compiled network, the same for the same loss, that embeds `piece` pictures at a time."""
    keras.utils.set_random_seed(0)
    settings = {"size": 32, "width": 8, "embedding": 16, "loss": loss, "precision": precision}
    network = PairNetwork(Train.model_validate(settings))
    network({"images": PICTURES[:2], "left": np.array([0], np.int32), "right": np.array([1], np.int32)})
    network.piece = piece
    if table:
        network.train_on(32, Table(PICTURES.reshape(120, -1), 32))
    network.compile(optimizer=keras.optimizers.SGD(1.0), loss=make_loss(loss), jit_compile=False)
    return network


def batch_of(kind: str, table: bool = False, k: int = 0) -> Any:
    """Return batch `k` of a stream as Keras trains on it: inputs, same, weight."""
    batch = stream(kind).batch_at(k)
    images = batch.rows if table else PICTURES[batch.rows]
    return labelled(images, drawer("strong", 0)(k, BATCH), batch.left, batch.right, batch.same, batch.weight)


def gradient(network: PairNetwork, batch: Any) -> np.ndarray:
    """Return the gradient of the loss of `batch`, all weights in one vector, as the graph computes it."""
    inputs, same, weight = batch

    @tf.function  # type: ignore[untyped-decorator]
    def compute() -> Any:
        with tf.GradientTape() as tape:
            loss = network.compute_loss(inputs, same, network(inputs, training=True), weight, training=True)
        return tape.gradient(loss, network.trainable_variables)

    return np.concatenate([found.numpy().ravel() for found in compute()])


def far(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far two gradients are from each other, in lengths of the second."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize(("loss", "kind", "table"), [("sigmoid", "groups", False), ("contrastive", "pairs", True)])
def test_pieces_have_the_gradient_of_the_whole_batch(loss: str, kind: str, table: bool) -> None:
    batch = batch_of(kind, table)
    whole = gradient(network_of(loss, None, table), batch)
    assert np.linalg.norm(whole) > 1e-3
    # The last piece is smaller: 3 of 24 pictures.
    assert far(gradient(network_of(loss, 7, table), batch), whole) <= 1e-5


def test_every_weight_gets_its_gradient() -> None:
    """The verifier's come from the whole batch, all others from the pieces."""

    def changes(piece: int | None) -> list[np.ndarray]:
        network = network_of("sigmoid", piece)
        before = [weight.numpy() for weight in network.trainable_variables]
        network.train_on_batch(*batch_of("groups"))
        return [weight.numpy() - was for weight, was in zip(network.trainable_variables, before, strict=True)]

    whole, pieces = changes(None), changes(5)
    assert all(np.abs(change).max() > 0 for change in whole)
    assert all(far(one, other) <= 1e-4 for one, other in zip(pieces, whole, strict=True))


def test_a_piece_as_large_as_the_batch_changes_no_bit() -> None:
    batch = batch_of("groups")
    plain, given = (gradient(network_of("sigmoid", each), batch) for each in (None, BATCH))
    assert np.array_equal(plain, given)


def test_a_picture_in_another_piece_gets_its_own_augmentation() -> None:
    """The gradient of other augmentations is another one: that all agree above is no accident."""
    inputs, same, weight = batch_of("groups")
    shifted = inputs | {"augment": np.roll(inputs["augment"], 1, axis=0)}
    network = network_of("sigmoid", 5)
    assert far(gradient(network, (shifted, same, weight)), gradient(network, (inputs, same, weight))) > 1e-2


@pytest.fixture
def dropping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks of these tests drop half of their features in training."""
    monkeypatch.setattr("train.model.compact", lambda *given: keras.layers.Dropout(0.5)(compact(*given)))


@pytest.mark.usefixtures("dropping")
@pytest.mark.parametrize("devices", [pytest.param(("",), marks=SOAK_ONLY), ("CPU:0", "CPU:0")])
def test_dropout_is_the_same_in_both_passes(devices: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a gradient of all pieces at once has it, which has one pass."""
    batch = batch_of("groups")
    network, plain = network_of("sigmoid", 7), network_of("sigmoid", None)
    network.devices = devices
    cuts = [0, 7, 14, 21] if len(devices) == 1 else [0, 7, 12, 19]

    def at_once(*pictures: Any) -> Any:
        parts = [slice(first, last) for first, last in zip(cuts, [*cuts[1:], BATCH], strict=True)]
        weights, seeds = ([each.value for each in known] for known in (plain.embedder.weights, plain.seeds))
        places = tf.range(BATCH)
        found = [plain.embed_with(seeds, weights, places[part], *(each[part] for each in pictures)) for part in parts]
        return tf.concat(found, 0)

    monkeypatch.setattr(plain, "embed_batch", at_once)
    expected = gradient(plain, batch)
    assert far(gradient(network, batch), expected) <= 1e-5
    assert far(gradient(network_of("sigmoid", 5), batch), expected) > 1e-2, "or nothing was dropped"


@pytest.mark.usefixtures("dropping")
def test_every_piece_and_every_step_draws_dropout_of_its_own() -> None:
    network = network_of("sigmoid", 8)
    images, drawn = np.repeat(PICTURES[:1], BATCH, 0), drawer("none", 0)(0, BATCH)
    first, second = (keras.ops.convert_to_numpy(network.embed_batch(images, drawn)) for _ in range(2))
    pieces = [*first[::8], *second[::8]]
    assert all(far(one, other) > 0.1 for n, one in enumerate(pieces) for other in pieces[:n])

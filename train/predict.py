"""Embeddings and scores: of rows of a store, and of two picture files."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import rows_dataset, store_errors
from pipeline.feeds import Source
from pipeline.streams import PairList
from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.common.progress import Progress
from preprocess.images import make_squares, open_picture
from train.checkpoint import load_variables, numbered
from train.losses import score_sign
from train.microbatch import microbatch
from train.model import PairNetwork, resized
from train.run import Run

EMBED_BATCH = 256
SCORE_BATCH = 65536


def load_network(run: Run) -> PairNetwork:
    """Return the trained network of a finished run."""
    network = build_network(run)
    load_variables(run.path / "model.safetensors", numbered("network", network.weights))
    network.piece = microbatch(run.path)
    return network


def build_network(run: Run) -> PairNetwork:
    """Return the untrained network of a run, its weights created from the run's seed."""
    keras.utils.set_random_seed(run.settings.seed)
    network = PairNetwork(run.settings)
    size = run.settings.size
    first, second = np.array([0], np.int32), np.array([1], np.int32)
    network({"images": np.zeros((2, size, size, 3), np.uint8), "left": first, "right": second})
    return network


def embed_rows(
    network: PairNetwork,
    source: Source,
    rows: NDArray[np.int64],
    what: str | None,
    tick: Callable[[], None] | None = None,
) -> NDArray[np.float32]:
    """Return the embeddings float32 [n, d] of `rows` [n]; `what` names the work where its progress is to be shown, and
    `tick` is called after every batch."""
    size = min(EMBED_BATCH, network.piece or EMBED_BATCH)
    shown = nullcontext() if what is None else Progress(what, len(rows), "picture")
    found = []
    with shown as progress, store_errors():
        for images in rows_dataset(source, rows, size):
            found.append(embed(network, images.numpy()))
            if tick is not None:
                tick()
            if progress is not None:
                progress.advance(len(images))
    return np.concatenate(found)


def embed(network: PairNetwork, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the embeddings float32 [n, d] of pictures uint8 [n, stored, stored, 3]."""
    size = network.picture_size
    embeddings: NDArray[np.float32] = network.evaluator.predict_on_batch(resized(images, size))
    return embeddings


def score(
    network: PairNetwork, loss: str, left: NDArray[np.float32], right: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return one score [m] per pair of embeddings [m, d]; larger means rather the same artist."""
    parts = [
        np.asarray(network.verifier(left[start : start + SCORE_BATCH], right[start : start + SCORE_BATCH]))[:, 0]
        for start in range(0, len(left), SCORE_BATCH)
    ]
    return score_sign(loss) * np.concatenate(parts).astype(np.float64)


def score_cosines(network: PairNetwork, loss: str, cosines: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the score [m] of two unit vectors with these cosines [m], or with the sigmoid loss of any two embeddings
    with these products, -1 to 1: verifiers see nothing else of a pair, so two numbers stand for each embedding."""
    across = np.sqrt(1 - cosines**2)
    first = np.broadcast_to(np.array([1, 0], np.float32), (len(cosines), 2))
    return score(network, loss, first, np.stack([cosines, across], axis=1))


def score_pairs(
    network: PairNetwork, loss: str, rows: NDArray[np.int64], embeddings: NDArray[np.float32], pairs: PairList
) -> NDArray[np.float64]:
    """Return the scores [m] of pairs of `rows` [n, ascending], whose `embeddings` are [n, d]."""
    left, right = np.searchsorted(rows, pairs.left), np.searchsorted(rows, pairs.right)
    return score(network, loss, embeddings[left], embeddings[right])


def read_pictures(run: Run, paths: Sequence[Path]) -> NDArray[np.uint8]:
    """Return picture files as the store would hold them, uint8 [n, size, size, 3]. Raises SourceError."""
    preprocess = run.pins["preprocess"]
    size = run.store_size
    pictures = []
    for path in paths:
        try:
            with open_picture(path) as image:
                squares = make_squares(image, preprocess["sizes"], preprocess["square"], preprocess["max_megapixels"])
        except UnreadablePicture as error:
            raise SourceError(f"{path}: {error}; name a readable picture file") from None
        pictures.append(squares.pixels[size])
    return np.stack(pictures)

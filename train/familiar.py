"""What a network was trained on, kept to tell pictures that are like none of it."""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from preprocess.common.errors import RunError
from preprocess.common.files import read_bytes, write_bytes

FILE = "familiar.safetensors"
KEPT = 4096
"""Training pictures, drawn by lot, that stand for all of them."""
QUANTILE = 0.99
"""Of the validation pictures' own distances: so many of a hundred pictures of the collection are called familiar."""
BLOCK = 1024


class Familiar(NamedTuple):
    """Unit vectors float32 [n, d] of training pictures, and how far from the nearest a picture may be, 0 to 2."""

    embeddings: NDArray[np.float32]
    limit: float

    @classmethod
    def learned(cls, training: NDArray[np.float32], validation: NDArray[np.float32]) -> Self:
        """Return what training pictures [n, d] and validation pictures [m, d], by their embeddings, tell."""
        distances = cls(training, 0.0).distances(validation)
        return cls(training, float(np.quantile(distances, QUANTILE)))

    def distances(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the Euclidean distance [m], 0 to 2, of embeddings [m, d] to the nearest training picture's."""
        nearest = [
            (embeddings[start : start + BLOCK] @ self.embeddings.T).max(axis=1)
            for start in range(0, len(embeddings), BLOCK)
        ]
        gap: NDArray[np.float64] = np.sqrt(np.maximum(0, 2 - 2 * np.concatenate(nearest).astype(np.float64)))
        return gap

    def strange(self, embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which pictures [m] are further from all training pictures than nearly all of validation."""
        return self.distances(embeddings) > self.limit

    def write(self, run: Path) -> None:
        """Keep it in a run directory, durably."""
        write_bytes(run / FILE, save({"embeddings": self.embeddings, "limit": np.array([self.limit])}))


def sample(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return at most KEPT of `rows` [n], ascending, drawn by lot."""
    if len(rows) <= KEPT:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, KEPT, replace=False))


def load_familiar(run: Path) -> Familiar:
    """Return what was kept in a run directory. Raises RunError where nothing was, or it is damaged."""
    try:
        arrays = load(read_bytes(run / FILE))
        return Familiar(arrays["embeddings"], float(arrays["limit"][0]))
    except FileNotFoundError:
        raise RunError(f"{run} does not know its training pictures; run 'make evaluate'") from None
    except (SafetensorError, KeyError):
        raise RunError(f"{run / FILE} is damaged; remove it and run 'make evaluate'") from None

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
CROWD = 10
"""Training pictures, the nearest, that tell how crowded it is around one; 100 tell the same (docs/learning.md)."""
TINY = 1e-9
BLOCK = 1024


class Familiar(NamedTuple):
    """Unit vectors float32 [n, d] of training pictures, how far from the nearest a picture may be, 0 to 2, and how much
    shorter vectors become where it is crowded, from 0, not at all."""

    embeddings: NDArray[np.float32]
    limit: float = 0.0
    crowding: float = 0.0

    def limited(self, validation: NDArray[np.float32]) -> Self:
        """Return it with the limit that validation pictures [m, d] tell, by their embeddings."""
        return self._replace(limit=float(np.quantile(self.distances(validation), QUANTILE)))

    def nearest(self, embeddings: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Return the largest cosines [m, count], in no order, that embeddings [m, d] have with training pictures."""
        units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(TINY)
        return np.concatenate([
            np.partition(units[start : start + BLOCK] @ self.embeddings.T, -count, axis=1)[:, -count:]
            for start in range(0, len(units), BLOCK)
        ])  # fmt: skip

    def weighed(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings [m, d] that are shorter the more crowded it is around them, so that a pair of pictures like
        many others counts less alike than a pair of rare ones at the same angle.

        They are multiplied by exp(-crowding / 2 * c), where c is the mean cosine with the CROWD nearest training
        pictures: cross-domain similarity local scaling (Conneau et al. 2018) subtracts half of c from a cosine for each
        of the two; this way products of embeddings remain all that is needed.
        """
        if not self.crowding:
            return embeddings
        crowded = self.nearest(embeddings, min(CROWD, len(self.embeddings))).mean(axis=1, keepdims=True)
        shorter: NDArray[np.float32] = embeddings * np.exp(np.float32(-self.crowding / 2) * crowded)
        return shorter

    def distances(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the Euclidean distance [m], 0 to 2, of the directions of embeddings [m, d] to the nearest training
        picture's."""
        gap: NDArray[np.float64] = np.sqrt(np.maximum(0, 2 - 2 * self.nearest(embeddings, 1)[:, 0].astype(np.float64)))
        return gap

    def strange(self, embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which pictures [m] are further from all training pictures than nearly all of validation."""
        return self.distances(embeddings) > self.limit

    def write(self, run: Path) -> None:
        """Keep it in a run directory, durably."""
        numbers = {name: np.array([value]) for name, value in self._asdict().items() if name != "embeddings"}
        write_bytes(run / FILE, save({"embeddings": self.embeddings, **numbers}))


def sample(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return at most KEPT of `rows` [n], ascending, drawn by lot."""
    if len(rows) <= KEPT:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, KEPT, replace=False))


def load_familiar(run: Path) -> Familiar:
    """Return what was kept in a run directory. Raises RunError where nothing was, or it is damaged."""
    try:
        arrays = load(read_bytes(run / FILE))
        crowding = arrays.get("crowding", np.zeros(1))  # that older runs lack
        return Familiar(arrays["embeddings"], float(arrays["limit"][0]), float(crowding[0]))
    except FileNotFoundError:
        raise RunError(f"{run} does not know its training pictures; run 'make evaluate'") from None
    except (SafetensorError, KeyError):
        raise RunError(f"{run / FILE} is damaged; remove it and run 'make evaluate'") from None

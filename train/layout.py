"""The map: pictures on a plane, those close to each other that the network takes for one hand's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

MOST = 150
"""Pictures on the map, drawn by lot."""
PERPLEXITY = 15.0


def laid_out(rows: NDArray[np.int64], embeddings: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """Return rows and places, from left and top in percent, of some of the pictures `rows` [n], by their embeddings
    [n, d]: t-SNE (van der Maaten and Hinton 2008), with a fixed start."""
    chosen = np.arange(len(rows))
    if len(chosen) > MOST:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MOST, replace=False))
    perplexity = min(PERPLEXITY, max(1.0, (len(chosen) - 1) / 3))
    model = TSNE(perplexity=perplexity, init="random", random_state=seed)
    with threadpool_limits(1):  # so few pictures are sooner done by one thread, and the same on any machine
        flat = model.fit_transform(embeddings[chosen]).astype(np.float64)
    low, high = flat.min(axis=0), flat.max(axis=0)
    places = 100 * (flat - low) / np.where(high > low, high - low, 1)
    return {"rows": rows[chosen].tolist(), "places": places.round(2).tolist()}

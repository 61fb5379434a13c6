"""Retrieval: asked with one picture, how many of the nearest others are by its artist."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

RANKS = (1, 5, 10)
ASKED = 2000
"""Pictures, drawn by lot, that are asked with; the answers come from all."""
BLOCK = 256


def retrieval(embeddings: NDArray[np.float32], labels: NDArray[np.int32], seed: int = 0) -> dict[str, Any]:
    """Return recall@k for RANKS, mean average precision (Manning, Raghavan and Schütze 2008, 8.4), and the counts.

    Embeddings [n, d] with labels [n]. Each picture whose artist has another is asked with; all others are ranked by
    their product with it. recall@k is the share of questions with one of the same artist among the first k.
    """
    counts = np.bincount(labels)[labels]
    asked = np.flatnonzero(counts >= 2)
    if len(asked) > ASKED:
        asked = np.sort(np.random.default_rng(seed).choice(asked, ASKED, replace=False))
    found = dict.fromkeys(RANKS, 0)
    precisions = []
    for start in range(0, len(asked), BLOCK):
        rows = asked[start : start + BLOCK]
        cosines = embeddings[rows] @ embeddings.T
        cosines[np.arange(len(rows)), rows] = -np.inf  # itself comes last, and is left out
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :-1]
        right = labels[order] == labels[rows, None]
        for rank in RANKS:
            found[rank] += int(right[:, :rank].any(axis=1).sum())
        precision = np.cumsum(right, axis=1) / np.arange(1, right.shape[1] + 1)
        precisions.append((precision * right).sum(axis=1) / right.sum(axis=1))
    recall = {f"recall@{rank}": found[rank] / len(asked) for rank in RANKS}
    return recall | {"map": float(np.concatenate(precisions).mean()), "asked": len(asked), "pictures": len(labels)}

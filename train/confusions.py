"""Who is confused with whom: how often pairs of two artists, and of two styles, are called the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.streams import PairList
from train.calibrate import Calibration, Numbers
from train.metrics import Clusters, auc, intervals, rates

TRAITS = ("style", "genre", "period")
FEWEST = 20
"""Hard pairs, of two artists with something in common, from which figures are told."""
LOOKED_AT = 5000
"""Pictures of a side, drawn by lot, all pairs of which are compared."""
BLOCK = 512


def hard_figures(
    pairs: PairList, scores: Numbers, calibration: Calibration, traits: NDArray[np.int32], clusters: Clusters,
    resamples: int, confidence: float,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Return the figures of all same pairs against only those different ones that share a style, a genre or a period.

    traits int32 [3, rows of the store]; what the table does not tell of enough pairs is left out.
    """
    found = {}
    for name, trait in zip(TRAITS, traits, strict=True):
        alike = (trait[pairs.left] == trait[pairs.right]) & (trait[pairs.left] >= 0)
        kept = pairs.same | alike
        if (kept & ~pairs.same).sum() < FEWEST:
            continue
        same, chosen = pairs.same[kept], Clusters(clusters.left[kept], clusters.right[kept])
        how = chosen, resamples, confidence
        figures: dict[str, Any] = intervals({"auc": auc}, same, scores[kept], *how)
        accuracy = {"accuracy": rates(calibration.threshold)["accuracy"]}
        figures |= intervals(accuracy, same, calibration.probability(scores[kept]), *how)
        found[name] = figures | {"different_pairs": int((~same).sum())}
    return found


class Tally:
    """All pairs of a side's pictures, called the same or not."""

    def __init__(
        self, embeddings: NDArray[np.float32], labels: NDArray[np.int32], score: Callable[[Any], Numbers],
        calibration: Calibration, seed: int = 0,
    ) -> None:  # fmt: skip
        """Embeddings [n, d] and labels [n]; `score` gives the score of a product of two."""
        rows = np.arange(len(labels))
        if len(rows) > LOOKED_AT:
            rows = np.sort(np.random.default_rng(seed).choice(rows, LOOKED_AT, replace=False))
        self.rows, self.labels, self.embeddings = rows, labels[rows], embeddings[rows]
        self.score, self.calibration = score, calibration

    def said(self, start: int) -> NDArray[np.float32]:
        """Return [at most BLOCK, n]: 1 where the pair is called the same, of pictures from `start` on and all."""
        block = self.embeddings[start : start + BLOCK]
        cosines = (block @ self.embeddings.T).clip(-1, 1)
        return self.calibration.said_same(self.score(cosines.ravel())).reshape(cosines.shape).astype(np.float32)

    def between(self, groups: NDArray[np.int64], others_only: bool) -> tuple[Numbers, Numbers]:
        """Return [k, k]: how many pairs of pictures of two of k `groups` [n], and how many were called the same.

        A negative group counts nowhere. With `others_only` pairs by one artist are left out.
        """
        kept = np.flatnonzero(groups >= 0)
        count = int(groups.max(initial=-1)) + 1
        belongs = csr_array((np.ones(len(kept), np.float32), (kept, groups[kept])), shape=(len(groups), count))
        pairs, same = np.zeros((2, count, count))
        for start in range(0, len(self.rows), BLOCK):
            part = belongs[start : start + BLOCK].T
            stop = start + part.shape[1]
            mask = np.ones((stop - start, len(groups)), np.float32)
            mask[np.arange(stop - start), np.arange(start, stop)] = 0
            if others_only:
                mask *= self.labels[start:stop, None] != self.labels
            pairs += part @ (mask @ belongs)
            same += part @ ((self.said(start) * mask) @ belongs)
        return pairs, same


def artist_table(tally: Tally, names: dict[int, str]) -> list[dict[str, Any]]:
    """Return of each artist the pictures, the shares of pairs by the artist alone and with others that were called the
    same, and with whom, and how often, most. `names` are the artists by label."""
    labels, groups, counts = np.unique(tally.labels, return_inverse=True, return_counts=True)
    pairs, same = tally.between(groups, others_only=False)
    shares = np.divide(same, pairs, out=np.zeros_like(same), where=pairs > 0)
    table = []
    for number, label in enumerate(labels):
        others = np.arange(len(labels)) != number
        rival = int(np.argmax(np.where(others, shares[number], -1)))
        own = float(shares[number, number]) if counts[number] > 1 else None
        table.append({
            "artist": names[int(label)], "pictures": int(counts[number]), "recognised": own,
            "false_alarms": float(same[number, others].sum() / pairs[number, others].sum()),
            "confused_with": names[int(labels[rival])], "confused": float(shares[number, rival]),
        })  # fmt: skip
    return table


def style_table(tally: Tally, styles: list[str | None], most: int = 12) -> dict[str, Any]:
    """Return the `most` commonest of styles [n, of the looked-at pictures], and of pairs of two artists of two styles
    how many there are and the share that was called the same, [k, k]."""
    known = [style for style in styles if style]
    names = sorted(set(known), key=lambda style: (-known.count(style), style))[:most]
    place = {name: number for number, name in enumerate(names)}
    groups = np.array([place.get(style or "", -1) for style in styles], np.int64)
    pairs, same = tally.between(groups, others_only=True)
    shares = [[s / p if p else None for s, p in zip(*row, strict=True)] for row in zip(same, pairs, strict=True)]
    return {"names": names, "pairs": pairs.astype(int).tolist(), "called_same": shares}

"""Figures of verification, each with a confidence interval that knows that pairs share pictures and artists."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from pipeline.streams import PairList

Weights = NDArray[np.float64]
Figure = Callable[[NDArray[np.bool_], NDArray[np.float64], Weights | None], float]


class Clusters(NamedTuple):
    """What was sampled when a side's pairs came about: the cluster int64 [m] of the picture on either hand."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]


def clusters_of(pairs: PairList, labels: NDArray[np.int32], side: str) -> Clusters:
    """Return artists as clusters where a side's artists are a sample of all artists, pictures where they are given."""
    if side.endswith("_unseen"):
        return Clusters(labels[pairs.left].astype(np.int64), labels[pairs.right].astype(np.int64))
    return Clusters(pairs.left, pairs.right)


def auc(same: NDArray[np.bool_], scores: NDArray[np.float64], weights: Weights | None = None) -> float:
    """Return the area under the ROC curve: the chance that a same pair scores higher than a different one."""
    return float(roc_auc_score(same, scores, sample_weight=weights))


def equal_error_rate(same: NDArray[np.bool_], scores: NDArray[np.float64], weights: Weights | None = None) -> float:
    """Return the error rate, 0 to 1, where as many same pairs are missed as different ones falsely accepted."""
    false_alarms, hits, _ = roc_curve(same, scores, sample_weight=weights)
    misses = 1 - hits
    # Both rates are piecewise linear along the curve; the crossing is interpolated.
    crossing = np.argmax(false_alarms >= misses)
    before = max(0, crossing - 1)
    gap_before, gap = misses[before] - false_alarms[before], false_alarms[crossing] - misses[crossing]
    share = gap_before / (gap_before + gap) if gap_before + gap > 0 else 0.0
    return float(misses[before] + share * (misses[crossing] - misses[before]))


def confusion(
    same: NDArray[np.bool_], said_same: NDArray[np.bool_], weights: Weights | None = None
) -> NDArray[np.float64]:
    """Return [[TN, FP], [FN, TP]], rows as truth, each row as shares of its truth."""
    matrix: NDArray[np.float64] = confusion_matrix(
        same, said_same, labels=[False, True], sample_weight=weights, normalize="true"
    )
    return matrix


def rates(threshold: float) -> dict[str, Figure]:
    """Return the figures that depend on the threshold: accuracy (both kinds of pairs counting half) and the rates."""

    def cell(row: int, column: int) -> Figure:
        def share(same: NDArray[np.bool_], scores: NDArray[np.float64], weights: Weights | None = None) -> float:
            return float(confusion(same, scores >= threshold, weights)[row, column])

        return share

    def accuracy(same: NDArray[np.bool_], scores: NDArray[np.float64], weights: Weights | None = None) -> float:
        return float(np.trace(confusion(same, scores >= threshold, weights)) / 2)

    return {
        "accuracy": accuracy, "true_negatives": cell(0, 0), "false_positives": cell(0, 1),
        "false_negatives": cell(1, 0), "true_positives": cell(1, 1),
    }  # fmt: skip


def intervals(
    figures: dict[str, Figure], same: NDArray[np.bool_], scores: NDArray[np.float64], clusters: Clusters,
    resamples: int, confidence: float, seed: int = 0,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Return value, low and high of each figure, by the percentile bootstrap over clusters.

    Pairs that share a picture or an artist are not independent, so clusters are drawn with replacement and a pair
    counts as often as both of its clusters were drawn together (Owen 2007, "The pigeonhole bootstrap").
    """
    rng = np.random.default_rng(seed)
    _, numbered = np.unique(np.concatenate(clusters), return_inverse=True)
    left, right = np.split(numbered, 2)
    count = int(numbered.max()) + 1
    drawn: dict[str, list[float]] = {name: [] for name in figures}
    for _ in range(resamples):
        times = rng.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
        weights = np.where(left == right, times[left], times[left] * times[right])
        kept = weights > 0
        if len(np.unique(same[kept])) < 2:
            continue
        for name, figure in figures.items():
            drawn[name].append(figure(same[kept], scores[kept], weights[kept]))
    tail = 100 * (1 - confidence) / 2
    found = {}
    for name, figure in figures.items():
        low, high = np.percentile(drawn[name], [tail, 100 - tail])
        found[name] = {"value": figure(same, scores, None), "low": float(low), "high": float(high)}
    return found

"""How good probabilities are: calibration error, log loss, Brier score and the cost of log-likelihood ratios.

Every figure takes same bool [m], probability float64 [m] at even odds, and weights float64 [m] or None; the weights of
both kinds of pairs should sum alike.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as mean_log_loss

from train.calibrate import EVEN, WAYS, Numbers, calibrate, isotonic
from train.metrics import Figure, Weights, rates

BINS = 15
FIRM = 1e-15
"""The nearest that a probability comes to 0 or 1 in a logarithm."""


def calibration_error(same: NDArray[np.bool_], probability: Numbers, weights: Weights | None = None) -> float:
    """Return the expected calibration error, 0 to 1 (Naeini, Cooper and Hauskrecht 2015).

    Pairs go into BINS bins of equal mass by their probability, equal ones into the same; the error is the mean, over
    pairs, of how far the mean probability of their bin is from its share of same pairs. Chance alone makes it some
    hundredths where a bin holds only a hundred pairs.
    """
    weights = np.ones(len(same)) if weights is None else weights
    edges = np.quantile(probability, np.linspace(0, 1, BINS + 1)[1:-1])
    bins = np.searchsorted(edges, probability, side="right")
    gaps = np.bincount(bins, weights * (probability - same), BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def log_loss(same: NDArray[np.bool_], probability: Numbers, weights: Weights | None = None) -> float:
    """Return the mean negative logarithm of the probability of what is true; 0.693 is knowing nothing."""
    return float(mean_log_loss(same, np.clip(probability, FIRM, 1 - FIRM), sample_weight=weights))


def brier(same: NDArray[np.bool_], probability: Numbers, weights: Weights | None = None) -> float:
    """Return the mean squared error of the probability (Brier 1950); 0.25 is knowing nothing."""
    return float(brier_score_loss(same, probability, sample_weight=weights))


def cllr(same: NDArray[np.bool_], probability: Numbers, weights: Weights | None = None) -> float:
    """Return the cost of the log-likelihood ratios in bits, 1 for knowing nothing; both kinds of pairs count half.

    Brümmer and du Preez 2006, "Application-independent evaluation of speaker detection".
    """
    weights = np.ones(len(same)) if weights is None else weights
    evidence = logit(np.clip(probability, FIRM, 1 - FIRM))
    cost = np.logaddexp(0, np.where(same, -evidence, evidence)) / np.log(2)
    return float(sum(np.average(cost[kind], weights=weights[kind]) for kind in (same, ~same)) / 2)


def least_cllr(same: NDArray[np.bool_], probability: Numbers, weights: Weights | None = None) -> float:
    """Return the cost that is left once the probabilities are the best that keep their order: what discrimination
    costs. The rest of `cllr` is the cost of calibration. By pool adjacent violators, as in the paper named there."""
    kinds = np.where(same, 1 / same.sum(), 1 / (~same).sum()) if weights is None else weights
    best = isotonic(same, probability, kinds).predict(probability)
    return cllr(same, best, weights)


FIGURES: dict[str, Figure] = {
    "calibration_error": calibration_error, "log_loss": log_loss, "brier": brier, "cllr": cllr,
    "least_cllr": least_cllr,
}  # fmt: skip
RESAMPLED = ("log_loss", "brier", "cllr")
"""Those that have an interval: a bootstrap shifts the others, which choose their best for the pairs at hand."""


class Known(NamedTuple):
    """Pairs, each array [m]: what is true, the scores, the distances of their embeddings, and what each counts."""

    same: NDArray[np.bool_]
    scores: Numbers
    distances: Numbers
    weights: Numbers


def compared(learned: Known, test: Known) -> dict[str, dict[str, float]]:
    """Return, by way of calibrating, its figures on test pairs; each way is learned from validation pairs.

    Platt scaling, isotonic regression, and as thresholds the mean and the median of the distances, as in the report of
    2017. Accuracy is that at a probability of one half, or at that threshold.
    """
    known = learned.same, learned.scores, learned.weights
    ways = {way: calibrate(*known, way).probability(test.scores) for way in WAYS}
    found: dict[str, dict[str, float]] = {
        name: {"accuracy": rates(EVEN)["accuracy"](test.same, probability, test.weights)}
        | {figure: measured(test.same, probability, test.weights) for figure, measured in FIGURES.items()}
        for name, probability in ways.items()
    }
    far, weights = learned.distances, learned.weights
    for name, limit in (("mean", np.average(far, weights=weights)), ("median", weighted_median(far, weights))):
        found[name] = {"accuracy": rates(-float(limit))["accuracy"](test.same, -test.distances, test.weights)}
    return found


def weighted_median(values: Numbers, weights: Numbers) -> float:
    """Return the value [m] below which half of the weight [m] lies."""
    order = np.argsort(values)
    middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return float(values[order[middle]])

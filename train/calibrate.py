"""Calibration: from a score to a probability and a verdict, learned from validation pairs only."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

from preprocess.common.errors import RunError
from preprocess.common.files import read_json

DEFAULT_POINT = "accuracy"
POINTS = (DEFAULT_POINT, "equal-error", "few-false-alarms")
"""Operating points: highest accuracy, equal rates of both errors, false alarms of at most MOST_FALSE_ALARMS."""
MOST_FALSE_ALARMS = 0.01
Way = Literal["platt", "isotonic"]
WAYS: tuple[Way, ...] = get_args(Way)
EVEN = 0.5
LARGEST = 700.0
"""Of the logarithm of a likelihood ratio, so that the ratio is a finite number."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """From a score to the likelihood ratio of one artist against two: by Platt scaling (Platt 1999)
    exp(slope * score + intercept), or the odds of the probabilities at certain scores, `steps`, linear in between.

    `points` are the thresholds by operating point, as probabilities at even odds, from which a pair is called same;
    they and the numbers come from `pairs` validation pairs, both kinds counting half.
    """

    slope: float
    intercept: float
    points: dict[str, float]
    pairs: int
    steps: tuple[list[float], list[float]] | None = None

    @property
    def threshold(self) -> float:
        """The probability at even odds, 0 to 1, from which a pair is called same at DEFAULT_POINT."""
        return self.points[DEFAULT_POINT]

    def evidence(self, scores: Numbers) -> Numbers:
        """Return the natural logarithm [m] of the likelihood ratio, one artist against two, for scores [m]."""
        if self.steps is not None:
            return np.asarray(logit(np.interp(scores, *self.steps)))
        found: Numbers = np.clip(self.slope * scores + self.intercept, -LARGEST, LARGEST)
        return found

    def probability(self, scores: Numbers, prior: float = EVEN) -> Numbers:
        """Return the probability [m], 0 to 1, that one artist painted both, for scores [m].

        `prior`, above 0 and below 1, is what it was before the pictures were looked at: Bayes' rule in odds.
        """
        found: Numbers = expit(self.evidence(scores) + logit(prior))
        return found

    def said_same(self, scores: Numbers, point: str = DEFAULT_POINT, prior: float = EVEN) -> NDArray[np.bool_]:
        """Return whether pairs with these scores [m] are called same at an operating point.

        Rates of errors do not depend on the prior, and neither do the points that are chosen by them. Accuracy does:
        where same pairs are rare, more evidence is asked for one.
        """
        counted = prior if point == DEFAULT_POINT else EVEN
        found: NDArray[np.bool_] = self.probability(scores, counted) >= self.points[point]
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def calibrate(same: NDArray[np.bool_], scores: Numbers, weights: Numbers, way: Way = "platt") -> Calibration:
    """Fit a calibration to validation pairs: same [m], scores [m], weights [m]."""
    spread = float(scores.std()) or 1.0
    model = LogisticRegression(C=np.inf).fit(scores[:, None] / spread, same, sample_weight=weights)
    found = Calibration(float(model.coef_[0, 0]) / spread, float(model.intercept_[0]), {}, len(scores))
    if way == "isotonic":
        least = 1 / (len(scores) + 2)  # Laplace's rule: no number of pairs proves that a thing never happens
        stairs = isotonic(same, scores, weights)
        probabilities = stairs.y_thresholds_.clip(least, 1 - least)
        found = replace(found, steps=(stairs.X_thresholds_.tolist(), probabilities.tolist()))
    return replace(found, points=operating_points(same, found.probability(scores), weights))


def operating_points(same: NDArray[np.bool_], probabilities: Numbers, weights: Numbers) -> dict[str, float]:
    """Return the thresholds of POINTS, 0 to 1, on validation pairs [m]."""
    false_alarms, hits, thresholds = roc_curve(same, probabilities, sample_weight=weights, drop_intermediate=False)
    best = {
        "accuracy": np.argmax(hits - false_alarms),
        "equal-error": np.argmin(np.abs(false_alarms - (1 - hits))),
        "few-false-alarms": np.flatnonzero(false_alarms <= MOST_FALSE_ALARMS)[-1],
    }
    return {name: float(np.clip(thresholds[best[name]], 0, 1)) for name in POINTS}


def isotonic(same: NDArray[np.bool_], scores: Numbers, weights: Numbers) -> IsotonicRegression:
    """Return the monotone probability that fits pairs best (Zadrozny and Elkan 2002), by pool adjacent violators."""
    return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, same, sample_weight=weights)


def load_calibration(path: Path) -> Calibration:
    """Return the calibration of the run directory `path`. Raises RunError where it has none yet."""
    try:
        stored = read_json(path / "calibration.json")
    except FileNotFoundError:
        raise RunError(f"{path} has not been calibrated; run 'make evaluate'") from None
    try:
        return Calibration(**stored)
    except TypeError:
        raise RunError(f"{path} was calibrated by another version of this program; run 'make evaluate'") from None

"""Calibration: from a score to a probability and a verdict, learned from validation pairs only."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

from preprocess.common.errors import RunError
from preprocess.common.files import read_json

OPERATING_POINT = "accuracy"


@dataclass(frozen=True)
class Calibration:
    """Platt scaling (Platt 1999): probability = 1 / (1 + exp(-(slope * score + intercept))), at even odds.

    `threshold` is the probability from which a pair is called same; at it the accuracy on the validation pairs was
    the highest, both kinds of pairs counting half.
    """

    slope: float
    intercept: float
    threshold: float
    pairs: int

    def probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability [m], 0 to 1, that one artist painted both, for scores [m]."""
        return 1 / (1 + np.exp(-(self.slope * scores + self.intercept)))

    def as_json(self) -> dict[str, Any]:
        """Return the fields, and the name of the operating point."""
        return asdict(self) | {"operating_point": OPERATING_POINT}


def calibrate(same: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> Calibration:
    """Fit a calibration to validation pairs: same [m], scores [m], weights [m]."""
    spread = float(scores.std()) or 1.0
    model = LogisticRegression(C=np.inf).fit(scores[:, None] / spread, same, sample_weight=weights)
    unthresholded = Calibration(float(model.coef_[0, 0]) / spread, float(model.intercept_[0]), 0.5, len(scores))
    false_alarms, hits, thresholds = roc_curve(same, unthresholded.probability(scores), sample_weight=weights)
    best = int(np.argmax(hits - false_alarms))
    threshold = float(np.clip(thresholds[best], 0, 1))
    return Calibration(unthresholded.slope, unthresholded.intercept, threshold, len(scores))


def load_calibration(path: Path) -> Calibration:
    """Return the calibration of the run directory `path`. Raises RunError where it has none yet."""
    try:
        stored = read_json(path / "calibration.json")
    except FileNotFoundError:
        raise RunError(f"{path} has not been calibrated; run 'make evaluate'") from None
    return Calibration(stored["slope"], stored["intercept"], stored["threshold"], stored["pairs"])

"""The two sides of validation, seen and unseen artists: their pairs, drawn once, and how well a network tells them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.feeds import Readable
from pipeline.split import VALIDATION, can_pair, side_rows
from pipeline.streams import PairList, evaluation_pairs, load_evaluation_pairs, save_evaluation_pairs
from train.metrics import auc, clusters_of, intervals
from train.model import PairNetwork
from train.predict import embed_rows, score_pairs
from train.run import Run

RESAMPLES, CONFIDENCE = 200, 0.95


def side_pairs(run: Run, side: str, most: int) -> PairList:
    """Return the pairs on which a side of a run is measured: drawn once and kept. Raises RunError."""
    rows, labels = side_rows(run.split, side)
    path = run.path / "evaluation" / f"{side}-{most}.parquet"
    if not path.exists():
        save_evaluation_pairs(path, evaluation_pairs(rows, labels, most, run.pins["settings"]["split"]["seed"]))
    return load_evaluation_pairs(path, rows)


class Validation:
    """Measures a network during training, on the same pairs each time."""

    def __init__(self, run: Run, source: Readable, most_pairs: int, tick: Callable[[], None] = lambda: None) -> None:
        """`tick` is called after every batch of embeddings."""
        self.run, self.source, self.tick = run, source, tick
        self.sides = [side for side in VALIDATION if can_pair(run.split, side)]
        self.pairs = {side: side_pairs(run, side, most_pairs) for side in self.sides}

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows [n] of the side that matters most: of unseen artists where there are any."""
        return side_rows(self.run.split, self.sides[-1])[0]

    def scores(self, network: PairNetwork) -> dict[str, NDArray[np.float64]]:
        """Return the scores [m] of each side's pairs."""
        found = {}
        for side, pairs in self.pairs.items():
            rows = side_rows(self.run.split, side)[0]
            embeddings = embed_rows(network, self.source, rows, None, self.tick)
            found[side] = score_pairs(network, self.run.settings.loss, rows, embeddings, pairs)
        return found

    def measure(self, network: PairNetwork) -> dict[str, float]:
        """Return the AUC of each side, named auc_<side>."""
        return {f"auc_{side}": auc(self.pairs[side].same, scores) for side, scores in self.scores(network).items()}

    def headline(self, line: dict[str, Any]) -> float:
        """Return the AUC that matters most in a line of the log: of unseen artists where there are any."""
        return float(line[f"auc_{self.sides[-1]}"])

    def with_intervals(self, network: PairNetwork) -> dict[str, dict[str, float]]:
        """Return value, low and high of the AUC of each side."""
        labels = self.run.split["label"].to_numpy()
        found = {}
        for side, scores in self.scores(network).items():
            pairs = self.pairs[side]
            clusters = clusters_of(pairs, labels, side)
            found[side] = intervals({"auc": auc}, pairs.same, scores, clusters, RESAMPLES, CONFIDENCE)["auc"]
        return found

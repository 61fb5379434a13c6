"""The sides of a split as a trained network sees them: embeddings, and the scores and distances of the pairs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.feeds import Source
from pipeline.split import can_pair, side_rows
from pipeline.streams import PairList
from train.calibrate import Numbers
from train.familiar import Familiar
from train.model import PairNetwork
from train.predict import embed_rows, score_pairs
from train.quality import Known
from train.run import Run
from train.validation import side_pairs


class Side(NamedTuple):
    """One side: rows int64 [n], ascending, labels [n], embeddings float32 [n, d], its pairs and their scores [m]."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int32]
    embeddings: NDArray[np.float32]
    pairs: PairList
    scores: Numbers

    @property
    def known(self) -> Known:
        """Its pairs, both kinds counting half."""
        left, right = (np.searchsorted(self.rows, hand) for hand in self.pairs[:2])
        gaps = self.embeddings[left] - self.embeddings[right]
        return Known(self.pairs.same, self.scores, np.linalg.norm(gaps, axis=1).astype(np.float64), balance(self.pairs))


def look(
    run: Run, network: PairNetwork, source: Source, sides: tuple[str, ...], most_pairs: int, familiar: Familiar
) -> dict[str, Side]:
    """Return those of `sides` with pairs of both kinds: embeddings, weighed by `familiar`, and at most `most_pairs`."""
    found = {}
    for name in sides:
        if can_pair(run.split, name):
            rows, labels = side_rows(run.split, name)
            pairs = side_pairs(run, name, most_pairs)
            embeddings = familiar.weighed(embed_rows(network, source, rows, f"embed {name}"))
            scores = score_pairs(network, run.settings.loss, rows, embeddings, pairs)
            found[name] = Side(rows, labels, embeddings, pairs, scores)
    return found


def together(sides: dict[str, Side]) -> Known:
    """Return the pairs of several sides, all sides and both kinds of pairs counting alike."""
    return Known(*(np.concatenate(parts) for parts in zip(*(side.known for side in sides.values()), strict=True)))


def balance(pairs: PairList) -> Numbers:
    """Return weights [m] that sum to 1, half for each kind of pair."""
    positives = int(pairs.same.sum())
    weights: Numbers = np.where(pairs.same, 0.5 / positives, 0.5 / (len(pairs.same) - positives))
    return weights

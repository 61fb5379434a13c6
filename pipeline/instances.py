"""The stream **instances**: every picture is a class of its own, shown twice and varied twice (Wu et al. 2018,
"Unsupervised feature learning via non-parametric instance discrimination"; Chen et al. 2020, "A simple framework for
contrastive learning of visual representations"). Who painted what is not asked.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.batches import Batch, balanced, generator, read_only
from pipeline.coverage import Coverage, distinct
from preprocess.common.errors import SplitError


class Instances:
    """An endless sequence of batches of `size` rows, an even number: pictures 2i and 2i + 1 are one row, no other two
    are; all pairs are compared, and those of one row are "same"."""

    def __init__(self, rows: NDArray[np.integer], size: int, seed: int) -> None:
        """Raises SplitError where `rows` [n] are too few."""
        self.rows, self.shown, self.seed = rows.astype(np.int32), size // 2, seed
        if len(rows) < self.shown:
            raise SplitError(f"train.batch is {size}, but only {len(rows)} pictures are there to train on; lower it")
        left, right = np.triu_indices(size, 1)
        self.left, self.right = (read_only(index.astype(np.int32)) for index in (left, right))
        self.same = read_only((left // 2 == right // 2).astype(np.float32))
        self.weight, self.hard = read_only(balanced(self.same)), read_only(np.zeros(len(left), bool))

    def batch_at(self, k: int) -> Batch:
        """See Stream."""
        chosen = generator(self.seed, k).choice(self.rows, self.shown, replace=False)
        return Batch(np.repeat(chosen, 2).astype(np.int64), self.left, self.right, self.same, self.weight, self.hard)

    def coverage(self, batches: int) -> Coverage:
        """See Stream. Exact, and no pair has two paintings."""
        chance = np.array([self.shown / len(self.rows)])
        return Coverage(distinct(np.array([len(self.rows)]), chance, batches), 0.0)

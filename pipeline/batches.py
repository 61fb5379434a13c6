"""What a batch is. Batch k is a function of (settings, seed, k), nothing else; no pixel is touched here."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.coverage import Coverage
from preprocess.common.errors import ConfigError


class Batch(NamedTuple):
    """`rows` int64 [n] are rows of the store. Pair j compares rows[left[j]] with rows[right[j]], int32 [m] each;
    same float32 [m] is 1 where one artist painted both; weight float32 [m] gives both kinds half of the total m;
    hard bool [m] marks the pairs whose two artists were drawn for what they share (pipeline.hard_share)."""

    rows: NDArray[np.int64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    same: NDArray[np.float32]
    weight: NDArray[np.float32]
    hard: NDArray[np.bool_]


class Stream(Protocol):
    """An endless sequence of training batches."""

    def batch_at(self, k: int) -> Batch:
        """Return batch number `k`, from 0 to 2**32 - 1."""

    def coverage(self, batches: int) -> Coverage:
        """Return how much is expected to have been seen after so many batches, were no pair hard."""


def generator(seed: int, k: int) -> np.random.Generator:
    """Return the random generator of batch `k`; (0, 1) and (1, 0) differ, as seed + k would not.

    Both are below 2**32: a larger number takes a second word, and (2**32 + 5, 0) would be (5, 1).
    """
    return np.random.default_rng(np.random.SeedSequence([seed, k]))


def balanced(same: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return weights [m] that give same [m] == 1 and same == 0 half of the total m each."""
    positives = same.sum()
    negatives = len(same) - positives
    half = len(same) / 2
    of_same, of_different = np.float32(half / max(positives, 1)), np.float32(half / max(negatives, 1))
    return np.where(same > 0, of_same, of_different)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array`, which all batches of a stream share, so that nobody changes it."""
    array.setflags(write=False)
    return array


def slice_of(batch: Batch, replica: int, replicas: int) -> Batch:
    """Return the part of a batch that replica number `replica` of `replicas` takes: an equal run of the rows.

    Its pairs are those inside the run. Of the stream `pairs` that is a run of the pairs, half of them same-artist, and
    all replicas together have the batch; of `groups` they have all rows, but not the pairs across two runs.
    Raises ConfigError where the batch cannot be shared equally.
    """
    if len(batch.rows) % (4 * replicas):
        multiple = f"take a multiple of {4 * replicas}"
        raise ConfigError(f"train.batch is {len(batch.rows)}, which {replicas} replicas cannot share; {multiple}")
    size = len(batch.rows) // replicas
    start = replica * size
    left, right = batch.left - start, batch.right - start
    inside = (np.minimum(left, right) >= 0) & (np.maximum(left, right) < size)
    same = batch.same[inside]
    return Batch(
        batch.rows[start : start + size], left[inside], right[inside], same, balanced(same), batch.hard[inside]
    )


def in_order(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """The stream **rows**: `rows` [n] in their order, cut into batches of `size`; the last may be shorter."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]

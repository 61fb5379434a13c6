"""The pairs on which a side is measured: drawn once per split and seed, and kept with the run."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batches import generator
from pipeline.sets import rows_by_label, starts_of
from preprocess.common.errors import RunError
from preprocess.common.files import write_parquet

COLUMNS = {"left": pl.Int64, "right": pl.Int64, "same": pl.Boolean}


class PairList(NamedTuple):
    """Pairs to be scored: rows int64 [m] on either hand, same bool [m]."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]


def evaluation_pairs(rows: NDArray[np.int64], labels: NDArray[np.int32], most: int, seed: int) -> PairList:
    """Draw the pairs on which a side is measured: exactly half same-artist, all distinct, at most `most`.

    All same-artist pairs are taken while they number at most `most` / 2; then artists give as evenly as they can, or a
    few prolific ones would decide the figures: their pairs grow with the square of their paintings. Different pairs are
    drawn uniformly from all of the side. Where one kind has fewer than `most` / 2, so many are drawn of both.
    """
    rng = generator(seed, 0)
    artists = rows_by_label(rows, labels)
    counts, place = artists.counts, np.arange(len(rows))
    ends = np.repeat(artists.starts[1:], counts)  # of the run of each picture's artist
    couples = counts * (counts - 1) // 2
    strangers = int((len(rows) - ends).sum())
    half = min(most // 2, int(couples.sum()), strangers)
    same_numbers = np.concatenate([
        before + np.sort(rng.choice(possible, wanted, replace=False, shuffle=False))
        for before, possible, wanted in zip(starts_of(couples)[:-1], couples, shares(couples, half, rng), strict=True)
    ])  # fmt: skip
    different_numbers = np.sort(rng.choice(strangers, half, replace=False, shuffle=False))
    same = numbered_pairs(same_numbers, place + 1, ends)
    different = numbered_pairs(different_numbers, ends, np.full(len(rows), len(rows)))
    left, right = np.sort(artists.members[np.concatenate([same, different], axis=1)].astype(np.int64), axis=0)
    return PairList(left, right, np.arange(2 * half) < half)


def numbered_pairs(numbers: NDArray[np.int64], first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [2, m], the pairs with these numbers [m], where place i makes one with each of first[i] to end[i] - 1."""
    before = starts_of(end - first)
    left = np.searchsorted(before, numbers, side="right") - 1
    return np.stack([left, first[left] + numbers - before[left]])


def shares(most: NDArray[np.int64], total: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return how many to take from each, at most most [n], `total` (at most their sum) in all, as even as can be."""
    low, high = 0, int(most.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(most, middle).sum() <= total else (low, middle - 1)
    taken = np.minimum(most, low)
    taken[rng.choice(np.flatnonzero(most > low), total - taken.sum(), replace=False)] += 1
    return taken


def save_evaluation_pairs(path: Path, pairs: PairList) -> None:
    """Write pairs as Parquet, durably: left and right (int64, rows of the store) and same (boolean)."""
    write_parquet(path, pl.DataFrame(pairs._asdict(), COLUMNS))


def load_evaluation_pairs(path: Path, rows: NDArray[np.int64]) -> PairList:
    """Return the pairs in `path`. Raises RunError where it is damaged, or has pictures that are not among `rows`."""
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError:
        raise RunError(f"{path} is damaged; remove it, and the pairs are drawn again") from None
    if table.schema != COLUMNS or sum(table.null_count().row(0)):
        raise RunError(f"{path} must have the columns left, right and same; remove it, and the pairs are drawn again")
    pairs = PairList(*(table[name].to_numpy() for name in COLUMNS))
    if not np.isin(np.concatenate(pairs[:2]), rows).all():
        raise RunError(f"{path} has pictures of another side or split; remove it, and the pairs are drawn again")
    return pairs

"""Streams of row numbers. Batch k is a function of (settings, seed, k), nothing else; no pixel is touched here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from preprocess.common.errors import SplitError


class Batch(NamedTuple):
    """`rows` int64 [n] are rows of the store. Pair j compares rows[left[j]] with rows[right[j]], int32 [m] each;
    same float32 [m] is 1 where one artist painted both; weight float32 [m] gives both kinds half of the total m."""

    rows: NDArray[np.int64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    same: NDArray[np.float32]
    weight: NDArray[np.float32]


class Stream(Protocol):
    """An endless sequence of training batches."""

    def batch(self, k: int) -> Batch:
        """Return batch number `k`, from 0."""


def generator(seed: int, k: int) -> np.random.Generator:
    """Return the random generator of batch `k`; (0, 1) and (1, 0) differ, as seed + k would not."""
    return np.random.default_rng(np.random.SeedSequence([seed, k]))


def rows_by_label(rows: NDArray[np.int64], labels: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Return the rows [n] of each label [n], labels ascending."""
    order = np.argsort(labels, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(labels[order])) + 1)


@dataclass(frozen=True)
class Pairs:
    """Half of every batch are two paintings of one artist, half are of two; artists are drawn uniformly.

    Artists with a single painting are left out: they would only ever be seen in different pairs.
    """

    artists: Sequence[NDArray[np.int64]]
    pairs: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse what can make no pairs."""
        object.__setattr__(self, "artists", [own for own in self.artists if len(own) >= 2])
        if len(self.artists) < 2:
            raise SplitError(
                "pairs need two artists with two paintings each on the side they are drawn from; add pictures"
            )

    def batch(self, k: int) -> Batch:
        """See Stream. Pictures 2j and 2j+1 make pair j; the first half of the pairs are same-artist."""
        rng = generator(self.seed, k)
        half = self.pairs // 2
        first = rng.integers(len(self.artists), size=self.pairs)
        # A uniform artist and a uniform other one: every artist is as likely in one kind of pair as in the other.
        second = (first + rng.integers(1, len(self.artists), size=self.pairs)) % len(self.artists)
        second[:half] = first[:half]
        rows = np.empty((self.pairs, 2), np.int64)
        for j in range(self.pairs):
            if j < half:
                rows[j] = rng.choice(self.artists[first[j]], 2, replace=False)
            else:
                rows[j] = rng.choice(self.artists[first[j]]), rng.choice(self.artists[second[j]])
        left = np.arange(0, 2 * self.pairs, 2, dtype=np.int32)
        same = (np.arange(self.pairs) < half).astype(np.float32)
        return Batch(rows.ravel(), left, left + 1, same, balanced(same))


@dataclass(frozen=True)
class Groups:
    """A few paintings each of many artists; all pairs inside the batch are compared, both kinds weighted alike.

    A batch has exactly `size` rows, none twice. An artist with fewer than `per_artist` paintings gives what there is;
    where the artists cannot fill a batch at that, each gives more.
    """

    artists: Sequence[NDArray[np.int64]]
    size: int
    per_artist: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse what can make no pairs, or no full batch."""
        counts = np.array([len(own) for own in self.artists])
        if len(counts) < 2 or counts.max() < 2:
            raise SplitError("pairs need two artists, one of them with two paintings; add pictures")
        if counts.sum() < self.size:
            raise SplitError(
                f"train.batch is {self.size}, but only {counts.sum()} pictures are there to train on; lower it"
            )
        per_artist = self.per_artist
        while np.minimum(counts, per_artist).sum() < self.size:
            per_artist += 1
        object.__setattr__(self, "per_artist", per_artist)

    def batch(self, k: int) -> Batch:
        """See Stream."""
        rng = generator(self.seed, k)
        chosen: list[NDArray[np.int64]] = []
        owners: list[NDArray[np.int32]] = []
        missing = self.size
        for artist in rng.permutation(len(self.artists)):
            own = self.artists[artist]
            taken = rng.choice(own, min(self.per_artist, len(own), missing), replace=False)
            chosen.append(taken)
            owners.append(np.full(len(taken), artist, np.int32))
            missing -= len(taken)
            if not missing:
                break
        owner = np.concatenate(owners)
        left, right = (index.astype(np.int32) for index in np.triu_indices(self.size, 1))
        same = (owner[left] == owner[right]).astype(np.float32)
        return Batch(np.concatenate(chosen), left, right, same, balanced(same))


def balanced(same: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return weights [m] that give same [m] == 1 and same == 0 half of the total m each."""
    positives = same.sum()
    negatives = len(same) - positives
    half = len(same) / 2
    weights: NDArray[np.float32] = np.where(same > 0, half / max(positives, 1), half / max(negatives, 1)).astype(
        np.float32
    )
    return weights


def in_order(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """The stream **rows**: `rows` [n] in their order, cut into batches of `size`; the last may be shorter."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


class PairList(NamedTuple):
    """Pairs to be scored: rows int64 [m] on either hand, same bool [m]."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]


def evaluation_pairs(rows: NDArray[np.int64], labels: NDArray[np.int32], most: int, seed: int) -> PairList:
    """Draw the pairs on which a side is measured: half same-artist, at most `most` in all.

    All same-artist pairs are taken while they number at most `most` / 2; then each artist may give at most so many
    that the total fits, drawn at random. Different pairs are distinct and drawn uniformly from all of the side.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, len(rows)]))
    artists = rows_by_label(rows, labels)
    positives = [np.stack(np.triu_indices(len(own), 1)) for own in artists]
    counts = np.array([pairs.shape[1] for pairs in positives])
    bound = largest_bound(counts, most // 2)
    drawn = []
    for own, pairs in zip(artists, positives, strict=True):
        if pairs.shape[1] > bound:
            pairs = pairs[:, np.sort(rng.choice(pairs.shape[1], bound, replace=False))]
        drawn.append(own[pairs])
    same = np.concatenate(drawn, axis=1)
    different = different_pairs(rows, labels, same.shape[1], rng)
    left, right = np.concatenate([same, different], axis=1)
    return PairList(left, right, np.arange(len(left)) < same.shape[1])


def largest_bound(counts: NDArray[np.int64], total: int) -> int:
    """Return the largest b with sum(min(counts, b)) <= total, at least 1."""
    low, high = 1, max(1, int(counts.max(initial=1)))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(counts, middle).sum() <= total else (low, middle - 1)
    return low


def different_pairs(
    rows: NDArray[np.int64], labels: NDArray[np.int32], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return [2, count] distinct pairs of rows by two artists, or all there are if that is fewer."""
    size = len(rows)
    if size * (size - 1) // 2 <= 4 * count:
        left, right = np.triu_indices(size, 1)
        other = np.flatnonzero(labels[left] != labels[right])
        chosen = np.sort(rng.choice(other, min(count, len(other)), replace=False))
        return np.stack([rows[left[chosen]], rows[right[chosen]]])
    found = np.empty(0, np.int64)
    while len(found) < count:
        first, second = np.sort(rng.integers(size, size=(2, 2 * count)), axis=0)
        fresh = (first * size + second)[labels[first] != labels[second]]
        both = np.concatenate([found, fresh])
        found = both[np.sort(np.unique(both, return_index=True)[1])][:count]
    return np.stack([rows[found // size], rows[found % size]])

"""The stream **groups**: a few paintings each of many artists, and all pairs among them."""

import numpy as np
from numpy.typing import NDArray

from pipeline.batches import Batch, balanced, generator, read_only
from pipeline.coverage import Coverage, distinct, inclusion
from pipeline.lottery import tickets_of
from pipeline.sets import Sets
from pipeline.traits import Hard, main_trait
from preprocess.common.errors import SplitError


class Groups:
    """An endless sequence of batches of exactly `size` rows, none twice in a batch; all pairs are compared.

    Artists come in an order drawn by `policy` (pipeline.artists). Each gives `per_artist` paintings, or all where there
    are fewer, until the batch is full; where all artists together cannot fill it at that, each gives more.
    """

    def __init__(
        self, artists: Sets, size: int, per_artist: int, seed: int, policy: str = "uniform", hard: Hard | None = None
    ) -> None:
        """Raises SplitError or ConfigError where no batch can be made."""
        self.artists, self.size, self.seed = artists, size, seed
        counts = artists.counts
        if len(counts) < 2 or counts.max() < 2:
            raise SplitError("pairs need two artists, one of them with two paintings; add pictures")
        if counts.sum() < size:
            raise SplitError(f"train.batch is {size}, but only {counts.sum()} pictures are there to train on; lower it")
        while np.minimum(counts, per_artist).sum() < size:
            per_artist += 1
        self.takes = np.minimum(counts, per_artist)
        self.tickets = tickets_of(policy, counts)
        self.left, self.right = (read_only(index.astype(np.int32)) for index in np.triu_indices(size, 1))
        # A mask of all couples is read several times faster than pairs are gathered by left and right.
        self.above = np.triu(np.ones((size, size), bool), 1)
        self.hard_share = 0.0 if hard is None else hard.share
        if hard is not None:
            self.style = main_trait(artists, hard.traits[0])
            known, number = np.unique(self.style[self.style >= 0], return_counts=True)
            self.has_mates = np.isin(self.style, known[number >= 2])
            if not self.has_mates.any():
                raise hard.nothing_shared("style")

    def batch_at(self, k: int) -> Batch:
        """See Stream. One artist's rows are side by side."""
        rng = generator(self.seed, k)
        # The order of exponential clocks is that of drawing without replacement (Efraimidis and Spirakis 2006).
        order = np.argsort(rng.standard_exponential(len(self.tickets)) / self.tickets)
        order, mates = self.with_mates(order, rng)
        ends = np.cumsum(self.takes[order])
        last = int(np.searchsorted(ends, self.size))
        takes = self.takes[order[: last + 1]]
        takes[-1] -= ends[last] - self.size
        rows = self.artists.some_of(order[: last + 1], takes, rng)
        owner = np.repeat(np.arange(last + 1), takes)
        same = (owner[:, None] == owner)[self.above]
        drawn_alike = owner <= mates
        hard = (drawn_alike[:, None] & drawn_alike)[self.above] & ~same
        kinds = same.astype(np.float32)
        return Batch(rows, self.left, self.right, kinds, balanced(kinds), hard)

    def with_mates(self, order: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
        """Return `order` [artists] with an artist and others of its main style moved to the front, and how many others.

        They are pipeline.hard_share of the artists that the batch needs beside the first, or all there are.
        """
        if not self.hard_share:
            return order, 0
        first = order[np.argmax(self.has_mates[order])]
        needed = np.searchsorted(np.cumsum(self.takes[order]), self.size)
        # A part of an artist is rounded at random, so that the share is right in the long run.
        wanted = int(self.hard_share * needed + rng.random())
        mates = order[(self.style[order] == self.style[first]) & (order != first)][:wanted]
        front = np.append(first, mates)
        return np.concatenate([front, order[~np.isin(order, front)]]), len(mates)

    def coverage(self, batches: int) -> Coverage:
        """See Stream. An approximation by expected sizes: see `inclusion`."""
        counts = self.artists.counts
        couples = counts * (counts - 1) // 2
        chances = inclusion(self.tickets, self.takes, self.size)
        taken = self.takes * (self.takes - 1) // 2
        return Coverage(
            distinct(counts, chances * self.takes / counts, batches),
            distinct(couples, chances * taken / np.maximum(couples, 1), batches),
        )

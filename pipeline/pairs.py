"""The stream **pairs**: half of every batch are two paintings of one artist, half are of two."""

import numpy as np

from pipeline.batches import Batch, balanced, generator, read_only
from pipeline.coverage import Coverage, distinct
from pipeline.lottery import capped, draw_two, tickets_of
from pipeline.sets import Sets
from pipeline.traits import Hard, Kin
from preprocess.common.errors import ConfigError, SplitError


class Pairs:
    """An endless sequence of batches of `pairs` pairs, an even number; pair 2i is same-artist, pair 2i + 1 is not.

    Nothing but identity tells the kinds apart: each artist, and each painting, is as likely on either hand of one kind
    as of the other, so that one picture seen alone says nothing. Artists are drawn by `policy` (pipeline.artists), none
    with more than half. Those with a single painting are left out: they would only ever be seen in different pairs.
    Hard pairs are exempt.
    """

    def __init__(self, artists: Sets, pairs: int, seed: int, policy: str = "uniform", hard: Hard | None = None) -> None:
        """Raises SplitError or ConfigError where no batch can be made."""
        self.artists, self.pairs, self.seed = artists.only(artists.counts >= 2), pairs, seed
        if len(self.artists.counts) < 2:
            raise SplitError(
                "pairs need two artists with two paintings each on the side they are drawn from; add pictures"
            )
        if pairs % 2:
            raise ConfigError(f"train.batch is {2 * pairs}; half of its pairs are same-artist: take a multiple of 4")
        if len(self.artists.members) < 2 * pairs:
            raise SplitError(
                f"train.batch is {2 * pairs}, but only {len(self.artists.members)} pictures are there to train on, "
                "by artists with two or more; lower it"
            )
        self.tickets = capped(tickets_of(policy, self.artists.counts))
        self.kin = None if hard is None else Kin(self.artists, hard, policy)
        left = np.arange(0, 2 * pairs, 2, dtype=np.int32)
        self.left, self.right = read_only(left), read_only(left + 1)
        self.same = read_only(1 - np.arange(pairs, dtype=np.float32) % 2)
        self.weight = read_only(balanced(self.same))

    def batch_at(self, k: int) -> Batch:
        """See Stream. Pictures 2j and 2j + 1 make pair j."""
        rng = generator(self.seed, k)
        drawn = draw_two(self.tickets, self.pairs, rng)
        rows = np.empty((self.pairs, 2), np.int64)
        rows[0::2] = self.artists.two_of(drawn[0, 0::2], rng).T
        rows[1::2] = self.artists.one_of(drawn[:, 1::2], rng).T
        hard = np.zeros(self.pairs, bool)
        if self.kin is not None:
            half = self.pairs // 2
            # A part of a pair is rounded at random, so that the share is right in the long run.
            chosen = 1 + 2 * rng.permutation(half)[: int(self.kin.share * half + rng.random())]
            rows[chosen] = self.kin.draw(len(chosen), rng).T
            hard[chosen] = True
        return Batch(rows.ravel(), self.left, self.right, self.same, self.weight, hard)

    def coverage(self, batches: int) -> Coverage:
        """See Stream. Exact: a pair shows a given painting with chance 2 * share of its artist / paintings."""
        counts, shares = self.artists.counts, self.tickets / self.tickets.sum()
        couples = counts * (counts - 1) // 2
        return Coverage(
            distinct(counts, 2 * shares / counts, batches * self.pairs),
            distinct(couples, shares / couples, batches * self.pairs // 2),
        )

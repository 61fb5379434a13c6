"""What pictures of different artists have in common: style, genre, period. From there come hard different pairs."""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.lottery import draw, tickets_of
from pipeline.sets import Sets, rows_by_label
from preprocess.common.errors import ConfigError

PERIOD = 50
"""Years."""


class Hard(NamedTuple):
    """The wish that a `share` of the different pairs, above 0 and at most 1, are of artists with something in common.

    traits int32 [3, rows of the store] numbers the style, genre and period of every picture, -1 where unknown.
    """

    share: float
    traits: NDArray[np.int32]

    def nothing_shared(self, what: str) -> ConfigError:
        """Return the error to raise where no two artists have `what` in common."""
        return ConfigError(f"pipeline.hard_share is {self.share}, but no two artists share a {what}; set it to 0.0")


def traits_of(table: pl.DataFrame) -> NDArray[np.int32]:
    """Return style, genre and period of each row of a store, numbered from 0, int32 [3, n]; -1 where unknown.

    The period comes from the first year in the date: "c.1645", "1955.0", "1880-1885", "April 1951".
    """
    year = pl.col("date").str.extract("([0-9]{3,4})").cast(pl.Int32)
    texts = [pl.col(name).str.strip_chars().replace("", None) for name in ("style", "genre")]
    numbers = [trait.rank("dense").cast(pl.Int32).fill_null(0) - 1 for trait in (*texts, year // PERIOD)]
    return np.stack([table.select(number.alias("trait"))["trait"].to_numpy() for number in numbers])


def main_trait(artists: Sets, trait: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the commonest of `trait` [rows of the store] in each artist's pictures, int32 [artists]; -1 for none."""
    values = trait[artists.members]
    known = values >= 0
    pairs, number = np.unique(np.stack([artists.owners[known], values[known]]), axis=1, return_counts=True)
    main = np.full(len(artists.counts), -1, np.int32)
    rarest_first = np.argsort(number, kind="stable")
    main[pairs[0, rarest_first]] = pairs[1, rarest_first]  # of several values for one place, the last stays
    return main


class Kin:
    """Draws two pictures by different artists that are of one style, of one genre or from one period.

    A block is all that one artist painted of one trait; blocks are numbered trait by trait, and traits that only one
    artist has make none. About 12 bytes per picture.
    """

    def __init__(self, artists: Sets, hard: Hard, policy: str) -> None:
        """Raises ConfigError where no two artists have anything in common."""
        self.share = hard.share
        traits = hard.traits[:, artists.members]
        kind, place = np.nonzero(traits >= 0)
        value = kind * (int(traits.max(initial=0)) + 1) + traits[kind, place]
        artist_count = len(artists.counts)
        keys, block = np.unique(value * artist_count + artists.owners[place], return_inverse=True)
        value_of, artist_of = np.divmod(keys, artist_count)
        _, family, size = np.unique(value_of, return_inverse=True, return_counts=True)
        shared = size[family] >= 2
        if not shared.any():
            raise hard.nothing_shared("style, genre or period")
        kept = shared[block]
        self.pictures = rows_by_label(artists.members[place[kept]], block[kept])
        _, first, size = np.unique(value_of[shared], return_index=True, return_counts=True)
        self.first, self.size = np.repeat(first, size), np.repeat(size, size)
        self.blocks = rows_by_label(np.arange(shared.sum()), artist_of[shared])
        self.tickets = tickets_of(policy, artists.counts[np.unique(artist_of[shared])])

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return rows [2, count]: an artist is drawn by the policy, then a trait that others have too, then one of
        them, and a picture of each that has it."""
        block = self.blocks.one_of(draw(self.tickets, count, rng), rng)
        first, size = self.first[block], self.size[block]
        other = first + (block - first + rng.integers(1, size)) % size
        return self.pictures.one_of(np.stack([block, other]), rng)

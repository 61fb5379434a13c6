"""Collections of rows for the tests of streams: by counts, at the scale of the real table, and who painted what."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.streams import Batch, Sets, Stream, rows_by_label

POLICIES = ("uniform", "root", "proportional")
SKEWED = [700, 150, 60, 40, 20, 9, 5, 3, 2, 2, 2]
"""One artist has most of the paintings; a policy that follows their number must cap that artist at one half."""
counts_of_artists = st.one_of(
    st.lists(st.integers(1, 12), min_size=2, max_size=20),
    st.lists(st.just(2), min_size=2, max_size=20),
    st.tuples(st.integers(50, 500), st.lists(st.integers(1, 3), min_size=1, max_size=8)).map(lambda p: [p[0], *p[1]]),
)
below_two_words = st.integers(0, 2**32 - 1)


def painters(counts: list[int]) -> Sets:
    """Return artists with these numbers of paintings; between two artists are rows that are nobody's."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return rows_by_label(np.arange(len(labels)) + 10 * labels, labels)


class RealTable(NamedTuple):
    """Painter by Numbers: labels int32 [n] of its 79,433 rows, and the table itself, as a store would have it."""

    table: pl.DataFrame
    labels: NDArray[np.int32]

    @property
    def artists(self) -> Sets:
        """All rows by artist."""
        return rows_by_label(np.arange(len(self.labels)), self.labels)


def real_table(shared_data: Path) -> RealTable:
    """Read the real table."""
    table = pl.read_csv(shared_data / "painter-by-numbers" / "train_info.csv", infer_schema=False)
    return RealTable(table, (table["artist"].rank("dense").cast(pl.Int32) - 1).to_numpy())


def owner_of(artists: Sets) -> NDArray[np.int64]:
    """Return the artist of each row number, -1 where the row is nobody's."""
    owner = np.full(int(artists.members.max()) + 1, -1)
    owner[artists.members] = artists.owners
    return owner


def hands(batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows [m] on either hand of a batch's pairs."""
    return batch.rows[batch.left], batch.rows[batch.right]


def seen(stream: Stream, batches: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the rows [2, m] on either hand of all pairs of the first batches, and whether they are same-artist."""
    drawn = [stream.batch_at(k) for k in range(batches)]
    rows = np.concatenate([np.stack(hands(batch)) for batch in drawn], axis=1)
    return rows, np.concatenate([batch.same for batch in drawn]) == 1


def equal(first: Batch, second: Batch) -> bool:
    """Return whether two batches hold the same."""
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in Batch._fields)

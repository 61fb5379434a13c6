"""Sets of rows, such as each artist's paintings, and how members are drawn from many of them at once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sets:
    """Sets of rows, one after the other: set s is members[starts[s] : starts[s + 1]]. Four bytes per row.

    members: int32 [n], starts: int64 [sets + 1].
    """

    members: NDArray[np.int32]
    starts: NDArray[np.int64]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The size [sets] of each set."""
        return np.diff(self.starts)

    @property
    def owners(self) -> NDArray[np.int64]:
        """The set [n] to which each member belongs."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def only(self, kept: NDArray[np.bool_]) -> "Sets":
        """Return the sets where `kept` [sets] is true."""
        return Sets(self.members[np.repeat(kept, self.counts)], starts_of(self.counts[kept]))

    def one_of(self, sets: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return a member of each of `sets` (any shape), all of a set alike likely."""
        return self.at(self.starts[sets] + rng.integers(self.counts[sets]))

    def two_of(self, sets: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return [2, n]: two different members of each of `sets` [n], all ordered pairs of a set alike likely."""
        counts = self.counts[sets]
        first = rng.integers(counts)
        second = (first + rng.integers(1, counts)) % counts
        return self.at(self.starts[sets] + np.stack([first, second]))

    def some_of(self, sets: NDArray[np.int64], takes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return takes[i] different members of each of `sets` [n], one set after the other, all subsets alike likely.

        Floyd's algorithm, one step for all sets at once (Bentley and Floyd 1987, "A sample of brilliance").
        """
        steps = np.arange(takes.max())
        last = (self.counts[sets] - takes)[:, None] + steps
        places = rng.integers(last, endpoint=True)
        for step in steps[1:]:
            taken = (places[:, :step] == places[:, step, None]).any(axis=1)
            places[taken, step] = last[taken, step]
        wanted = steps < takes[:, None]
        return self.at((self.starts[sets][:, None] + places)[wanted])

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the members at these places, 0 to n - 1, in an array of their shape."""
        found: NDArray[np.int64] = self.members[places].astype(np.int64)
        return found


def rows_by_label(rows: NDArray[np.integer], labels: NDArray[np.integer]) -> Sets:
    """Return the rows [n] of each label [n], labels and rows ascending."""
    order = np.lexsort((rows, labels))
    return Sets(rows[order].astype(np.int32), starts_of(np.unique(labels, return_counts=True)[1]))


def starts_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where sets of these sizes [sets] start, and the end of the last: [sets + 1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

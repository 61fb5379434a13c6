"""By what chances artists are drawn: in whole tickets, so that chances are exact and no rounding makes an exception."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

TICKETS_PER_ROOT = 2**20
"""Square roots become whole numbers to within a millionth."""
TICKETS: dict[str, Callable[[NDArray[np.int64]], NDArray[np.int64]]] = {
    "uniform": np.ones_like,
    "root": lambda counts: np.rint(np.sqrt(counts) * TICKETS_PER_ROOT).astype(np.int64),
    "proportional": np.copy,
}


def tickets_of(policy: str, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tickets [artists] of artists with `counts` [artists] paintings; `policy` is pipeline.artists."""
    return TICKETS[policy](counts)


def capped(tickets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `tickets` [artists] with no artist holding more than half of all.

    Only one artist can hold more than half, and is left as many as the others have together: they fill up to 1/2.
    """
    most = tickets.argmax()
    fair = tickets.copy()
    fair[most] = min(tickets[most], tickets.sum() - tickets[most])
    return fair


def draw(tickets: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` artists, each drawn with the chance that its tickets [artists] give it."""
    ends = np.cumsum(tickets)
    return np.searchsorted(ends, rng.integers(ends[-1], size=count), side="right")


def draw_two(tickets: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return [2, count]: two different artists each time, either hand with the chances that `tickets` [artists] give.

    No artist may hold more than half. Tickets lie on a circle, an artist's side by side, artists in an order of this
    call's. The second ticket lies ahead of the first by a number between the largest holding and all but the largest
    holding: too far for the same artist, and as uniform as the first. So nothing is drawn again, which would make
    those with many tickets rarer among different artists than they are among all.
    """
    order = rng.permutation(len(tickets))
    ends = np.cumsum(tickets[order])
    total, most = ends[-1], tickets.max()
    first = rng.integers(total, size=count)
    ahead = rng.integers(most, total - most, size=count, endpoint=True)
    return order[np.searchsorted(ends, np.stack([first, (first + ahead) % total]), side="right")]

"""How much of a collection a stream is expected to have shown after so many batches."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq


class Coverage(NamedTuple):
    """Expected numbers of distinct paintings, and of distinct pairs of two paintings by one artist."""

    paintings: float
    same_pairs: float


def distinct(numbers: NDArray[np.int64], chances: NDArray[np.float64], draws: int) -> float:
    """Return the expected number of different things seen in `draws` independent draws.

    There are numbers[a] things [artists] that one draw shows with chance chances[a] each: the sum over all things of
    1 - (1 - chance)^draws (Flajolet, Gardy and Thimonier 1992, "Birthday paradox, coupon collectors, ...", section 4).
    """
    return float(numbers @ (1 - (1 - chances) ** draws))


def inclusion(tickets: NDArray[np.int64], takes: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Return the chance [artists] of each artist to be in a batch of `size` to which each of them gives takes[a].

    Artists come in the order of exponential clocks, each as fast as its tickets; those that have rung at time t,
    1 - exp(-t tickets), fill the batch (Rosen 1972, "Asymptotic theory for successive sampling with varying
    probabilities without replacement"). Exact for many artists; all 1 where every artist is needed.
    """
    if takes.sum() <= size:
        return np.ones(len(tickets))
    rates = tickets / tickets.min()

    def filled(time: float) -> float:
        return float(takes @ -np.expm1(-time * rates)) - size

    chances: NDArray[np.float64] = -np.expm1(-brentq(filled, 0, np.log(takes.sum()) + 1) * rates)
    return chances

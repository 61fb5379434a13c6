"""Inventing figures from a picture's outlines: strokes, as a pen makes them, and silhouettes, as things have them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocess.common.errors import UnreadablePicture
from preprocess.figures.outlines import POINTS, Line, boxed, extent, outline, turned

STROKES = 0.5
"""Share of figures that are strokes."""
ANY = np.pi


class Figure(NamedTuple):
    """Lines [n, 2] about the middle of a box whose longer side is 1: a pen's `strokes`, or surfaces that are `filled`,
    with `holes`, and `seams` upon them, of which `tones` [seams] says how much brighter they are (-0.5 to 0.5)."""

    strokes: list[Line]
    filled: list[Line]
    holes: list[Line]
    seams: list[Line]
    tones: NDArray[np.float64]


class Outlines(NamedTuple):
    """The outlines of one picture, by lot."""

    picture: NDArray[np.uint8]
    rng: np.random.Generator

    def next(self) -> Line:
        """Return part of an outline, see `outline`. Raises UnreadablePicture where there is none."""
        line = outline(self.picture, self.rng)
        if line is None:
            raise UnreadablePicture("a picture without outlines")
        return line

    def anyhow(self, least: float) -> Line:
        """Return part of an outline, turned by any angle and narrowed to a share of `least` or more."""
        return turned(self.next(), self.rng.uniform(-ANY, ANY)) * [self.rng.uniform(least, 1), 1]


def invent(picture: NDArray[np.uint8], rng: np.random.Generator) -> Figure:
    """Return a figure made of the outlines of a picture, uint8 [height, width]. Raises UnreadablePicture."""
    outlines = Outlines(picture, rng)
    return strokes(outlines) if rng.random() < STROKES else silhouette(outlines)


def strokes(outlines: Outlines) -> Figure:
    """Return one stroke, or two, of which the second touches the first somewhere."""
    rng, found = outlines.rng, [outlines.anyhow(0.4)]
    if rng.random() < 0.4:
        second = outlines.anyhow(0.4) * rng.uniform(0.4, 1)
        found.append(second - second[somewhere(rng)] + found[0][somewhere(rng)])
    return Figure(boxed(found), [], [], [], np.zeros(0))


def somewhere(rng: np.random.Generator) -> int:
    """Return a point of a line: an end in two of three cases."""
    return int(rng.choice(np.array([0, POINTS - 1, rng.integers(POINTS)])))


def silhouette(outlines: Outlines) -> Figure:
    """Return a surface of one or two parts, some with a hole, and up to two seams; two of three are symmetric."""
    rng = outlines.rng
    symmetric = rng.random() < 0.65
    filled = [surface(outlines, symmetric)]
    if rng.random() < 0.5:
        second = surface(outlines, symmetric) * rng.uniform(0.4, 1, 2)
        there = [0, rng.uniform(-0.3, 0.7)] if symmetric else rng.choice(filled[0]) - rng.choice(second)
        filled.append(second + there)
    middle, sides = extent(filled)
    around = [0.0 if symmetric else 0.4, 0.4]
    holes = []
    if rng.random() < 0.3:
        hole = surface(outlines, symmetric) * rng.uniform(0.1, 0.4, 2)
        holes = [hole - extent([hole])[0] + middle + rng.uniform(-1, 1, 2) * around]
    seams = [outlines.anyhow(1) * rng.uniform(0.3, 1) + rng.uniform(-0.4, 0.4, 2) for _ in range(rng.integers(3))]
    if symmetric:
        seams += [seam * [-1, 1] for seam in seams]
    seams = [seam + middle for seam in seams]
    shape = np.array([rng.uniform(0.35, 1), 1])
    if rng.random() > (0.7 if symmetric else 0.3):
        shape = shape[::-1]
    filled, holes, seams = ([(line - middle) / sides * shape for line in lines] for lines in (filled, holes, seams))
    return Figure([], filled, holes, seams, rng.uniform(-0.5, 0.5, len(seams)))


def surface(outlines: Outlines, symmetric: bool) -> Line:
    """Return the rim of a surface: an outline closed by its chord, or an outline and its mirror image."""
    rng = outlines.rng
    if not symmetric:
        return outlines.anyhow(0.5) * [1, rng.uniform(0.4, 1)]
    half = outlines.next()
    half = half[: POINTS // 2] if np.linalg.norm(half[-1] - half[0]) < 0.2 else half
    chord = half[-1] - half[0]
    half = turned(half - half[0], np.arctan2(chord[0], chord[1]))
    half = half * [np.sign(half[:, 0].mean()) or 1, 1] / np.abs(half[:, 1]).max().clip(1e-3)
    half = (half * [rng.uniform(0.3, 1), 1] + [rng.uniform(0, 0.35), 0]).clip([0.02, -np.inf])
    return np.concatenate([half, half[::-1] * [-1, 1]])

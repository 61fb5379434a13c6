"""Outlines of pictures, and lines in general: float64 [n, 2], x and y, y downwards."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from skimage.measure import find_contours

Line = NDArray[np.float64]

POINTS = 32
"""Of a line, at equal distances."""
FEWEST = 8
"""Corners of an outline; what has fewer is a speck."""


def outline(picture: NDArray[np.uint8], rng: np.random.Generator) -> Line | None:
    """Return a part of an outline, [POINTS, 2], in a box whose longer side is 1 and whose middle is 0, or None where
    the picture, uint8 [height, width], has none.

    The outline is that of the parts above a brightness by lot, the longer the likelier; the part is a fifth of it at
    least, smoothed by lot.
    """
    blurred = gaussian_filter(picture.astype(np.float64), rng.uniform(0.5, 1.5))
    level = rng.uniform(0.1, 0.85) * blurred.max()
    found: list[Line] = find_contours(np.pad(blurred, 1), level) if level else []  # type: ignore[no-untyped-call]
    closed = [corners[:-1, ::-1] for corners in found if len(corners) > FEWEST]
    if not closed:
        return None
    lengths = np.array([len(corners) for corners in closed])
    corners = np.roll(closed[rng.choice(len(closed), p=lengths / lengths.sum())], rng.integers(lengths.max()), axis=0)
    part = corners[: max(FEWEST, round(len(corners) * rng.uniform(0.2, 1)))]
    line: Line = gaussian_filter1d(evenly(part), rng.uniform(0.5, 3), axis=0, mode="nearest")
    return boxed([line])[0]


def evenly(line: Line) -> Line:
    """Return POINTS points of a line, [n, 2], at equal distances along it."""
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    places = np.linspace(0, along[-1], POINTS)
    return np.stack([np.interp(places, along, line[:, axis]) for axis in (0, 1)], axis=1)


def extent(lines: list[Line]) -> tuple[Line, Line]:
    """Return the middle [2] and the sides [2] of the box that holds all lines."""
    points = np.concatenate(lines)
    low, high = points.min(axis=0), points.max(axis=0)
    return (low + high) / 2, (high - low).clip(1e-3)


def boxed(lines: list[Line]) -> list[Line]:
    """Return lines moved and scaled together into a box whose longer side is 1 and whose middle is 0."""
    middle, sides = extent(lines)
    return [(line - middle) / sides.max() for line in lines]


def turned(line: Line, angle: float) -> Line:
    """Return a line turned about 0 by an angle in radians."""
    sine, cosine = np.sin(angle), np.cos(angle)
    found: Line = line @ np.array([[cosine, sine], [-sine, cosine]])
    return found

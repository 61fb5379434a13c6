"""How alike two pictures are: whether one shows what the other does, or a crop of it.

Pictures of different things correlate well as wholes: a portrait is bright in the middle, a landscape above. Inside
small tiles they do not, while copies do, whatever their brightness and contrast. So likeness is the median, over the
tiles of a picture, of the correlation within a tile; tiles in which neither picture has anything say nothing. Frames,
mounts and round portraits agree along the edges: the median over the middle alone must be as high.
Measured on paintings-224, whose copies.json lists them: 35 of its 13 million pairs reach 0.6, and 34 of these show one
painting; the lowest, 0.606, is a painter's second sitter in the same pose. At 64 pixels other pairs do so as well.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize

Floats = NDArray[np.float32]
Window = tuple[float, float, float, float]
"""Left, top, right and bottom edge, from 0 to 1."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Shares of red, green and blue in brightness (ITU-R BT.601)."""
ROUGH, PROOF, TILE = 32, 128, 16
"""Pixels on a side: where a window is looked for, where likeness is measured, and of a tile."""
FLAT = 2.0
"""Standard deviation, of 255, below which there is nothing in a tile but noise."""
FEWEST = 0.25
"""Share of tiles that must have something in them, or two drawings of one line would be copies."""
MIDDLE = slice(PROOF // 4, 3 * PROOF // 4)
SMALLEST = 0.7
"""Share of a side that a crop must keep."""


def grey(pictures: NDArray[np.uint8]) -> Floats:
    """Return the brightness [..., y, x], 0 to 255, of pictures uint8 [..., y, x, 3]."""
    return np.asarray(pictures.astype(np.float32) @ LUMA)


def tiles(pictures: Floats, side: int) -> Floats:
    """Return each tile of square pictures [n, y, x] as a vector of unit length about zero, [n, tiles, pixels].

    A flat tile is all zero.
    """
    count, across = len(pictures), pictures.shape[1] // side
    cut = pictures.reshape(count, across, side, across, side).swapaxes(2, 3).reshape(count, across**2, side**2)
    cut = cut - cut.mean(axis=2, keepdims=True)
    length = np.linalg.norm(cut, axis=2, keepdims=True)
    return np.asarray(np.divide(cut, length, out=np.zeros_like(cut), where=length > FLAT * side))


def tile_likeness(left: Floats, right: Floats, fewest: float = FEWEST) -> Floats:
    """Return the likeness [n], -1 to 1, of pictures given as their `tiles`; 0 where too few say anything."""
    correlation = np.einsum("ntp,ntp->nt", left, right)
    telling = left.any(axis=2) | right.any(axis=2)
    # Those that say nothing go to both ends, half each, where they do not move the median.
    ends = np.where(np.cumsum(~telling, axis=1) % 2, -2.0, 2.0)
    median = np.median(np.where(telling, correlation, ends), axis=1)
    return np.where(telling.mean(axis=1) >= fewest, median.clip(-1, 1), 0).astype(np.float32)


def likeness(whole: NDArray[np.uint8], part: NDArray[np.uint8], guess: Window) -> float:
    """Return how alike `part` is to that window of `whole` that shows the same, -1 to 1; uint8 [size, size, 3].

    `guess` is about where the window is.
    """
    left, right = (Image.fromarray(np.rint(grey(picture)).astype(np.uint8)) for picture in (whole, part))
    window = registered(left, right, guess)
    pair = np.stack([seen_through(left, window, PROOF), seen_through(right, (0, 0, 1, 1), PROOF)])
    return min(float(tile_likeness(*tiles(part, TILE)[:, None])[0]) for part in (pair, pair[:, MIDDLE, MIDDLE]))


def registered(whole: Image.Image, part: Image.Image, guess: Window) -> Window:
    """Return the window of `whole`, near `guess`, that correlates best with `part`; found by the simplex method."""
    wanted = unit(seen_through(part, (0, 0, 1, 1), ROUGH))

    def unlikeness(edges: NDArray[np.float64]) -> float:
        left, top, right, bottom = edges.tolist()
        if min(left, top) < 0 or max(right, bottom) > 1 or min(right - left, bottom - top) < SMALLEST:
            return 1.0
        return -float((unit(seen_through(whole, (left, top, right, bottom), ROUGH)) * wanted).sum())

    start = np.clip(np.asarray(guess), 0, 1)
    simplex = np.stack([start, *(np.clip(start + step, 0, 1) for step in np.diag([0.03, 0.03, -0.03, -0.03]))])
    options: Any = {"initial_simplex": simplex, "maxfev": 120, "xatol": 0.002, "fatol": 0.001}
    left, top, right, bottom = minimize(unlikeness, start, method="Nelder-Mead", options=options).x.tolist()
    return left, top, right, bottom


def seen_through(picture: Image.Image, window: Window, size: int) -> Floats:
    """Return what is in a window of a square picture, at `size` pixels."""
    left, top, right, bottom = (edge * picture.width for edge in window)
    box = (left, top, right, bottom)
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box), np.float32)


def unit(values: Floats) -> Floats:
    """Return a picture as a vector of unit length about zero; a flat one is all zero."""
    centred = values - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-6))

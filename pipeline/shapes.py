"""Variants of small pictures of one thing each, by which its shape stays and all else changes: bent, thicker or
thinner, darker or lighter, blurred. For train/augment.py on the device and for numpy: see pipeline/augmentation.py.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

KNOTS = 5
"""Places on a side that are moved by lot; those between follow smoothly (Simard et al. 2003, elastic distortions)."""
TONES = ("thickness", "gamma", "blur")
BENDS = tuple(f"bend_{axis}{place}" for axis in "xy" for place in range(KNOTS**2))
BEND, GAMMA = 0.09, 0.7

SHAPES = {"thickness": (-1.0, 1.0), "gamma": (-GAMMA, GAMMA), "blur": (0.0, 1.0)} | dict.fromkeys(BENDS, (-BEND, BEND))
"""Ranges: thickness from the least to the greatest of a pixel and its eight neighbours, gamma the logarithm of an
exponent, blur the share of the neighbours' mean, bends in shares of the side."""


def shaped(images: Any, drawn: Any, math: Any) -> Any:
    """Return images float32 [n, size, size, 3], 0 to 255, each varied by its row of `drawn` [n, 53], columns as in
    SHAPES."""
    thickness, gamma, blur = (math.reshape(drawn[:, column], (-1, 1, 1, 1)) for column in range(len(TONES)))
    values = math.clip(bent(images, drawn[:, len(TONES) :], math) / 255, 1e-3, 1.0) ** math.exp(gamma)
    extreme = math.where(thickness > 0, around(values, math.maximum, math), around(values, math.minimum, math))
    values = values + (extreme - values) * math.abs(thickness)
    mean = around(values, math.add, math) / 9
    return 255 * (values + (mean - values) * blur)


def around(images: Any, combine: Any, math: Any) -> Any:
    """Return images [n, size, size, 3] whose every value is a combination of nine: its own and its neighbours'."""
    for axis in (1, 2):
        size = images.shape[axis]
        padded = math.pad(images, [(int(dim == axis),) * 2 for dim in range(4)], "reflect")
        first, own, last = (math.take(padded, np.arange(start, start + size), axis=axis) for start in range(3))
        images = combine(combine(first, own), last)
    return images


def bent(images: Any, bends: Any, math: Any) -> Any:
    """Return images [n, size, size, 3] with every pixel taken from where `bends` [n, 2 * KNOTS^2] point; beyond the
    edge is as the edge is."""
    size, between = images.shape[1], spread(images.shape[1])
    moves = math.reshape(bends * size, (-1, 2, KNOTS, KNOTS))
    moves = math.matmul(math.matmul(between, moves), between.T)
    along = np.arange(size, dtype=np.float32)
    x = math.clip(moves[:, 0] + along[None, :], 0, size - 1.001)
    y = math.clip(moves[:, 1] + along[:, None], 0, size - 1.001)
    left, top = math.floor(x), math.floor(y)
    right, down = (x - left)[..., None], (y - top)[..., None]
    start = math.arange(math.shape(bends)[0], dtype="int32")[:, None, None] * size**2
    place = start + math.array(top * size + left, dtype="int32")
    pixels = math.reshape(images, (-1, 3))
    first, second, third, fourth = (math.take(pixels, place + step, axis=0) for step in (0, 1, size, size + 1))
    upper, lower = first + (second - first) * right, third + (fourth - third) * right
    return upper + (lower - upper) * down


@cache
def spread(size: int) -> NDArray[np.float32]:
    """Return [size, KNOTS]: the value at each pixel of a side, of a cubic spline through the values at the knots."""
    spline = CubicSpline(np.linspace(0, size - 1, KNOTS), np.eye(KNOTS))
    return np.asarray(spline(np.arange(size)), np.float32)
